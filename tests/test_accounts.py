"""Accounts of clients on a real API server: what they may, what they may not, and that the operator can make no others."""

from __future__ import annotations

import copy
from base64 import b64encode
from collections.abc import Callable, Iterator

import pytest

from generator.asked.client import decode_client
from generator.cluster.snapshot import Key, Obj, key_of
from generator.connections.accounts import account as account_of
from generator.live.accounts import give_account
from generator.live.failures import Forbidden, KubeError
from generator.live.kube import Kube, path
from tests.cluster.cluster import Cluster, cluster
from tests.cluster.machine import wait
from tests.fence_lab import ask, bridge
from tests.overlay_lab import OPERATOR, account, call, with_components

GEFYRA = "system:serviceaccount:gefyra:gefyra-client-"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server with the fences in force, and the clients alice and bob. No controller makes tokens there, and nobody judges."""
    with cluster(api_only=True) as own:
        own.apply(with_components(tmp_path_factory.mktemp("overlay"), "clients"))
        own.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=120s")
        own.kubectl("delete", "validatingwebhookconfiguration", "gefyra.dev")
        admin, operator = account(own.kubeconfig), account(own.kubeconfig, OPERATOR, dry_run=True)
        for name in ("alice", "bob"):
            body = {"apiVersion": "gefyra.dev/v1", "kind": "gefyraclient", "metadata": {"name": name, "namespace": "gefyra"}}
            ask(admin, {**body, "provider": "relay"})
        wait(lambda: refused(lambda: operator.create(secret("other"))), "the fence of accounts")
        wait(lambda: refused(lambda: ask(account(own.kubeconfig, f"{GEFYRA}x", dry_run=True), bridge("y"))), "the fence of clients")
        yield own


def refused(attempt: Callable[[], object]) -> bool:
    """Whether a fence has refused it; RBAC alone does not count."""
    try:
        attempt()
    except KubeError as error:
        return "bascule-fence" in str(error) or "cannot create" in str(error)
    return False


def secret(name: str) -> Obj:
    """A Secret that is no token."""
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "gefyra"}, "stringData": {"a": "b"}}


def client(kube: Kube, name: str) -> Obj:
    """The client as the server has it."""
    return kube.get(Key("GefyraClient", "gefyra", name))


def given(server: Cluster, name: str) -> bool:
    """Let the operator give the client its account, with the server's part played."""
    admin, operator = account(server.kubeconfig), account(server.kubeconfig, OPERATOR)
    if give_account(operator, client(admin, name)):
        return True
    data = {field: b64encode(f"{field} of {name}".encode()).decode() for field in ("token", "ca.crt", "namespace", "more")}
    admin.merge(Key("Secret", "gefyra", f"gefyra-client-{name}-token"), {"data": data})
    return give_account(operator, client(admin, name))


def test_a_client_is_given_its_account_once(server: Cluster) -> None:
    """Told on the client when the token is there, all of it the client's; a second call writes nothing."""
    admin = account(server.kubeconfig)

    assert given(server, "alice")
    told = client(admin, "alice")
    assert told["serviceAccountName"] == "gefyra-client-alice"
    assert told["serviceAccountData"].keys() == {"token", "ca.crt", "namespace"}
    assert give_account(account(server.kubeconfig, OPERATOR), told)
    assert client(admin, "alice") == told
    decoded, _ = decode_client(told)
    assert decoded is not None
    for each in account_of(decoded):
        assert [ref["uid"] for ref in admin.get(key_of(each))["metadata"]["ownerReferences"]] == [told["metadata"]["uid"]]


def test_what_an_earlier_client_left_is_not_taken(server: Cluster) -> None:
    """It goes with that one, so the new client waits until it is gone."""
    admin = account(server.kubeconfig)
    given(server, "bob")
    again = copy.deepcopy(client(admin, "bob"))
    again.pop("serviceAccountName")
    again["metadata"]["uid"] = "00000000-0000-0000-0000-000000000001"

    assert not give_account(account(server.kubeconfig, OPERATOR), again)


