"""Connections: which ports clients, bridges and destinations get, and that they keep them; laws over any sequence of changes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pykube
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from generator.asked.admission import read
from generator.cluster.relay import BLOCK, BLOCKS, HOST, Relay, port_at, relay_of, unheard
from generator.cluster.snapshot import OUR_KINDS, Key, Obj, Snapshot, annotations_of, is_ours, key_of
from generator.cluster.times import after
from generator.connections.part import places
from generator.desired.generate import generate
from generator.desired.routing import connect
from generator.desired.waking import next_end
from generator.live.kube import Kube
from generator.live.mirror import Mirror
from generator.live.reconcile import UNTARGETED, Reconciler
from generator.names import AWAY_GRACE, RELAY_PORTS, STOWAWAY
from generator.plan import plan
from generator.simulate import World, apply, fold, settle, world
from generator.text.reading import write_yaml
from tests import kube
from tests.kube import NOW
from tests.strategies import Cluster, clusters

LAW = settings(max_examples=100, deadline=None)
ROUTES = Key("ConfigMap", "gefyra", f"{STOWAWAY}-proxyroutes")
NOBODY = Kube(pykube.KubeConfig(kube.NOBODY))
CLIENTS = ("alice", "alice-b", "bob")
WEB = [*kube.deployment("web", {"app": "web"}, [kube.container(ports=(80, 8080, 9090))], 1, 1), kube.service("web", {"app": "web"})]


def bridge(name: str, client: str, provider: str, ports: Iterable[str] = ("3000:8080",), ip: str = "192.168.101.1", **more: Any) -> Obj:
    """A bridge in the cluster whose connection is not known yet."""
    where = {"targetNamespace": "shop", "targetContainer": "app"} if "/" in more.get("target", "deployment/web") else {}
    made = kube.bridge(name, "deployment/web", [kube.rule(kube.header("x-user", name))], tuple(ports), client, "", **{**where, **more})
    metadata = {**kube.meta(name, "gefyra"), "annotations": more.get("metadata", {}).get("annotations", {})}
    return {**made, "connectionProvider": provider, "destinationIP": ip, "metadata": metadata}


def steady(state: World, now: str = NOW) -> World:
    """The cluster after the operator has nothing more to do about connections, clients and bridges without a workload."""
    state = settle(state, now)
    for _ in range(6):
        snapshot = Snapshot.of(state.values(), now)
        changes = plan(snapshot, generate(snapshot, frozenset()))
        if not changes:
            return state
        for change in changes:
            state = apply(state, change, now)
        state = settle(state, now)
    raise AssertionError([(c.op, str(c.key), c.patch) for c in changes])


def endpoints(state: World) -> dict[tuple[str, str], str]:
    """Where the requests leave the cluster, by bridge and port of the container."""
    found = (o for k, o in state.items() if k.kind == "GefyraBridge")
    return {(o["metadata"]["name"], remote): at for o in found for remote, at in o.get("clusterEndpoint", {}).items()}


def blocks(state: World) -> dict[str, int]:
    """The first port of each client."""
    return {k.name: int(annotations_of(o).get(RELAY_PORTS, 0)) for k, o in state.items() if k.kind == "GefyraClient"}


MAPPINGS = st.lists(st.sampled_from(("3000:80", "3000:8080", "3001:9090", "300:9090")), min_size=1, max_size=2, unique_by=lambda m: m[-4:])
ADDED = st.builds(
    bridge,
    st.sampled_from(("a", "b", "c", "d", "e")),
    st.sampled_from(CLIENTS),
    st.sampled_from(("relay", "stowaway", "")),
    MAPPINGS,
    st.sampled_from(("192.168.101.1", "192.168.101.11", "192.168.1.1")),
)
CHANGES = st.one_of(
    ADDED,
    ADDED,
    st.sampled_from(CLIENTS).map(kube.client),
    st.tuples(st.sampled_from(("GefyraBridge", "GefyraClient")), st.sampled_from(("a", "b", "c", *CLIENTS))),
)


@LAW
@given(st.lists(CHANGES, max_size=12), st.data())
def test_ports_are_given_once_and_stay(changes: list[Any], data: st.DataObject) -> None:
    """Whatever comes and goes: no two share a port, none moves while its bridge lives, and what is left needs exactly what is there."""
    state = steady(world([*WEB, *kube.relay(), *kube.stowaway(), *map(kube.client, CLIENTS[:2])]))
    for number, change in enumerate(changes):
        ports = endpoints(state)
        if isinstance(change, tuple):
            state = {k: v for k, v in state.items() if k[:1] + k[2:] != change}
        elif key_of(change) not in state:
            born = after(NOW, number)
            named = {**change["metadata"], "uid": f"{change['metadata']['name']}-{number}", "creationTimestamp": born}
            state = {**state, key_of(change): {**change, "metadata": named}}
        state = steady(state)
        shuffled = data.draw(st.permutations(list(state.values())))
        one, other = (generate(Snapshot.of(objects, NOW)) for objects in (state.values(), shuffled))
        assert write_yaml(one.objects) == write_yaml(other.objects)

        now = endpoints(state)
        for at, endpoint in ports.items():
            assert at not in now or now[at] == endpoint
        bridges = {k.name: o for k, o in state.items() if k.kind == "GefyraBridge"}
        relayed = [(bridges[name]["client"], port_at(e)) for (name, _), e in now.items() if port_at(e)]
        assert len({port for _, port in relayed}) == len(relayed)
        assert all(port in range(blocks(state)[client], blocks(state)[client] + BLOCK) for client, port in relayed)
        assert len(set(blocks(state).values())) == len(blocks(state))
        needed = {
            (o["destinationIP"], m.split(":")[0]) for o in bridges.values() if o["connectionProvider"] != "relay" for m in o["portMappings"]
        }
        lines = [line.rpartition(",") for line in state[ROUTES].get("data", {}).values()]
        assert sorted(to for to, _, _ in lines) == sorted(f"{ip}:{port}" for ip, port in needed)
        assert len({port for _, _, port in lines}) == len(lines)
        services = {k.name for k in state if k.kind == "Service" and k.name.startswith(f"{STOWAWAY}-proxy-")}
        assert services == {f"{STOWAWAY}-proxy-{port}" for _, _, port in lines}


@LAW
@given(st.lists(ADDED, max_size=6, unique_by=lambda o: o["metadata"]["name"]))
def test_without_bridges_nothing_is_left(bridges: list[Obj]) -> None:
    """The last bridge takes its routes along in both providers; the clients keep their ports."""
    state = steady(world([*WEB, *kube.relay(), *kube.stowaway(), *map(kube.client, CLIENTS), *bridges]))
    given_ = blocks(state)
    state = steady({k: v for k, v in state.items() if k.kind != "GefyraBridge"})

    assert not [k for k, o in state.items() if is_ours(o)]
    assert not state[ROUTES].get("data")
    assert blocks(state) == given_


@LAW
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6)), unique_by=lambda p: p[0]), st.sets(st.integers(0, 6)))
def test_places_are_kept_or_the_lowest(asking: list[tuple[int, int]], taken: set[int]) -> None:
    """Nobody shares one, nobody gets a taken one, the first keeps what it has, and who gets none finds all of them given."""
    found = places(asking, range(1, 5), taken)

    assert len(set(found.values())) == len(found)
    assert not set(found.values()) & taken
    for number in range(1, 5):
        first = next((who for who, has in asking if has == number), None)
        assert first is None or number in taken or found[first] == number
    if len(found) < len(asking):
        assert {*found.values(), *taken} >= {1, 2, 3, 4}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(clusters())
def test_a_walk_ends_with_connections_too(cluster: Cluster) -> None:
    """Whole installs in which providers, clients and workloads answer each other come to rest, and go back without a trace."""
    owners = sorted({o["client"] for o in cluster.controls if "client" in o})
    asked = [_unresolved(o) for o in cluster.controls]
    run = fold([*cluster.objects, *kube.relay("20000 20001"), *kube.stowaway(), *map(kube.client, owners), *asked], NOW, 32)
    bridges = [o for o in run.end if key_of(o).kind == "GefyraBridge"]
    back = fold([o for o in run.end if key_of(o).kind not in OUR_KINDS.values()], run.now, 32)

    assert run.converged
    assert all(o["clusterEndpoint"].keys() == {m.rpartition(":")[2] for m in o["portMappings"]} for o in bridges)
    assert back.converged
    assert not [key_of(o) for o in back.end if is_ours(o)]


def _unresolved(obj: Obj) -> Obj:
    """Every other bridge over the relay, none with an endpoint yet."""
    if key_of(obj).kind != "GefyraBridge":
        return obj
    return {**obj, "connectionProvider": ("relay", "stowaway")[obj["metadata"]["name"].endswith("1")], "clusterEndpoint": {}}


def test_the_operator_looks_at_connections_when_they_change() -> None:
    """A client, a bridge, a ConfigMap or Service of the control namespace; not what happens in a workload's."""
    reconciler = Reconciler(NOBODY, Mirror(NOBODY, lambda *_: None))
    snapshot = Snapshot.of([*WEB, *kube.relay(), kube.client("alice"), alices()], NOW)
    concerned = {
        key_of(o): UNTARGETED in reconciler._touched(snapshot, read(snapshot), [(key_of(o), None, o)])
        for space in snapshot.spaces.values()
        for o in space.objects.values()
    }

    assert {key for key, told in concerned.items() if told} == {key for key in concerned if key.namespace == "gefyra"}


