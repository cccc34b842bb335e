"""The laws of the generator, over generated clusters: what must hold whatever the cluster and the bridges are."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import jsonpatch
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from generator import names
from generator.cluster import selectors
from generator.cluster.snapshot import OUR_KINDS, Key, Obj, Snapshot, is_ours, key_of, labels_of
from generator.cluster.times import after
from generator.cluster.workload import original
from generator.desired.generate import generate
from generator.errors import InputError
from generator.plan import plan
from generator.simulate import apply, fold, settle, world
from generator.text.reading import write_yaml
from tests import kube
from tests.strategies import NOW, Cluster, clusters

LAW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
BOUND = 30
"""Rounds within which every generated cluster must converge; the walk itself has about ten."""


def _moments(cluster: Cluster) -> list[tuple[list[Obj], str]]:
    """The snapshots an operator sees on the way in."""
    return _rounds(cluster.stream, NOW)


def _moments_out(cluster: Cluster) -> list[tuple[list[Obj], str]]:
    """The snapshots an operator sees on the way back."""
    objects, now = _moments(cluster)[-1]
    return _rounds([o for o in objects if key_of(o).kind not in OUR_KINDS.values()], now)


def _rounds(objects: Iterable[Obj], now: str) -> list[tuple[list[Obj], str]]:
    state, seen = settle(world(objects), now), []
    for _ in range(BOUND):
        seen.append((list(state.values()), now))
        snapshot = Snapshot.of(state.values(), now)
        changes = plan(snapshot, generate(snapshot))
        if not changes:
            break
        for change in changes:
            state = apply(state, change, now)
        now = after(now, 1.5)
        state = settle(state, now)
    return seen


@LAW
@given(cluster=clusters(), data=st.data())
def test_order_of_input_changes_no_byte(cluster: Cluster, data: st.DataObject) -> None:
    """Permuting the stream changes no byte of what is generated, at no moment of the walk."""
    for objects, now in _moments(cluster)[::3]:
        shuffled = data.draw(st.permutations(objects))
        one, other = generate(Snapshot.of(objects, now)), generate(Snapshot.of(shuffled, now))

        assert write_yaml(one.objects) == write_yaml(other.objects)
        assert one.problems == other.problems
        assert plan(Snapshot.of(objects, now), one) == plan(Snapshot.of(shuffled, now), other)


@LAW
@given(cluster=clusters())
def test_input_is_never_changed(cluster: Cluster) -> None:
    """Generating and planning leave the objects they were given as they were."""
    for objects, now in _moments(cluster):
        before = copy.deepcopy(objects)
        snapshot = Snapshot.of(objects, now)
        plan(snapshot, generate(snapshot))

        assert objects == before


@LAW
@given(cluster=clusters())
def test_applied_output_is_a_fixed_point(cluster: Cluster) -> None:
    """With the cluster standing still, applying the output and generating again soon changes nothing more.

    A write is an answer to what is seen, so a write may be followed by one that answers it (a hold by its drain, a confirmed
    carrier by its bridge's state); never by its own undoing, and never for long.
    """
    for objects, now in _moments(cluster):
        state, seen = world(objects), []
        for _ in range(5):
            snapshot = Snapshot.of(state.values(), now)
            changes = plan(snapshot, generate(snapshot))
            if not changes:
                break
            for change in changes:
                state = apply(state, change, now)
            seen.append({(c.op, c.key, c.subresource) for c in changes})

        assert not changes
        created = [key for step in seen for op, key, _ in step if op == "create"]
        deleted = [key for step in seen for op, key, _ in step if op == "delete"]
        assert not set(created) & set(deleted)
        assert len(created) == len(set(created))


@LAW
@given(cluster=clusters())
def test_patch_of_live_is_desired(cluster: Cluster) -> None:
    """Applying the patches of a plan to the live objects gives exactly the desired ones."""
    for objects, now in _moments(cluster):
        snapshot = Snapshot.of(objects, now)
        desired = generate(snapshot)
        wanted = {key_of(o): o for o in desired.objects}
        live = {key_of(o): o for o in objects}
        for change in plan(snapshot, desired):
            if change.op == "patch":
                live[change.key] = jsonpatch.apply_patch(live[change.key], list(change.patch))
        for change in plan(snapshot, desired):
            if change.op == "patch":
                assert live[change.key] == wanted[change.key]


@LAW
@given(cluster=clusters())
def test_folding_converges_and_serves(cluster: Cluster) -> None:
    """From any cluster the fold ends within the bound, and every original of an admitted target then carries and is in no hold."""
    run = fold(cluster.stream, NOW, BOUND)

    assert run.converged
    for outcome in run.desired.outcomes.values():
        assert outcome.originals
        assert all(not o.held and o.ready for o in outcome.originals)
        for container in outcome.admitted:
            assert container in outcome.configs
            assert all(o.containers[container].carried for o in outcome.originals)
    for obj in run.end:
        if key_of(obj).kind in OUR_KINDS.values() and not any("Unresolved" in p for p in obj["status"].get("problems", ())):
            refused = any(c["type"] == "Accepted" and c["status"] == "False" for c in obj["status"]["conditions"])
            assert obj["state"] == ("ERROR" if refused else "ACTIVE")


@LAW
@given(cluster=clusters(), cuts=st.lists(st.integers(0, 12), min_size=1, max_size=8))
def test_killed_operator_converges_to_the_same_end(cluster: Cluster, cuts: list[int]) -> None:
    """An operator killed between any two writes, again and again, leaves a cluster from which the next one gets to the same end."""
    whole = fold(cluster.stream, NOW, BOUND)
    cut = fold(cluster.stream, NOW, BOUND + len(cuts), lambda n, changes: changes[: cuts[n]] if n < len(cuts) else changes)

    assert cut.converged
    assert _essence(cut.end) == _essence(whole.end)


def _essence(objects: Sequence[Obj]) -> dict[Key, Any]:
    """What an end state is about: specs, labels and states, without times, versions and ids."""
    result: dict[Key, Any] = {}
    for obj in objects:
        if obj["kind"] == "EndpointSlice":
            continue
        images = [c.get("image") for c in obj.get("spec", {}).get("containers", ())]
        result[key_of(obj)] = (labels_of(obj), images, obj.get("state"), obj.get("data") and sorted(obj["data"]))
    return result


@LAW
@given(cluster=clusters())
def test_taking_the_bridges_away_restores_everything(cluster: Cluster) -> None:
    """With the bridges and mounts gone, at any moment of the walk, every original is again what it was and nothing of ours is left."""
    before = world(cluster.objects)
    for objects, now in _moments(cluster)[::2]:
        run = fold([o for o in objects if key_of(o).kind not in OUR_KINDS.values()], now, BOUND)
        end = world(run.end)

        assert run.converged
        assert not [k for k, o in end.items() if is_ours(o)]
        for key, obj in before.items():
            assert _owned_part(end[key]) == _owned_part(obj)
            if key.kind == "Pod":
                assert any(c["type"] == "Ready" and c["status"] == "True" for c in end[key]["status"]["conditions"])


@LAW
@given(cluster=clusters(), begun=st.integers(0, 12), of=st.sampled_from(({}, {"type": "ExternalName", "selector": {"tier": "front"}})))
def test_slices_that_nobody_keeps_hold_nobody(cluster: Cluster, begun: int, of: Obj) -> None:
    """EndpointSlices with all Pods as ready, of a Service without selector or of one that has become a name for something elsewhere:
    nobody takes a Pod out of them, and all the same the same originals become carriers, and are restored.
    """
    service = {"apiVersion": "v1", "kind": "Service", "metadata": kube.meta("old"), "spec": {"ports": [{"port": 80}], **of}}
    pods = [o for o in cluster.objects if o["kind"] == "Pod"]
    slices = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": kube.meta("old", labels={"kubernetes.io/service-name": "old"}),
        "addressType": "IPv4",
        "endpoints": [{"addresses": [p["status"]["podIP"]], "conditions": {"ready": True}} for p in pods],
    }
    moments = _moments(cluster)
    objects, now = moments[min(begun, len(moments) - 1)]
    run = fold([*objects, service, slices], now, BOUND)
    back = fold([o for o in run.end if key_of(o).kind not in OUR_KINDS.values()], run.now, BOUND)

    assert run.converged
    assert _carried(run.end) == _carried(fold(objects, now, BOUND).end)
    assert back.converged
    assert not any(_carried(back.end).values())
    assert not [o for o in back.end if is_ours(o)]


def _carried(objects: Iterable[Obj]) -> dict[str, bool]:
    """By original, whether it is a carrier. None is held."""
    pods = [original(o) for o in objects if o["kind"] == "Pod" and not is_ours(o)]
    assert not any(o.held for o in pods)
    return {o.name: o.carried for o in pods}


def _owned_part(obj: Obj) -> Any:
    """All of an object but what the server writes: version, status, generation."""
    metadata = {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}
    return {k: v for k, v in obj.items() if k not in ("status", "metadata", "endpoints")} | {"metadata": metadata}


@LAW
@given(cluster=clusters())
def test_nobody_selects_what_they_should_not(cluster: Cluster) -> None:
    """No Service, budget or workload selects a shadow, ever. A stand-in is selected by its originals' Services, and by a budget only
    while it is. Each Pod of ours has a controller, so nobody adopts it.
    """
    watchers = [o for o in cluster.objects if o["kind"] not in ("Pod", "Node", "NetworkPolicy")]
    entered = 0
    for objects, _ in (*_moments(cluster), *_moments_out(cluster)):
        originals = [o for o in objects if o["kind"] == "Pod" and not is_ours(o)]
        for obj in objects:
            if obj["kind"] != "Pod" or not is_ours(obj):
                continue
            owners = {ref["uid"] for ref in obj["metadata"]["ownerReferences"]}
            family = [o for o in originals if o["metadata"]["uid"] in owners]
            allowed = {key_of(w) for w in watchers if w["kind"] == "Service" and any(_selected(w, o) for o in family)}
            hits = {key_of(w) for w in watchers if _selected(w, obj)}
            joined = {h for h in hits if h.kind == "Service"}
            entered += bool(joined)

            assert any(ref.get("controller") for ref in obj["metadata"]["ownerReferences"])
            assert joined <= allowed
            assert not joined or labels_of(obj)[names.ROLE] == "stand-in"
            assert joined or hits == set()
    carried = [o for o in _moments(cluster)[-1][0] if o["kind"] == "Pod" and not is_ours(o) and names.CARRIER in labels_of(o)]
    assert entered or not any(_selected(w, o) for w in watchers if w["kind"] == "Service" for o in carried)


@LAW
@given(cluster=clusters())
def test_labels_of_others_stay_where_nobody_acts_by_them(cluster: Cluster) -> None:
    """A webhook labels every Pod that is written, also ours: nobody writes for ever. What somebody adds by hand so that a Service, a
    budget or a workload would pick a Pod of ours is taken off again, and what would make Argo CD prune it.
    """
    run = fold(cluster.stream, NOW, BOUND)
    originals = {o["metadata"]["uid"]: labels_of(o) for o in cluster.objects if o["kind"] == "Pod"}
    byhand = {"argocd.argoproj.io/instance": "shop", "team": "platform"}
    owners = [originals.get((o["metadata"].get("ownerReferences") or [{"uid": ""}])[0]["uid"], {}) for o in run.end]
    state, now = world(_labelled(o, {**own, **byhand}) for o, own in zip(run.end, owners, strict=True)), run.now
    for _ in range(5):
        snapshot = Snapshot.of(state.values(), now)
        changes = plan(snapshot, generate(snapshot))
        for change in changes:
            state = apply(state, change, now)
            state = {k: _labelled(o, {"team": "platform"}) if k == change.key else o for k, o in state.items()}
        now = after(now, 1.5)
        state = settle(state, now)

    assert not changes
    assert {k: labels_of(o) for k, o in state.items()} == {key_of(o): labels_of(_labelled(o, {"team": "platform"})) for o in run.end}


def _labelled(obj: Obj, labels: dict[str, str]) -> Obj:
    """A Pod of ours with labels that it does not have yet; anything else as it is."""
    if obj["kind"] != "Pod" or not is_ours(obj):
        return obj
    return {**obj, "metadata": {**obj["metadata"], "labels": {**labels, **labels_of(obj)}}}


def _selected(watcher: Obj, pod: Obj) -> bool:
    selector = watcher["spec"].get("selector")
    if watcher["kind"] == "Service":
        return selectors.service_matches(selector, labels_of(pod))
    return selectors.matches(selector, labels_of(pod))


@LAW
@given(cluster=clusters())
def test_plans_touch_only_targets_and_ours(cluster: Cluster) -> None:
    """Every change is to an object of ours, a bridge or mount, or a Pod of a target; and of such a Pod only image, our marks, Ready."""
    allowed = ("/metadata/labels", "/metadata/annotations", "/metadata/resourceVersion", "/spec/containers/", "/status/conditions/")
    for objects, now in _moments(cluster):
        live = world(objects)
        snapshot = Snapshot.of(objects, now)
        desired = generate(snapshot)
        for change in plan(snapshot, desired):
            if change.op == "create":
                assert change.body is not None
                assert is_ours(change.body)
                continue
            obj = live[change.key]
            if is_ours(obj) or change.key.kind in OUR_KINDS.values():
                continue
            assert (change.op, change.key.kind) == ("patch", "Pod")
            for op in change.patch:
                assert op["path"].startswith(allowed)
                if op["op"] != "test" and op["path"].startswith("/spec/containers/"):
                    assert op["path"].endswith("/image")
                if op["op"] != "test" and op["path"].startswith(("/metadata/labels/", "/metadata/annotations/")):
                    assert names.is_ours(op["path"].split("/", 3)[3].replace("~1", "/"))


def test_duplicate_object_is_refused() -> None:
    """One name with two contents is an error that names it."""
    pod = kube.pod("a", {"app": "a"}, [kube.container()], "10.0.0.1")
    with pytest.raises(InputError, match="DuplicateObject: Pod shop/a"):
        Snapshot.of([pod, {**pod, "spec": {"containers": []}}], NOW)
