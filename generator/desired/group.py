"""One workload and what is asked of it -> every object that should exist for it. The heart of `generate`.

Mounted or not is no different path: with nothing asked, the wanted images are the application's own, and the same walk
(`handover.py`) leads back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from generator import names
from generator.asked.intent import Claim
from generator.cluster.endpoints import is_drained, is_inside, is_listed, services_of
from generator.cluster.ports import container_ports
from generator.cluster.snapshot import Obj, Snapshot, labels_of
from generator.cluster.workload import Workload, is_serving, original
from generator.desired import handover, routing
from generator.desired.adopt import adopt
from generator.desired.carrier_objects import service, service_name
from generator.desired.case import Case, concerns
from generator.desired.facts import Facts
from generator.desired.handover import Handover
from generator.desired.objects import add_policies, add_shadows, add_stand_ins, configure, keep_rest, keep_surplus, leave_foreign
from generator.desired.outcome import Outcome
from generator.desired.patched import patched
from generator.desired.preflight import preflight
from generator.desired.revisions import Revision, own_shadows, revisions
from generator.desired.scene import Face, Scene, face_of
from generator.desired.shadow import shadow, shadow_labels
from generator.desired.standin import StandIn, stand_in_labels, stand_ins
from generator.errors import Problem


def build(snapshot: Snapshot, workload: Workload, asked: Mapping[str, Claim]) -> Outcome:
    """Everything that should exist for one workload. asked: claims by container; none means the way back."""
    scene = Scene(snapshot, workload, asked)
    concerned = scene.live if asked else tuple(o for o in scene.live if o.touched)
    groups = revisions(workload, (*concerned, *scene.leaving), scene.pinned, scene.floor if asked else 0)
    ours = shadow_labels(workload)
    quiet = {n: face_of(scene.space, o, ours).quiet for r in groups for n, o in r.models.items()}
    bodies = {n: shadow(workload, n, r.hash, r.spec, r.originals, quiet[n] or {}) for r in groups for n in r.shadows}
    known = tuple(o for o in scene.live if o.name not in scene.starting)
    outcome = Outcome(workload, known, frozenset(c.name for o in scene.live for c in o.containers.values() if c.carried))
    if asked:
        trials = stand_ins(scene.space, workload, groups, scene.images)
        blind = None in quiet.values() or any(f.quiet is None for f in _faces(scene, trials).values())
        outcome.warn(_judge(scene, groups, blind, {**bodies, **{n: s.body(workload, {}) for n, s in trials.items()}}))
    outcome.admitted = frozenset(c for c in asked if not outcome.refusals(c))
    wanted = {c: image for c, image in scene.images.items() if c in outcome.admitted and groups}
    if not wanted and not scene.touched:
        groups, bodies = (), {}
    claims = {**_residual(scene), **{c: claim for c, claim in asked.items() if c in wanted}}

    live = {role: {k.name: o for k, o in scene.ours.items() if labels_of(o)[names.ROLE] == role} for role in ("shadow", "stand-in")}
    shadows: dict[str, Obj | None] = {**dict.fromkeys(bodies), **live["shadow"]}
    own = own_shadows(groups)
    reached, outcome.connections = routing.connections(snapshot, (b for claim in claims.values() for b in claim.bridges), scene.addresses)
    configure(outcome, scene, claims, groups, shadows, reached)
    covering = stand_ins(scene.space, workload, groups, {c: scene.carrier(c) for c in claims})
    faces = _faces(scene, covering)
    outcome.warn(_refused(scene, live["stand-in"].values(), outcome.configs))
    outcome.walk = _walk(scene, wanted, groups, shadows, covering, live["stand-in"], faces, outcome)

    for item in scene.live:
        step = outcome.walk.originals[item.name]
        if item.touched or step.marked:
            outcome.add(patched(item, step, workload, own.get(item.name, ""), snapshot.now), step.reason)
    add_shadows(outcome, scene, groups, bodies)
    keep_surplus(outcome, {n: o for n, o in live["shadow"].items() if n not in bodies})
    add_stand_ins(outcome, scene, covering, faces, live["stand-in"])
    if claims and (wanted or scene.touched):
        made = service(workload, claims, scene.floor)
        outcome.add(adopt(made, scene.our("Service", service_name(workload))), "the shadows' Service: the backup for unmatched traffic")
        if groups:
            shown = quiet[groups[-1].shadows[0]] or {}
            add_policies(outcome, scene, claims, {**shown, **ours}, reached)
    else:
        keep_rest(outcome, scene)
    leave_foreign(outcome, scene)
    return outcome


def _refused(scene: Scene, stand_ins: Iterable[Obj], configs: Mapping[str, str]) -> Iterator[Problem]:
    """What carriers have said against the configuration of now."""
    for pod in (*scene.live, *map(original, stand_ins)):
        for c in pod.containers.values():
            refused, _, why = c.refused.partition(" ")
            if refused and refused == configs.get(c.name):
                place = f"{scene.workload} Pod {pod.name} container {c.name}"
                yield Problem("ConfigRefused", place, why, "Mend what the carrier names; it is tried again by itself.")


def _faces(scene: Scene, covering: Mapping[str, StandIn]) -> dict[str, Face]:
    ours = stand_in_labels(scene.workload)
    return {name: face_of(scene.space, stand_in.originals[0], ours) for name, stand_in in covering.items()}


def _judge(scene: Scene, groups: tuple[Revision, ...], blind: bool, pods: Mapping[str, Obj]) -> list[Problem]:
    """blind: some selector picks a Pod of ours whatever labels it has."""
    needed = {**pods, service_name(scene.workload): service(scene.workload, scene.asked, scene.floor)}
    case = Case(scene.snapshot, scene.workload, scene.asked, scene.every, scene.live, groups, scene.services, scene.images, needed)
    found = list(preflight(case))
    if blind:
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


def _walk(
    scene: Scene,
    wanted: Mapping[str, str],
    groups: Iterable[Revision],
    shadows: Mapping[str, Obj | None],
    covering: Mapping[str, StandIn],
    live: Mapping[str, Obj],
    faces: Mapping[str, Face],
    outcome: Outcome,
) -> Handover:
    space, configs = scene.space, outcome.configs
    listed = {o.name: is_listed(space, o.pod, labels_of(o.pod)) for o in scene.live}
    listed |= {n: n in faces and is_listed(space, pod, faces[n].full) for n, pod in live.items()}
    told = {n: {c.name: c.confirmed for c in original(pod).containers.values() if c.confirmed} for n, pod in live.items()}
    informed = frozenset(n for n, by in told.items() if by and all(v.startswith(f"{configs.get(c)}@") for c, v in by.items()))
    unlisted = {n: is_drained(space, pod) for n, pod in (*((o.name, o.pod) for o in scene.live), *live.items())}
    outcome.lagging = tuple(sorted(n for n, pod in live.items() if is_serving(pod) and n not in informed))
    return handover.decide(
        Facts(
            now=scene.snapshot.now,
            wanted=wanted,
            blocked=frozenset(c for c in wanted if any(p.severity != "warning" and concerns(p, c) for p in outcome.problems)),
            originals=scene.live,
            own=own_shadows(groups),
            shadows=shadows,
            needed=frozenset(n for r in groups for n in r.shadows),
            stand_ins=live,
            covers={o.name: name for name, stand_in in covering.items() for o in stand_in.originals},
            standing=frozenset(n for n, stand_in in covering.items() if stand_in.stands(live.get(n))),
            inside=frozenset(n for n, pod in live.items() if is_inside(space, pod)),
            starting=scene.starting,
            served=frozenset(o.name for o in scene.live if services_of(space, labels_of(o.pod))),
            listed=listed,
            drained={n: yes and not scene.snapshot.proxies_behind for n, yes in unlisted.items()},
            configs=configs,
        )
    )