def test_a_shared_destination_is_one_route_until_its_last_bridge_goes() -> None:
    """And one whose text is the beginning of another's is another."""
    two = [bridge("a", "alice", "stowaway", ["80:8080"]), bridge("b", "bob", "", ["80:9090"])]
    near = bridge("c", "alice", "stowaway", ["8080:80"])
    state = steady(world([*WEB, *kube.stowaway(), *two, near]))
    shared = endpoints(state)["a", "8080"]
    left = steady({k: v for k, v in state.items() if k.name != "a"})

    assert shared == endpoints(state)["b", "9090"] == endpoints(left)["b", "9090"] != endpoints(state)["c", "80"]
    assert sorted(left[ROUTES]["data"].values()) == ["192.168.101.1:80,10000", "192.168.101.1:8080,10001"]
    assert {name.rpartition("-")[0] for name, line in left[ROUTES]["data"].items() if ":80," in line} == {"bob"}


def test_what_gefyra_has_made_stays() -> None:
    """A line keeps its name and port, its Service is neither changed nor made again, and an orphan goes.

    A new destination gets neither the port of somebody's Service nor one that becomes free in the same moment.
    """
    theirs = kube.service(f"{STOWAWAY}-proxy-10005", {"gefyra.dev/app": "stowaway"}, 10005, 10005, "gefyra")
    routes = {"alice-qwertyuiop": "192.168.101.1:3000,10005", "bob-qwertyuiop": "192.168.102.1:3000,10000"}
    other = kube.service(f"{STOWAWAY}-proxy-10001", {"gefyra.dev/app": "stowaway"}, 10001, 10001, "gefyra")
    made = [bridge("a", "alice", "stowaway"), bridge("c", "carol", "stowaway", ip="192.168.103.1")]
    state = steady(world([*WEB, *kube.stowaway(**routes), theirs, other, *made]))

    assert state[ROUTES]["data"]["alice-qwertyuiop"] == "192.168.101.1:3000,10005"
    assert sorted(state[ROUTES]["data"].values()) == ["192.168.101.1:3000,10005", "192.168.103.1:3000,10002"]
    assert (state[key_of(theirs)], state[key_of(other)]) == (theirs, other)
    assert endpoints(state) == {(n, "8080"): f"{STOWAWAY}-proxy-{p}.gefyra.svc.cluster.local:{p}" for n, p in (("a", 10005), ("c", 10002))}
    assert generate(Snapshot.of(state.values(), NOW), frozenset()).connecting == ()


