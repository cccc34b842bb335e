"""The laws of new Pods of a bridged workload: nobody meets the application in them, and nothing of ours stays on one that never starts."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator import names
from generator.cli.states import judge
from generator.cluster.snapshot import OUR_KINDS, Obj, Snapshot, is_ours, labels_of
from generator.cluster.times import after
from generator.cluster.workload import ips_of, original
from generator.desired.generate import Desired, generate
from generator.desired.waking import next_look
from generator.plan import plan
from generator.simulate import World, apply, endpoints, settle, world
from tests import kube

LAW = settings(max_examples=60, deadline=None)
STEP = 0.4


def bridged(pods: int) -> tuple[World, str]:
    """Deployment web of so many Pods, bridged by Alice, with nothing left to do."""
    objects = [*kube.deployment("web", {"app": "web"}, [kube.container()], pods, 1), kube.service("web", {"app": "web"})]
    alice = {**kube.bridge("alice", "", []), "target": "deployment/web", "targetNamespace": "shop", "targetContainer": "app"}
    return kube.rounds([*objects, alice], 15)


def new_pods(number: int, now: str) -> list[Obj]:
    """The next revision: its ReplicaSet and Pods that have just been made."""
    made = kube.deployment("web", {"app": "web"}, [kube.container(image="localhost/echo:2")], number, 2, revision="2")[1:]
    return [with_ready({**o, "metadata": {**o["metadata"], "creationTimestamp": now}}, False) if o["kind"] == "Pod" else o for o in made]


def with_ready(pod: Obj, ready: bool) -> Obj:
    """The Pod whose application is ready, or is not; the condition is the cluster's to set."""
    status = {**pod["status"], "containerStatuses": [{**s, "ready": ready} for s in pod["status"]["containerStatuses"]]}
    held = [{**c, "status": "False"} for c in status["conditions"]] if not ready else status["conditions"]
    return {**pod, "status": {**status, "conditions": held}}


def applications(state: World) -> set[str]:
    """Addresses among the ready endpoints where the application itself answers."""
    slices = [o for o in state.values() if o["kind"] == "EndpointSlice" and labels_of(o).get("kubernetes.io/service-name") == "web"]
    ready = {a for s in slices for e in s["endpoints"] if e["conditions"]["ready"] for a in e["addresses"]}
    assert ready, "nobody serves"
    return ready & {ip for o in state.values() if o["kind"] == "Pod" and not is_ours(o) and not original(o).carried for ip in ips_of(o)}


def looked(state: World, now: str) -> tuple[World, Desired, bool]:
    """The state after one look of the operator, what it wanted, and whether it had nothing to write."""
    snapshot = Snapshot.of(state.values(), now)
    desired = generate(snapshot)
    changes = plan(snapshot, desired)
    for change in changes:
        state = apply(state, change, now)
    return state, desired, not changes


def copies_of(state: World) -> list[Obj]:
    """The shadows of the new revision."""
    return [o for o in state.values() if labels_of(o).get(names.ROLE) == "shadow" and "echo:2" in str(o["spec"])]


def with_shadows(state: World, ready: bool) -> World:
    """The state with the new shadows ready or not."""
    return endpoints(state | world(with_ready(o, ready) for o in copies_of(state) if o.get("status")))


def without_room(pod: Obj, now: str) -> Obj:
    """The Pod that no node has room for."""
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "lastTransitionTime": now}
    return {**pod, "status": {"phase": "Pending", "conditions": [condition], "containerStatuses": []}}


def of_revision(state: World, pods: Iterable[str]) -> list[Obj]:
    """The new Pods as they are now."""
    return [o for k, o in state.items() if k.kind == "Pod" and k.name in pods]


