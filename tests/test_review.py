"""Admission: who may write which bridge, mount or client, and what the API server's user reads when it may not be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.asked.admission import read
from generator.asked.review import Verdict, review
from generator.cluster.snapshot import Obj, Snapshot, key_of
from tests import kube, strategies
from tests.kube import NOW

ADMIN = "kubernetes-admin"
WEB = kube.deployment("web", {"app": "web"}, [kube.container(ports=(8080, 9090))], 1, 1)
CONTROL = "system:serviceaccount:gefyra"


def bridge(name: str, user: str, minute: int = 0, **more: Any) -> Obj:
    """A bridge on Deployment shop/web for requests with the header `x-user: USER`, as the API server has it."""
    rules = [{"match": [{"matchHeader": {"name": "x-user", "value": user, "type": "exact"}}]}]
    metadata = {"name": name, "namespace": "gefyra", "uid": f"uid-{name}", "creationTimestamp": f"2026-11-24T22:{minute:02}:00Z"}
    return {
        "apiVersion": "gefyra.dev/v1",
        "kind": "gefyrabridge",
        "metadata": metadata,
        "client": name,
        "state": "REQUESTED",
        "target": "deployment/web",
        "targetNamespace": "shop",
        "portMappings": ["3000:8080"],
        "providerParameter": {"rules": rules},
        **more,
    }


def mount(name: str, target: str = "deployment/web", **more: Any) -> Obj:
    """A mount in the shop, as the API server has it."""
    metadata = {"name": name, "namespace": "gefyra", "uid": f"uid-{name}", "creationTimestamp": "2026-11-24T21:00:00Z"}
    top = {"apiVersion": "gefyra.dev/v1", "kind": "gefyrabridgemount", "metadata": metadata, "state": "REQUESTED"}
    return {**top, "target": target, "targetNamespace": "shop", "targetContainer": "app", **more}


def client(name: str, **more: Any) -> Obj:
    """A client, as Gefyra's command line writes it and its operator completes it."""
    metadata = {"name": name, "namespace": "gefyra", "uid": f"uid-{name}", "creationTimestamp": "2026-11-24T20:00:00Z"}
    return {"apiVersion": "gefyra.dev/v1", "kind": "gefyraclient", "metadata": metadata, "provider": "stowaway", "state": "WAITING", **more}


def asked(there: list[Obj], old: Obj | None, new: Obj | None, user: str = ADMIN) -> Verdict:
    """The verdict beside Deployment shop/web and the objects that are there."""
    operation = "UPDATE" if old and new else "CREATE" if new else "DELETE"
    request = {"uid": "1", "operation": operation, "userInfo": {"username": user}, "object": new, "oldObject": old}
    return review(Snapshot.of([*WEB, *there], NOW), request)


def test_of_two_that_race_for_a_rule_the_second_is_told_who_was_first() -> None:
    """Exactly one wins."""
    first, second = bridge("anna", "anna"), bridge("zoe", "anna")
    assert asked([], None, first) == Verdict(True)
    refused = asked([first], None, second)
    assert not refused.allowed
    assert refused.message.startswith("RuleIdentical: GefyraBridge gefyra/zoe: on port 8080, the rule")
    assert "is taken by bridge anna of anna, which is older. Add a condition" in refused.message


def test_within_one_second_whoever_is_there_stays() -> None:
    """Times of birth have whole seconds; that a name comes first moves nobody out."""
    refused = asked([bridge("zoe", "zoe")], None, bridge("anna", "zoe"))
    assert refused.message.startswith(
        "RuleIdentical: GefyraBridge gefyra/zoe is there already, and could not stand beside GefyraBridge gefyra/anna"
    )
    assert refused.message.endswith("Change yours, or ask zoe.")


def test_an_overlap_is_admitted_with_a_warning() -> None:
    """What `bascule check` warns of, kubectl prints."""
    narrow = {"rules": [{"match": [{"matchPath": {"path": "/api", "type": "prefix"}}]}]}
    verdict = asked([bridge("alice", "alice")], None, bridge("bob", "", 1, providerParameter=narrow))
    assert verdict.allowed
    (warning,) = verdict.warnings
    assert warning.startswith("RuleOverlap: GefyraBridge gefyra/bob: on port 8080")


def test_a_bridge_may_come_before_its_mount_is_active() -> None:
    """Other than in Gefyra: what is asked is written down, and holds when the mount does."""
    assert asked([mount("m")], None, bridge("alice", "alice", target="m")).allowed