@pytest.mark.parametrize("installed", [[], [*kube.relay(), kube.client("alice")], kube.stowaway()[:1]])
def test_an_endpoint_that_somebody_wrote_stays_without_its_provider(installed: list[Obj]) -> None:
    """Nobody knows better."""
    own = {"8080": "10.200.0.1:10000"}
    made = [bridge("a", "alice", "stowaway"), bridge("b", "alice", "relay")]
    kept = [o for o in made if not installed or (o["connectionProvider"] == "relay") != (len(installed) == 3)]
    state = steady(world([*WEB, *installed, *({**o, "clusterEndpoint": own} for o in kept)]))

    assert kept
    assert set(endpoints(state).values()) == {"10.200.0.1:10000"}


def test_a_stranger_has_no_port_of_anothers_block() -> None:
    """An endpoint that somebody wrote by hand is put right, and the block's owner keeps it."""
    state = steady(world([*WEB, *kube.relay(), kube.client("alice"), kube.client("bob"), bridge("a", "alice", "relay")]))
    first = blocks(state)
    state[Key("GefyraBridge", "gefyra", "b")] = {**bridge("b", "bob", "relay"), "clusterEndpoint": {"8080": f"{HOST}:{first['alice']}"}}
    found = endpoints(steady(state))

    assert port_at(found["a", "8080"]) == first["alice"]
    assert port_at(found["b", "8080"]) == first["bob"]


