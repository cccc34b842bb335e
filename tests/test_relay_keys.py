"""Certificates for the relay, as OpenSSH reads them; who gets one, when it is renewed, and who is told why not."""

from __future__ import annotations

import base64
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from generator.asked.client import decode_client
from generator.cluster.snapshot import Key, Obj
from generator.live.failures import NotFound
from generator.live.kube import Kube
from generator.live.relay import due, renew
from generator.live.relaykeys import CA, HOST, LIFE, Keys, certificate, good, keys, line, public_key
from generator.names import RELAY_PORTS
from tests.cluster.cluster import Cluster
from tests.overlay_lab import OPERATOR, account, with_components

NOW = datetime(2026, 11, 27, 22, 30, tzinfo=UTC)
AUTHORITY, MINE = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
PUBLIC = MINE.public_key()
OWN = Keys(AUTHORITY, "ssh-ed25519 HOST")


def client(name: str = "alice", key: object = None, **more: Any) -> Obj:
    """A client that has a block of ports, and maybe a key."""
    body = {"providerParameter": {"publicKey": key}} if key is not None else {}
    metadata = {"name": name, "namespace": "gefyra", "annotations": {RELAY_PORTS: "20032"}}
    return {"apiVersion": "gefyra.dev/v1", "kind": "gefyraclient", "metadata": metadata, "provider": "relay", **body, **more}


def after(before: Obj, now: datetime = NOW) -> Obj:
    """The client when it has been given what it was due."""
    found: Obj = merged(before, due(before, 20032, OWN, now))
    return found


def merged(before: Any, patch: Any) -> Any:
    """RFC 7386."""
    if not isinstance(patch, dict):
        return patch
    result = dict(before) if isinstance(before, dict) else {}
    for key, value in patch.items():
        if value is None:
            result.pop(key, None)
        else:
            result[key] = merged(result.get(key), value)
    return result


# ---- certificates


def test_openssh_reads_what_is_signed(tmp_path: Path) -> None:
    """By its own words: whose, what for, how long, and no right but one."""
    (tmp_path / "x-cert.pub").write_text(certificate(AUTHORITY, PUBLIC, "alice", 20032, NOW))
    (tmp_path / "ca.pub").write_text(line(AUTHORITY.public_key()))
    environment = {"TZ": "UTC", "PATH": "/usr/bin:/bin"}
    shown = [["ssh-keygen", "-L", "-f", str(tmp_path / "x-cert.pub")], ["ssh-keygen", "-l", "-f", str(tmp_path / "ca.pub")]]
    said, ca = (subprocess.run(each, env=environment, capture_output=True, text=True, check=True).stdout for each in shown)
    words = re.sub(r"\s+", " ", said)

    assert "Type: ssh-ed25519-cert-v01@openssh.com user certificate" in words
    assert f"Signing CA: ED25519 {ca.split()[1]}" in words
    assert 'Key ID: "bascule:alice:20032-20063"' in words
    assert "Valid: from 2026-11-27T22:25:00 to 2026-11-28T02:30:00 Principals: relay Critical Options: (none)" in words
    assert words.strip().endswith("Extensions: permit-port-forwarding")


@given(st.integers(-20_000, 20_000))
def test_a_certificate_is_good_for_half_of_its_life(seconds: int) -> None:
    """From five minutes before it was made; then it is renewed, so that a laptop has the other half to fetch the next."""
    text = certificate(AUTHORITY, PUBLIC, "alice", 20032, NOW)
    assert good(text, AUTHORITY, PUBLIC, "alice", 20032, NOW + timedelta(seconds=seconds)) == (-300 <= seconds < LIFE.total_seconds() / 2)


@pytest.mark.parametrize(
    "text",
    [
        certificate(Ed25519PrivateKey.generate(), PUBLIC, "alice", 20032, NOW),
        certificate(AUTHORITY, Ed25519PrivateKey.generate().public_key(), "alice", 20032, NOW),
        certificate(AUTHORITY, PUBLIC, "bob", 20032, NOW),
        certificate(AUTHORITY, PUBLIC, "alice", 20064, NOW),
        certificate(AUTHORITY, PUBLIC, "alice", 20032, NOW)[:-20],
        line(PUBLIC),
        *("", "ssh-ed25519-cert-v01@openssh.com AAAA", None, 7, {}),
    ],
)
def test_all_else_is_made_again(text: object) -> None:
    """Another authority, key, name or block, and what is no certificate."""
    assert not good(text, AUTHORITY, PUBLIC, "alice", 20032, NOW)


# ---- keys of users


