"""The webhook's certificates: what TLS accepts, when they are renewed, and that each renewal is trusted before it is shown."""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import jsonpatch
import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.cluster.snapshot import Key, Obj
from generator.live import metrics, operate, serve
from generator.live.certificates import AUTHORITY, CHAIN, CONFIGURATION, HOST, OLDER, SECRET, Kept, _write, keep, renewed, trusting, usable
from generator.live.failures import NotFound
from generator.live.kube import Kube
from generator.patch import Op
from tests.cluster.cluster import Cluster
from tests.overlay_lab import account

NOW = datetime(2026, 11, 24, 22, 30, tzinfo=UTC)
FIRST = renewed(None, NOW)
DAY = timedelta(days=1)


def shakes_hands(kept: Kept, authorities: bytes, host: str = HOST) -> bool:
    """Whether a client that trusts these authorities accepts the chain, at the time of the machine."""
    return accepted(serve.context(kept.chain, kept.key), authorities, host)


def accepted(server: ssl.SSLContext, authorities: bytes, host: str = HOST) -> bool:
    """Whether a client that trusts these authorities accepts what the server shows, in a TLS handshake in memory."""
    client = ssl.create_default_context(cadata=authorities.decode())
    pipes = ssl.MemoryBIO(), ssl.MemoryBIO()
    one = client.wrap_bio(pipes[0], pipes[1], server_hostname=host)
    other = server.wrap_bio(pipes[1], pipes[0], server_side=True)
    done: set[ssl.SSLObject] = set()
    while len(done) < 2:
        for side in (one, other):
            try:
                side.do_handshake()
                done.add(side)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError:
                return False
    return True


def trusted(kept: Kept, authorities: bytes) -> bool:
    """Whether one of the authorities has signed the chain."""
    chain = x509.load_pem_x509_certificate(kept.chain)
    for authority in x509.load_pem_x509_certificates(authorities):
        if authority.subject == chain.issuer:
            chain.verify_directly_issued_by(authority)
            return True
    return False


def test_a_client_that_trusts_the_authority_accepts_the_chain_for_our_host_alone() -> None:
    """A real handshake with certificates of today."""
    kept, other = renewed(None, datetime.now(UTC)), renewed(None, datetime.now(UTC))
    assert shakes_hands(kept, kept.authorities)
    assert not shakes_hands(kept, kept.authorities, "gefyra-admission.gefyra.svc.example")
    assert not shakes_hands(kept, other.authorities)


def test_an_old_chain_and_a_new_one_are_both_accepted_by_who_has_the_bundle() -> None:
    """After a new authority has been added, and after a chain was signed by it."""
    today = datetime.now(UTC)
    old = renewed(None, today - AUTHORITY * 0.7)
    rotated = renewed(old, today)
    assert rotated.chain == old.chain
    fresh = renewed(rotated, today)
    assert fresh.chain != old.chain
    assert shakes_hands(fresh, fresh.authorities)


def test_what_is_kept_stays_until_it_is_due() -> None:
    """Two thirds of 90 days, and the same bytes until then."""
    for days in (0, 1, 59):
        assert renewed(FIRST, NOW + days * DAY) == FIRST
    later = renewed(FIRST, NOW + 60 * DAY)
    assert (later.authorities, later.authority_key) == (FIRST.authorities, FIRST.authority_key)
    assert later.chain != FIRST.chain
    assert renewed(later, NOW + 61 * DAY) == later


def test_a_new_authority_comes_first_and_the_old_one_stays() -> None:
    """In a step of its own: the chain of then is still the old one."""
    then = NOW + AUTHORITY * 2 / 3
    young = renewed(FIRST, then)
    assert young.authorities.endswith(FIRST.authorities)
    assert len(x509.load_pem_x509_certificates(young.authorities)) == 2
    assert (young.chain, young.key) == (FIRST.chain, FIRST.key)
    assert young.authority_key != FIRST.authority_key