@pytest.mark.parametrize(
    ("new", "begins"),
    [
        (bridge("alice", "alice", target="deployment/wbe"), "TargetUnknown: GefyraBridge gefyra/alice: Deployment shop/wbe"),
        (bridge("alice", "alice", target="m"), "TargetUnknown: GefyraBridge gefyra/alice: target 'm' is no GefyraBridgeMount"),
        (bridge("alice", "alice", targetContainer="ap"), "TargetUnknown: GefyraBridge gefyra/alice: Deployment shop/web has no container"),
        (bridge("alice", "alice", portMappings=["1:2"]), "PortUnknown: GefyraBridge gefyra/alice: container app has no port 2"),
        (bridge("alice", "alice", portMappings=[]), "PortMappingInvalid: GefyraBridge gefyra/alice: portMappings: no port is mapped"),
        (bridge("alice", "al\n"), "RuleInvalid: GefyraBridge gefyra/alice: providerParameter.rules[0].match[0]"),
        (mount("m", "job/web"), "WorkloadKindUnsupported: GefyraBridgeMount gefyra/m: target: 'job'"),
        (mount("m", sunset="tomorrow"), "BadTime: GefyraBridgeMount gefyra/m: sunset: 'tomorrow'"),
    ],
)
def test_what_check_refuses_is_not_written(new: Obj, begins: str) -> None:
    """Code, place, what is wrong and what to do, although the server has given the object a uid and a state."""
    verdict = asked([], None, new)
    assert not verdict.allowed
    assert verdict.message.startswith(begins)
    assert verdict.message.endswith(".")


def test_a_namespace_that_is_not_managed_is_named_with_those_that_are() -> None:
    """Nothing of it is in the snapshot, which is no reason to say that the workload does not exist."""
    there = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": "bascule", "namespace": "gefyra"},
        "data": {"namespaces": "shop lab"},
    }
    verdict = asked([there], None, bridge("alice", "alice", targetNamespace="payments"))
    assert verdict.message.startswith("NamespaceNotManaged: ")
    assert "(managed: lab, shop)" in verdict.message
    assert asked([there], None, bridge("alice", "alice")).allowed
    assert asked([there], None, bridge("alice", "alice", target="deployment/api")).message.startswith("TargetUnknown: ")


def test_a_second_mount_of_a_target_is_refused() -> None:
    """However it is spelt."""
    assert asked([mount("m")], None, mount("n", "deploy/web")).message.startswith("MountDuplicate: GefyraBridgeMount gefyra/n: ")


@pytest.mark.parametrize(
    ("old", "changes", "fields"),
    [
        (bridge("alice", "alice"), {"target": "deployment/api"}, ["target"]),
        (bridge("alice", "alice"), {"portMappings": ["3000:9090"], "connectionProvider": "relay"}, ["connectionProvider", "portMappings"]),
        (mount("m"), {"targetContainer": "", "targetNamespace": "lab"}, ["targetNamespace", "targetContainer"]),
    ],
)
def test_what_an_object_is_for_stays(old: Obj, changes: Obj, fields: list[str]) -> None:
    """In Gefyra's words, which its users know."""
    verdict = asked([old], old, {**old, **changes})
    assert verdict.message == f"Cannot update fields {fields}. Please create a new {key_of(old).kind}."


def test_absent_and_empty_are_the_same() -> None:
    """A defaulted field is no change of what stays."""
    old = bridge("alice", "alice")
    assert asked([old], old, {**old, "targetContainer": "", "connectionProvider": None, "sunset": "2027-01-01T00:00:00Z"}).allowed


def test_what_the_operator_writes_is_not_judged() -> None:
    """State, status and where a connection ends, also of an object that could not stand."""
    bad = bridge("alice", "alice", target="deployment/gone")
    assert asked([bad], bad, {**bad, "state": "MISSING", "stateTransitions": {"MISSING": NOW}, "status": {}, "clusterEndpoint": {}}).allowed


def test_an_object_that_is_bad_already_can_be_labelled_and_go() -> None:
    """Labels, finalizers, and every update on its way out."""
    bad = bridge("alice", "al\n")
    labelled = {**bad, "metadata": {**bad["metadata"], "labels": {"team": "blue"}, "finalizers": ["example.com/wait"]}}
    leaving = {**bad, "metadata": {**bad["metadata"], "deletionTimestamp": NOW}, "portMappings": []}
    assert asked([bad], bad, labelled).allowed
    assert asked([bad], bad, leaving).allowed
    assert asked([bad], bad, None).allowed


