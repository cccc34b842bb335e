"""The user's machine as a GefyraClient: its key goes in, its certificate and the address of the relay come out."""

from __future__ import annotations

import base64
from typing import Final, NamedTuple

from generator.cluster.relay import REPORT
from generator.cluster.snapshot import Key, Obj
from generator.errors import BasculeError
from generator.live.failures import Conflict, Invalid, NotFound, Refused
from generator.live.kube import Kube
from generator.names import API_VERSION, CONTROL_NAMESPACE

RELAY_PORT: Final = 2222
"""Of its sshd, on the Pod's loopback; relay/image/relay."""
_SERVER_FAILED: Final = 500
"""HTTP statuses from here on say nothing of what was asked (RFC 9110, section 15.6)."""


class NotYet(BasculeError):
    """The operator has not done its part yet; says what is missing."""


class NoClients(BasculeError):
    """The cluster does not know what a client is."""


class Unusable(BasculeError):
    """The client of that name is not one of the relay's, is another machine's, or the cluster does not take it."""


class Access(NamedTuple):
    """What a session needs: the certificate of the user's key, the relay's key, the account there, and the relay's own address."""

    certificate: str
    host_key: str
    user: str
    address: str


def key_of_client(name: str) -> Key:
    """The Key of a client."""
    return Key("GefyraClient", CONTROL_NAMESPACE, name)


def put(kube: Kube, name: str, public: str, *, replace: bool) -> bool:
    """Let the client be there with this public key; whether another key stood in its place.

    replace: take the place of another key. Raises Unusable, NoClients, KubeError.
    """
    key, parameter = key_of_client(name), {"publicKey": public}
    metadata = {"name": name, "namespace": CONTROL_NAMESPACE}
    fresh = {"apiVersion": API_VERSION, "kind": "gefyraclient", "metadata": metadata, "provider": "relay", "providerParameter": parameter}
    try:
        try:
            found = kube.get(key)
        except NotFound:
            if _created(kube, fresh):
                return False
            found = kube.get(key)
        if found["provider"] != "relay":
            raise Unusable(f"it is connected by {found['provider']}")
        before = (found.get("providerParameter") or {}).get("publicKey")
        other = bool(before) and _blob(str(before)) != _blob(public)
        if other and not replace:
            raise Unusable(f"it is used from another machine; --client {name} takes it over")
        if other or not before:
            kube.merge(key, {"providerParameter": parameter})
    except (Invalid, NotFound, Refused) as error:
        if error.status >= _SERVER_FAILED:
            raise
        raise Unusable(str(error)) from error
    return other


def _created(kube: Kube, fresh: Obj) -> bool:
    """Whether it is made; not if another command was faster."""
    try:
        kube.create(fresh)
    except Conflict:
        return False
    except NotFound as error:
        raise NoClients(str(error)) from error
    return True


def access(kube: Kube, name: str, public: str) -> Access:
    """What the operator has granted to the client's key. Raises NotYet, KubeError."""
    client = kube.get(key_of_client(name))
    config = client.get("providerConfig") or {}
    if not all(config.get(field) for field in ("certificate", "hostKey", "user")):
        raise NotYet(f"the operator to certify the key of client {name}{_reason(client)}")
    if certified(str(config["certificate"])) != _blob(public):
        raise NotYet(f"the operator to certify the new key of client {name}")
    try:
        address = (kube.get(REPORT).get("data") or {}).get("address")
    except NotFound:
        address = ""
    if not address:
        raise NotYet(f"the relay to say where it is, in {REPORT}")
    return Access(str(config["certificate"]), str(config["hostKey"]), str(config["user"]), str(address))


def certified(certificate: str) -> bytes:
    """The ed25519 key in an OpenSSH certificate, b"" if there is none (PROTOCOL.certkeys: type, nonce, key)."""
    return _fields(certificate, 3)


def _blob(public: str) -> bytes:
    return _fields(public, 2)


def _fields(line: str, number: int) -> bytes:
    """The `number`th text of the base64 part of a key in OpenSSH's form."""
    try:
        data, at, found = base64.b64decode(line.split()[1], validate=True), 0, b""
        for _ in range(number):
            length = int.from_bytes(data[at : at + 4], "big")
            found, at = data[at + 4 : at + 4 + length], at + 4 + length
    except (IndexError, ValueError):
        return b""
    return found


def _reason(client: Obj) -> str:
    conditions = (client.get("status") or {}).get("conditions") or ()
    return next((f": {c['message']}" for c in conditions if c.get("status") == "False"), "")
