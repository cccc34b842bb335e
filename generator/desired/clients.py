"""Clients -> their state, in Gefyra's words: what each waits for before its bridges can reach it.

relay      REQUESTED (not installed), WAITING for a public key, ENABLING until it has a certificate, ACTIVE
stowaway   REQUESTED (not installed), CREATING its account, WAITING for a subnet, ACTIVE with the keys of a peer
"""

from __future__ import annotations

from generator import names
from generator.asked.client import Client
from generator.asked.intent import Intent
from generator.cluster.relay import relay_of
from generator.cluster.snapshot import Obj, Snapshot, annotations_of, key_of
from generator.connections import stowaway
from generator.connections.part import Part
from generator.desired.status import Condition, line, not_accepted, reported

_ACCEPTED: Condition = ("Accepted", True, "Accepted", "nothing stands against it")


def with_state(snapshot: Snapshot, intent: Intent, part: Part) -> list[tuple[Obj, str]]:
    """Every client with its ports, state and conditions, and the reason of a change. Those that expire are left out."""
    known = {client.name: client for client in intent.clients}
    result = []
    for obj in snapshot.controls:
        key = key_of(obj)
        if key.kind != "GefyraClient" or key in intent.expired or obj["metadata"].get("deletionTimestamp"):
            continue
        own, client = intent.problems.get(key, ()), known.get(key.name)
        state, conditions = ("ERROR", [not_accepted(list(own))]) if client is None else _judged(snapshot, client, part)
        problems = [*map(line, own), *map(line, part.problems.get(key.name, ()))]
        noted = _noted(obj, part.notes.get(key.name, {}).get(names.RELAY_PORTS, ""))
        result.append((reported(noted, state, conditions, {"problems": problems}, snapshot.now), f"state {state}: {conditions[-1][3]}"))
    return result


def _judged(snapshot: Snapshot, client: Client, part: Part) -> tuple[str, list[Condition]]:
    if problems := part.problems.get(client.name):
        return "ERROR", [_ACCEPTED, ("Programmed", False, problems[0].code, f"{problems[0].message}. {problems[0].cure}")]
    if not (relay_of(snapshot) if client.provider == "relay" else stowaway.is_installed(snapshot)):
        return _waits("REQUESTED", "NotInstalled", f"{client.provider} is not installed in this cluster")
    if client.provider == "stowaway" and not client.account:
        return _waits("CREATING", "NoAccount", "its ServiceAccount is being made")
    if not (client.public_key if client.provider == "relay" else client.subnet):
        asked = "publicKey" if client.provider == "relay" else "subnet"
        return _waits("WAITING", "NotConnected", f"providerParameter.{asked} connects it")
    if not client.configured:
        return _waits("ENABLING", "NoCertificate", "its certificate is being signed")
    return "ACTIVE", [_ACCEPTED, ("Programmed", True, "Programmed", "it has what it needs to connect")]


def _waits(state: str, reason: str, message: str) -> tuple[str, list[Condition]]:
    return state, [_ACCEPTED, ("Programmed", False, reason, message)]


def _noted(obj: Obj, block: str) -> Obj:
    notes = annotations_of(obj)
    if not block or notes.get(names.RELAY_PORTS) == block:
        return obj
    return {**obj, "metadata": {**obj["metadata"], "annotations": {**notes, names.RELAY_PORTS: block}}}