@LAW
@given(old=st.integers(1, 3), new=st.integers(1, 3), starts=st.integers(1, 12), late=st.booleans(), slow=st.integers(0, 8))
def test_nobody_meets_the_application_in_a_new_pod(old: int, new: int, starts: int, late: bool, slow: int) -> None:
    """A rollout: however long the new applications and their shadows take to start, each new Pod serves as a carrier from the first
    request on; then the old ones leave.

    starts, slow: rounds until the applications are ready, and their shadows after that. late: endpoints are a round behind every other
    time.
    """
    state, now = bridged(old)
    made = new_pods(new, now)
    names_ = {o["metadata"]["name"] for o in made if o["kind"] == "Pod"}
    state |= world(made)
    for number in range(60):
        state, desired, idle = looked(state, now)
        done = idle and next_look(desired, now) is None
        now = after(now, STEP)
        if number == starts:
            state |= world(with_ready(o, True) for o in of_revision(state, names_))
        moved = settle(with_shadows(settle(state, now), number >= starts + slow), now)
        slices = {k: o for k, o in state.items() if k.kind == "EndpointSlice"}
        state = {**moved, **slices} if late and number % 2 else moved
        assert not applications(state), f"round {number}"
        if done and number > starts + slow + 2:
            break
    assert all(original(o).carried and not original(o).held for o in of_revision(state, names_))


def test_status_names_the_new_pods_that_are_held() -> None:
    """Who asks why a Pod of a bridged workload is not ready finds it in `bascule status`; once it is let go, it is an original like any."""
    state, now = bridged(2)
    made = new_pods(1, now)
    name = made[-1]["metadata"]["name"]
    state, _, _ = looked(state | world(made), now)
    snapshot = Snapshot.of(state.values(), now)
    (target,) = judge(snapshot, generate(snapshot)).targets
    assert (target.state, target.carried, target.originals) == ("ACTIVE", 2, 2)
    assert [each for each in target.waits if each.startswith(f"new Pod {name}: ")] == list(target.waits) != []
    snapshot = Snapshot.of(state.values(), after(now, 130))
    (target,) = judge(snapshot, generate(snapshot)).targets
    assert (target.state, target.originals) == ("INSTALLING", 3)


@pytest.mark.parametrize("why", ["crashes", "slow", "shadow", "no room"])
def test_a_new_pod_that_does_not_start_is_let_go(why: str) -> None:
    """One whose application crashes, or takes very long, or whose shadow has no room, or does not become ready while the application does:
    nothing of ours stays on it, and no copy of the first two is made; it is as without us. The others go on, and the operator says when
    to look again.
    """
    state, now = bridged(2)
    made = new_pods(1, now)
    name = made[-1]["metadata"]["name"]
    state, _, _ = looked(state | world(made), now)
    assert original(of_revision(state, {name})[0]).held
    for number in range(8):
        now = after(now, STEP)
        (pod,) = of_revision(state, {name})
        if why == "crashes" and number == 2:
            crashed = {"state": {"waiting": {"reason": "CrashLoopBackOff"}}, "restartCount": 1, "ready": False}
            status = {**pod["status"], "containerStatuses": [{**s, **crashed} for s in pod["status"]["containerStatuses"]]}
            state |= world([{**pod, "status": status}])
        if why == "no room" and number == 2:
            state |= world(without_room(o, now) for o in copies_of(state))
        if why in ("shadow", "no room") and number == 2:
            state |= world([with_ready(pod, True)])
        state = with_shadows(settle(state, now), False)
        state, desired, _ = looked(state, now)
    (pod,) = of_revision(state, {name})
    assert original(pod).held is (why in ("slow", "shadow"))
    wait = next_look(desired, now)
    assert wait or why in ("crashes", "no room")
    for _ in range(20):
        now = after(now, (wait or 0) + STEP)
        state = with_shadows(settle(state, now), False)
        state, desired, _ = looked(state, now)
        wait = 0
    (pod,) = of_revision(state, {name})
    assert not original(pod).held
    if why in ("shadow", "no room"):
        assert original(pod).ready
    else:
        assert not original(pod).touched
        assert not copies_of(state)


