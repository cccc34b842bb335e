"""On a real API server: a held Pod stays out, only bridges wait for a judge, users leave each other's bridges alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from generator import names
from generator.cluster.snapshot import Key, Obj
from generator.desired.patched import _with_ready
from generator.live.failures import Forbidden, KubeError, Refused
from generator.live.kube import Kube
from tests.cluster.cluster import Cluster
from tests.cluster.machine import wait
from tests.fence_lab import CLIENT, ORIGINAL, STATUS, ask, bridge, fenced, op, pod, ready
from tests.overlay_lab import OPERATOR, OVERLAYS, account, objects, rendered, text_of


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server with the fences in force."""
    with fenced(tmp_path_factory.mktemp("overlay")) as own:
        yield own


# ---- the hold


def test_a_held_pod_stays_out_whoever_says_it_is_ready(server: Cluster) -> None:
    """Ready comes out False with the operator's words, the rest as it was; saying it again writes nothing; released it may be True."""
    admin = account(server.kubeconfig)
    key = pod("held")
    admin.create({**ORIGINAL, "metadata": {"name": "held", "namespace": "shop", "labels": {names.HELD: "true"}}})
    says_ready = [{"op": "add", "path": "/status", "value": STATUS}]

    once = admin.patch(key, says_ready, "status")
    twice = admin.patch(key, says_ready, "status")
    admin.patch(key, [{"op": "remove", "path": "/metadata/labels"}])
    released = admin.patch(key, says_ready, "status")
    admin.delete(key)

    wanted = _with_ready(STATUS, ready=False, now="2026-11-24T20:00:00Z")
    assert {k: v for k, v in ready(once).items() if v} == ready({"status": wanted})
    assert [c["status"] for c in once["status"]["conditions"]] == ["True", "False", "True"]
    assert twice["metadata"]["resourceVersion"] == once["metadata"]["resourceVersion"]
    assert ready(released)["status"] == "True"


def test_nobody_else_is_held(server: Cluster) -> None:
    """A Pod without the label, and one whose label says something else."""
    admin = account(server.kubeconfig)
    for name, labels in (("plain", {}), ("freed", {names.HELD: "false"})):
        admin.create({**ORIGINAL, "metadata": {"name": name, "namespace": "shop", "labels": labels}})
        changed = admin.patch(pod(name), op("/status", STATUS), "status")
        admin.delete(pod(name))
        assert ready(changed)["status"] == "True"


# ---- bridges: who judges, and whose they are


@pytest.fixture
def judged(server: Cluster) -> Iterator[None]:
    """The webhook configuration is there, and nobody serves it."""
    (hooks,) = (o for o in objects(rendered(OVERLAYS / "base")) if o["kind"] == "ValidatingWebhookConfiguration")
    admin = account(server.kubeconfig, dry_run=True)
    server.apply(text_of([hooks]))
    wait(lambda: not takes(admin, bridge("probe")), "the webhook configuration")
    yield
    server.kubectl("delete", "validatingwebhookconfiguration", "gefyra.dev")
    wait(lambda: takes(admin, bridge("probe")), "its end")


def takes(kube: Kube, obj: Obj) -> bool:
    """Whether the server would create the object."""
    try:
        ask(kube, obj)
    except Refused:
        return False
    return True


def test_without_the_operator_only_bridges_wait(server: Cluster, request: pytest.FixtureRequest) -> None:
    """Nobody can write one; what is there can be reported on by the operator, deleted, and freed of its finalizers; Pods go on."""
    admin, key = account(server.kubeconfig), Key("GefyraBridge", "gefyra", "anna")
    kept = bridge("anna")
    ask(admin, {**kept, "metadata": {**kept["metadata"], "finalizers": ["gefyra.dev/x"]}})
    request.getfixturevalue("judged")

    for change in (lambda: ask(admin, bridge("john")), lambda: admin.merge(key, {"destinationIP": "10.0.0.1"})):
        with pytest.raises(Refused, match=r"bridge-parameters\.gefyra\.dev"):
            change()
    account(server.kubeconfig, OPERATOR).patch(key, op("/state", "ACTIVE"))
    admin.delete(key)
    admin.merge(key, {"metadata": {"finalizers": None}})
    with pytest.raises(KubeError, match="not found"):
        admin.get(key)
    admin.create({**ORIGINAL, "metadata": {"name": "meanwhile", "namespace": "shop"}})
    admin.delete(pod("meanwhile"))


