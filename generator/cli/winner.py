"""A snapshot and what should exist -> who gets a request, by which rule, and why all the others do not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from generator.asked.intent import Claim
from generator.asked.values import workload as workload_ref
from generator.cluster.snapshot import Key, Obj, Snapshot, key_of
from generator.desired import routing
from generator.desired.generate import Desired
from generator.errors import InputError, Problem
from generator.rules import precedence as rules
from generator.rules.conditions import in_words
from generator.rules.precedence import Refused
from generator.text.walk import Place


@dataclass(frozen=True, slots=True)
class Considered:
    """A rule, or a whole bridge (rule None), that does not get the request. matched: its conditions hold."""

    bridge: str
    rule: int | None
    matched: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """Who gets it. winner: a bridge, or None. rule: its number in the bridge, with the conditions in words.

    answered_by: `bridge`, `cluster`, or `carrier` for what nginx answers itself.
    mode: of the winner. pending: what keeps it from having its effect now, "" when nothing does.
    """

    winner: str | None
    answered_by: str
    rule: int | None
    conditions: str
    mode: str
    reason: str
    pending: str
    considered: tuple[Considered, ...]


def explain_request(
    snapshot: Snapshot, desired: Desired, at: tuple[Key, str], port: int, method: str, url: str, headers: Iterable[tuple[str, str]]
) -> Explanation:
    """Who gets a request to `port` of the workload and container `at`. Raises InputError when there is no such port.

    A bridge whose other end is not known keeps its requests from the others; until it is known the cluster answers them.
    """
    key, _ = at
    claim, outside = desired.intent.claims.get(key, {}).get(at[1]), left_out(snapshot, desired, at)
    if claim is None:
        return _cluster(f"no bridge is admitted to {key}, container {at[1]}", outside)
    known = {p.number for p in claim.ports if p.protocol == "TCP"}
    if port not in known:
        cure = f"Give --port one of: {', '.join(map(str, sorted(known))) or 'none'}; a port of the container, not of a Service."
        raise InputError(Problem("PortUnknown", "--port", f"container {claim.container} of {key} has no TCP port {port}", cure))
    outcome = desired.outcomes.get(key)
    if outcome and at[1] not in outcome.admitted:
        refused = next((f"{p.code}: {p.message}" for p in outcome.refusals(at[1])), "it has no Pod that is ready")
        outside += tuple(Considered(b.name, None, False, "its target is not bridged") for b in claim.bridges)
        return _cluster(f"{key} is not bridged: {refused}", outside)
    reached, _ = routing.connections(snapshot, claim.bridges)
    here = [b for b in claim.bridges if any(remote == port for remote, _ in b.ports)]
    outside += tuple(_silent(claim, port, here))
    candidates = routing.candidates_of(here, port)
    if not candidates:
        return _cluster(f"no bridge takes requests on port {port}: it is passed through unread", outside)
    asked = rules.request(method, url, headers)
    if isinstance(asked, Refused):
        return Explanation(None, "carrier", None, "", "", f"nginx answers {asked.reason}", "", outside)
    winner, verdicts = rules.decide(asked, candidates)
    rest = tuple(Considered(v.candidate.bridge, v.candidate.index, v.matched, v.reason) for v in verdicts if v.candidate is not winner)
    if winner is None:
        common = {c.reason for c in rest}
        return _cluster(common.pop() if len(common) == 1 and len(rest) > 1 else "no rule matches", (*rest, *outside))
    bridge = next(b for b in here if b.name == winner.bridge)
    reason = next(v.reason for v in verdicts if v.candidate is winner)
    return Explanation(
        winner=bridge.name,
        answered_by="bridge" if bridge.mode == "intercept" and (bridge.name, port) in reached else "cluster",
        rule=winner.index,
        conditions=in_words(winner.conditions),
        mode=bridge.mode,
        reason=reason,
        pending=_pending(desired, key_of(bridge.obj)),
        considered=(*rest, *outside),
    )


def _cluster(reason: str, considered: Iterable[Considered]) -> Explanation:
    return Explanation(None, "cluster", None, "", "", reason, "", tuple(considered))


def left_out(snapshot: Snapshot, desired: Desired, at: tuple[Key, str]) -> tuple[Considered, ...]:
    """Bridges that aim at this container and are not admitted, each with its first problem."""
    claim = desired.intent.claims.get(at[0], {}).get(at[1])
    admitted = {key_of(b.obj) for b in claim.bridges} if claim else set()
    found = []
    for obj in snapshot.controls:
        key = key_of(obj)
        if key.kind == "GefyraBridge" and key not in admitted and _aims(desired, obj, at):
            problems = desired.intent.problems.get(key) or ()
            reason = next((f"{p.code}: {p.message}" for p in problems), "it is being deleted")
            found.append(Considered(key.name, None, False, reason))
    return tuple(found)


def _aims(desired: Desired, obj: Obj, at: tuple[Key, str]) -> bool:
    """Whether a bridge, admitted or not, is meant for this container."""
    targets = desired.intent.targets
    if key_of(obj) in targets:
        return targets[key_of(obj)] == at
    written = obj.get("target")
    if not isinstance(written, str):
        return False
    if "/" not in written:
        return any(key.kind == "GefyraBridgeMount" and key.name == written and found == at for key, found in targets.items())
    namespace, container = obj.get("targetNamespace") or "default", obj.get("targetContainer") or at[1]
    ref = workload_ref(Place("", []), written, str(namespace), str(container))
    return ref is not None and (Key(ref.kind, ref.namespace, ref.name), ref.container) == at


def takes_no_part(snapshot: Snapshot, desired: Desired, at: tuple[Key, str]) -> list[tuple[str, str]]:
    """(bridge, reason) for each bridge on this container whose rules no carrier has."""
    claim, outcome = desired.intent.claims.get(at[0], {}).get(at[1]), desired.outcomes.get(at[0])
    bridges = claim.bridges if claim else ()
    reasons = [(b.name, p) for b in bridges for p in (outcome.connections if outcome else {}).get(key_of(b.obj), ())]
    refusals = [p for p in (outcome.problems if outcome else ()) if p.severity != "warning"]
    reasons += [(b.name, p) for b in bridges for p in refusals[:1]]
    return [(c.bridge, c.reason) for c in left_out(snapshot, desired, at)] + [(name, f"{p.code}: {p.message}") for name, p in reasons]


def _silent(claim: Claim, port: int, here: list[Any]) -> Iterator[Considered]:
    """Admitted bridges that take other ports."""
    for bridge in claim.bridges:
        if bridge not in here:
            mapped = ", ".join(str(remote) for remote, _ in bridge.ports)
            yield Considered(bridge.name, None, False, f"it takes port {mapped}, not {port}")


def _pending(desired: Desired, bridge: Key) -> str:
    """What keeps an admitted bridge from having its effect, from the conditions it gets."""
    obj = next((o for o in desired.objects if key_of(o) == bridge), None)
    if obj is None or obj.get("state") == "ACTIVE":
        return ""
    return next((f"{obj['state']}, {c['message']}" for c in obj["status"]["conditions"] if c["status"] != "True"), str(obj["state"]))