@pytest.mark.parametrize("text", [line(PUBLIC), f"{line(PUBLIC)} me@laptop\n", f"  {line(PUBLIC)} two words "])
def test_a_public_key_is_the_line_of_ssh_keygen(text: str) -> None:
    """With its comment, and with the end of its line."""
    assert good(after(client(key=text))["providerConfig"]["certificate"], AUTHORITY, PUBLIC, "alice", 20032, NOW)


def openssh(key: Any) -> str:
    """Any public key as a line."""
    text: str = key.public_key().public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()
    return text


BODY = line(PUBLIC).split()[1]
BAD = {
    "nothing": "",
    "no text": ["ssh-ed25519"],
    "two keys": f"{line(PUBLIC)}\n{line(AUTHORITY.public_key())}",
    "two keys, by another end of a line": f"{line(PUBLIC)}\u2028{line(AUTHORITY.public_key())}",
    "options": f'permitlisten="*:1" {line(PUBLIC)}',
    "a mark of an authority": f"cert-authority {line(PUBLIC)}",
    "RSA": openssh(rsa.generate_private_key(65537, 2048)),
    "ECDSA": openssh(ec.generate_private_key(ec.SECP256R1())),
    "RSA that calls itself Ed25519": "ssh-ed25519 " + openssh(rsa.generate_private_key(65537, 2048)).split()[1],
    "a certificate": certificate(AUTHORITY, PUBLIC, "alice", 20032, NOW),
    "a certificate that calls itself a key": "ssh-ed25519 " + certificate(AUTHORITY, PUBLIC, "alice", 20032, NOW).split()[1],
    "a private key": MINE.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()
    ).decode(),
    "half a key": f"ssh-ed25519 {BODY[:40]}",
    "more than a key": f"ssh-ed25519 {base64.b64encode(base64.b64decode(BODY) + b'x').decode()}",
    "no base64": "ssh-ed25519 AAAA*!",
    "no key": "ssh-ed25519",
    "other letters": f"ssh-ed25519 {BODY[:-1]}é",
}


@pytest.mark.parametrize("text", [*BAD.values(), None], ids=[*BAD, "disconnected"])
def test_what_is_no_key_is_never_signed(text: object) -> None:
    """The client gets no certificate and loses the one it had, once; with a key it gets one again."""
    had = after(client(key=line(PUBLIC)))
    told = after({**had, "providerParameter": {"publicKey": text} if text is not None else {}})

    assert "providerConfig" not in told
    assert due(told, 20032, OWN, NOW) == {}
    mended = after({**told, "providerParameter": {"publicKey": line(PUBLIC)}})
    assert good(mended["providerConfig"]["certificate"], AUTHORITY, PUBLIC, "alice", 20032, NOW)


@given(st.one_of(st.text(), st.text().map(lambda t: f"ssh-ed25519 {t}"), st.binary(max_size=60).map(base64.b64encode).map(bytes.decode)))
def test_any_text_is_a_key_or_refused_in_words(text: str) -> None:
    """Nothing else happens: what is a key can be signed."""
    found, problems = decode_client(client(key=text))
    assert (found is None) == bool(problems)
    if found and found.public_key:
        assert line(public_key(found.public_key)) == found.public_key


# ---- renewal


@given(st.lists(st.integers(1, 400), min_size=1, max_size=12))
def test_a_laptop_that_follows_never_lacks_a_good_certificate(minutes: list[int]) -> None:
    """Looked at whenever: what it has then is good for half of its life at least, nothing is written twice, and the key is its own."""
    obj, now = client(key=line(PUBLIC)), NOW
    for pause in minutes:
        now += timedelta(minutes=pause)
        obj = after(obj, now)
        assert due(obj, 20032, OWN, now) == {}
        held = serialization.load_ssh_public_identity(obj["providerConfig"]["certificate"].encode())
        assert isinstance(held, serialization.SSHCertificate)
        assert held.valid_before > (now + LIFE / 2).timestamp()
        assert obj["providerConfig"] == {**obj["providerConfig"], "hostKey": OWN.host, "user": "relay", "ports": "20032-20063"}
        assert good(obj["providerConfig"]["certificate"], AUTHORITY, PUBLIC, "alice", 20032, now)


def test_another_key_gets_another_certificate() -> None:
    """At once, and what somebody else has put beside it goes."""
    other = Ed25519PrivateKey.generate().public_key()
    had = after(client(key=line(PUBLIC)))
    now = after({**had, "providerConfig": {**had["providerConfig"], "command": "rm"}, "providerParameter": {"publicKey": line(other)}})
    assert good(now["providerConfig"]["certificate"], AUTHORITY, other, "alice", 20032, NOW)
    assert set(now["providerConfig"]) == {"certificate", "hostKey", "user", "ports"}


# ---- on a real API server, with the operator's own rights


