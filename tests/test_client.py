"""GefyraClients: what is read of them, what is refused, and what never enters a snapshot."""

from __future__ import annotations

import base64
import copy
import json
from typing import Any

import pykube
import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator.asked.client import decode_client
from generator.asked.review import review
from generator.cli.data import masked
from generator.cluster.snapshot import Obj, Snapshot, key_of
from generator.desired.generate import generate
from generator.live.events import events_for
from generator.live.kube import Kube
from generator.live.mirror import Mirror
from generator.live.reading import trimmed
from generator.plan import plan
from generator.simulate import apply, world
from tests import kube
from tests.kube import NOW, PUBLIC_KEY, client

SECRET = {"Interface.PrivateKey": "hidden-1", "certificate": "hidden-2"}
TOKEN = {"token": "hidden-3", "ca.crt": "hidden-4", "namespace": "hidden-5"}


def test_a_relay_client_is_read() -> None:
    """The key without its comment, the block that is noted, the account, and that it is configured."""
    notes: Obj = {"metadata": {"annotations": {"bascule.dev/relay-ports": "20032"}}}
    made = client("alice", providerParameter={"publicKey": PUBLIC_KEY}, providerConfig=SECRET, serviceAccountName="x", **notes)
    found, problems = decode_client(made)

    assert problems == ()
    assert found is not None
    assert (found.name, found.provider, found.block, found.account, found.configured) == ("alice", "relay", 20032, "x", True)
    assert found.public_key == PUBLIC_KEY.rpartition(" ")[0]


def blob(kind: bytes = b"ssh-ed25519", key: bytes = b"k" * 32) -> str:
    """A public key's second word."""
    return base64.b64encode(len(kind).to_bytes(4, "big") + kind + len(key).to_bytes(4, "big") + key).decode()


@pytest.mark.parametrize(
    "text",
    [
        "x",
        f"ssh-rsa {blob(b'ssh-rsa')}",
        f"ssh-ed25519 {blob(b'ssh-rsa')}",
        f"ssh-ed25519 {blob(key=b'k' * 31)}",
        f"ssh-ed25519 {blob()}=",
        f"ssh-ed25519  {blob()}",
        f'command="sh" ssh-ed25519 {blob()}',
        f"cert-authority ssh-ed25519 {blob()}",
        f"ssh-ed25519 {blob()}\nssh-ed25519 {blob()}",
        f"ssh-ed25519 {blob()} a\x00b",
        f"ssh-ed25519-cert-v01@openssh.com {blob(b'ssh-ed25519-cert-v01@openssh.com')}",
    ],
)
def test_other_keys_are_refused(text: str) -> None:
    """Another kind, another length, options, two lines: a problem with the place, and an example."""
    found, (problem,) = decode_client(client("alice", providerParameter={"publicKey": text}))

    assert found is None
    assert (problem.code, problem.place) == ("WrongType", "GefyraClient gefyra/alice: providerParameter.publicKey")
    assert "ssh-keygen" in problem.cure


@pytest.mark.parametrize("end", ["", "\n", " alice@laptop", " a b\n"])
def test_a_key_file_as_it_is_written_is_a_key(end: str) -> None:
    """With and without a comment, and with the end of its line."""
    found, problems = decode_client(client("alice", providerParameter={"publicKey": f"ssh-ed25519 {blob()}{end}"}))

    assert (found and found.public_key, problems) == (f"ssh-ed25519 {blob()}", ())


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5), lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner)
)
FIELDS = ("provider", "providerParameter", "providerConfig", "serviceAccountName", "metadata", "sunset", "kind", "x")


@given(st.dictionaries(st.sampled_from(FIELDS), JUNK, max_size=3))
def test_whatever_is_written_is_read_or_refused(changes: dict[str, Any]) -> None:
    """A client or problems, never both, never neither, and no exception."""
    found, problems = decode_client({**client("alice"), **changes})

    assert (found is None) == bool(problems)


@given(st.dictionaries(st.text(), JUNK, max_size=3) | st.none(), st.none() | st.just(TOKEN))
def test_what_is_secret_stays_out_of_a_snapshot(config: Obj | None, token: Obj | None) -> None:
    """Of the configuration the ports are left and a digest, which differs when anything does; nothing else is touched."""
    made = client("alice", providerConfig={**config, **SECRET, "ports": "20000-20031"} if config is not None else None)
    made |= {"serviceAccountData": token} if token else {}
    before = copy.deepcopy(made)
    shown = trimmed(made)
    other = trimmed({**made, "providerConfig": {"ports": "20000-20031", "certificate": "another"}})

    assert "hidden" not in json.dumps(shown)
    assert made == before
    assert (shown["providerConfig"] or {}).keys() == ({"ports", "digest"} if config is not None else set())
    assert shown["providerConfig"] != other["providerConfig"]
    assert {k: v for k, v in shown.items() if k != "providerConfig"} == {
        k: v for k, v in made.items() if k not in ("providerConfig", "serviceAccountData")
    }


