"""One workload and what is asked of it -> every object that should exist for it. The heart of `generate`.

Mounted or not is no different path: with nothing asked, the wanted images are the application's own, and the same walk
(`handover.py`) leads back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import carrier2
from generator import names
from generator.asked.admission import Claim, template_of
from generator.cluster import selectors, tracking
from generator.cluster.endpoints import is_drained, is_inside, is_listed, selectors_of, services_of
from generator.cluster.ports import container_ports
from generator.cluster.snapshot import Key, Obj, Snapshot, Space, annotations_of, is_ours, key_of, labels_of
from generator.cluster.workload import Original, Workload, has_ended, ips_of, original, pods_of, trouble
from generator.desired import handover, rehearsal, routing
from generator.desired.adopt import adopt, adopt_pod
from generator.desired.carrier_objects import config_hash, config_map, config_name, service, service_name
from generator.desired.handover import Facts, Handover
from generator.desired.patched import patched
from generator.desired.policies import COPIED_FROM, policies
from generator.desired.preflight import Case, claims_of, concerns, preflight
from generator.desired.revisions import Revision, revisions
from generator.desired.shadow import our_labels, shadow
from generator.errors import Problem

FINAL = ("WorkloadDeleting",)
"""Refusals that also take down what is installed; all others only keep further carriers out."""


@dataclass
class Outcome:
    """What a workload should become.

    objects: by Key, with the reason of any change. problems: of the workload; connections: by bridge.
    dispatches, configs: routing model and configuration hash by container, while the carrier has one.
    originals, walk: what the status is made from. carried: containers that are carriers in some Pod.
    admitted: the containers that may be carriers, or may stay it.
    """

    workload: Workload
    originals: tuple[Original, ...] = ()
    carried: frozenset[str] = frozenset()
    admitted: frozenset[str] = frozenset()
    problems: tuple[Problem, ...] = ()
    connections: dict[Key, list[Problem]] = field(default_factory=dict)
    objects: dict[Key, tuple[Obj, str]] = field(default_factory=dict)
    dispatches: dict[str, carrier2.Dispatch] = field(default_factory=dict)
    configs: dict[str, str] = field(default_factory=dict)
    walk: Handover | None = None

    def add(self, obj: Obj, reason: str) -> None:
        """An object that should exist."""
        self.objects[key_of(obj)] = (obj, reason)

    def refusals(self, container: str) -> list[Problem]:
        """What stands against a carrier in this container. Where one is already, only the end of the target does."""
        found = [p for p in self.problems if p.severity != "warning" and concerns(p, container)]
        return [p for p in found if p.code in FINAL] if container in self.carried else found

    def warn(self, problems: Iterable[Problem]) -> None:
        """More problems."""
        self.problems = tuple(sorted({*self.problems, *problems}))


@dataclass(frozen=True)
class Scene:
    """What the snapshot says about one workload, and what is asked of it. Read once, by everything below."""

    snapshot: Snapshot
    workload: Workload
    asked: Mapping[str, Claim]

    @cached_property
    def space(self) -> Space:
        """The workload's namespace."""
        return self.snapshot.space(self.workload.namespace)

    @cached_property
    def every(self) -> tuple[Original, ...]:
        """All Pods of the workload, oldest first."""
        return tuple(original(p) for p in pods_of(self.space, self.workload.kind, self.workload.name))

    @cached_property
    def live(self) -> tuple[Original, ...]:
        """Those that can be acted on. One that runs a carrier without our marks is left alone: nobody knows what it ran before."""
        carriers = {self.snapshot.carrier_image, *self.images.values()}
        return tuple(o for o in self.every if not o.gone and not any(c.image in carriers and not c.carried for c in o.containers.values()))

    @cached_property
    def leaving(self) -> tuple[Original, ...]:
        """Carried ones that are being deleted: they still send unmatched requests to their shadows."""
        return tuple(o for o in self.every if o.gone == "terminating" and o.touched)

    @cached_property
    def touched(self) -> bool:
        """Whether anything of ours is on an original."""
        return any(o.touched for o in (*self.live, *self.leaving))

    @cached_property
    def ours(self) -> dict[Key, Obj]:
        """Live objects of ours for this workload."""
        return {key_of(o): o for o in self.space.ours.get(self.workload.id, ())}

    def our(self, kind: str, name: str) -> Obj | None:
        """A live object of ours by its name, also when somebody took the label off that says whose it is."""
        live = self.space.get(kind, name)
        return live if live is not None and is_ours(live) else None

    @cached_property
    def labels(self) -> dict[str, str]:
        """The labels that Services see on an original."""
        if self.every:
            return _unmarked(labels_of(self.every[0].pod))
        return (template_of(self.workload.obj).get("metadata") or {}).get("labels") or {} if self.workload.obj else {}

    @cached_property
    def services(self) -> tuple[Obj, ...]:
        """The Services that select any Pod of the target."""
        found = [*services_of(self.space, self.labels), *(s for o in self.every for s in services_of(self.space, labels_of(o.pod)))]
        return tuple({s["metadata"]["name"]: s for s in found}.values())

    @cached_property
    def addresses(self) -> frozenset[str]:
        """Where the target itself answers: its Pods, its Services and ours, its shadows."""
        pods = [*(o.pod for o in self.every), *(o for o in self.ours.values() if o["kind"] == "Pod")]
        services = [*self.services, *(o for o in self.ours.values() if o["kind"] == "Service")]
        return frozenset([*(ip for pod in pods for ip in ips_of(pod)), *(s["spec"].get("clusterIP", "None") for s in services)])

    @cached_property
    def floor(self) -> int:
        """How many shadows there are at least: the originals when the mount began, noted on Service Y'."""
        live = self.our("Service", service_name(self.workload))
        noted = annotations_of(live).get(names.FLOOR, "") if live else ""
        return int(noted) if noted.isdigit() and len(noted) < 5 else len(self.live)

    @cached_property
    def images(self) -> dict[str, str]:
        """The carrier image by claimed container."""
        return {c: (claim.mount and claim.mount.carrier_image) or self.snapshot.carrier_image for c, claim in self.asked.items()}

    @cached_property
    def pinned(self) -> bool:
        """Whether each shadow must run on its original's node: for a ReadWriteOnce volume, or a Service that stays on the node."""
        local = ("internalTrafficPolicy", "externalTrafficPolicy")
        if any(s["spec"].get(field) == "Local" for s in self.services for field in local):
            return True
        for claim, _ in claims_of(self.every[0].pod["spec"]) if self.every else ():
            modes = ((self.space.get("PersistentVolumeClaim", claim) or {}).get("spec") or {}).get("accessModes") or ()
            if "ReadWriteOnce" in modes and "ReadWriteMany" not in modes:
                return True
        return False