def test_an_update_is_refused_for_what_it_brings_alone() -> None:
    """A bridge whose workload is gone may get another rule, but not a wrong one."""
    lost = bridge("alice", "alice", target="deployment/gone")
    assert asked([lost], lost, {**lost, "providerParameter": bridge("alice", "al")["providerParameter"]}).allowed
    refused = asked([lost], lost, {**lost, "providerParameter": {"rules": [{"match": []}, {"match": 1}]}})
    assert not refused.allowed
    assert "deployment/gone" not in refused.message


def test_an_older_bridge_cannot_be_changed_into_a_newer_one() -> None:
    """The older would win, and silence somebody who stands; he stays, and the other is told."""
    alice, bob = bridge("alice", "alice", 0), bridge("bob", "bob", 1)
    refused = asked([alice, bob], alice, {**alice, "providerParameter": bob["providerParameter"]})
    assert refused.message.startswith("RuleIdentical: GefyraBridge gefyra/bob is there already, and could not stand beside")
    assert refused.message.endswith("or ask bob.")
    assert asked([alice, bob], alice, {**alice, "providerParameter": bridge("", "al")["providerParameter"]}).allowed


def test_another_namespace_is_not_read() -> None:
    """A bridge there would wait for ever."""
    new = bridge("alice", "alice")
    verdict = asked([], None, {**new, "metadata": {**new["metadata"], "namespace": "shop"}})
    assert verdict.message == "A GefyraBridge is read in namespace gefyra only. Please create it there."


@pytest.mark.parametrize("user", [f"{CONTROL}:gefyra-client-bob", f"{CONTROL}:gefyra-client-"])
def test_a_client_cannot_touch_the_bridge_of_another(user: str) -> None:
    """Not create one in his name, change it, take it over, give one away, or delete it."""
    alice = bridge("alice", "alice")
    mine = bridge("alice", "alice", client="bob")
    for old, new in ((None, alice), (alice, {**alice, "sunset": NOW}), (alice, mine), (mine, alice), (alice, None)):
        verdict = asked([], old, new, user)
        assert not verdict.allowed
        assert "GefyraBridge gefyra/alice belongs to " in verdict.message
    labelled = {**mine, "metadata": {**mine["metadata"], "labels": {"gefyra.dev/client": "alice"}}}
    assert "belongs to alice and bob; client " in asked([], None, labelled, user).message


def test_a_client_does_not_say_where_in_the_cluster_requests_go() -> None:
    """A carrier would ask any address for it that Pods of the namespace reach; the operator writes that of the client's own end."""
    user, bare = f"{CONTROL}:gefyra-client-alice", bridge("alice", "alice", client="alice")
    mine = {**bare, "clusterEndpoint": {"8080": "10.0.0.7:10000"}}
    elsewhere = {**mine, "clusterEndpoint": {"8080": "10.0.0.9:80"}}
    for old, new in ((None, mine), (bare, mine), (mine, elsewhere), (mine, bare)):
        assert "clusterEndpoint says where" in asked([], old, new, user).message
        assert asked([], old, new, f"{CONTROL}:gefyra-operator").allowed
    assert asked([], None, bare, user).allowed
    assert asked([], mine, {**mine, "sunset": NOW}, user).allowed


def test_a_client_may_do_all_with_its_own_bridges() -> None:
    """By field or by label."""
    user = f"{CONTROL}:gefyra-client-alice"
    named = bridge("b", "alice", client="alice")
    labelled = bridge("b", "alice", client=None)
    labelled["metadata"]["labels"] = {"gefyra.dev/client": "alice"}
    for mine in (named, labelled):
        for old, new in ((None, mine), (mine, {**mine, "sunset": NOW}), (mine, None)):
            assert asked([], old, new, user).allowed


@pytest.mark.parametrize("user", [ADMIN, f"{CONTROL}:gefyra-operator", "system:serviceaccount:shop:gefyra-client-bob", "gefyra-client-bob"])
def test_everybody_else_is_bound_by_roles_alone(user: str) -> None:
    """An administrator may delete any bridge; an account of that name elsewhere is no client."""
    alice = bridge("alice", "alice")
    assert asked([], alice, None, user).allowed
    assert asked([], None, alice, user).allowed