def test_an_authority_that_has_expired_is_dropped() -> None:
    """Ten years on, the next is the only one."""
    kept = FIRST
    for _ in range(3):
        kept = renewed(kept, NOW + AUTHORITY * 0.7)
    later = renewed(kept, NOW + AUTHORITY + DAY)
    while later != (more := renewed(later, NOW + AUTHORITY + DAY)):
        later = more
    assert len(x509.load_pem_x509_certificates(later.authorities)) == 1
    assert trusted(later, later.authorities)


@given(st.lists(st.integers(1, 700), min_size=1, max_size=25))
@settings(max_examples=40, deadline=None)
def test_no_step_makes_a_chain_that_the_bundle_before_it_did_not_trust(pauses: list[int]) -> None:
    """However long the operator slept: who still has the bundle of the step before accepts the new chain, unless all had expired."""
    kept, now = FIRST, NOW
    for days in pauses:
        now += days * DAY
        after = renewed(kept, now)
        assert usable(after)
        assert trusted(after, after.authorities)
        if any(now < a.not_valid_after_utc for a in x509.load_pem_x509_certificates(kept.authorities)):
            assert trusted(after, kept.authorities)
        kept = after


def test_a_chain_lives_ninety_days_and_begins_a_little_earlier() -> None:
    """The API server's clock may be behind ours."""
    chain = x509.load_pem_x509_certificate(FIRST.chain)
    assert chain.not_valid_after_utc == NOW + CHAIN
    assert NOW - DAY < chain.not_valid_before_utc < NOW


@pytest.mark.parametrize(
    "damage",
    [
        lambda k: k._replace(key=renewed(None, NOW).key),
        lambda k: k._replace(authority_key=renewed(None, NOW).authority_key),
        lambda k: k._replace(authorities=renewed(None, NOW).authorities),
        lambda k: k._replace(chain=k.authorities),
        lambda k: k._replace(chain=b""),
        lambda k: k._replace(authorities=b"-----BEGIN CERTIFICATE-----"),
        lambda k: k._replace(key=b"no key"),
    ],
)
def test_parts_that_do_not_belong_together_are_not_used(damage: Any) -> None:
    """A Secret that somebody edited is made again."""
    assert usable(FIRST)
    assert not usable(damage(FIRST))


def test_only_webhooks_of_ours_are_told_whom_to_trust_and_only_once() -> None:
    """Guarded by the name at that place and the version; nothing to write when all is right."""
    ours = {"service": {"namespace": "gefyra", "name": "gefyra-admission", "path": "/hold"}}
    bundle = base64.b64encode(FIRST.authorities).decode()
    hooks = [
        {"name": "a", "clientConfig": {"url": "https://example.com"}},
        {"name": "b", "clientConfig": {**ours, "caBundle": "b2xk"}},
        {"name": "c", "clientConfig": {**ours, "caBundle": bundle}},
    ]
    live = {"metadata": {"resourceVersion": "7"}, "webhooks": hooks}
    assert trusting(live, FIRST.authorities) == [
        {"op": "test", "path": "/metadata/resourceVersion", "value": "7"},
        {"op": "test", "path": "/webhooks/1/name", "value": "b"},
        {"op": "add", "path": "/webhooks/1/clientConfig/caBundle", "value": bundle},
    ]
    assert trusting({**live, "webhooks": [hooks[0], hooks[2]]}, FIRST.authorities) == []


class Store(Kube):
    """An API server with the Secret and one configuration; resourceVersions count the writes."""

    def __init__(self) -> None:
        self.writes = 0
        self.objects: dict[Key, Obj] = {}
        self.put(SECRET, {"kind": "Secret"})
        self.replaced()

    def put(self, key: Key, obj: Obj) -> Obj:
        """Somebody writes an object."""
        self.writes += 1
        self.objects[key] = {**obj, "metadata": {"name": key.name, "resourceVersion": str(self.writes)}}
        return self.objects[key]

    def replaced(self) -> None:
        """As `kubectl replace` does it: there is no bundle any more."""
        self.put(CONFIGURATION, configuration(CONFIGURATION, "bridge-parameters.gefyra.dev"))

    def get(self, key: Key) -> Obj:
        """The object."""
        if key not in self.objects:
            raise NotFound("it is not there")
        return self.objects[key]

    def patch(self, key: Key, operations: tuple[Op, ...] | list[Op], subresource: str = "") -> Obj:
        """The object after the operations."""
        assert not subresource
        return self.put(key, jsonpatch.apply_patch(self.get(key), list(operations)))

    @property
    def bundle(self) -> bytes:
        """Whom the API server trusts."""
        return base64.b64decode(self.get(CONFIGURATION)["webhooks"][0]["clientConfig"].get("caBundle", ""))