def _unmarked(labels: Mapping[str, str]) -> dict[str, str]:
    return {k: v for k, v in labels.items() if not names.is_ours(k)}


def build(snapshot: Snapshot, workload: Workload, asked: Mapping[str, Claim]) -> Outcome:
    """Everything that should exist for one workload. asked: claims by container; none means the way back."""
    scene = Scene(snapshot, workload, asked)
    concerned = scene.live if asked else tuple(o for o in scene.live if o.touched)
    groups = revisions(workload, (*concerned, *scene.leaving), scene.pinned, scene.floor if asked else 0)
    faces = {n: _face(scene.space, workload, o) for r in groups for n, o in r.models.items()}
    bodies = {n: shadow(workload, n, r.hash, r.spec, r.originals, faces[n].quiet or {}) for r in groups for n in r.shadows}
    trials = rehearsal.rehearsals(workload, groups, scene.images)
    outcome = Outcome(workload, scene.live, frozenset(c.name for o in scene.live for c in o.containers.values() if c.carried))
    if asked:
        outcome.warn(_judge(scene, groups, faces, {**bodies, **trials}))
    outcome.admitted = frozenset(c for c in asked if not outcome.refusals(c))
    wanted = {c: image for c, image in scene.images.items() if c in outcome.admitted and groups}
    if not wanted and not scene.touched:
        groups, bodies = (), {}
    claims = {**_residual(scene), **{c: claim for c, claim in asked.items() if c in wanted}}

    live_shadows = {k.name: o for k, o in scene.ours.items() if labels_of(o)[names.ROLE] == "shadow"}
    shadows: dict[str, Obj | None] = {**dict.fromkeys(bodies), **live_shadows}
    own = {name: s for r in groups for name, s in r.own.items()}
    reached, outcome.connections = routing.connections(snapshot, (b for claim in claims.values() for b in claim.bridges), scene.addresses)
    _configure(outcome, scene, claims, groups, shadows, reached)
    outcome.walk = _walk(scene, wanted, groups, shadows, faces, outcome.configs, outcome.problems)

    for item in scene.live:
        step = outcome.walk.originals[item.name]
        if item.touched or step.marked:
            outcome.add(patched(item, step, workload, own.get(item.name, ""), snapshot.now), step.reason)
    _add_shadows(outcome, scene, groups, faces, bodies)
    _add_surplus(outcome, scene, {n: o for n, o in live_shadows.items() if n not in bodies})
    if wanted:
        _add_rehearsals(outcome, scene, groups, wanted)
    if claims and (wanted or scene.touched):
        made = service(workload, claims, scene.floor)
        outcome.add(adopt(made, scene.our("Service", service_name(workload))), "the shadows' Service: the backup for unmatched traffic")
        if groups:
            shown = faces[groups[-1].shadows[0]].quiet or {}
            _add_policies(outcome, scene, claims, {**shown, **our_labels(workload, "shadow")}, reached)
    else:
        _keep_rest(outcome, scene)
    _leave_foreign(outcome, scene)
    return outcome


