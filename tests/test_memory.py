"""What the operator leaves out to be fast changes nothing: a kept index, a remembered reading, a workload that is not looked at."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from generator.asked.admission import read
from generator.asked.intent import Memory
from generator.cluster.snapshot import OUR_KINDS, Key, Obj, Snapshot, Space, is_ours, key_of
from generator.cluster.times import after
from generator.desired.generate import Desired, concerned, generate
from generator.desired.touched import touched_by
from generator.names import CONTROL_NAMESPACE
from generator.simulate import World, settle, world
from tests import kube
from tests.strategies import NOW, RULES, Cluster, clusters

LAW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@st.composite
def changes(draw: st.DrawFn, state: World) -> tuple[Key, Obj | None]:
    """One change of one object, by whomever: it goes, or its labels, its spec, its state or what is asked for are others."""
    key = draw(st.sampled_from(sorted(state)))
    obj = state[key]
    metadata, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    labels = metadata.get("labels") or {}
    ways: list[Obj | None] = [None, {**obj, "metadata": {**metadata, "deletionTimestamp": NOW}}]
    ways += [{**obj, "metadata": {**metadata, "labels": {k: v for k, v in labels.items() if k != gone}}} for gone in labels]
    ways.append({**obj, "metadata": {**metadata, "labels": {**labels, "tier": "other"}}})
    if key.kind == "Pod":
        ways.append({**obj, "status": {**status, "conditions": []}})
        ways.append({**obj, "status": {**status, "phase": "Failed", "reason": "Evicted"}})
        ways.append({**obj, "spec": {**spec, "hostNetwork": True}})
        ways.append({**obj, "metadata": {k: v for k, v in metadata.items() if k != "annotations"}})
    if key.kind == "EndpointSlice":
        ways.append({**obj, "endpoints": []})
        ways.append({**obj, "endpoints": [{**e, "conditions": {"ready": False}} for e in obj["endpoints"]]})
    if key.kind == "Service":
        ways.append({**obj, "spec": {**spec, "publishNotReadyAddresses": True}})
        ways.append({**obj, "spec": {**spec, "selector": {"tier": "front"}}})
    if key.kind in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"):
        ways.append({**obj, "spec": {**spec, "paused": True}})
        ways.append({**obj, "metadata": {k: v for k, v in metadata.items() if k != "ownerReferences"}})
    if key.kind == "ConfigMap":
        ways.append({**obj, "data": {}})
    if key.kind in OUR_KINDS.values():
        ways.append({**obj, "sunset": after(NOW, draw(st.integers(-10, 30)))})
        ways.append({**obj, "providerParameter": {"rules": draw(RULES)}})
        ways.append({**obj, "clusterEndpoint": {}})
    return key, draw(st.sampled_from(ways))


def _changed(state: World, key: Key, then: Obj | None) -> World:
    return {k: o for k, o in {**state, key: then}.items() if o is not None}


@LAW
@given(cluster=clusters(), rounds=st.integers(0, 12), data=st.data())
def test_whom_a_change_concerns_is_known(cluster: Cluster, rounds: int, data: st.DataObject) -> None:
    """A workload for which something else should exist after a change of an object is among those that the object touches, before or
    after. Bridges, mounts and the control namespace are looked at as a whole.
    """
    state, now = kube.rounds(cluster.stream, rounds)
    key, then = data.draw(changes(state))
    if key.kind in OUR_KINDS.values() or key.namespace in ("", CONTROL_NAMESPACE):
        return
    before, later = (Snapshot.of(objects.values(), now) for objects in (state, _changed(state, key, then)))
    old, new = generate(before), generate(later)
    known = concerned(before, old.intent) | concerned(later, new.intent)
    found: set[Key] = set()
    for snapshot, obj in ((before, state[key]), (later, state[key]), (later, then)):
        if obj is not None:
            some = touched_by(snapshot.space(key.namespace), obj)
            found |= known if some is None else some

    claims = {k for k in known if old.intent.claims.get(k) != new.intent.claims.get(k)}
    assert {k for k in known if _wanted(old, k) != _wanted(new, k)} <= found | claims


def test_a_deployment_concerns_whose_pods_it_selects() -> None:
    """Its selector bears on the labels that copies of a Pod may have, also of one that is nobody's."""
    lone = kube.pod("lone", {"app": "shared"}, [kube.container()], "10.244.7.1")
    web = kube.deployment("web", {"app": "shared"}, [kube.container()], 1, 1)
    space = Snapshot.of([lone, *web], NOW).space("shop")
    assert touched_by(space, web[0]) == frozenset({Key("Pod", "shop", "lone"), Key("Deployment", "shop", "web")})


def _wanted(desired: Desired, workload: Key) -> Any:
    """What should exist for a workload, and what is said about it."""
    outcome = desired.outcomes.get(workload)
    return outcome and (outcome.objects, outcome.problems, outcome.configs, outcome.admitted, outcome.connections)


@LAW
@given(cluster=clusters(), data=st.data())
def test_reading_with_a_memory_reads_the_same(cluster: Cluster, data: st.DataObject) -> None:
    """Whatever a memory has seen before, and however much later it is, what is read is what is read without one."""
    state, now, memory = settle(world(cluster.stream), NOW), NOW, Memory()
    for _ in range(data.draw(st.integers(2, 5))):
        snapshot = Snapshot.of(state.values(), now)

        assert read(snapshot, memory) == read(snapshot)
        if state:
            state = _changed(state, *data.draw(changes(state)))
        now = after(now, data.draw(st.sampled_from((0, 20, 100_000))))


@LAW
@given(cluster=clusters(), rounds=st.integers(0, 12), data=st.data())
def test_a_kept_index_is_a_new_one(cluster: Cluster, rounds: int, data: st.DataObject) -> None:
    """A snapshot of namespaces of which only the changed one is indexed again is the snapshot of all objects, in whatever order."""
    state, now = kube.rounds(cluster.stream, rounds)
    kept = dict(Snapshot.of(state.values(), now).spaces)
    key, then = data.draw(changes(state))
    state = _changed(state, key, then)
    for namespace in {key.namespace} - {""}:
        kept[namespace] = Space.of(namespace, {(k.kind, k.name): o for k, o in state.items() if k.namespace == namespace})
    cluster_wide = {(k.kind, k.name): o for k, o in state.items() if not k.namespace}
    made = Snapshot.made(now, data.draw(st.permutations(list(kept.values()))), cluster_wide)
    whole = Snapshot.of(data.draw(st.permutations(list(state.values()))), now)

    assert made.controls == whole.controls
    assert made.cluster == whole.cluster
    assert {n: s for n, s in made.spaces.items() if s.objects} == dict(whole.spaces)
    assert generate(made).objects == generate(whole).objects
    assert [key_of(o) for s in made.spaces.values() for os in s.ours.values() for o in os if not is_ours(o)] == []