def test_a_client_connects_only_itself() -> None:
    """The object has the name of the client."""
    alice = client("alice")
    connected = {**alice, "providerParameter": {"subnet": "172.21.0.0/16"}}
    assert asked([alice], alice, connected, f"{CONTROL}:gefyra-client-alice").allowed
    refused = asked([alice], alice, connected, f"{CONTROL}:gefyra-client-bob")
    assert refused.message == "GefyraClient gefyra/alice belongs to alice; client bob may only write and delete what is its own."


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (None, {}, ""),
        (None, {"providerParameter": {"subnet": "172.21.0.0/16"}}, "Cannot set 'providerParameter' when creating a Gefyra client"),
        ({"state": "ACTIVE"}, {"state": "ACTIVE", "providerParameter": None}, ""),
        (
            {"state": "CREATING"},
            {"state": "CREATING", "providerParameter": {"subnet": "10.0.0.0/8"}},
            "Cannot set 'providerParameter' when state",
        ),
        ({}, {"providerParameter": {"subnet": "172.21.0.0/16"}}, ""),
        ({}, {"providerParameter": {"subnet": "172.22.3.0/24"}}, "The Wireguard subnet '172.22.3.0/24' is already taken."),
        ({}, {"providerParameter": {"subnet": "172.21.0.0"}}, "Cannot read the Wireguard subnet '172.21.0.0'"),
        ({}, {"providerParameter": {"subnet": "172.21.0.0/99"}}, "Cannot read the Wireguard subnet '172.21.0.0/99'"),
        ({}, {"providerParameter": {}, "sunset": "soon"}, "BadTime: GefyraClient gefyra/alice: sunset: 'soon'"),
        ({}, {"providerConfig": {"Interface.Address": "192.168.99.2"}}, ""),
    ],
)
def test_what_gefyra_allows_of_a_client(old: Obj | None, new: Obj, message: str) -> None:
    """Its parameter comes with the connection, when it waits for one, and with a network of its own."""
    other = client("bob", providerParameter={"subnet": "172.22.0.0/16"})
    verdict = asked([other], client("alice", **old) if old is not None else None, client("alice", **new))
    assert verdict.message.startswith(message)
    assert verdict.allowed == (not message)


@given(strategies.clusters(), st.data())
@settings(max_examples=60, deadline=None)
def test_review_agrees_with_check(cluster: strategies.Cluster, data: st.DataObject) -> None:
    """Whatever comes last is admitted if, and only if, `admission.read` has no refusal of it beside the rest."""
    if not cluster.controls:
        return
    last = data.draw(st.sampled_from(cluster.controls))
    rest = [o for o in cluster.stream if o is not last]
    youngest = {**last, "metadata": {**last["metadata"], "creationTimestamp": NOW}}
    verdict = review(Snapshot.of(rest, NOW), {"object": {**youngest, "state": "REQUESTED"}})
    problems = read(Snapshot.of([*rest, youngest], NOW)).problems.get(key_of(last), [])
    refusals = [p for p in problems if p.severity != "warning"]
    assert verdict.allowed == (not refusals)
    assert [m.partition(":")[0] for m in verdict.message.splitlines()] == [p.code for p in refusals]
    assert len(verdict.warnings) == (0 if refusals else len(problems))


@given(st.lists(st.sampled_from(("a", "ab", "b")), min_size=2, max_size=5), st.data())
@settings(max_examples=60, deadline=None)
def test_who_is_admitted_stays_admitted(users: list[str], data: st.DataObject) -> None:
    """Bridges come and change one after another, each only if it is admitted: at no time is one that is there refused."""
    there: list[Obj] = []
    names = ["anna", "bob", "alice", "john", "zoe"]
    for number, user in enumerate(users):
        prefix = {"matchHeader": {"name": "x-user", "value": user, "type": data.draw(st.sampled_from(("exact", "prefix")))}}
        wanted = {"rules": [{"match": [prefix]}]}
        old = data.draw(st.sampled_from([None, *there]))
        new = bridge(names[number], user, providerParameter=wanted) if old is None else {**old, "providerParameter": wanted}
        if asked(there, old, new).allowed:
            there = [*(o for o in there if o is not old), new]
        snapshot = Snapshot.of([*WEB, *there], NOW)
        assert all(p.severity == "warning" for found in read(snapshot).problems.values() for p in found)


def test_the_snapshot_may_hold_the_object_already() -> None:
    """A watch may be faster than the webhook of a server that asks twice."""
    alice = bridge("alice", "alice")
    assert asked([alice], None, alice).allowed
    assert review(replace(Snapshot.of(WEB, NOW), controls=(alice,)), {"object": alice}).allowed


KEYS = [f"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{letter}{'tra2' * 10}tr" for letter in "GK"]


def test_a_client_of_the_relay_brings_its_key_at_any_time() -> None:
    """With the object, and anew in any state; Gefyra's states are not its own."""
    alice = client("alice", provider="relay", state="REQUESTED", providerParameter={"publicKey": KEYS[0]})
    assert asked([], None, alice).allowed
    assert asked([alice], alice, {**alice, "state": "ACTIVE", "providerParameter": {"publicKey": KEYS[1]}}).allowed
