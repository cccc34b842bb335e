"""One workload and what is asked of it -> every object that should exist for it. The heart of `generate`.

Mounted or not is no different path: with nothing asked, the wanted images are the application's own, and the same walk
(`handover.py`) leads back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from generator import names
from generator.asked.admission import Claim
from generator.cluster.endpoints import is_drained, is_inside, is_listed, services_of
from generator.cluster.ports import container_ports
from generator.cluster.snapshot import Obj, Snapshot, labels_of
from generator.cluster.workload import Workload
from generator.desired import handover, rehearsal, routing
from generator.desired.adopt import adopt
from generator.desired.carrier_objects import service, service_name
from generator.desired.case import Case, concerns
from generator.desired.handover import Facts, Handover
from generator.desired.objects import add_policies, add_rehearsals, add_shadows, add_surplus, configure, keep_rest, leave_foreign
from generator.desired.outcome import Outcome
from generator.desired.patched import patched
from generator.desired.preflight import preflight
from generator.desired.revisions import Revision, own_shadows, revisions
from generator.desired.scene import Face, Scene, face_of
from generator.desired.shadow import our_labels, shadow
from generator.errors import Problem


def build(snapshot: Snapshot, workload: Workload, asked: Mapping[str, Claim]) -> Outcome:
    """Everything that should exist for one workload. asked: claims by container; none means the way back."""
    scene = Scene(snapshot, workload, asked)
    concerned = scene.live if asked else tuple(o for o in scene.live if o.touched)
    groups = revisions(workload, (*concerned, *scene.leaving), scene.pinned, scene.floor if asked else 0)
    faces = {n: face_of(scene.space, workload, o) for r in groups for n, o in r.models.items()}
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
    own = own_shadows(groups)
    reached, outcome.connections = routing.connections(snapshot, (b for claim in claims.values() for b in claim.bridges), scene.addresses)
    configure(outcome, scene, claims, groups, shadows, reached)
    outcome.walk = _walk(scene, wanted, groups, shadows, faces, outcome.configs, outcome.problems)

    for item in scene.live:
        step = outcome.walk.originals[item.name]
        if item.touched or step.marked:
            outcome.add(patched(item, step, workload, own.get(item.name, ""), snapshot.now), step.reason)
    add_shadows(outcome, scene, groups, faces, bodies)
    add_surplus(outcome, scene, {n: o for n, o in live_shadows.items() if n not in bodies})
    if wanted:
        add_rehearsals(outcome, scene, groups, wanted)
    if claims and (wanted or scene.touched):
        made = service(workload, claims, scene.floor)
        outcome.add(adopt(made, scene.our("Service", service_name(workload))), "the shadows' Service: the backup for unmatched traffic")
        if groups:
            shown = faces[groups[-1].shadows[0]].quiet or {}
            add_policies(outcome, scene, claims, {**shown, **our_labels(workload, "shadow")}, reached)
    else:
        keep_rest(outcome, scene)
    leave_foreign(outcome, scene)
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


def _walk(
    scene: Scene,
    wanted: Mapping[str, str],
    groups: Iterable[Revision],
    shadows: Mapping[str, Obj | None],
    faces: Mapping[str, Face],
    configs: Mapping[str, str],
    problems: tuple[Problem, ...],
) -> Handover:
    space = scene.space
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
            own=own_shadows(groups),
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