def _judge(scene: Scene, groups: tuple[Revision, ...], faces: Mapping[str, Face], pods: Mapping[str, Obj]) -> list[Problem]:
    needed = {**pods, service_name(scene.workload): service(scene.workload, scene.asked, scene.floor)}
    case = Case(scene.snapshot, scene.workload, scene.asked, scene.every, scene.live, groups, scene.services, scene.images, needed)
    found = list(preflight(case))
    trial = our_labels(scene.workload, "rehearsal")
    if any(face.quiet is None for face in faces.values()) or scene.space.watchers.matching(trial):
        message = "a selector of the namespace matches a shadow whatever its labels are"
        cure = "Narrow the PodDisruptionBudget or workload with the empty selector."
        found.append(Problem("DisruptionBudgetSelectsAll", str(scene.workload), message, cure))
    return found


def _residual(scene: Scene) -> dict[str, Claim]:
    """Claims without bridges for the containers that still are carriers: on the way back nothing is bridged any more."""
    carried = sorted({c.name for o in scene.every for c in o.containers.values() if c.carried or c.replaced})
    specs = [o.pod["spec"] for o in scene.every]
    return {
        name: scene.asked[name].without_bridges()
        if name in scene.asked
        else Claim(name, None, (), container_ports(specs, name, scene.services))
        for name in carried
    }


class Face(NamedTuple):
    """The labels of a shadow. full: its original's. quiet: no selector of the namespace picks them; None if that cannot be."""

    full: dict[str, str]
    quiet: dict[str, str] | None

    def joined(self, services: Iterable[Obj]) -> dict[str, str]:
        """The quiet labels and those by which the original's Services select it."""
        return selectors.joined_labels(self.quiet or {}, self.full, selectors_of(services))


def _face(space: Space, workload: Workload, model: Original) -> Face:
    """The labels of a shadow of `model`; as many NetworkPolicies as possible go on holding."""
    labels = _unmarked(labels_of(model.pod))
    held = [p["spec"].get("podSelector") for p in space.all("NetworkPolicy") if selectors.matches(p["spec"].get("podSelector"), labels)]
    kept = tracking.strip_labels(labels)
    ours = our_labels(workload, "shadow")
    return Face(labels, selectors.quiet_labels(kept, space.watchers, lambda left: sum(selectors.matches(s, left) for s in held), ours))


