"""Events: one for each thing that changes and no flood, as the API server takes them and kubectl and Gefyra's command line read them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pykube
import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator.cluster.snapshot import Key, Obj
from generator.cluster.times import parse
from generator.live.events import events_for, events_of_workload, post
from generator.live.kube import Kube
from generator.simulate import fold
from tests import kube as build
from tests.cluster.cluster import Cluster, cluster
from tests.overlay_lab import account

BORN = "2026-11-24T22:30:00Z"
NOW = "2026-11-24T22:30:07.250Z"
CODES = ("RuleIdentical", "TargetMissing")


def bridge(state: str = "", *conditions: tuple[str, bool, str, str], uid: str = "1-2-3", born: str = BORN) -> Obj:
    """A bridge that says this of itself."""
    made = [{"type": t, "status": str(ok), "reason": r, "message": m, "lastTransitionTime": BORN} for t, ok, r, m in conditions]
    metadata = {"name": "alice", "namespace": "gefyra", "uid": uid, "creationTimestamp": born}
    top = {"apiVersion": "gefyra.dev/v1", "kind": "gefyrabridge", "metadata": metadata}
    return {**top, **({"state": state} if state else {}), **({"status": {"conditions": made}} if made else {})}


def installing(count: int) -> Obj:
    """A bridge that `count` of 3 carriers have confirmed."""
    programmed = ("Programmed", count == 3, "Programmed" if count == 3 else "Pending", f"{count} of 3 carriers confirm it")
    return bridge("ACTIVE" if count == 3 else "INSTALLING", ("Accepted", True, "Accepted", "its rules stand"), programmed)


def refused(code: str, message: str) -> Obj:
    """A bridge that is kept out."""
    return bridge("ERROR", ("Accepted", False, code, message), ("Programmed", False, "NotAccepted", "its requests stay in the cluster"))


def told(before: Obj | None, after: Obj) -> list[tuple[str, str, str]]:
    """Type, reason and note of what is told."""
    return [(e["type"], e["reason"], e["note"]) for e in events_for(before, after, NOW)]


def test_the_life_of_a_bridge_in_events() -> None:
    """Asked for, on its way (once, however many Pods), ready."""
    life = [bridge(), bridge("REQUESTED"), installing(0), installing(1), installing(2), installing(3), installing(3)]
    assert [told(a, b) for a, b in zip([None, *life], life, strict=False)] == [
        *([], []),
        [("Normal", "Installing", "0 of 3 carriers confirm it")],
        *([], []),
        [("Normal", "Ready", "3 of 3 carriers confirm it")],
        [],
    ]


def test_a_refusal_is_told_with_its_code_and_again_when_its_words_change() -> None:
    """The note says what to do, as the condition does."""
    one, other = refused("RuleIdentical", "taken by bob. Ask bob."), refused("RuleIdentical", "taken by anna. Ask anna.")
    assert told(installing(3), one) == [("Warning", "RuleIdentical", "taken by bob. Ask bob.")]
    assert told(one, other) == [("Warning", "RuleIdentical", "taken by anna. Ask anna.")]
    assert told(other, other) == []
    assert told(other, installing(3)) == [("Normal", "Ready", "3 of 3 carriers confirm it")]


def test_a_connection_that_is_not_known_is_told() -> None:
    """Before the state, which only says that it waits."""
    after = bridge("REQUESTED", ("Accepted", True, "Accepted", ""), ("ResolvedRefs", False, "EndpointUnresolved", "no connection yet"))
    assert told(bridge("REQUESTED"), after) == [("Warning", "EndpointUnresolved", "no connection yet")]


def test_what_has_not_been_judged_is_no_warning() -> None:
    """The condition of the first moment."""
    assert told(None, refused("Pending", "it has not been judged")) == [("Normal", "Error", "its requests stay in the cluster")]


@given(st.lists(st.one_of(st.integers(0, 3).map(installing), st.sampled_from(CODES).map(lambda c: refused(c, c.lower()))), max_size=20))
def test_there_are_never_more_events_than_changes(life: list[Obj]) -> None:
    """And after each change of what matters, the last event says how it is."""
    last = None
    for before, after in zip([None, *life], life, strict=False):
        events = events_for(before, after, NOW)
        assert len(events) <= (before != after)
        if events:
            last = events[0]["reason"]
        state, reason = after["state"], after["status"]["conditions"][0]["reason"]
        assert last == {"ACTIVE": "Ready", "INSTALLING": "Installing", "ERROR": reason}[state]


def test_an_event_is_later_than_the_birth_of_what_it_is_about() -> None:
    """Gefyra's command line takes no other; our clock may be behind the API server's, whose times have whole seconds."""
    for born in (BORN, "2026-11-24T22:30:07Z", "2026-11-24T22:30:20Z"):
        (event,) = events_for(None, {**installing(3), "metadata": {**bridge()["metadata"], "creationTimestamp": born}}, NOW)
        time, birth = parse(event["eventTime"]), parse(born)
        assert time
        assert birth
        assert time > birth
        assert len(event["eventTime"]) == len("2026-11-24T22:30:07.250000Z")


def test_a_long_note_and_a_long_name_are_cut() -> None:
    """1024 characters and 253 are the most."""
    after = refused("RuleIdentical", "x" * 3000)
    after["metadata"]["name"] = "a" * 199 + ".b" + "c" * 52
    (event,) = events_for(None, after, NOW)
    assert len(event["note"]) == 1024
    assert len(event["metadata"]["name"]) <= 253
    assert ".." not in event["metadata"]["name"]


def test_every_object_of_a_real_walk_can_be_told() -> None:
    """From the first bridge of a Deployment until it is active, by the states that the generator itself writes."""
    cluster = [*build.deployment("web", {"app": "web"}, [build.container()], 2, 1), build.service("web", {"app": "web"})]
    stream = [*cluster, build.bridge("alice", "deployment/web", [build.rule(build.header("x-user", "alice"))], targetNamespace="shop")]
    before: Obj | None = None
    pods: list[Obj] = []
    reasons, workload = [], []
    for rounds in range(1, 60):
        run = fold(stream, build.NOW, limit=rounds)
        (after,) = [o for o in run.end if o["kind"] == "gefyrabridge"]
        now = [o for o in run.end if o["kind"] == "Pod"]
        reasons += [e["reason"] for e in events_for(before, after, run.now)]
        workload += [e["reason"] for e in events_of_workload(cluster[0], pods, now, run.now)]
        before, pods = after, now
        if run.converged:
            break
    assert reasons == ["Installing", "Ready"]
    assert workload == ["Bridged"]
    assert [e["reason"] for e in events_of_workload(cluster[0], pods, [], build.NOW)] == ["Restored"]


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """An API server with the two namespaces."""
    with cluster(api_only=True) as own:
        own.kubectl("create", "namespace", "gefyra")
        own.kubectl("create", "namespace", "shop")
        yield own


@pytest.fixture
def kube(server: Cluster) -> Kube:
    """Its administrator."""
    return account(server.kubeconfig)


def test_the_same_again_is_one_event_with_a_count(kube: Kube) -> None:
    """As the API server keeps it; after a restart, when no count is known, it goes on."""
    times: dict[str, int] = {}
    (event,) = events_for(None, installing(3), NOW)
    for _ in range(3):
        post(kube, event, "gefyra-operator-0", times)
    (kept,) = kube.list_objects("Event", "gefyra")[0]
    assert (kept["reason"], kept["series"]["count"]) == ("Ready", 3)
    assert (kept["reportingController"], kept["reportingInstance"]) == ("gefyra-operator", "gefyra-operator-0")
    assert kept["regarding"] == {
        "apiVersion": "gefyra.dev/v1",
        "kind": "gefyrabridge",
        "namespace": "gefyra",
        "name": "alice",
        "uid": "1-2-3",
    }
    post(kube, event, "gefyra-operator-1", {})
    (again,) = events_for(None, {**installing(3), "metadata": {**bridge(uid="4-5-6")["metadata"]}}, NOW)
    post(kube, again, "gefyra-operator-1", {})
    assert len(kube.list_objects("Event", "gefyra")[0]) == 2


def test_kubectl_describe_tells_that_a_workload_is_bridged(server: Cluster, kube: Kube) -> None:
    """Under the Events of the Deployment itself, and of nothing else."""
    spec = {
        "selector": {"matchLabels": {"app": "web"}},
        "template": {"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [build.container()]}},
    }
    web = kube.create({"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}, "spec": spec})
    carried = {"metadata": {"name": "web-1", "labels": {"bascule.dev/carrier": "deployment-web"}}}
    now = "2026-11-24T22:31:00Z"
    for event in (*events_of_workload(web, [], [carried], now), *events_of_workload(web, [carried], [], now)):
        post(kube, event, "gefyra-operator-0", {})
    described = server.kubectl("describe", "deployment/web", "--namespace=shop")
    lines = [line.split() for line in described.partition("Events:")[2].splitlines()]
    assert {line[1] for line in lines if line[:1] == ["Normal"]} == {"Bridged", "Restored"}


def test_an_event_that_cannot_be_told_stops_nothing(kube: Kube, caplog: pytest.LogCaptureFixture) -> None:
    """Not allowed, no such namespace, no server: a line in the log."""
    (event,) = events_for(None, installing(3), NOW)
    kube._session.headers["Impersonate-User"] = "nobody"
    config: dict[str, Any] = {
        "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {}}],
    }
    config |= {"contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}], "current-context": "x"}
    with caplog.at_level(logging.WARNING):
        post(kube, event, "gefyra-operator-0", {})
        post(Kube(pykube.KubeConfig(config)), event, "gefyra-operator-0", {})
    assert len(caplog.records) == 2
    assert "event Ready of alice not told: " in caplog.text


def test_counts_do_not_grow_for_ever(kube: Kube) -> None:
    """Only those of the last thousand are kept."""
    times = {str(n): 1 for n in range(5000)}
    (event,) = events_for(None, refused("RuleIdentical", "for this test"), NOW)
    post(kube, event, "gefyra-operator-0", times)
    assert len(times) == 1000
    assert times[event["metadata"]["name"]] == 1
    assert kube.get(Key("Event", "gefyra", event["metadata"]["name"]))["note"] == "for this test"