def test_a_client_may_what_it_needs_and_no_more(server: Cluster) -> None:
    """Its own client, bridges, the way to the relay; no other client, no token, no shell, no port of another Pod."""
    given(server, "alice")
    alice = account(server.kubeconfig, f"{GEFYRA}alice", dry_run=True)
    forward = f"{path('Pod', 'gefyra', 'bascule-relay-0')}/portforward"

    alice.merge(Key("GefyraClient", "gefyra", "alice"), {"providerParameter": {"publicKey": "x"}})
    call(alice, "GET", path("GefyraClient", "gefyra"), {"fieldSelector": "metadata.name=alice"})
    ask(alice, bridge("alice"))
    alice.list_objects("GefyraBridge", "gefyra")
    alice.get(Key("ConfigMap", "gefyra", "bascule"))
    alice.list_objects("Event", "gefyra")
    call(alice, "GET", "/api/v1/namespaces/gefyra/events")
    alice.get(Key("Namespace", "", "gefyra"))
    alice.get(Key("Deployment", "gefyra", "gefyra-operator"))
    with pytest.raises(KubeError, match="not found"):
        call(alice, "GET", forward)
    attempts: list[Callable[[], object]] = [
        lambda: client(alice, "bob"),
        lambda: alice.list_objects("GefyraClient", "gefyra"),
        lambda: ask(alice, {**client(account(server.kubeconfig), "alice"), "metadata": {"name": "carol", "namespace": "gefyra"}}),
        lambda: ask(alice, bridge("bob")),
        lambda: alice.get(Key("Secret", "gefyra", "gefyra-client-alice-token")),
        lambda: alice.list_objects("Secret", "gefyra"),
        lambda: alice.list_objects("Pod", "gefyra"),
        lambda: alice.get(Key("Pod", "gefyra", "gefyra-operator-0")),
        lambda: alice.list_objects("Deployment", "gefyra"),
        lambda: alice.get(Key("Namespace", "", "default")),
        lambda: alice.list_objects("GefyraBridge", ""),
        lambda: call(alice, "GET", forward.replace("relay-0", "relay-1")),
        lambda: call(alice, "GET", forward.replace("portforward", "exec"), {"command": "sh"}),
    ]
    for attempt in attempts:
        with pytest.raises(Forbidden):
            attempt()


def test_the_operator_makes_no_other_accounts(server: Cluster) -> None:
    """No Secret that is no token, no token of another account, no Role for another, no account that is nobody's."""
    operator, admin = account(server.kubeconfig, OPERATOR, dry_run=True), account(server.kubeconfig, dry_run=True)
    given(server, "alice")
    alice = client(admin, "alice")
    decoded, zoe = (decode_client({**alice, "metadata": {**alice["metadata"], "name": name}})[0] for name in ("alice", "zoe"))
    assert decoded is not None
    assert zoe is not None
    owned, role, binding, token = account_of(decoded)
    bad: list[Obj] = [
        secret("other"),
        {**token, "type": "Opaque"},
        {**token, "metadata": {**token["metadata"], "annotations": {"kubernetes.io/service-account.name": "gefyra-operator"}}},
        {**owned, "metadata": {**owned["metadata"], "ownerReferences": []}},
        {**role, "metadata": {**role["metadata"], "name": "gefyra-operator-2"}},
        {**binding, "subjects": [{**binding["subjects"][0], "name": "default"}]},
        {**binding, "roleRef": {**binding["roleRef"], "name": "gefyra-operator"}},
    ]

    for obj in bad:
        with pytest.raises(Forbidden, match="bascule-fence-accounts"):
            operator.create(obj)
    owned, role, _, token = account_of(zoe)
    for obj in (owned, role, token):
        operator.create(obj)
    more = [*role["rules"], {"apiGroups": [""], "resources": ["pods"], "verbs": ["delete"]}]
    with pytest.raises(Forbidden, match="attempting to grant RBAC permissions not currently held"):
        operator.create({**role, "rules": more})
