"""One workload and what is asked of it -> every object that should exist for it. The heart of `generate`.

Mounted or not is no different path: with nothing asked the wanted images are the application's own, and the same walk
leads back (`handover.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import carrier2
from carrier2 import contract
from generator import handover, names, routing, selectors, tracking
from generator.admission import Claim, template_of
from generator.endpoints import inside, presence, services_of
from generator.errors import Problem
from generator.handover import Facts, Handover
from generator.patched import patched
from generator.policies import policies
from generator.ports import container_ports
from generator.preflight import Case, claims_of, preflight
from generator.revisions import Revision, revisions
from generator.shadow import our_labels, rehearsal, rehearsal_name, shadow
from generator.snapshot import Key, Obj, Snapshot, Space, annotations_of, key_of, labels_of
from generator.workload import Original, Workload, original, pods_of


@dataclass
class Outcome:
    """What a workload should become.

    objects: by Key, with the reason for any change. dispatches: routing model by container. configs: its hash.
    problems: of the workload. connections: problems by bridge. originals, handover: for the status. admitted: mounted at all.
    """

    workload: Workload
    problems: tuple[Problem, ...] = ()
    objects: dict[Key, tuple[Obj, str]] = field(default_factory=dict)
    dispatches: dict[str, carrier2.Dispatch] = field(default_factory=dict)
    configs: dict[str, str] = field(default_factory=dict)
    connections: dict[Key, list[Problem]] = field(default_factory=dict)
    originals: tuple[Original, ...] = ()
    walk: Handover | None = None
    admitted: bool = False

    def add(self, obj: Obj, reason: str) -> None:
        """An object that should exist."""
        self.objects[key_of(obj)] = (obj, reason)


def build(snapshot: Snapshot, workload: Workload, asked: Mapping[str, Claim]) -> Outcome:
    """Everything that should exist for one workload. asked: claims by container; none means the way back."""
    space = snapshot.space(workload.namespace)
    every = tuple(original(p) for p in pods_of(space, workload.kind, workload.name))
    live = tuple(o for o in every if not o.gone)
    leaving = tuple(o for o in every if o.gone == "terminating" and o.touched)
    touched = any(o.touched for o in (*live, *leaving))
    ours = {key_of(o): o for o in space.ours.get(workload.id, ())}
    service_name = f"{workload.id}-shadow"
    floor = _floor(ours.get(Key("Service", workload.namespace, service_name)), live)
    labels = _labels_like(workload, every)
    services = tuple(services_of(space, labels))

    images = {c: (claim.mount and claim.mount.carrier_image) or snapshot.carrier_image for c, claim in asked.items()}
    concerned = live if asked else tuple(o for o in live if o.touched)
    groups = revisions(workload, (*concerned, *leaving), _pinned(space, every), floor if asked else 0)
    quiet = {r.hash: _quiet(space, r) for r in groups}
    bodies = {n: shadow(workload, n, r.hash, r.spec, r.originals, quiet[r.hash] or {}) for r in groups for n in r.shadows}
    trials = _rehearsals(workload, groups, images)
    outcome = Outcome(workload, originals=live)
    if asked:
        needed = {**bodies, **trials, service_name: _service(workload, asked, floor)}
        found = preflight(Case(snapshot, workload, asked, every, live, groups, services, images, needed))
        outcome.problems = (*found, *(_selects_all(workload) for q in quiet.values() if q is None))
    outcome.admitted = bool(asked) and all(p.severity == "warning" for p in outcome.problems)
    wanted = images if outcome.admitted else {}
    if not wanted and not touched:
        groups, bodies = (), {}
    claims = asked if wanted else _residual(asked, every, services)

    pods = {n: ours.get(Key("Pod", workload.namespace, n)) for n in bodies}
    surplus = {k.name: o for k, o in ours.items() if labels_of(o).get(names.ROLE) == "shadow" and k.name not in bodies}
    shadows: dict[str, Obj | None] = {**pods, **surplus}
    own = {name: s for r in groups for name, s in r.own.items()}
    reached, outcome.connections = routing.connections(snapshot, (b for claim in claims.values() for b in claim.bridges))
    _configure(outcome, snapshot.now, claims, groups, own, shadows, ours, reached)

    listed, drained = presence(space, services, [*(o.pod for o in live), *(p for p in shadows.values() if p)])
    walk = outcome.walk = handover.decide(
        Facts(
            now=snapshot.now,
            wanted=wanted,
            originals=live,
            leaving=leaving,
            own=own,
            shadows=shadows,
            needed=frozenset(bodies),
            inside=frozenset(n for n, p in shadows.items() if p and inside(services, p)),
            listed=listed,
            drained=drained,
            rehearsed=frozenset(o.name for r in groups for o in r.originals if _rehearsed(workload, r, o, ours)),
            configs=outcome.configs,
        )
    )
    for item in live:
        step = walk.originals[item.name]
        if item.touched or step.marked:
            outcome.add(patched(item, step, workload, own.get(item.name, ""), snapshot.now), step.reason)
    _add_shadows(outcome, bodies, surplus, quiet, groups, services, ours)
    if wanted:
        _add_rehearsals(outcome, wanted, groups, trials, ours)
    if claims and (wanted or touched):
        outcome.add(_adopt(_service(workload, claims, floor), ours.get(Key("Service", workload.namespace, service_name))), "Service Y': the backup for unmatched traffic")
        if groups:
            _add_policies(outcome, snapshot, labels, claims, {**(quiet[groups[-1].hash] or {}), **our_labels(workload, "shadow")}, reached, ours)
    elif walk.kept:
        for obj in ours.values():
            if labels_of(obj)[names.ROLE] in ("service", "policy"):
                outcome.add(obj, "stays until the last shadow has left")
    if not (walk.kept or touched or wanted):
        outcome.objects.clear()
    return outcome


def _residual(asked: Mapping[str, Claim], every: Iterable[Original], services: Iterable[Obj]) -> dict[str, Claim]:
    """Claims without bridges for the containers that still are carriers: on the way back nothing is bridged any more."""
    every = list(every)
    carried = sorted({c.name for o in every for c in o.containers.values() if c.carried or c.replaced})
    specs = [o.pod["spec"] for o in every]
    return {name: asked[name].without_bridges() if name in asked else Claim(name, None, (), container_ports(specs, name, services)) for name in carried}


def _selects_all(workload: Workload) -> Problem:
    message = "a selector of the namespace matches a shadow whatever its labels are"
    return Problem("DisruptionBudgetSelectsAll", str(workload), message, "Narrow the PodDisruptionBudget or workload with the empty selector.")


def _floor(service: Obj | None, live: tuple[Original, ...]) -> int:
    """How many shadows there are at least: the originals when the mount began, kept on Service Y'."""
    noted = annotations_of(service).get(names.FLOOR, "") if service else ""
    return int(noted) if noted.isdigit() and len(noted) < 5 else len(live)