def test_the_mirror_forgets_what_is_secret() -> None:
    """Also in the server's answer to a write of ours, which comes whole."""
    told: list[Obj | None] = []
    mirror = Mirror(Kube(pykube.KubeConfig(kube.NOBODY)), lambda _key, _before, after: told.append(after))
    made = client("alice", providerConfig=SECRET, serviceAccountData=TOKEN)
    mirror.saw(key_of(made), made)

    assert mirror.get(key_of(made)) == told[0]
    assert "hidden" not in json.dumps(told)
    assert mirror.snapshot(NOW).controls == (told[0],)


def test_what_is_secret_in_a_file_is_not_printed() -> None:
    """A file may hold whole clients, as kubectl prints them."""
    assert "hidden" not in json.dumps(masked(client("alice", providerConfig=SECRET, serviceAccountData=TOKEN)))


# ---- its life


KEY = {"publicKey": PUBLIC_KEY}
NETWORK = {"subnet": "172.21.0.0/16"}


@pytest.mark.parametrize(
    ("installed", "more", "state", "reason"),
    [
        ([], {}, "REQUESTED", "NotInstalled"),
        (kube.stowaway(), {}, "REQUESTED", "NotInstalled"),
        (kube.relay(), {}, "WAITING", "NotConnected"),
        (kube.relay(), {"providerConfig": SECRET}, "WAITING", "NotConnected"),
        (kube.relay(), {"providerParameter": KEY}, "ENABLING", "NoCertificate"),
        (kube.relay(), {"providerParameter": KEY, "providerConfig": SECRET}, "ACTIVE", "Programmed"),
        (kube.relay(), {"provider": "stowaway"}, "REQUESTED", "NotInstalled"),
        (kube.stowaway(), {"provider": "stowaway"}, "CREATING", "NoAccount"),
        (kube.stowaway(), {"provider": "stowaway", "serviceAccountName": "x"}, "WAITING", "NotConnected"),
        (kube.stowaway(), {"provider": "stowaway", "serviceAccountName": "x", "providerParameter": NETWORK}, "ERROR", "PeersUnmanaged"),
        (
            kube.stowaway(),
            {"provider": "stowaway", "serviceAccountName": "x", "providerParameter": NETWORK, "providerConfig": SECRET},
            "ACTIVE",
            "Programmed",
        ),
        (kube.relay(), {"provider": "wireguard"}, "ERROR", "ObjectInvalid"),
    ],
)
def test_a_client_says_what_it_waits_for(installed: list[Obj], more: Obj, state: str, reason: str) -> None:
    """In Gefyra's words, with a condition that says why; written once, and ready for Gefyra's command line from WAITING on."""
    made = trimmed({**client("alice"), **more})
    snapshot = Snapshot.of([*installed, made], NOW)
    after = world([*installed, made])
    for change in plan(snapshot, generate(snapshot, frozenset())):
        after = apply(after, change, NOW)
    found = after[key_of(made)]

    assert found["state"] == state
    assert list(found["stateTransitions"]) == [state]
    assert found["status"]["conditions"][-1]["reason"] == reason
    assert not [c for c in plan(*_again(after.values())) if c.key == key_of(made)]
    (event,) = events_for(made, found, NOW)
    assert (event["reason"] == "Ready") == (state in ("WAITING", "ACTIVE"))


def _again(objects: Any) -> Any:
    snapshot = Snapshot.of(objects, NOW)
    return snapshot, generate(snapshot, frozenset())


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (None, {"providerParameter": KEY}, ""),
        ({"state": "ACTIVE"}, {"state": "ACTIVE", "providerParameter": KEY}, ""),
        (None, {"providerParameter": {"publicKey": "ssh-rsa AAAA"}}, "WrongType: GefyraClient gefyra/alice: providerParameter.publicKey"),
        (None, {"providerParameter": {"key": PUBLIC_KEY}}, "UnknownField: GefyraClient gefyra/alice: providerParameter.key"),
    ],
)
def test_a_relay_client_brings_its_key_when_it_likes(old: Obj | None, new: Obj, said: str) -> None:
    """At birth or later, in any state; what is no key is refused at once."""
    request = {"object": {**client("alice"), **new}, "oldObject": {**client("alice"), **old} if old is not None else None}
    verdict = review(Snapshot.of([], NOW), request)

    assert verdict.message.startswith(said)
    assert verdict.allowed == (not said)