def _configure(
    outcome: Outcome,
    scene: Scene,
    claims: Mapping[str, Claim],
    groups: Iterable[Revision],
    pods: Mapping[str, Obj | None],
    reached: Mapping[tuple[str, int], routing.Connection],
) -> None:
    """The configuration of each carrier, as soon as the addresses it needs are known; it then stays, whatever shadow dies."""
    address = (scene.our("Service", service_name(scene.workload)) or {}).get("spec", {}).get("clusterIP", "None")
    own = {name: s for r in groups for name, s in r.own.items()}
    items = [o for r in groups for o in r.originals]
    spare = [n for r in groups for n in r.shadows if n not in own.values()]
    ipv6 = any(":" in ip for o in scene.live for ip in ips_of(o.pod))
    known = all(ips_of(pods.get(s) or {}) for s in own.values())
    for container, claim in sorted(claims.items()):
        live = scene.our("ConfigMap", config_name(scene.workload, container))
        if address == "None" or not (known or live):
            continue
        hosts = routing.shadow_addresses(items, own, spare, pods)
        model = replace(routing.dispatch(claim, reached, address, hosts, scene.snapshot.now), ipv6=ipv6)
        text = carrier2.render(model)
        outcome.dispatches[container], outcome.configs[container] = model, config_hash(text)
        outcome.add(adopt(config_map(scene.workload, container, text), live), f"configuration of carrier {container}")


def _walk(
    scene: Scene,
    wanted: Mapping[str, str],
    groups: Iterable[Revision],
    shadows: Mapping[str, Obj | None],
    faces: Mapping[str, Face],
    configs: Mapping[str, str],
    problems: Iterable[Problem],
) -> Handover:
    space, problems = scene.space, tuple(problems)
    pods = {name: pod for name, pod in shadows.items() if pod}
    listed = {o.name: is_listed(space, o.pod, labels_of(o.pod)) for o in scene.live}
    listed |= {n: n in faces and is_listed(space, pod, faces[n].full) for n, pod in pods.items()}
    drained = {n: is_drained(space, pod) for n, pod in (*((o.name, o.pod) for o in scene.live), *pods.items())}
    return handover.decide(
        Facts(
            now=scene.snapshot.now,
            wanted=wanted,
            blocked=frozenset(c for c in wanted if any(p.severity != "warning" and concerns(p, c) for p in problems)),
            originals=scene.live,
            own={name: s for r in groups for name, s in r.own.items()},
            shadows=shadows,
            needed=frozenset(n for r in groups for n in r.shadows),
            inside=frozenset(n for n, pod in pods.items() if is_inside(space, pod)),
            served=frozenset(o.name for o in scene.live if services_of(space, labels_of(o.pod))),
            listed=listed,
            drained=drained,
            rehearsed=frozenset(
                o.name for r in groups for o in r.originals if rehearsal.rehearsed(scene.workload, r, o, wanted, scene.ours)
            ),
            configs=configs,
        )
    )


def _add_shadows(outcome: Outcome, scene: Scene, groups: Iterable[Revision], faces: Mapping[str, Face], bodies: Mapping[str, Obj]) -> None:
    joined = bool(outcome.walk and outcome.walk.joined)
    for r in groups:
        for name in r.shadows:
            face = faces[name]
            shown = face.joined(services_of(scene.space, face.full)) if joined else face.quiet or {}
            live, body = scene.our("Pod", name), bodies[name]
            if live and has_ended(live):
                continue
            if live and annotations_of(live).get(names.SPEC_HASH) != r.hash:
                message = "is not the shadow we made: its spec hash differs; it is deleted and made again"
                outcome.warn(
                    [Problem("ImmutableField", f"{scene.workload} Pod {name}", message, "Do not edit Pods labelled bascule.dev/role.")]
                )
                continue
            body = {**body, "metadata": {**body["metadata"], "labels": {**our_labels(scene.workload, "shadow"), **shown}}}
            outcome.add(adopt_pod(body, live), _why_shadow(live, labels_of(body), joined))
            outcome.warn(_slow(scene, live))