def test_a_client_of_whom_nothing_is_known_takes_no_port() -> None:
    """The block of a client that cannot be read, or is being deleted, is not given to another: not even one whose search begins there."""
    alone = blocks(steady(world([*kube.relay(), kube.client("alice")])))["alice"]
    notes: Obj = {"metadata": {"annotations": {RELAY_PORTS: str(alone)}}}
    broken = kube.client("zoe", unknown=1, **notes)
    ending = kube.client("yan", metadata={"annotations": {RELAY_PORTS: str(alone + BLOCK)}, "deletionTimestamp": NOW})
    state = steady(world([*kube.relay(), broken, ending, kube.client("alice")]))

    assert blocks(state)["alice"] == alone + 2 * BLOCK


def test_a_block_that_is_free_again_waits() -> None:
    """Of a hundred clients that come after another, hardly one gets the block of the one before: a certificate for it may still be good."""
    given_ = []
    for number in range(100):
        client = kube.client("alice", metadata={"uid": f"uid-{number}"})
        given_.append(blocks(steady(world([*kube.relay(), client])))["alice"])

    assert sum(one == other for one, other in pairwise(given_)) <= 1
    assert len(set(given_)) > 80


@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(-1, 12)), max_size=20, unique_by=lambda each: each[0]), st.sets(st.integers(0, 9))
)
def test_every_place_is_given_while_one_is_free(asking: list[tuple[int, int]], taken: set[int]) -> None:
    """Wherever each search begins: nobody goes without while there is room, no place is given twice, and who has one keeps it."""
    found = places(asking, range(10), taken, lambda who: who)

    assert len(set(found.values())) == len(found) == min(len(asking), 10 - len(taken))
    assert not set(found.values()) & taken
    for who, has in asking:
        first = has in range(10) and has not in taken and who == next(other for other, its in asking if its == has)
        assert not first or found[who] == has


def test_a_client_takes_its_bridges_along() -> None:
    """They belong to it, so the server removes them, operator or no operator."""
    state = steady(world([*WEB, *kube.relay(), kube.client("alice"), bridge("a", "alice", "relay"), bridge("b", "bob", "relay")]))
    left = settle({k: v for k, v in state.items() if k.kind != "GefyraClient"}, NOW)

    assert {k.name for k in left if k.kind == "GefyraBridge"} == {"b"}


# ---- who is connected


def away(port: int, since: str, listening: str = "") -> list[Obj]:
    """The relay with a port that nobody listens on."""
    return kube.relay(listening, f'{{"{port}": "{since}"}}')


def alices(**annotations: str) -> Obj:
    """Alice's bridge at the first port of the relay."""
    made = bridge("a", "alice", "relay", metadata={"annotations": annotations})
    return {**made, "clusterEndpoint": {"8080": f"{HOST}:{BLOCKS[0]}"}}


