"""The laws of the walk, over generated clusters: what holds at every write while carriers come and go."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from generator import names
from generator.cluster import selectors
from generator.cluster.snapshot import OUR_KINDS, Key, Obj, Snapshot, annotations_of, is_ours, key_of, labels_of
from generator.cluster.times import after, seconds_between
from generator.cluster.workload import Original, ips_of, is_serving, original
from generator.desired.carrier_objects import config_hash
from generator.desired.facts import PATIENCE
from generator.desired.generate import Desired, generate
from generator.desired.waking import next_look
from generator.plan import Change, plan
from generator.simulate import STEP_SECONDS, World, apply, endpoints, settle, world
from tests import kube
from tests.strategies import NOW, Cluster, clusters

LAW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
PROXY_LAG = 1.0
"""Seconds for which a proxy may go on sending to an address that has left the endpoints (kube-proxy's minSyncPeriod)."""


@LAW
@given(
    cluster=clusters(),
    asked=st.dictionaries(st.integers(1, 59), st.integers(0, 255), max_size=4),
    lag=st.integers(1, 4),
    slow=st.sets(st.integers(0, 2)),
    cuts=st.dictionaries(st.integers(0, 60), st.integers(0, 6), max_size=8),
    late=st.booleans(),
    behind=st.builds(range, st.integers(0, 70), st.integers(0, 80)),
)
def test_no_request_is_lost(
    cluster: Cluster, asked: dict[int, int], lag: int, slow: set[int], cuts: dict[int, int], late: bool, behind: range
) -> None:
    """Through install and restore, also when bridges come and go in the middle: a Service never loses its last ready endpoint, and
    each write is careful. Services that publish unready Pods are the known exception.

    asked: round -> the bridges and mounts that stand from then on, as bits; none from round 60 on. lag: kubelets move in every
    lag-th round only, endpoints in each, so it sees them half-way. slow: ordinals of shadows that become ready late. cuts: rounds
    in which the operator is killed after so many writes. late: endpoints are a round behind every other time. behind: rounds after an
    outage of the API server in which no proxy learns anything.
    """
    _assert_no_request_is_lost(cluster, asked, lag, slow, cuts, late, behind)


@pytest.mark.parametrize("number", range(2, 20))
@pytest.mark.parametrize("late", [False, True])
def test_a_second_container_is_claimed_in_the_middle(number: int, late: bool) -> None:
    """A bridge on another container of the same Pods comes in any round of a walk, and goes again: the stand-in that serves goes on
    serving while one for both containers comes.
    """
    containers = [kube.container("app"), kube.container("side", ports=(7000,))]
    objects = [*kube.deployment("w0", {"app": "w0", "only": "w0"}, containers, 2, 1), kube.service("s0", {"app": "w0"})]
    where = {"target": "deployment/w0", "targetNamespace": "shop"}
    first = {**kube.bridge("b0", "", [], ("3000:8080",)), **where, "targetContainer": "app"}
    second = {**kube.bridge("b1", "", [], ("3001:7000",)), **where, "targetContainer": "side"}
    _assert_no_request_is_lost(Cluster(tuple(objects), (first, second)), {0: 1, number: 3, 40 - number: 1}, 2, set(), {}, late)


def _assert_no_request_is_lost(
    cluster: Cluster, asked: Mapping[int, int], lag: int, slow: set[int], cuts: Mapping[int, int], late: bool, behind: range = range(0)
) -> None:
    services = _services(cluster.objects)
    state, now, listed = settle(world(cluster.stream), NOW), NOW, dict[str, str]()
    for number in range(120):
        bits = 0 if number == 60 else asked.get(number)
        if bits is not None:
            standing = {key_of(o): o for n, o in enumerate(cluster.controls) if bits >> n & 1}
            state = {k: o for k, o in state.items() if k.kind not in OUR_KINDS.values() or k in standing}
            state = {**standing, **state}
        for service in services:
            addresses = _ready_addresses(state.values(), service)
            assert addresses, f"{service['metadata']['name']} has no ready endpoint in round {number}"
            listed.update(dict.fromkeys(addresses | (listed.keys() if number in behind else set()), now))
            _assert_carriers_serve(state, addresses)
        _, changes = _look(state, now, proxies_behind=number in behind)
        for change in changes[: cuts.get(number, len(changes))]:
            changed = apply(state, change, now)
            _assert_careful(services, state, change, changed.get(change.key), listed, now)
            state = changed
        now = after(now, 0.4)
        moved = endpoints(state)
        if number % lag == 0:
            moved = settle(_stalled(settle(moved, now), slow if number < 25 else set()), now)
        state = _behind(moved, state) if late and number % 2 else moved
    assert not [k for k, o in state.items() if is_ours(o)]


def _behind(state: World, before: World) -> World:
    """The state with the endpoints of before."""
    return {k: before[k] if k in before and k.kind == "EndpointSlice" else o for k, o in state.items()}


def _look(state: World, now: str, *, proxies_behind: bool = False) -> tuple[Desired, tuple[Change, ...]]:
    snapshot = replace(Snapshot.of(state.values(), now), proxies_behind=proxies_behind)
    desired = generate(snapshot)
    return desired, plan(snapshot, desired)


def _services(objects: Iterable[Obj]) -> list[Obj]:
    """The Services that select a Pod and can be drained."""
    found, pods = list(objects), [o for o in objects if o["kind"] == "Pod"]
    services = [o for o in found if o["kind"] == "Service" and not o["spec"].get("publishNotReadyAddresses")]
    return [s for s in services if any(_selected(s, pod) for pod in pods)]


def _selected(service: Obj, pod: Obj) -> bool:
    return selectors.service_matches(service["spec"].get("selector"), labels_of(pod))


def _ready_addresses(objects: Iterable[Obj], service: Obj) -> set[str]:
    name = service["metadata"]["name"]
    slices = [o for o in objects if o["kind"] == "EndpointSlice" and labels_of(o).get("kubernetes.io/service-name") == name]
    return {a for s in slices for e in s["endpoints"] if e["conditions"]["ready"] for a in e["addresses"]}


def _of(state: World, target: str, role: str) -> list[Obj]:
    return [
        o for k, o in state.items() if k.kind == "Pod" and labels_of(o).get(names.ROLE) == role and labels_of(o)[names.TARGET] == target
    ]


def _assert_carriers_serve(state: World, addresses: set[str]) -> None:
    """Each carrier among the ready endpoints has confirmed a configuration in the container that runs, and a shadow is ready, also behind
    Service Y', to which stand-ins send.
    """
    for obj in state.values():
        if obj["kind"] != "Pod" or not addresses & set(ips_of(obj)):
            continue
        item = original(obj)
        if is_ours(obj):
            assert labels_of(obj)[names.ROLE] == "stand-in"
            assert _confirms(item), f"{item.name} is listed and has confirmed nothing"
            assert [o for o in state.values() if o["kind"] == "Service" and labels_of(o).get(names.TARGET) == labels_of(obj)[names.TARGET]]
        for c in item.containers.values():
            if c.carried:
                assert c.settled
                assert c.confirmed.endswith(f"@{c.container_id}"), f"{item.name} is listed and has confirmed nothing"
        if item.carried or is_ours(obj):
            assert any(is_serving(o) for o in _of(state, labels_of(obj)[names.CARRIER], "shadow"))


def _confirms(item: Original) -> bool:
    """Whether there is a carrier in a stand-in, and each has confirmed a configuration in the container that runs."""
    told = [c for c in item.containers.values() if "carrier" in c.image]
    return bool(told) and all(c.confirmed.endswith(f"@{c.container_id}") for c in told)


def _assert_careful(services: list[Obj], state: World, change: Change, then: Obj | None, listed: Mapping[str, str], now: str) -> None:
    """Nothing restarts or goes that a proxy may still send to; a stand-in enters a Service when it is ready and has confirmed its
    configuration; an original is held when somebody serves in its place.
    """
    live = state.get(change.key)
    if change.key.kind != "Pod" or live is None:
        return
    if change.restarts or change.op == "delete":
        for address in ips_of(live):
            assert seconds_between(listed.get(address, "never"), now) >= PROXY_LAG, f"{change.key}: {change.reason}"
    if then is None:
        return
    if is_ours(live):
        for service in (s for s in services if _selected(s, live) and not _selected(s, then)):
            assert _ready_addresses(state.values(), service) - set(ips_of(live)), f"{change.key} leaves and nobody else serves"
        if any(_selected(s, then) and not _selected(s, live) for s in services):
            assert labels_of(live)[names.ROLE] == "stand-in"
            assert is_serving(live)
            assert _confirms(original(live))
    elif names.HELD in labels_of(then) and names.HELD not in labels_of(live):
        _assert_may_be_held(services, state, live, then, now)


def _assert_may_be_held(services: list[Obj], state: World, live: Obj, then: Obj, now: str) -> None:
    """A stand-in serves in its place; or it is a carrier that returns and no shadow lives, or its patience is over and no other is away."""
    target = labels_of(then)[names.CARRIER]
    wanted = [_ready_addresses(state.values(), s) for s in services if _selected(s, live)]
    if any(is_serving(o) and all(ready & set(ips_of(o)) for ready in wanted) for o in _of(state, target, "stand-in")):
        return
    assert original(live).carried, f"{live['metadata']['name']} is held and nobody serves in its place"
    if not any(is_serving(o) for o in _of(state, target, "shadow")):
        return
    assert seconds_between(annotations_of(live)[names.WAITS_SINCE], now) >= PATIENCE
    for other in state.values():
        if other["kind"] == "Pod" and labels_of(other).get("only") == labels_of(live)["only"] and not is_ours(other) and other is not live:
            assert names.HELD not in labels_of(other)
            for service in (s for s in services if _selected(s, other)):
                assert _ready_addresses(state.values(), service) & set(ips_of(other)), f"{other['metadata']['name']} is away too"


def _stalled(state: World, slow: set[int]) -> World:
    """The shadows with these ordinals report containers that are not ready; every other Pod of ours is."""
    result = dict(state)
    for key, obj in state.items():
        if key.kind == "Pod" and labels_of(obj).get(names.ROLE) == "shadow" and "containerStatuses" in obj.get("status", {}):
            ready = int(key.name.rpartition("-")[2]) not in slow
            statuses = [{**s, "ready": ready} for s in obj["status"]["containerStatuses"]]
            result[key] = {**obj, "status": {**obj["status"], "containerStatuses": statuses}}
    return result


TWO = Cluster(
    (*kube.deployment("w0", {"app": "w0", "only": "w0"}, [kube.container()], 2, 1), kube.service("s0", {"app": "w0"})),
    ({**kube.bridge("b0", "", []), "target": "deployment/w0", "targetNamespace": "shop", "targetContainer": "app"},),
)


@LAW
@example(cluster=TWO, begun=12, how="pending", late=True)
@example(cluster=TWO, begun=13, how="refused", late=True)
@given(cluster=clusters(), begun=st.integers(1, 14), how=st.sampled_from(("pending", "refused")), late=st.booleans())
def test_restore_needs_no_stand_in(cluster: Cluster, begun: int, how: str, late: bool) -> None:
    """The bridges go in any round of an install, and from then on no new stand-in starts, or none can be created: everything becomes
    what it was, one original of a workload at a time, and the others serve meanwhile.

    late: endpoints are a round behind every other time.
    """
    services = [s for s in _services(cluster.objects) if _alone(cluster, s)]
    state, now, gone = settle(world(cluster.stream), NOW), NOW, False
    known: set[str] = set()
    for number in range(begun + 250):
        if number == begun:
            state = {k: o for k, o in state.items() if k.kind not in OUR_KINDS.values()}
            known = {o["metadata"]["uid"] for o in state.values() if labels_of(o).get(names.ROLE) == "stand-in"}
        gone = number >= begun
        for service in services:
            assert _ready_addresses(state.values(), service), f"{service['metadata']['name']} has no ready endpoint in round {number}"
        desired, changes = _look(state, now)
        idle = gone and not changes and next_look(desired, now) is None
        for change in changes:
            if gone and how == "refused" and change.op == "create" and change.body and labels_of(change.body)[names.ROLE] == "stand-in":
                continue
            changed = apply(state, change, now)
            _assert_careful(services, state, change, changed.get(change.key), {}, now)
            state = changed
        now = after(now, 1.5)
        moved = settle(state, now) if not gone else _without_new_ones(state, now, known)
        seen = _behind(moved, state) if late and number % 2 else moved
        if idle and seen == state == moved:
            break
        state = seen
    assert not [k for k, o in state.items() if is_ours(o)]
    for key, obj in world(cluster.objects).items():
        if key.kind != "EndpointSlice":
            assert {**state[key], "metadata": _own(state[key]), "status": 0} == {**obj, "metadata": _own(obj), "status": 0}


@pytest.mark.parametrize("lost", range(3))
def test_a_lost_node_keeps_nobody_else_from_the_way_back(lost: int) -> None:
    """The bridges go, no stand-in can be created, and the node of one original is lost for good: the others become what they were, one by
    one, and a Service has always one ready.
    """
    service = kube.service("s0", {"app": "w0"})
    pods = [*kube.deployment("w0", {"app": "w0", "only": "w0"}, [kube.container()], 3, 1), service]
    state, now = kube.rounds([*pods, *TWO.controls], 20)
    state = {k: o for k, o in state.items() if k.kind not in OUR_KINDS.values()}
    victim = [k for k, o in sorted(state.items()) if k.kind == "Pod" and not is_ours(o)][lost]
    for _ in range(300):
        state = endpoints({**state, victim: _unready(state[victim])})
        assert _ready_addresses(state.values(), service)
        for change in _look(state, now)[1]:
            state = state if change.op == "create" and change.key.kind == "Pod" else apply(state, change, now)
        now = after(now, STEP_SECONDS)
        state = {**settle(state, now), victim: state[victim]}
    originals = {k: original(o) for k, o in state.items() if k.kind == "Pod" and not is_ours(o)}
    assert len(originals) == 3
    assert not [k for k, o in originals.items() if k != victim and o.touched]


def _unready(pod: Obj) -> Obj:
    """The Pod as the cluster shows it when kubelet is heard of no more."""
    conditions = [{**c, "status": "False"} if c["type"] == "Ready" else c for c in pod["status"]["conditions"]]
    return {**pod, "status": {**pod["status"], "conditions": conditions}}


@LAW
@given(cluster=clusters(), begun=st.integers(1, 14), noted=st.booleans())
def test_a_carrier_that_takes_no_configuration_stays_in_nobodys_way(cluster: Cluster, begun: int, noted: bool) -> None:
    """The bridges go in any round of an install, and from then on carriers refuse what they are told, as with a full disk: all the same
    everything becomes what it was. noted: they say so in a note.
    """
    state, now = settle(world(cluster.stream), NOW), NOW
    for number in range(begun + 250):
        if number == begun:
            state = {k: o for k, o in state.items() if k.kind not in OUR_KINDS.values()}
        desired, changes = _look(state, now)
        if number > begun and not changes and next_look(desired, now) is None:
            break
        for change in changes:
            live = state.get(change.key)
            if number >= begun and change.deliver and live and not is_ours(live):
                if noted:
                    notes = {names.REFUSED + d.container: f"{config_hash(d.text)} no room" for d in change.deliver}
                    metadata = {**live["metadata"], "annotations": annotations_of(live) | notes}
                    state = {**state, change.key: {**live, "metadata": metadata}}
                continue
            state = apply(state, change, now)
        now = after(now, 1.5)
        state = settle(state, now)
    assert not [k for k, o in state.items() if is_ours(o)]
    for key, obj in world(cluster.objects).items():
        if key.kind != "EndpointSlice":
            assert {**state[key], "metadata": _own(state[key]), "status": 0} == {**obj, "metadata": _own(obj), "status": 0}


def _own(obj: Obj) -> Obj:
    return {k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}


def _alone(cluster: Cluster, service: Obj) -> bool:
    """Whether two Pods at least of one workload, and of no other, are behind the Service."""
    pods = [o for o in cluster.objects if o["kind"] == "Pod" and _selected(service, o)]
    return len(pods) > 1 and len({labels_of(o)["only"] for o in pods}) == 1


def _without_new_ones(state: World, now: str, known: set[str]) -> World:
    """What the cluster does on its own when no stand-in starts but those that are known."""
    moved = settle(state, now)
    stuck = {k: o for k, o in state.items() if labels_of(o).get(names.ROLE) == "stand-in" and o["metadata"]["uid"] not in known}
    return endpoints({**moved, **{k: o for k, o in stuck.items() if k in moved}})


@LAW
@given(
    cluster=clusters(),
    leaves=st.integers(0, 30),
    victim=st.integers(0, 5),
    gone=st.integers(10, 30),
    fails=st.sets(st.tuples(st.integers(0, 40), st.integers(0, 9)), max_size=20),
)
def test_a_shadow_outlives_those_who_send_to_it(cluster: Cluster, leaves: int, victim: int, gone: int, fails: set[tuple[int, int]]) -> None:
    """Whenever a shadow is deleted, no carrier that runs has a configuration which names it: also while an original is being deleted
    (from round `leaves` on, for 4 rounds), and on the way back (from round `gone` on).

    fails: (round, number) of writes that are not done, while those after them are: a carrier that cannot be told.
    """
    state, now, texts = settle(world(cluster.stream), NOW), NOW, dict[str, str]()
    pods = [k for k in state if k.kind == "Pod"]
    doomed = pods[victim % len(pods)] if len(pods) > 1 else None
    for number in range(60):
        if number == gone:
            state = {k: o for k, o in state.items() if k.kind not in OUR_KINDS.values()}
        if doomed and number == leaves:
            state = {**state, doomed: {**state[doomed], "metadata": {**state[doomed]["metadata"], "deletionTimestamp": now}}}
        if doomed and number == leaves + 4:
            state = {k: o for k, o in state.items() if k != doomed}
        desired, changes = _look(state, now)
        for outcome in desired.outcomes.values():
            texts |= {config: outcome.texts[c] for c, config in outcome.configs.items()}
        for index, change in enumerate(changes):
            live = state.get(change.key)
            if (number, index) in fails:
                continue
            if change.op == "delete" and live and labels_of(live)[names.ROLE] == "shadow":
                for address in ips_of(live):
                    assert not [name for name, text in _configurations(state, texts) if f"{address}:" in text]
            state = apply(state, change, now)
        now = after(now, 1.0)
        state = settle(state, now)
    assert not [k for k, o in state.items() if is_ours(o)]


def _configurations(state: World, texts: Mapping[str, str]) -> list[tuple[str, str]]:
    """(Pod, configuration) of each carrier that runs."""
    items = [original(o) for k, o in state.items() if k.kind == "Pod"]
    told = [(i.name, c.confirmed.partition("@")) for i in items for c in i.containers.values() if c.confirmed and c.running]
    return [(name, texts[config]) for name, (config, _, _) in told]


@LAW
@given(
    cluster=clusters(),
    rounds=st.lists(st.integers(1, 24), min_size=1, max_size=4),
    how=st.sampled_from(("fail", "delete", "unlabel", "relabel")),
)
def test_shadows_that_die_are_made_again(cluster: Cluster, rounds: list[int], how: str) -> None:
    """Whenever shadows are evicted, deleted, stripped of their marks or said to be another's, the end is the same: every original has a
    shadow that serves, and with the last bridge all are gone.
    """
    state, now = settle(world(cluster.stream), NOW), NOW
    for number in range(50):
        _, changes = _look(state, now)
        for change in changes:
            state = apply(state, change, now)
        now = after(now, 1.5)
        state = settle(_struck(state, how) if number in rounds else state, now)
    desired, changes = _look(state, now)

    assert changes == ()
    for outcome in desired.outcomes.values():
        for item in outcome.originals if outcome.admitted else ():
            own = state[Key("Pod", "shop", item.pod["metadata"]["annotations"][names.SHADOW])]
            assert is_serving(own)
            assert not item.held
    state = {k: o for k, o in _struck(state, how).items() if k.kind not in OUR_KINDS.values()}
    for _ in range(50):
        for change in _look(state, now)[1]:
            state = apply(state, change, now)
        now = after(now, 1.5)
        state = settle(state, now)
    assert not [k for k, o in state.items() if is_ours(o)]


def _struck(state: World, how: str) -> World:
    """The cluster after the first shadow of each target has met its fate."""
    result, hit = dict(state), set()
    for key, obj in sorted(state.items()):
        target = annotations_of(obj).get(names.WORKLOAD)
        if labels_of(obj).get(names.ROLE) != "shadow" or target in hit:
            continue
        hit.add(target)
        if how == "delete":
            del result[key]
        elif how == "fail":
            result[key] = {
                **obj,
                "status": {**obj.get("status", {}), "phase": "Failed", "reason": "Evicted", "conditions": [], "podIP": ""},
            }
        else:
            labels = {k: v for k, v in labels_of(obj).items() if k != names.TARGET}
            metadata = {**obj["metadata"], "labels": {**labels, **({names.TARGET: "deployment-other"} if how == "relabel" else {})}}
            result[key] = {**obj, "metadata": metadata}
    return result
