"""Who may use the relay: an authority for users and a key of the relay, made by us; certificates for the keys of users.

    Secret gefyra/bascule-relay-ca      ca                     signs certificates; only the operator reads it
    Secret gefyra/bascule-relay-host    host_key, user_ca.pub  what the relay's sshd is given
A certificate allows one thing, to have ports forwarded; its key id says which (relay/image/principals). A user's private key never
leaves his machine. Keys are Ed25519 (RFC 8032); certificates are OpenSSH's (PROTOCOL.certkeys).
"""

from __future__ import annotations

import base64
import contextlib
import logging
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from generator.cluster.snapshot import Key, Obj
from generator.live.failures import Conflict, Invalid
from generator.live.kube import Kube, guard
from generator.names import CONTROL_NAMESPACE, RELAY, RELAY_BLOCK

_log: Final = logging.getLogger(__name__)
CA: Final = Key("Secret", CONTROL_NAMESPACE, f"{RELAY}-ca")
HOST: Final = Key("Secret", CONTROL_NAMESPACE, f"{RELAY}-host")
PRINCIPAL: Final = "relay"
"""The account in the relay, and the only principal that its sshd takes."""
LIFE: Final = timedelta(hours=4)
"""How long a certificate is good, and so how long one of a client that was refused since can be."""
_SKEW: Final = timedelta(minutes=5)
"""How far behind the relay's clock may be."""
_ATTEMPTS: Final = 5


class Keys(NamedTuple):
    """The authority, and the relay's public key as a line of OpenSSH."""

    authority: Ed25519PrivateKey
    host: str


def keys(kube: Kube) -> Keys:
    """What the two Secrets hold; what they lack is made. Raises NotFound where no relay is installed, another KubeError; call again."""
    for _ in range(_ATTEMPTS):
        secret, host = kube.get(CA), kube.get(HOST)
        authority, own = _private(secret, "ca"), _private(host, "host_key")
        with contextlib.suppress(Conflict, Invalid):  # another replica was faster: what it has made is read then
            if authority is None:
                _log.info("new authority for users of the relay: certificates of the one before are void")
                _write(kube, CA, secret, {"ca": _private_text(Ed25519PrivateKey.generate())})
                continue
            trusted = f"{line(authority.public_key())}\n"
            if own is None or _data(host, "user_ca.pub") != trusted.encode():
                own = own or Ed25519PrivateKey.generate()
                _write(kube, HOST, host, {"host_key": _private_text(own), "user_ca.pub": trusted})
            return Keys(authority, line(own.public_key()))
    raise Conflict(f"{CA} and {HOST} change all the time")


def public_key(text: str) -> Ed25519PublicKey:
    """The key in a Client's `public_key`."""
    found = serialization.load_ssh_public_key(text.encode())
    assert isinstance(found, Ed25519PublicKey)
    return found


def key_id(client: str, first: int) -> str:
    """What a certificate is called: the client, and the ports on which it may listen. first: of its block."""
    return f"bascule:{client}:{first}-{first + RELAY_BLOCK - 1}"


def certificate(authority: Ed25519PrivateKey, key: Ed25519PublicKey, client: str, first: int, now: datetime) -> str:
    """A certificate for `key` as a line of OpenSSH: good from now on for LIFE, for port forwarding alone. now: with a zone."""
    made = (
        serialization.SSHCertificateBuilder()
        .public_key(key)
        .type(serialization.SSHCertificateType.USER)
        .key_id(key_id(client, first).encode())
        .valid_principals([PRINCIPAL.encode()])
        .valid_after(int((now - _SKEW).timestamp()))
        .valid_before(int((now + LIFE).timestamp()))
        .add_extension(b"permit-port-forwarding", b"")
    )
    return made.sign(authority).public_bytes().decode()


def good(text: object, authority: Ed25519PrivateKey, key: Ed25519PublicKey, client: str, first: int, now: datetime) -> bool:
    """Whether `text` is a certificate as `certificate` makes it, of which less than half of its life has gone."""
    if not isinstance(text, str):
        return False
    try:
        found = serialization.load_ssh_public_identity(text.encode())
        if not isinstance(found, serialization.SSHCertificate):
            return False
        found.verify_cert_signature()
    except (ValueError, UnsupportedAlgorithm, InvalidSignature):
        return False
    same = (found.public_key(), found.signature_key(), found.key_id.decode("utf-8", "replace")) == (
        key,
        authority.public_key(),
        key_id(client, first),
    )
    return same and found.valid_after <= now.timestamp() < found.valid_before - LIFE.total_seconds() / 2


def line(key: Ed25519PublicKey) -> str:
    """A public key as OpenSSH writes it, without a comment."""
    return key.public_bytes(serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH).decode()


def _data(secret: Obj, name: str) -> bytes | None:
    try:
        return base64.b64decode((secret.get("data") or {})[name], validate=True)
    except (KeyError, ValueError):
        return None


def _private(secret: Obj, name: str) -> Ed25519PrivateKey | None:
    """The key under a name of a Secret; None where there is none that can be used: it is made again."""
    try:
        found = serialization.load_ssh_private_key(_data(secret, name) or b"", None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    return found if isinstance(found, Ed25519PrivateKey) else None


def _private_text(key: Ed25519PrivateKey) -> str:
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()).decode()


def _write(kube: Kube, key: Key, secret: Obj, data: dict[str, str]) -> None:
    encoded = {name: base64.b64encode(text.encode()).decode() for name, text in data.items()}
    kube.patch(key, [guard(secret), {"op": "add", "path": "/data", "value": encoded}])
