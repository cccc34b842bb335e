"""Decisions about one workload -> the objects of ours: configurations, shadows, stand-ins, policies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import carrier2
from carrier2.limits import connections
from generator import names
from generator.asked.intent import Claim
from generator.cluster import selectors
from generator.cluster.endpoints import services_of
from generator.cluster.snapshot import Obj, annotations_of, is_ours, key_of, labels_of
from generator.cluster.times import seconds_between
from generator.cluster.workload import has_ended, ips_of, original, trouble
from generator.desired import routing
from generator.desired.adopt import adopt, adopt_pod
from generator.desired.carrier_objects import config_hash, config_map, config_name, service_name
from generator.desired.facts import PATIENCE
from generator.desired.outcome import Outcome
from generator.desired.policies import COPIED_FROM, policies
from generator.desired.revisions import Revision, own_shadows
from generator.desired.scene import Face, Scene, unmarked
from generator.desired.shadow import our_labels
from generator.desired.standin import StandIn, failures, stand_in_labels
from generator.errors import Problem

_OWNERS = "owners: the originals it stands for have changed"


def configure(
    outcome: Outcome,
    scene: Scene,
    claims: Mapping[str, Claim],
    groups: Iterable[Revision],
    pods: Mapping[str, Obj | None],
    reached: Mapping[tuple[str, int], routing.Connection],
) -> None:
    """The configuration of each carrier, as soon as the addresses it needs are known; it then stays, whatever shadow dies."""
    address = (scene.our("Service", service_name(scene.workload)) or {}).get("spec", {}).get("clusterIP", "None")
    own = own_shadows(groups)
    items = [o for r in groups for o in r.originals]
    spare = [n for r in groups for n in r.shadows if n not in own.values()]
    ipv6 = any(":" in ip for o in scene.live for ip in ips_of(o.pod))
    known = all(ips_of(pods.get(s) or {}) for s in own.values())
    for container, claim in sorted(claims.items()):
        live = scene.our("ConfigMap", config_name(scene.workload, container))
        if address == "None" or not (known or live):
            continue
        hosts = routing.shadow_addresses(items, own, spare, pods)
        spoken = annotations_of(live).get(names.HTTP_PORTS, "").split() if live else []
        room = connections(routing.memory_limit((o.pod for o in scene.live), container))
        model = replace(routing.dispatch(claim, reached, address, hosts, frozenset(spoken)), ipv6=ipv6, connections=room)
        text = carrier2.render(model)
        outcome.dispatches[container], outcome.configs[container], outcome.texts[container] = model, config_hash(text), text
        outcome.tls[container] = routing.tls_of(claim, model)
        http = (each.port for each in model.listeners if (each.routes or each.http) and not each.tls)
        outcome.add(adopt(config_map(scene.workload, container, text, http), live), f"configuration of carrier {container}")


def add_shadows(outcome: Outcome, scene: Scene, groups: Iterable[Revision], bodies: Mapping[str, Obj]) -> None:
    """The shadows that originals need."""
    for r in groups:
        for name in r.shadows:
            live = scene.our("Pod", name)
            if live and has_ended(live):
                continue
            if live and annotations_of(live).get(names.SPEC_HASH) != r.hash:
                message = "is not the shadow we made: its spec hash differs; it is deleted and made again"
                outcome.warn(
                    [Problem("ImmutableField", f"{scene.workload} Pod {name}", message, "Do not edit Pods labelled bascule.dev/role.")]
                )
                continue
            why = _OWNERS if live else "shadow: a copy of its original that serves unmatched traffic"
            outcome.add(adopt_pod(bodies[name], live, scene.space), why)
            outcome.warn(_slow(scene, live))


def _slow(scene: Scene, pod: Obj | None) -> list[Problem]:
    """A shadow that does not become ready, with what kubelet says."""
    why = trouble(pod, scene.snapshot.now) if pod else ""
    if not why or pod is None:
        return []
    name = pod["metadata"]["name"]
    cure = f"Read `kubectl describe pod -n {scene.workload.namespace} {name}`; the originals go on serving."
    return [Problem("ShadowNotReady", f"{scene.workload} Pod {name}", why, cure)]


def keep_surplus(outcome: Outcome, live: Mapping[str, Obj]) -> None:
    """Shadows that no original needs any more, while requests may still come to them: out of Service Y' first, then a rest."""
    assert outcome.walk is not None
    for name, pod in live.items():
        if name not in outcome.walk.kept or has_ended(pod):
            continue
        if since := outcome.walk.resting.get(name):
            labels = {k: v for k, v in labels_of(pod).items() if k != names.SERVES}
            notes = {**annotations_of(pod), names.DRAINED_SINCE: since}
            outcome.add({**pod, "metadata": {**pod["metadata"], "labels": labels, "annotations": notes}}, "leave: no carrier needs it")
        else:
            outcome.add(pod, "stays until no carrier sends it requests")


