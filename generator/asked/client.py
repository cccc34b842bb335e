"""A GefyraClient, a user's machine, -> Client, or every Problem of the object.

Gefyra 2.5's schema with one provider more: `relay`, whose providerParameter is {publicKey}. What is secret in it is not read.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass, field
from typing import Any, Final, Literal

from generator.asked.controls import COMMON, name_of, note_of, opened
from generator.asked.values import port_number, utc
from generator.errors import Problem
from generator.names import RELAY_PORTS
from generator.text.walk import Kind, Place, fields, shown


@dataclass(frozen=True, slots=True)
class Client:
    """A user's machine and how it is connected.

    created, sunset, obj: as in Mount. public_key: for `relay`, "ssh-ed25519 BASE64" without its comment; "" while there is none.
    subnet: for `stowaway`, the machine's network as it is written; "" while it is not connected.
    block: for `relay`, the first of the client's ports that is noted on it, 0 if none is.
    account: its ServiceAccount, "" while it has none. configured: whether the operator has given it what it needs to connect.
    """

    name: str
    created: str
    provider: Literal["stowaway", "relay"]
    public_key: str
    subnet: str
    block: int
    account: str
    configured: bool
    sunset: str
    obj: dict[str, Any] = field(repr=False)


_CLIENT: Final[dict[str, Kind]] = {
    **COMMON,
    "provider": ("relay", "stowaway"),
    "providerConfig": dict,
    "serviceAccountName": str,
    "serviceAccountData": object,
    "maxConnectionAge": int,
    "lastClientContact": str,
}
_TYPE: Final = "ssh-ed25519"
_HEAD: Final = b"\0\0\0\x0bssh-ed25519\0\0\0\x20"
"""Of a public key's blob, before its 32 bytes (RFC 8709, section 4)."""


def decode_client(obj: object) -> tuple[Client | None, tuple[Problem, ...]]:
    """A GefyraClient as a Client, or None and everything that is wrong with it."""
    place, values, created = opened(obj, "GefyraClient", _CLIENT)
    if not isinstance(obj, dict) or not values:
        return None, tuple(place.problems)
    if "provider" not in values and not place.field("provider").reported:
        place.field("provider").report("WrongType", "provider is missing", "Write provider: relay, for example.")
    at = place.field("providerParameter")
    parameter = fields(at, values.get("providerParameter", {}), {"publicKey": str, "subnet": str})
    key = _public_key(at.field("publicKey"), parameter.get("publicKey", ""))
    sunset = utc(place.field("sunset"), values.get("sunset", ""))
    if place.problems:
        return None, tuple(sorted(place.problems))
    client = Client(
        name=name_of(obj),
        created=created,
        provider=values["provider"],
        public_key=key,
        subnet=parameter.get("subnet", ""),
        block=port_number(note_of(obj, RELAY_PORTS)),
        account=values.get("serviceAccountName", ""),
        configured=bool(values.get("providerConfig")),
        sunset=sunset,
        obj=obj,
    )
    return client, ()


def _public_key(place: Place, written: str) -> str:
    """The type and blob of an OpenSSH public key, "" for "": one line, no options, ed25519 alone."""
    if not written:
        return ""
    kind, _, rest = written.strip().partition(" ")
    text = rest.partition(" ")[0]
    try:
        blob = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        blob = b""
    whole = blob.startswith(_HEAD) and len(blob) == len(_HEAD) + 32 and base64.b64encode(blob).decode() == text
    if kind == _TYPE and whole and written.strip().isprintable():
        return f"{kind} {text}"
    cure = "Give the one line of id_ed25519.pub that `ssh-keygen -t ed25519` writes: ssh-ed25519 AAAA..."
    place.report("WrongType", f"{shown(written)} is not an ed25519 public key", cure)
    return ""