def _pinned(space: Space, every: tuple[Original, ...]) -> bool:
    """Whether a ReadWriteOnce volume ties the shadows to their originals' nodes."""
    for item in every[:1]:
        for claim, _ in claims_of(item.pod["spec"]):
            pvc = space.get("PersistentVolumeClaim", claim)
            if pvc and "ReadWriteOnce" in (pvc["spec"].get("accessModes") or ()) and "ReadWriteMany" not in pvc["spec"]["accessModes"]:
                return True
    return False


def _labels_like(workload: Workload, every: tuple[Original, ...]) -> dict[str, str]:
    """The labels that Services see on an original, ours left out."""
    labels = labels_of(every[0].pod) if every else (template_of(workload.obj).get("metadata") or {}).get("labels") or {} if workload.obj else {}
    return {k: v for k, v in labels.items() if not names.is_ours(k)}


def _quiet(space: Space, revision: Revision) -> dict[str, str] | None:
    """Labels of a shadow that no selector of the namespace picks; the most NetworkPolicies that held go on holding."""
    labels = {k: v for k, v in labels_of(revision.originals[0].pod).items() if not names.is_ours(k)}
    held = [p["spec"].get("podSelector") for p in space.all("NetworkPolicy") if selectors.matches(p["spec"].get("podSelector"), labels)]
    kept = tracking.strip_labels(labels)
    return selectors.quiet_labels(kept, space.watchers, lambda left: sum(selectors.matches(s, left) for s in held))


def _service(workload: Workload, claims: Mapping[str, Claim], floor: int) -> Obj:
    """Service Y': every shadow, on every port of every targeted container."""
    ports = sorted({(p.number, p.protocol) for claim in claims.values() for p in claim.ports if p.protocol in ("TCP", "UDP")}) or [(1, "TCP")]
    entries = [{"name": f"{protocol.lower()}-{n}", "port": n, "protocol": protocol, "targetPort": n} for n, protocol in ports]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": f"{workload.id}-shadow",
            "namespace": workload.namespace,
            "labels": our_labels(workload, "service"),
            "annotations": {names.WORKLOAD: f"{workload.kind}/{workload.name}", names.FLOOR: str(floor)},
        },
        "spec": {"type": "ClusterIP", "selector": {names.ROLE: "shadow", names.TARGET: workload.id}, "ports": entries},
    }


