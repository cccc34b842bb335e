"""A request of the API server (`AdmissionReview`, admission.k8s.io/v1) about a bridge, a mount or a client -> whether it may be written.

The judgement is `admission.read`, the one of `bascule check`, over the cluster without the change and with it:
- what is refused with the change and was not before, of this object, stands against it: an update that leaves alone what was bad
  already goes through;
- so does what of others could stand before and cannot with it: an older object may not be changed, nor one be born within the
  same second of the server's clock and be first by its name, so that somebody who is there already had to go.
A mount need not be ACTIVE for a bridge to be written (Gefyra demands it): the bridge waits for it.

Only the API server sees who asks: a client's account (`gefyra-client-ID`) writes and deletes its own bridges and client, and no others,
and does not say where in the cluster these lead. In Gefyra's contract (2.5, operator/gefyra/handler): which fields stay, what a client's
`providerParameter` may be, and when.
"""

from __future__ import annotations

import dataclasses
import ipaddress
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from generator.asked.admission import read
from generator.asked.client import decode_client
from generator.asked.intent import Intent, Memory
from generator.asked.values import workload
from generator.cluster.snapshot import OUR_KINDS, Key, Obj, Snapshot, key_of, labels_of
from generator.errors import Problem
from generator.names import CLIENT, CONTROL_NAMESPACE
from generator.text.printable import printable
from generator.text.walk import Place


class Verdict(NamedTuple):
    """Whether the object may be written, why not, and what its owner should know all the same."""

    allowed: bool
    message: str = ""
    warnings: tuple[str, ...] = ()


ALLOWED: Final = Verdict(True)
_ACCOUNT: Final = f"system:serviceaccount:{CONTROL_NAMESPACE}:gefyra-client-"
_UNJUDGED: Final = ("apiVersion", "kind", "metadata", "state", "stateTransitions", "status", "clusterEndpoint")
"""What the operator writes, and what says nothing about where requests go."""
_STAYS: Final = {
    "GefyraBridge": ("target", "targetNamespace", "targetContainer", "connectionProvider", "portMappings"),
    "GefyraBridgeMount": ("target", "targetNamespace", "targetContainer"),
    "GefyraClient": (),
}


def review(snapshot: Snapshot, request: Obj) -> Verdict:
    """The verdict on `request` of an AdmissionReview, a CREATE, UPDATE or DELETE, beside what the snapshot holds."""
    old, new = request.get("oldObject"), request.get("object")
    refusal = _not_theirs(str((request.get("userInfo") or {}).get("username")), old, new)
    if refusal:
        return Verdict(False, refusal)
    if not new or new["metadata"].get("deletionTimestamp") or (old and _judged(old) == _judged(new)):
        return ALLOWED
    key = key_of(new)
    if key.namespace != CONTROL_NAMESPACE:
        return Verdict(False, f"A {key.kind} is read in namespace {CONTROL_NAMESPACE} only. Please create it there.")
    changed = [field for field in _STAYS[key.kind] if old and (old.get(field) or None) != (new.get(field) or None)]
    if changed:
        return Verdict(False, f"Cannot update fields {changed}. Please create a new {key.kind}.")
    if key.kind == "GefyraClient":
        refusal = _client(snapshot, old, new)
        return Verdict(not refusal, refusal)
    return _beside(snapshot, old, new)


def _not_theirs(user: str, old: Obj | None, new: Obj | None) -> str:
    """Why a client's account may not write this; "" for everybody else, whom the roles of the cluster bind."""
    client = user.removeprefix(_ACCOUNT)
    if client == user:
        return ""
    for obj in filter(None, (old, new)):
        key = key_of(obj)
        owners = {printable(str(o)) for o in (obj.get("client"), labels_of(obj).get(CLIENT)) if o}
        if (key.kind == "GefyraBridge" and owners != {client}) or (key.kind == "GefyraClient" and key.name != client):
            owner = key.name if key.kind == "GefyraClient" else " and ".join(sorted(owners)) or "no client"
            return f"{key} belongs to {owner}; client {client} may only write and delete what is its own."
    ends = [(obj or {}).get("clusterEndpoint") or {} for obj in (old, new)]
    if new and ends[0] != ends[1]:
        return f"{key_of(new)}: clusterEndpoint says where in the cluster requests go, and is the operator's to write. Leave it out."
    return ""


def _judged(obj: Obj) -> dict[str, Any]:
    return {field: value for field, value in obj.items() if field not in _UNJUDGED and value is not None}