@pytest.fixture(scope="module")
def installed(server: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """With the relay's component."""
    found = with_components(tmp_path_factory.mktemp("overlay"), "relay")
    server.apply(found)
    server.kubectl("delete", "validatingwebhookconfiguration", "gefyra.dev")  # nobody answers here
    return server


def emptied(admin: Kube) -> None:
    """As the overlay makes them."""
    for key in (CA, HOST):
        admin.merge(key, {"data": None})


def test_of_many_operators_one_makes_the_keys(installed: Cluster) -> None:
    """All then have the same, the relay's Secret trusts the authority, and asking again writes nothing."""
    admin = account(installed.kubeconfig)
    emptied(admin)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda _: keys(account(installed.kubeconfig, OPERATOR)), range(6)))
    assert len({(line(each.authority.public_key()), each.host) for each in found}) == 1
    host = admin.get(HOST)
    assert base64.b64decode(host["data"]["user_ca.pub"]).decode() == f"{line(found[0].authority.public_key())}\n"
    versions = [admin.get(key)["metadata"]["resourceVersion"] for key in (CA, HOST)]
    keys(account(installed.kubeconfig, OPERATOR))
    assert [admin.get(key)["metadata"]["resourceVersion"] for key in (CA, HOST)] == versions


@pytest.mark.parametrize("name", ["ca", "host_key", "user_ca.pub"])
def test_a_key_that_somebody_has_broken_is_made_again(installed: Cluster, name: str) -> None:
    """The others stay as they were, but for the trust in a new authority."""
    admin, operator = account(installed.kubeconfig), account(installed.kubeconfig, OPERATOR)
    before = keys(operator)
    admin.merge(CA if name == "ca" else HOST, {"data": {name: "eA=="}})
    now = keys(operator)
    same = line(now.authority.public_key()) == line(before.authority.public_key())
    assert same == (name != "ca")
    assert (now.host == before.host) == (name != "host_key")
    assert base64.b64decode(admin.get(HOST)["data"]["user_ca.pub"]).decode() == f"{line(now.authority.public_key())}\n"


def test_without_a_relay_there_is_nothing_to_make(installed: Cluster) -> None:
    """The operator cannot make Secrets: it says that they are not there."""
    admin = account(installed.kubeconfig)
    admin.delete(HOST)
    with pytest.raises(NotFound):
        keys(account(installed.kubeconfig, OPERATOR))
    admin.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": HOST.name, "namespace": "gefyra"}})


def test_clients_are_certified_each_for_itself(installed: Cluster) -> None:
    """Those of the relay that have a block and a key; a bad key hinders nobody else; a second look writes nothing."""
    admin, operator = account(installed.kubeconfig), account(installed.kubeconfig, OPERATOR)
    made = [
        client("good", line(PUBLIC)),
        client("bad", "ssh-rsa AAAA"),
        client("later"),
        client("elsewhere", line(PUBLIC), provider="stowaway"),
    ]
    blockless = client("blockless", line(PUBLIC))
    blockless["metadata"].pop("annotations")
    odd = client("odd", line(PUBLIC))
    odd["metadata"]["annotations"] = {RELAY_PORTS: "20033"}
    for each in (*made, blockless, odd):
        admin.create(each)

    def listed() -> dict[str, Obj]:
        return {o["metadata"]["name"]: o for o in admin.list_objects("GefyraClient", "gefyra")[0]}

    renew(operator, listed().values(), NOW)
    found = listed()
    own = keys(operator)
    assert {name for name, each in found.items() if each.get("providerConfig")} == {"good"}
    assert good(found["good"]["providerConfig"]["certificate"], own.authority, PUBLIC, "good", 20032, NOW)
    renew(operator, found.values(), NOW)
    assert listed() == found
    renew(operator, found.values(), NOW + LIFE / 2)
    later = listed()
    assert {name for name in found if later[name] != found[name]} == {"good"}
    for name in found:
        admin.delete(Key("GefyraClient", "gefyra", name))


def test_a_client_that_has_changed_meanwhile_is_left_for_the_next_look(installed: Cluster) -> None:
    """A certificate is never written beside another key than the one it is for; one that is gone is no error."""
    admin, operator = account(installed.kubeconfig), account(installed.kubeconfig, OPERATOR)
    old = admin.create(client("quick", line(PUBLIC)))
    admin.merge(Key("GefyraClient", "gefyra", "quick"), {"providerParameter": {"publicKey": line(AUTHORITY.public_key())}})
    renew(operator, [old], NOW)
    assert "providerConfig" not in admin.get(Key("GefyraClient", "gefyra", "quick"))
    admin.delete(Key("GefyraClient", "gefyra", "quick"))
    renew(operator, [old], NOW)