def _rehearsals(workload: Workload, groups: Iterable[Revision], images: Mapping[str, str]) -> dict[str, Obj]:
    """One rehearsal for each revision and node that has originals."""
    found: dict[str, Obj] = {}
    for r in groups:
        by_node: dict[str, list[Original]] = {}
        for o in r.originals:
            if node := o.pod["spec"].get("nodeName"):
                by_node.setdefault(node, []).append(o)
        for node, here in sorted(by_node.items()):
            if images:
                found[rehearsal_name(workload, r.hash, node)] = rehearsal(workload, r.hash, r.spec, here, images)
    return found


def _rehearsed(workload: Workload, r: Revision, item: Original, ours: Mapping[Key, Obj]) -> bool:
    """Whether the carrier runs in the rehearsal on the original's node."""
    name = rehearsal_name(workload, r.hash, item.pod["spec"].get("nodeName", ""))
    pod = ours.get(Key("Pod", workload.namespace, name))
    statuses = (pod or {}).get("status", {}).get("containerStatuses") or ()
    return bool(statuses) and all("running" in (s.get("state") or {}) for s in statuses)


def _configure(
    outcome: Outcome,
    now: str,
    claims: Mapping[str, Claim],
    groups: Iterable[Revision],
    own: Mapping[str, str],
    pods: Mapping[str, Obj | None],
    ours: Mapping[Key, Obj],
    reached: Mapping[tuple[str, int], routing.Connection],
) -> None:
    """The carrier's ConfigMap of each claimed container, as soon as the addresses it needs are known."""
    workload = outcome.workload
    live_service = ours.get(Key("Service", workload.namespace, f"{workload.id}-shadow")) or {}
    address = live_service.get("spec", {}).get("clusterIP", "")
    if address in ("", "None"):
        return
    items = [o for r in groups for o in r.originals]
    spare = [n for r in groups for n in r.shadows if n not in own.values()]
    hosts = routing.shadow_addresses(items, own, spare, pods)
    for container, claim in sorted(claims.items()):
        name = names.fit(f"{workload.id}-carrier-{container}", 63)
        live = ours.get(Key("ConfigMap", workload.namespace, name))
        if live is None and len(hosts) < len({o.pod["spec"].get("hostname") or o.name for o in items}):
            continue
        model = routing.dispatch(claim, reached, address, hosts, now)
        text = carrier2.render(model)
        outcome.dispatches[container] = model
        outcome.configs[container] = names.digest(text, 16)
        template: Obj = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {
                "name": name,
                "namespace": workload.namespace,
                "labels": our_labels(workload, "carrier-config"),
                "annotations": {names.WORKLOAD: f"{workload.kind}/{workload.name}", names.CONFIG_HASH: outcome.configs[container]},
            },
            "data": {contract.CONFIG.rpartition("/")[2]: text},
        }
        outcome.add(_adopt(template, live), f"configuration of carrier {container}")


def _adopt(template: Obj, live: Obj | None) -> Obj:
    """What is ours in `template` over what is live: the server's defaults and other people's metadata stay."""
    if live is None:
        return template
    metadata = {**live["metadata"], **template["metadata"]}
    metadata["annotations"] = {**{k: v for k, v in annotations_of(live).items() if not names.is_ours(k)}, **annotations_of(template)}
    rest = {k: {**live.get(k, {}), **v} if k == "spec" else v for k, v in template.items() if k not in ("metadata", "apiVersion", "kind")}
    return {**live, "metadata": metadata, **rest}


def _adopt_pod(template: Obj, live: Obj | None) -> Obj:
    """A live shadow with our metadata and images; the rest of its spec cannot change and its hash says that it did not."""
    if live is None:
        return template
    result = _adopt({k: v for k, v in template.items() if k != "spec"}, live)
    images = {c["name"]: c.get("image") for c in template["spec"]["containers"]}
    containers = [{**c, "image": images.get(c["name"], c.get("image"))} for c in live["spec"]["containers"]]
    return {**result, "spec": live["spec"] if containers == live["spec"]["containers"] else {**live["spec"], "containers": containers}}