def _why_shadow(live: Obj | None, labels: Mapping[str, str], joined: bool) -> str:
    if live is None:
        return "shadow: a copy of its original that serves unmatched traffic"
    if labels_of(live) == labels:
        return "owners: the originals it stands for have changed"
    return "join: in the target's Services while originals are swapped" if joined else "leave: the originals serve"


def _slow(scene: Scene, pod: Obj | None) -> list[Problem]:
    """A shadow that does not become ready, with what kubelet says."""
    why = trouble(pod, scene.snapshot.now) if pod else ""
    if not why or pod is None:
        return []
    name = pod["metadata"]["name"]
    cure = f"Read `kubectl describe pod -n {scene.workload.namespace} {name}`; the originals go on serving."
    return [Problem("ShadowNotReady", f"{scene.workload} Pod {name}", why, cure)]


def _add_surplus(outcome: Outcome, scene: Scene, surplus: Mapping[str, Obj]) -> None:
    """Shadows that no original needs any more: out of the Services, a rest for the proxies, then gone."""
    assert outcome.walk is not None
    for name, live in surplus.items():
        if name not in outcome.walk.kept or has_ended(live):
            continue
        notes = {k: v for k, v in annotations_of(live).items() if k != names.DRAINED_SINCE}
        if since := outcome.walk.retiring.get(name):
            notes[names.DRAINED_SINCE] = since
        labels = labels_of(live)
        if not outcome.walk.joined and is_inside(scene.space, live):
            quiet = selectors.quiet_labels(_unmarked(labels), scene.space.services) or {}
            labels = {**quiet, **our_labels(scene.workload, "shadow")}
        outcome.add(
            {**live, "metadata": {**live["metadata"], "annotations": notes, "labels": labels}}, "leave: no original needs it any more"
        )


def _add_rehearsals(outcome: Outcome, scene: Scene, groups: Iterable[Revision], wanted: Mapping[str, str]) -> None:
    """A rehearsal stays until every original it speaks for has its carrier."""
    trials = rehearsal.rehearsals(scene.workload, groups, wanted)
    for r in groups:
        for o in r.originals:
            name = rehearsal.rehearsal_name(scene.workload, r.hash, o.pod["spec"].get("nodeName", ""), wanted)
            if name in trials and not o.gone and handover.needs_swap(o, wanted):
                live = scene.our("Pod", name)
                outcome.add(adopt_pod(trials[name], live), "rehearsal: the carrier starts here before a live container is touched")
                outcome.warn(rehearsal.failures(scene.workload, live, scene.snapshot.now))


def _add_policies(
    outcome: Outcome,
    scene: Scene,
    claims: Mapping[str, Claim],
    shadow_labels: dict[str, str],
    reached: Mapping[tuple[str, int], routing.Connection],
) -> None:
    made, problems = policies(
        namespace=scene.workload.namespace,
        target=scene.workload.id,
        labels=our_labels(scene.workload, "policy"),
        original=dict(scene.labels),
        shadow=shadow_labels,
        here=scene.space.all("NetworkPolicy"),
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


def _leave_foreign(outcome: Outcome, scene: Scene) -> None:
    """Take out what we would write over an object that is not ours, or is no longer marked as ours."""
    for key, (obj, _) in list(outcome.objects.items()):
        live = scene.space.get(key.kind, key.name)
        if live is not None and is_ours(obj) and not is_ours(live):
            del outcome.objects[key]
            message = f"{key} is not ours (it lacks the label {names.ROLE}) and has the name we need"
            outcome.warn([Problem("NameClash", str(scene.workload), message, "Rename or delete it.")])


def _keep_rest(outcome: Outcome, scene: Scene) -> None:
    """While the last shadows leave, what they need stays as it is."""
    if outcome.walk and outcome.walk.kept:
        for obj in scene.ours.values():
            if labels_of(obj)[names.ROLE] in ("service", "policy"):
                outcome.add(obj, "stays until the last shadow has left")