def _beside(snapshot: Snapshot, old: Obj | None, new: Obj) -> Verdict:
    """The verdict on a bridge or mount beside all others of the same workload."""
    key = key_of(new)
    asked = _asked(new)
    others = _near(asked, [o for o in snapshot.controls if key_of(o) != key])
    memory = Memory()  # the others are decoded once
    before = read(dataclasses.replace(snapshot, controls=(*others, _asked(old)) if old else others), memory)
    beside = read(dataclasses.replace(snapshot, controls=(*others, asked)), memory)
    known = before.problems.get(key, ())
    found = [p for p in beside.problems.get(key, ()) if p not in known]
    if refusals := [_text(p) for p in found if p.severity != "warning"] or _kept_out(before, beside, key, others):
        return Verdict(False, "\n".join(refusals))
    return Verdict(True, warnings=tuple(map(_text, found)))


def _asked(obj: Obj) -> Obj:
    """The object as in a file of its owner's, but for the time of birth: without what server and operator have written."""
    metadata = {k: v for k, v in obj["metadata"].items() if k != "uid"}
    return {k: v for k, v in obj.items() if k not in ("state", "stateTransitions", "status")} | {"metadata": metadata}


def _near(obj: Obj, others: list[Obj]) -> tuple[Obj, ...]:
    """All mounts, and the bridges on the workload that `obj` is about: the others cannot meet it."""
    mounts = {key_of(o).name: o for o in (*others, obj) if key_of(o).kind == "GefyraBridgeMount"}
    at = _workload(obj, mounts)
    kinds = {"GefyraBridgeMount": True, "GefyraClient": False}
    return tuple(o for o in others if kinds.get(key_of(o).kind, _workload(o, mounts) == at))


def _workload(obj: Obj, mounts: dict[str, Obj]) -> tuple[str, ...]:
    """What names the workload of a bridge or mount, the same for all spellings."""
    named = mounts.get(str(obj.get("target")), obj)
    text = str(named.get("target") or "")
    ref = workload(Place("", []), text, str(named.get("targetNamespace") or ""), "")
    return (ref.namespace, ref.kind, ref.name) if ref else (text,)


def _kept_out(before: Intent, beside: Intent, key: Key, others: Iterable[Obj]) -> list[str]:
    """What could stand without the change, and could not with it."""
    found = []
    for other in others:
        at = key_of(other)
        refused = [p for p in beside.problems.get(at, ()) if p.severity != "warning"]
        if refused and all(p.severity == "warning" for p in before.problems.get(at, ())):
            owner = printable(str(other.get("client") or labels_of(other).get(CLIENT) or "its owner"))
            why = f"{at} is there already, and could not stand beside {key}: {refused[0].message}"
            found.append(f"{refused[0].code}: {why}. Change yours, or ask {owner}.")
    return found


def _text(problem: Problem) -> str:
    return f"{problem.code}: {problem.place}: {problem.message}. {problem.cure}"


def _client(snapshot: Snapshot, old: Obj | None, new: Obj) -> str:
    """Why a client may not be so, of Stowaway in Gefyra's words; "" if it may. With a relay it may bring its key when it likes."""
    client, problems = decode_client(new)
    if problems:
        return "\n".join(map(_text, problems))
    parameter = new.get("providerParameter") or {}
    if (client and client.provider == "relay") or not parameter or (old and parameter == old.get("providerParameter")):
        return ""
    if not old:
        return "Cannot set 'providerParameter' when creating a Gefyra client"
    if new.get("state") != "WAITING":
        return "Cannot set 'providerParameter' when state is not WAITING"
    network = _network(parameter.get("subnet"))
    if network is None:
        return f"Cannot read the Wireguard subnet {parameter.get('subnet')!r}: it is not an IPv4 network such as 192.168.101.0/24"
    clients = [o for o in snapshot.controls if key_of(o).kind == OUR_KINDS["gefyraclient"] and key_of(o) != key_of(new)]
    taken = (_network((o.get("providerParameter") or {}).get("subnet")) for o in clients)
    return f"The Wireguard subnet '{parameter['subnet']}' is already taken." if any(n and n.overlaps(network) for n in taken) else ""


def _network(written: object) -> ipaddress.IPv4Network | None:
    try:
        return ipaddress.IPv4Network(written, strict=False) if isinstance(written, str) and "/" in written else None
    except ValueError:
        return None