def add_stand_ins(
    outcome: Outcome, scene: Scene, needed: Mapping[str, StandIn], faces: Mapping[str, Face], live: Mapping[str, Obj]
) -> None:
    """The stand-ins that originals need, with the labels of the moment, and those that leave."""
    walk = outcome.walk
    assert walk is not None
    for name in sorted(walk.wanted):
        stand_in, face, there = needed[name], faces[name], live.get(name)
        outcome.warn(failures(scene.workload, there, scene.snapshot.now))
        if there and has_ended(there):
            _wait_for_next(outcome, there, scene.snapshot.now)
            continue
        if there and annotations_of(there).get(names.SPEC_HASH) != stand_in.revision.hash:
            continue
        joined = walk.joined and stand_in.stands(there)
        shown = face.joined(services_of(scene.space, face.full)) if joined else face.quiet or {}
        body = stand_in.body(scene.workload, shown)
        body = {**body, "metadata": {**body["metadata"], "annotations": annotations_of(body) | _confirmations(outcome, there)}}
        adopted = adopt_pod(body, there, scene.space)
        outcome.add(adopted, _why_stand_in(there, adopted, joined))
    for name in sorted(walk.staying):
        if not has_ended(live[name]):
            notes = annotations_of(live[name]) | _confirmations(outcome, live[name])
            kept = {**live[name], "metadata": {**live[name]["metadata"], "annotations": notes}}
            outcome.add(kept, "deliver the configuration")
    for name, since in walk.retiring.items():
        if has_ended(live[name]) or (since and seconds_between(since, scene.snapshot.now) >= names.REST_SECONDS):
            continue
        notes = {k: v for k, v in annotations_of(live[name]).items() if k != names.DRAINED_SINCE}
        notes |= _confirmations(outcome, live[name])
        ours = stand_in_labels(scene.workload)
        labels = {**(selectors.quiet_labels(unmarked(labels_of(live[name])), scene.space.watchers, fixed=ours) or {}), **ours}
        metadata = {**live[name]["metadata"], "annotations": notes | ({names.DRAINED_SINCE: since} if since else {}), "labels": labels}
        why = "drained: no endpoint lists it, give the proxies time" if since else "leave: the originals serve"
        outcome.add({**live[name], "metadata": metadata}, why)


def _wait_for_next(outcome: Outcome, ended: Obj, now: str) -> None:
    """Kubelet refuses a Pod that its node has no room for at once, and the next one too: one a minute is enough."""
    if seconds_between(ended["metadata"].get("creationTimestamp") or "", now) < PATIENCE:
        outcome.add(ended, "another one is tried in a while")


def _confirmations(outcome: Outcome, pod: Obj | None) -> dict[str, str]:
    """What each carrier in a stand-in should have confirmed; what it has, where there is no configuration."""
    found = {}
    for name, c in original(pod).containers.items() if pod else ():
        if name in outcome.configs and c.running:
            found[names.CONFIRMED + name] = c.confirmation(outcome.configs[name])
        elif c.confirmed:
            found[names.CONFIRMED + name] = c.confirmed
    return found


def _why_stand_in(live: Obj | None, then: Obj, joined: bool) -> str:
    if live is None:
        return "stand-in: it serves in the originals' place while they change, and shows first that it can"
    if labels_of(live) == labels_of(then):
        return "deliver the configuration" if annotations_of(live) != annotations_of(then) else _OWNERS
    return "join: in the target's Services while originals change" if joined else "leave: it cannot serve now"


def add_policies(
    outcome: Outcome,
    scene: Scene,
    claims: Mapping[str, Claim],
    shadow_labels: dict[str, str],
    reached: Mapping[tuple[str, int], routing.Connection],
) -> None:
    """NetworkPolicies of ours, and what they cannot do."""
    space, original = scene.space, dict(scene.labels)
    about = [*space.policies.matching(original), *space.policies.matching(shadow_labels), *space.peers.matching(original)]
    made, problems = policies(
        namespace=scene.workload.namespace,
        target=scene.workload.id,
        labels=our_labels(scene.workload, "policy"),
        original=original,
        shadow=shadow_labels,
        here=[p for _, p in sorted({p["metadata"]["name"]: p for p in about}.items())],
        elsewhere=[p for p in scene.snapshot.crossing_policies if p["metadata"]["namespace"] != scene.workload.namespace],
        ports=tuple(sorted({(p.number, p.protocol) for claim in claims.values() for p in claim.ports})),
        connections=tuple((c.peer, c.peer_port) for _, c in sorted(reached.items())),
    )
    outcome.warn(problems)
    for policy in made:
        notes = {**annotations_of(policy), names.WORKLOAD: f"{scene.workload.kind}/{scene.workload.name}"}
        body = {**policy, "metadata": {**policy["metadata"], "annotations": notes}}
        outcome.add(adopt(body, scene.ours.get(key_of(policy))), _why_policy(policy))


def _why_policy(policy: Obj) -> str:
    copied = annotations_of(policy).get(COPIED_FROM)
    if copied:
        return f"what {copied} allows to and from the original, it allows to and from the shadow"
    return "carriers may reach shadows and the users' connections"


def leave_foreign(outcome: Outcome, scene: Scene) -> None:
    """Take out what we would write over an object that is not ours, or is no longer marked as ours."""
    for key, (obj, _) in list(outcome.objects.items()):
        live = scene.space.get(key.kind, key.name)
        if live is not None and is_ours(obj) and not is_ours(live):
            del outcome.objects[key]
            message = f"{key} is not ours (it lacks the label {names.ROLE}) and has the name we need"
            outcome.warn([Problem("NameClash", str(scene.workload), message, "Rename or delete it.")])


def keep_rest(outcome: Outcome, scene: Scene) -> None:
    """While the last Pods of ours leave, what they need stays as it is."""
    walk = outcome.walk
    if walk and (walk.kept or walk.wanted or walk.staying or walk.retiring):
        for obj in scene.ours.values():
            if labels_of(obj)[names.ROLE] in ("service", "policy"):
                outcome.add(obj, "stays until the last Pod of ours has left")