@LAW
@given(starts=st.integers(0, 30), leaves=st.integers(0, 14))
def test_bridges_may_leave_while_a_pod_is_new(starts: int, leaves: int) -> None:
    """The last bridge goes in any round of a rollout: everything becomes what it was, also new Pods that are not ready yet."""
    state, now = bridged(2)
    made = new_pods(2, now)
    names_ = {o["metadata"]["name"] for o in made if o["kind"] == "Pod"}
    state |= world(made)
    for number in range(80):
        if number == leaves:
            state = {k: o for k, o in state.items() if k.kind not in OUR_KINDS.values()}
            unswapped = {k for k, o in state.items() if k.name in names_ and "echo:2" in str(o["spec"])}
        state, _, _ = looked(state, now)
        now = after(now, STEP)
        if number == starts:
            state |= world(with_ready(o, True) for o in of_revision(state, names_))
        state = settle(state, now)
        assert number != leaves + 3 or not [k for k in unswapped if original(state[k]).touched], "marks on a Pod that was never swapped"
    assert not [k for k, o in state.items() if is_ours(o)]
    assert not [k for k, o in state.items() if k.kind == "Pod" and original(o).touched]


def conditioned(pod: Obj, kind: str, status: str, reason: str) -> Obj:
    """The Pod with a condition that somebody else has set."""
    others = [c for c in pod["status"]["conditions"] if c["type"] != kind]
    made = {"type": kind, "status": status, "reason": reason, "lastTransitionTime": kube.NOW}
    return {**pod, "status": {**pod["status"], "conditions": [*others, made]}}


@pytest.mark.parametrize("reason", ["NodeNotReady", "ContainersNotReady"])
def test_whom_others_have_taken_out_stays_out(reason: str) -> None:
    """A carrier on a node that is lost, or whose sidecar is not ready, though its own containers were when last heard of."""
    state, now = bridged(3)
    pod = next(o for k, o in state.items() if k.kind == "Pod" and original(o).carried and not is_ours(o))
    state |= world([conditioned(pod, "Ready", "False", reason)])
    for _ in range(3):
        state, _, _ = looked(state, now)
    assert not original(state[next(k for k, o in state.items() if o["metadata"]["name"] == pod["metadata"]["name"])]).ready


def test_a_new_pod_whose_gate_is_closed_is_not_made_ready() -> None:
    """Who has the gate opens it; until then the Pod is let go as a carrier, and its condition Ready is not ours to set."""
    state, now = bridged(2)
    made = new_pods(1, now)
    name = made[-1]["metadata"]["name"]
    gate = "target-health.elbv2.k8s.aws/web"
    gated = conditioned({**made[-1], "spec": {**made[-1]["spec"], "readinessGates": [{"conditionType": gate}]}}, gate, "False", "Initial")
    state |= world([*made[:-1], gated])
    released = False
    for _ in range(30):
        before = of_revision(state, {name})[0]
        state, _, _ = looked(state, now)
        (then,) = of_revision(state, {name})
        released = released or (original(before).held and not original(then).held and original(then).carried)
        assert original(before).ready or not original(then).ready, "we made it ready"
        now = after(now, STEP)
        state = with_shadows(settle(state, now), True)
    assert released


def test_a_ready_application_waits_for_no_copy_for_long() -> None:
    """Kubelet says since when all its containers are ready: ten seconds later it serves by itself, also when no copy can even be made."""
    state, now = bridged(2)
    made = new_pods(1, now)
    name = made[-1]["metadata"]["name"]
    state, _, _ = looked(state | world(made), now)
    (pod,) = of_revision(state, {name})
    state |= world([conditioned(with_ready(pod, True), "ContainersReady", "True", "")])
    state = {k: o for k, o in state.items() if "echo:2" not in str(o.get("spec")) or not is_ours(o)}  # a quota refuses them
    assert original(wanted(settle(state, now), after(kube.NOW, 9), name)).held
    assert not original(wanted(settle(state, now), after(kube.NOW, 10), name)).held


def wanted(state: World, now: str, name: str) -> Obj:
    """The Pod as it should be then."""
    (outcome,) = generate(Snapshot.of(state.values(), now)).outcomes.values()
    return next(o for o, _ in outcome.objects.values() if o["metadata"]["name"] == name)