def test_a_client_writes_and_deletes_its_own(server: Cluster) -> None:
    """Its bridge and its client, as `gefyra` does with a user's account."""
    alice, key = account(server.kubeconfig, f"{CLIENT}alice"), Key("GefyraBridge", "gefyra", "alice")
    client = {
        "apiVersion": "gefyra.dev/v1",
        "kind": "gefyraclient",
        "metadata": {"name": "alice", "namespace": "gefyra"},
        "provider": "stowaway",
    }

    ask(alice, bridge("alice"))
    alice.merge(key, {"destinationIP": "10.0.0.1"})
    alice.delete(key)
    ask(account(server.kubeconfig), client)
    alice.merge(Key("GefyraClient", "gefyra", "alice"), {"providerParameter": {"subnet": "192.168.100.0/24"}})
    alice.delete(Key("GefyraClient", "gefyra", "alice"))


def test_a_client_leaves_those_of_others_alone(server: Cluster) -> None:
    """Neither made in somebody's name, nor changed, taken over, given away or deleted; the refusal says whose it is."""
    admin, alice = account(server.kubeconfig), account(server.kubeconfig, f"{CLIENT}alice")
    ask(admin, bridge("bob"))
    ask(admin, {**bridge("free"), "client": "", "metadata": {"name": "free", "namespace": "gefyra"}})
    ask(admin, {**bridge("alice"), "metadata": {"name": "hers", "namespace": "gefyra"}})
    theirs, free, hers = (Key("GefyraBridge", "gefyra", name) for name in ("bob", "free", "hers"))

    attempts: list[tuple[Callable[[], object], str]] = [
        (lambda: ask(alice, {**bridge("bob"), "metadata": {"name": "more", "namespace": "gefyra"}}), "client bob"),
        (lambda: alice.merge(theirs, {"destinationIP": "10.0.0.9"}), "client bob"),
        (lambda: alice.merge(theirs, {"client": "alice", "metadata": {"labels": {"gefyra.dev/client": "alice"}}}), "client bob"),
        (lambda: alice.delete(theirs), "client bob"),
        (lambda: alice.delete(free), "no client"),
        (lambda: alice.merge(hers, {"client": "bob"}), ""),
        (lambda: alice.merge(hers, {"metadata": {"labels": {"gefyra.dev/client": "bob"}}}), ""),
    ]
    for attempt, owner in attempts:
        with pytest.raises(Forbidden, match=f"bascule-fence-clients.*{owner}"):
            attempt()
    admin.merge(theirs, {"destinationIP": "10.0.0.9"})
    for key in (theirs, free, hers):
        admin.delete(key)


def test_a_client_does_not_write_what_the_operator_gives_it(server: Cluster) -> None:
    """Neither at birth nor later, neither added, changed nor taken away; what it asks for it writes; the operator writes both."""
    admin, alice, key = account(server.kubeconfig), account(server.kubeconfig, f"{CLIENT}alice"), Key("GefyraClient", "gefyra", "alice")
    metadata = {"name": "alice", "namespace": "gefyra"}
    made = {"apiVersion": "gefyra.dev/v1", "kind": "gefyraclient", "metadata": metadata, "provider": "relay"}
    ports = {"bascule.dev/relay-ports": "20032"}
    given: list[Obj] = [
        {"providerConfig": {"ports": "20032-20063"}},
        {"serviceAccountName": "gefyra-client-bob"},
        {"serviceAccountData": {"token": "x"}},
        {"metadata": {"annotations": ports}},
    ]

    for more in given:
        with pytest.raises(Forbidden, match=r"bascule-fence-clients.*the operator gives a client its"):
            ask(alice, {**made, **more, "metadata": metadata | more.get("metadata", {})})
    ask(alice, {**made, "providerParameter": {"publicKey": "x"}})
    for more in given:
        with pytest.raises(Forbidden, match=r"bascule-fence-clients.*the operator gives a client its"):
            alice.merge(key, more)
        account(server.kubeconfig, OPERATOR).patch(key, [{"op": "add", "path": "/state", "value": "WAITING"}])
        admin.merge(key, more)
    for more in given:
        with pytest.raises(Forbidden, match=r"bascule-fence-clients.*the operator gives a client its"):
            alice.merge(key, {field: {"annotations": None} if field == "metadata" else None for field in more})
    alice.merge(key, {"providerParameter": None, "metadata": {"annotations": {"note": "mine"}}})
    alice.delete(key)