def _add_shadows(
    outcome: Outcome,
    bodies: Mapping[str, Obj],
    surplus: Mapping[str, Obj],
    quiet: Mapping[str, dict[str, str] | None],
    groups: Iterable[Revision],
    services: Iterable[Obj],
    ours: Mapping[Key, Obj],
) -> None:
    workload, walk = outcome.workload, outcome.walk
    assert walk is not None
    wanted_by = [s["spec"]["selector"] for s in services]
    for r in groups:
        calm = quiet[r.hash] or {}
        full = {k: v for k, v in labels_of(r.originals[0].pod).items() if not names.is_ours(k)}
        shown = selectors.joined_labels(calm, full, wanted_by) if walk.joined else calm
        for name in r.shadows:
            live = ours.get(Key("Pod", workload.namespace, name))
            body = bodies[name]
            body = {**body, "metadata": {**body["metadata"], "labels": {**shown, **our_labels(workload, "shadow")}}}
            entering = walk.joined and live is not None
            reason = "join: in the target's Services while originals are swapped" if entering else "leave: the originals serve"
            outcome.add(_adopt_pod(body, live), reason if live else "shadow: a copy of its original that serves unmatched traffic")
    for name, live in surplus.items():
        if name not in walk.kept:
            continue
        metadata = dict(live["metadata"])
        notes = {k: v for k, v in annotations_of(live).items() if k != names.DRAINED_SINCE}
        if since := walk.retiring.get(name):
            notes[names.DRAINED_SINCE] = since
        metadata["annotations"] = notes
        if not walk.joined:
            metadata["labels"] = _left(live, wanted_by)
        outcome.add({**live, "metadata": metadata}, "leave: no original needs it any more")


def _left(live: Obj, wanted_by: list[Mapping[str, str]]) -> dict[str, str]:
    """The labels of a live shadow without those that put it into the target's Services."""
    shown = {k for selector in wanted_by for k in selector}
    inside_now = any(all(labels_of(live).get(k) == v for k, v in selector.items()) for selector in wanted_by)
    return {k: v for k, v in labels_of(live).items() if not inside_now or k not in shown}


def _add_rehearsals(outcome: Outcome, wanted: Mapping[str, str], groups: Iterable[Revision], trials: Mapping[str, Obj], ours: Mapping[Key, Obj]) -> None:
    """A rehearsal stays until every original it speaks for has its carrier."""
    waiting = {o.name for o in outcome.originals if handover.needs_swap(o, wanted)}
    found = []
    for r in groups:
        for o in r.originals:
            name = rehearsal_name(outcome.workload, r.hash, o.pod["spec"].get("nodeName", ""))
            if o.name in waiting and name in trials:
                live = ours.get(Key("Pod", outcome.workload.namespace, name))
                outcome.add(_adopt_pod(trials[name], live), "rehearsal: the carrier starts here before a live container is touched")
                found += _failed(outcome.workload, live)
    outcome.problems = tuple(sorted({*outcome.problems, *found}))


def _failed(workload: Workload, pod: Obj | None) -> list[Problem]:
    status = (pod or {}).get("status", {})
    reasons = [status["reason"] + ": " + status.get("message", "")] if status.get("phase") == "Failed" and status.get("reason") else []
    for s in status.get("containerStatuses") or ():
        state = s.get("state") or {}
        stopped = state.get("terminated") or (state.get("waiting") if (state.get("waiting") or {}).get("reason") != "ContainerCreating" else None)
        if stopped:
            reasons.append(f"container {s['name']}: {stopped.get('reason', 'stopped')} {stopped.get('message', '')}".strip())
    cure = "Mend the reason; delete the rehearsal Pod to try again."
    return [Problem("RehearsalFailed", f"{workload} Pod {pod['metadata']['name']}", r, cure) for r in reasons[:1] if pod]


def _add_policies(
    outcome: Outcome,
    snapshot: Snapshot,
    labels: Mapping[str, str],
    claims: Mapping[str, Claim],
    shadow_labels: dict[str, str],
    reached: Mapping[tuple[str, int], routing.Connection],
    ours: Mapping[Key, Obj],
) -> None:
    workload = outcome.workload
    made, problems = policies(
        namespace=workload.namespace,
        target=workload.id,
        labels=our_labels(workload, "policy"),
        original=dict(labels),
        shadow=shadow_labels,
        here=snapshot.space(workload.namespace).all("NetworkPolicy"),
        elsewhere=[p for p in snapshot.crossing_policies if p["metadata"]["namespace"] != workload.namespace],
        ports=tuple(sorted({(p.number, p.protocol) for claim in claims.values() for p in claim.ports})),
        connections=tuple((c.peer, c.peer_port) for _, c in sorted(reached.items())),
    )
    outcome.problems = tuple(sorted({*outcome.problems, *problems}))
    for policy in made:
        outcome.add(_adopt(policy, ours.get(key_of(policy))), "NetworkPolicy: what held for the original holds for its shadow")