@pytest.mark.parametrize(
    ("seconds", "notes", "expired"),
    [
        (59, {AWAY_GRACE: "60"}, False),
        (60, {AWAY_GRACE: "60"}, True),
        (0, {AWAY_GRACE: "0"}, True),
        (60, {}, False),
        (86399, {}, False),
        (86400, {}, True),
    ],
)
def test_who_stays_away_too_long_loses_the_bridge(seconds: int, notes: dict[str, str], expired: bool) -> None:
    """A day by default, else what the bridge says; the operator wakes at that second."""
    objects, now = [*WEB, *away(BLOCKS[0], NOW), kube.client("alice"), alices(**notes)], after(NOW, seconds)
    snapshot = Snapshot.of(objects, now)
    changes = plan(snapshot, generate(snapshot))

    assert [c.op for c in changes if c.key.name == "a"] == (["delete"] if expired else ["patch"])
    assert next_end(read(snapshot), now) == (None if expired else int(notes.get(AWAY_GRACE, "86400")) - seconds)


@given(st.integers(0, 200_000), st.sampled_from(("0", "60", "86400")))
def test_a_leader_that_has_not_listened_yet_removes_nobody(seconds: int, grace: str) -> None:
    """What the report says is from before it led. When it has listened, exactly those go whose time is over."""
    objects = [*WEB, *away(BLOCKS[0], NOW), kube.client("alice"), alices(**{AWAY_GRACE: grace})]
    snapshot = Snapshot.of(objects, after(NOW, seconds))
    new = replace(snapshot, unheard=True)

    assert not generate(new).intent.expired
    assert next_end(read(new), new.now) is None
    assert bool(generate(snapshot).intent.expired) == (seconds >= int(grace))


@given(st.integers(0, 200_000), st.sampled_from(("0", "60", "86400")), st.sampled_from(("", str(BLOCKS[0]))))
def test_without_an_operator_nobody_goes_for_the_old_report(seconds: int, grace: str, listening: str) -> None:
    """`bascule apply` does then what a leader does that has not listened yet; who is taken to listen stays as it was."""
    objects = [*WEB, *away(BLOCKS[0], NOW, listening), kube.client("alice"), alices(**{AWAY_GRACE: grace})]
    snapshot = Snapshot.of(unheard(objects), after(NOW, seconds))
    before = relay_of(Snapshot.of(objects, NOW))

    assert not generate(snapshot).intent.expired
    assert before
    assert before.away
    assert relay_of(snapshot) == before._replace(away={})


def test_who_comes_back_keeps_the_bridge() -> None:
    """Being listened on counts more than a note of since when it was not; one port of two is enough."""
    late = after(NOW, 100_000)
    two = {**alices(), "portMappings": ["3000:8080", "3001:80"]}
    two["clusterEndpoint"] = {"8080": f"{HOST}:{BLOCKS[0]}", "80": f"{HOST}:{BLOCKS[0] + 1}"}
    for listening, made in ((BLOCKS[0], alices()), (BLOCKS[0] + 1, two)):
        snapshot = Snapshot.of([*WEB, *away(BLOCKS[0], NOW, str(listening)), kube.client("alice"), made], late)

        assert not generate(snapshot).intent.expired


@pytest.mark.parametrize("text", ["{", "[]", '{"20000": 5}', '{"x": "2026-11-24T22:30:00Z"}', '{"20000": "yesterday"}', "[" * 100_000, ""])
def test_a_report_that_cannot_be_read_says_nothing(text: str) -> None:
    """Nobody is removed for it."""
    report = relay_of(Snapshot.of(kube.relay("20000 x 1 ٢٠٠٠٠ 99999999999999999999", text, "nowhere"), NOW))

    assert report == Relay("", frozenset({20000}), {})


def test_the_relay_is_reached_at_its_pod() -> None:
    """Its Service is headless: the address is the one that its Pod has reported, also of IPv6, and until then there is none."""
    name = f"{HOST}:20000"
    found = connect(Snapshot.of(kube.relay(address="fd00::9"), NOW), name)

    assert not isinstance(found, str)
    assert (found.address.host, found.address.port, found.peer_port) == ("fd00::9", 20000, 20000)
    assert found.peer["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "bascule-relay"}}
    assert connect(Snapshot.of(kube.relay(address=""), NOW), name) == "the relay has not reported its address"
