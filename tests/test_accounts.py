"""Accounts of clients on a real API server: what they may, what they may not, and that the operator can make no others."""

from __future__ import annotations

import copy
from base64 import b64encode
from collections.abc import Callable, Iterator

import pytest

from generator.asked.client import decode_client
from generator.cluster.snapshot import Key, Obj, key_of
from generator.connections.accounts import account as account_of
from generator.live import connections
from generator.live.accounts import give_account, give_accounts
from generator.live.failures import Conflict, Forbidden, Invalid, KubeError, Refused
from generator.live.kube import Kube, path
from tests import kube as build
from tests.cluster.cluster import Cluster, cluster
from tests.cluster.machine import wait
from tests.fence_lab import ask, bridge
from tests.overlay_lab import OPERATOR, account, call, with_components

GEFYRA = "system:serviceaccount:gefyra:gefyra-client-"


class Store(Kube):
    """An API server that keeps what is made and fills tokens at once. clients: by name. refuses: by account, with what.

    meanwhile: done once, before a client is told.
    """

    def __init__(self, *names: str) -> None:
        self.made: dict[Key, Obj] = {}
        self.refuses: dict[str, KubeError] = {}
        self.clients = {name: build.client(name) for name in names}
        self.tried: list[str] = []
        self.meanwhile: Callable[[], object] | None = None

    def create(self, obj: Obj) -> Obj:
        """Make it, if nobody minds."""
        name = obj["metadata"]["name"].removeprefix("gefyra-client-").removesuffix("-token")
        self.tried.append(name)
        if name in self.refuses:
            raise self.refuses[name]
        if key_of(obj) in self.made:
            raise Conflict("it exists")
        self.made[key_of(obj)] = {**obj, "data": {"token": "dG9r"}}
        return obj

    def get(self, key: Key) -> Obj:
        """What was made."""
        return self.made[key]

    def list_objects(self, kind: str, namespace: str = "", selector: str = "") -> tuple[list[Obj], str]:
        """The clients."""
        assert (kind, namespace, selector) == ("GefyraClient", "gefyra", "")
        return [*self.clients.values()], "1"

    def merge(self, key: Key, body: Obj) -> Obj:
        """As the server does it with a resourceVersion; without one it takes what is written."""
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile:
            meanwhile()
        old = self.clients[key.name]
        if body.get("metadata", {}).get("resourceVersion") not in (None, old["metadata"]["resourceVersion"]):
            raise Conflict("the object has been modified")
        self.clients[key.name] = {**old, **body, "metadata": {**old["metadata"], "resourceVersion": "more"}}
        return self.clients[key.name]

    def again(self, name: str) -> None:
        """The client is deleted, and another is made with its name."""
        again = build.client(name)
        self.clients[name] = {**again, "metadata": {**again["metadata"], "uid": "another", "resourceVersion": "99"}}

    def collect(self) -> None:
        """Remove what belongs to clients that are gone."""
        there = {c["metadata"]["uid"] for c in self.clients.values()}
        self.made = {k: o for k, o in self.made.items() if o["metadata"]["ownerReferences"][0]["uid"] in there}

    def given(self) -> set[str]:
        """Who has an account."""
        return {name for name, c in self.clients.items() if c.get("serviceAccountName")}


def test_a_client_that_was_made_again_meanwhile_gets_an_account_of_its_own() -> None:
    """Not the one of the client before, which goes with that one; it waits until that has gone."""
    store = Store("alice")
    store.meanwhile = lambda: store.again("alice")
    assert give_accounts(store, store.clients.values()) == (True, set())
    assert store.given() == set()
    assert give_accounts(store, store.clients.values()) == (True, set())
    store.collect()
    assert give_accounts(store, store.clients.values()) == (False, set())
    assert store.given() == {"alice"}
    assert {o["metadata"]["ownerReferences"][0]["uid"] for o in store.made.values()} == {"another"}


@pytest.mark.parametrize("error", [Forbidden("a policy", 403), Refused("a webhook", 500), Invalid("a policy", 422)])
def test_an_account_that_is_refused_keeps_no_other_from_its_own(error: KubeError, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the operator may not make is not tried again at each look, and at last it is; a new client gets its account at once."""
    store, seen, at = Store("anna", "bad", "carl"), connections._Seen(), [1000.0]
    monkeypatch.setattr("generator.live.connections.time.monotonic", lambda: at[0])
    store.refuses["bad"] = error
    connections._serve(store, seen, installed=False, new=True)
    assert store.given() == {"anna", "carl"}
    store.clients["dora"] = build.client("dora")
    connections._serve(store, seen, installed=False, new=True)
    assert store.given() == {"anna", "carl", "dora"}
    assert store.tried.count("bad") == (1 if isinstance(error, Forbidden) else 2)
    store.refuses.clear()
    at[0] += 600
    connections._serve(store, seen, installed=False, new=False)
    assert store.given() == {*store.clients}
    assert seen.barred == {}


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