INCIDENTS: dict[str, Callable[[Store], object]] = {
    "nothing": lambda _: None,
    "the Secret is emptied": lambda store: store.put(SECRET, {"kind": "Secret"}),
    "the Secret is another's": lambda store: _write(store, store.get(SECRET), renewed(None, NOW - store.writes * DAY)),
    "the configuration is replaced": Store.replaced,
}


@given(st.lists(st.tuples(st.lists(st.sampled_from([*INCIDENTS]), max_size=2), st.permutations(range(3))), max_size=6))
@settings(max_examples=40, deadline=None)
def test_after_any_incident_the_first_look_of_one_replica_lets_all_be_trusted(rounds: list[tuple[list[str], list[int]]]) -> None:
    """Whoever looks first: what the others show is trusted until they have looked too. Then all show the same, and nothing is written."""
    store = Store()
    shown = [keep(store, NOW) for _ in range(3)]
    for minute, (incidents, turns) in enumerate([*rounds, ([], [0, 1, 2]), ([], [2, 1, 0])]):
        for incident in incidents:
            INCIDENTS[incident](store)
        for replica in turns:
            kept = keep(store, NOW + timedelta(minutes=minute + 1), shown[replica])
            assert trusted(kept, store.bundle)
            assert all(trusted(each, store.bundle) for each in shown)
            shown[replica] = kept
    before = store.writes
    assert {keep(store, NOW + DAY, each) for each in shown} == {shown[0]}
    assert (store.writes, store.bundle) == (before, shown[0].authorities)


