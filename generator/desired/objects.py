"""Decisions about one workload -> the objects of ours: configurations, shadows, rehearsals, policies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import carrier2
from generator import names
from generator.asked.admission import Claim
from generator.cluster import selectors
from generator.cluster.endpoints import is_inside, services_of
from generator.cluster.snapshot import Obj, annotations_of, is_ours, key_of, labels_of
from generator.cluster.workload import has_ended, ips_of, trouble
from generator.desired import handover, rehearsal, routing
from generator.desired.adopt import adopt, adopt_pod
from generator.desired.carrier_objects import config_hash, config_map, config_name, service_name
from generator.desired.outcome import Outcome
from generator.desired.policies import COPIED_FROM, policies
from generator.desired.revisions import Revision, own_shadows
from generator.desired.scene import Face, Scene, unmarked
from generator.desired.shadow import our_labels
from generator.errors import Problem


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
        model = replace(routing.dispatch(claim, reached, address, hosts, scene.snapshot.now), ipv6=ipv6)
        text = carrier2.render(model)
        outcome.dispatches[container], outcome.configs[container], outcome.texts[container] = model, config_hash(text), text
        outcome.tls[container] = routing.tls_of(claim, model)
        outcome.add(adopt(config_map(scene.workload, container, text), live), f"configuration of carrier {container}")


def add_shadows(outcome: Outcome, scene: Scene, groups: Iterable[Revision], faces: Mapping[str, Face], bodies: Mapping[str, Obj]) -> None:
    """The shadows that originals need, with the labels of the moment."""
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


def add_surplus(outcome: Outcome, scene: Scene, surplus: Mapping[str, Obj]) -> None:
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
            quiet = selectors.quiet_labels(unmarked(labels), scene.space.services) or {}
            labels = {**quiet, **our_labels(scene.workload, "shadow")}
        outcome.add(
            {**live, "metadata": {**live["metadata"], "annotations": notes, "labels": labels}}, "leave: no original needs it any more"
        )


def add_rehearsals(outcome: Outcome, scene: Scene, groups: Iterable[Revision], wanted: Mapping[str, str]) -> None:
    """A rehearsal stays until every original it speaks for has its carrier."""
    trials = rehearsal.rehearsals(scene.workload, groups, wanted)
    for r in groups:
        for o in r.originals:
            name = rehearsal.rehearsal_name(scene.workload, r.hash, o.pod["spec"].get("nodeName", ""), wanted)
            if name in trials and not o.gone and handover.needs_swap(o, wanted):
                live = scene.our("Pod", name)
                outcome.add(adopt_pod(trials[name], live), "rehearsal: the carrier starts here before a live container is touched")
                outcome.warn(rehearsal.failures(scene.workload, live, scene.snapshot.now))


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
    """While the last shadows leave, what they need stays as it is."""
    if outcome.walk and outcome.walk.kept:
        for obj in scene.ours.values():
            if labels_of(obj)[names.ROLE] in ("service", "policy"):
                outcome.add(obj, "stays until the last shadow has left")