def test_the_operator_looks_each_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a chain that another replica has made is shown to the next who connects."""
    store, stop = Store(), threading.Event()
    shown = keep(store, datetime.now(UTC))
    tls = serve.context(shown.chain, shown.key)
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        if len(waits) == 1:
            INCIDENTS["the Secret is emptied"](store)
        return len(waits) > 1

    monkeypatch.setattr(stop, "wait", wait)
    operate._keep(store, tls, shown, stop)
    assert waits == [60.0, 60.0]
    now = keep(store, datetime.now(UTC))
    assert now.chain != shown.chain
    assert accepted(tls, now.authorities)
    assert not accepted(tls, shown.authorities)


def test_the_operator_looks_again_after_anything_unexpected(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """A configuration of an odd shape is in the log, and no end of the thread that renews."""
    store, stop = Store(), threading.Event()
    before = metrics.REGISTRY.get_sample_value("bascule_failures_total") or 0.0
    shown = keep(store, NOW)
    waits: list[float] = []

    def wait(seconds: float) -> bool:
        waits.append(seconds)
        if len(waits) == 1:
            store.put(CONFIGURATION, {"webhooks": [{"name": "a"}]})
        return len(waits) > 2

    monkeypatch.setattr(stop, "wait", wait)
    operate._keep(store, serve.context(shown.chain, shown.key), shown, stop)
    assert waits == [60.0, 5.0, 5.0]
    assert "clientConfig" in caplog.text
    assert metrics.REGISTRY.get_sample_value("bascule_failures_total") == before + 2


@pytest.fixture
def kube(server: Cluster) -> Iterator[Kube]:
    """Its administrator, with webhook configurations that judge nothing here; what is written does not stay."""
    made = account(server.kubeconfig)
    made.create(configuration(CONFIGURATION, "bridge-parameters.gefyra.dev", "mount-parameters.gefyra.dev"))
    made.create(configuration(OLDER, "held.bascule.dev"))
    yield made
    for key in (CONFIGURATION, OLDER, SECRET):
        made.delete(key)


def configuration(key: Key, *names: str) -> Obj:
    """A webhook configuration for an API group that nobody has."""
    client = {"service": {"namespace": "gefyra", "name": "gefyra-admission", "path": "/hold"}}
    rules = [{"apiGroups": ["nobody.example"], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["things"]}]
    hooks = [
        {"name": name, "clientConfig": client, "rules": rules, "sideEffects": "None", "admissionReviewVersions": ["v1"]} for name in names
    ]
    return {"apiVersion": "admissionregistration.k8s.io/v1", "kind": key.kind, "metadata": {"name": key.name}, "webhooks": hooks}


def bundles(kube: Kube) -> set[bytes]:
    """Whom the webhooks of both configurations trust."""
    hooks = [hook for key in (CONFIGURATION, OLDER) for hook in kube.get(key)["webhooks"]]
    return {base64.b64decode(hook["clientConfig"].get("caBundle", "")) for hook in hooks}


def versions(kube: Kube) -> list[str]:
    """The resourceVersions of all that `keep` writes."""
    return [kube.get(key)["metadata"]["resourceVersion"] for key in (SECRET, CONFIGURATION, OLDER)]


def test_replicas_that_begin_at_once_have_the_same_certificates(kube: Kube) -> None:
    """Whoever comes first makes them; then nothing is written any more."""
    now = datetime.now(UTC)
    with ThreadPoolExecutor(4) as pool:
        found = set(pool.map(lambda _: keep(kube, now), range(4)))
    (kept,) = found
    assert bundles(kube) == {kept.authorities}
    assert shakes_hands(kept, kept.authorities)
    before = versions(kube)
    assert keep(kube, now) == kept
    assert versions(kube) == before


def test_a_rotation_is_trusted_by_the_api_server_before_it_is_shown(kube: Kube) -> None:
    """All steps of a long sleep at once, each with the bundle first."""
    old = keep(kube, NOW)
    kept = keep(kube, NOW + AUTHORITY * 2 / 3)
    assert kept.chain != old.chain
    assert kept.authorities.endswith(old.authorities)
    assert trusted(kept, kept.authorities)
    assert bundles(kube) == {kept.authorities}
    assert keep(kube, NOW + AUTHORITY * 2 / 3 + DAY) == kept


@pytest.mark.parametrize("data", [{}, {"tls.crt": "bm9uZQ==", "tls.key": "bm9uZQ==", "ca.crt": "bm9uZQ==", "ca.key": "bm9uZQ=="}])
def test_a_secret_that_was_spoilt_is_made_again(kube: Kube, data: dict[str, str]) -> None:
    """In its place, and trusted."""
    keep(kube, NOW)
    keys = {"tls.crt": "", "tls.key": ""}  # a Secret of this type has them
    kube.patch(SECRET, [{"op": "replace", "path": "/data", "value": {**keys, **data}}])
    kept = keep(kube, NOW)
    assert usable(kept)
    assert bundles(kube) == {kept.authorities}


def test_without_the_older_configuration_nothing_is_missing(kube: Kube, server: Cluster) -> None:
    """It is not there, or the account may not even look: the right to it comes with it. The other one may be left to an administrator."""
    keep(kube, NOW)
    rules = [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}]
    own = {"apiGroups": ["admissionregistration.k8s.io"], "resources": ["validatingwebhookconfigurations"], "verbs": ["get", "patch"]}
    server.apply(role("alice", [*rules, own]) + role("bob", rules))
    alice, bob = (account(server.kubeconfig, user) for user in ("alice", "bob"))
    assert keep(alice, NOW) == keep(kube, NOW)
    assert keep(bob, NOW) == keep(kube, NOW)


def role(user: str, rules: list[Obj]) -> str:
    """A ClusterRole and its binding as a stream."""
    meta, group = {"name": user}, "rbac.authorization.k8s.io"
    subject, reference = {"kind": "User", "name": user, "apiGroup": group}, {"kind": "ClusterRole", "name": user, "apiGroup": group}
    made: list[Obj] = [{"kind": "ClusterRole", "rules": rules}, {"kind": "ClusterRoleBinding", "roleRef": reference, "subjects": [subject]}]
    return "".join(f"---\n{json.dumps({'apiVersion': f'{group}/v1', 'metadata': meta, **each})}\n" for each in made)
