"""Outcomes -> the state and conditions of each bridge and mount, in Gefyra's words and in Kubernetes'.

`state` and `stateTransitions` are Gefyra's (its command line waits for ACTIVE); `status.conditions` follow the Kubernetes
API conventions and Gateway API's types: Accepted (may it stand), ResolvedRefs (is its other end known), Programmed (do
all carriers confirm it). A time is written when something changes, never otherwise.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from generator.asked.intent import Intent
from generator.asked.values import NAME
from generator.cluster.snapshot import Key, Obj, Snapshot, key_of, labels_of
from generator.cluster.workload import Original
from generator.desired.case import concerns
from generator.desired.outcome import Outcome
from generator.errors import Problem
from generator.names import CLIENT

Condition = tuple[str, bool, str, str]
HINDERS: Final = ("ConfigRefused", "MarksLost", "NoReadyPods", "RolloutStuck", "ShadowNotReady", "StandInFailed")
"""The warnings of a target that hold its bridges up. A mount tells them all; where none is, the bridges tell these."""


def with_status(
    snapshot: Snapshot, intent: Intent, outcomes: Mapping[Key, Outcome], only: frozenset[Key] | None = None
) -> list[tuple[Obj, str]]:
    """Every bridge and mount with its state and conditions, and the reason of a change. Those that expire are left out.

    only: as in `generate`.
    """
    result = []
    for obj in snapshot.controls:
        key = key_of(obj)
        if key.kind == "GefyraClient" or key in intent.expired or obj["metadata"].get("deletionTimestamp"):
            continue
        at = intent.targets.get(key)
        if only is not None and (at[0] not in only if at else bool(only)):
            continue
        outcome = outcomes.get(at[0]) if at else None
        container = at[1] if at else ""
        own = tuple(intent.problems.get(key, ()))
        if key.kind == "GefyraBridgeMount":
            state, conditions, extra = _mount(own, outcome, container)
        else:
            claim = intent.claims.get(at[0], {}).get(container) if at else None
            state, conditions, extra = _bridge(key, own, outcome, container, alone=claim is None or claim.mount is None)
        told = _labelled(obj) if key.kind == "GefyraBridge" else obj
        result.append((reported(told, state, conditions, extra, snapshot.now), f"state {state}: {conditions[-1][3]}"))
    return result


def _labelled(bridge: Obj) -> Obj:
    """Gefyra's command line reads the labels of every bridge, and finds those of a client by this one."""
    labels, client = labels_of(bridge), str(bridge.get("client") or "")
    if CLIENT in labels:
        return bridge
    label = client if NAME.fullmatch(client) and len(client) < 64 else ""
    return {**bridge, "metadata": {**bridge["metadata"], "labels": {**labels, CLIENT: label}}}


def _refusals(problems: Iterable[Problem]) -> list[Problem]:
    return [p for p in problems if p.severity != "warning"]


def _mount(own: tuple[Problem, ...], outcome: Outcome | None, container: str) -> tuple[str, list[Condition], Obj]:
    refused = _refusals(own) + (outcome.refusals(container) if outcome else [])
    found = [p for p in outcome.problems if concerns(p, container)] if outcome else []
    extra: dict[str, Any] = {"problems": [line(p) for p in (*own, *found)]}
    if refused or outcome is None or outcome.walk is None:
        missing = any(p.code in ("TargetMissing", "TargetUnknown", "WorkloadDeleting") for p in refused)
        return "MISSING" if missing else "ERROR", [not_accepted(refused), ("Programmed", False, "NotAccepted", "no Pod is touched")], extra
    done = [o for o in outcome.originals if _programmed(o, outcome, container)]
    extra["originals"] = {"total": len(outcome.originals), "programmed": len(done)}
    if left := sorted(o.name for o in outcome.originals if container in o.containers and not o.containers[container].carried):
        extra["originals"]["unbridged"] = left
    accepted: Condition = ("Accepted", True, "Accepted", "nothing stands against it")
    count = f"{len(done)} of {len(outcome.originals)} originals"
    if outcome.originals and len(done) == len(outcome.originals):
        return "ACTIVE", [accepted, ("Programmed", True, "Programmed", f"{count} carry it")], extra
    stage = "INSTALLING" if outcome.walk.moving or done else "PREPARING"
    reason = "Installing" if stage == "INSTALLING" else "Preparing"
    return stage, [accepted, ("Programmed", False, reason, f"{count} carry it")], extra


def _bridge(
    key: Key, own: tuple[Problem, ...], outcome: Outcome | None, container: str, *, alone: bool
) -> tuple[str, list[Condition], Obj]:
    """alone: no mount tells what holds the target up."""
    connection = tuple(outcome.connections.get(key, ())) if outcome else ()
    hindered = [p for p in outcome.problems if p.code in HINDERS and concerns(p, container)] if outcome and alone else []
    extra: dict[str, Any] = {"problems": [line(p) for p in (*own, *connection, *hindered)]}
    refused = _refusals(own) + (outcome.refusals(container) if outcome else [])
    if refused or outcome is None:
        return "ERROR", [not_accepted(refused), ("Programmed", False, "NotAccepted", "its requests stay in the cluster")], extra
    accepted: Condition = ("Accepted", True, "Accepted", "its rules stand")
    if connection:
        resolved: Condition = ("ResolvedRefs", False, connection[0].code, connection[0].message)
        return "REQUESTED", [accepted, resolved, ("Programmed", False, "NotResolved", "its requests stay in the cluster")], extra
    resolved = ("ResolvedRefs", True, "ResolvedRefs", "its other end is known")
    done = sum(_programmed(o, outcome, container) for o in outcome.originals)
    count = f"{done} of {len(outcome.originals)} carriers confirm it"
    if outcome.originals and done == len(outcome.originals) and not outcome.lagging:
        return "ACTIVE", [accepted, resolved, ("Programmed", True, "Programmed", count)], extra
    return "INSTALLING", [accepted, resolved, ("Programmed", False, "Pending", count)], extra


def _programmed(item: Original, outcome: Outcome, container: str) -> bool:
    """Whether this Pod's carrier serves and has confirmed the configuration of now."""
    c = item.containers.get(container)
    current = outcome.configs.get(container)
    if c is None or current is None or not c.carried or not c.settled or item.held:
        return False
    return c.confirmed == c.confirmation(current)


def not_accepted(refused: list[Problem]) -> Condition:
    """The condition of an object that may not stand."""
    if not refused:
        return ("Accepted", False, "Pending", "it has not been judged")
    return ("Accepted", False, refused[0].code, f"{refused[0].message}. {refused[0].cure}")


def line(problem: Problem) -> str:
    """A problem as `status.problems` has it."""
    return f"{problem.code}: {problem.message}"


def reported(obj: Obj, state: str, conditions: list[Condition], extra: Obj, now: str) -> Obj:
    """The object with its state and status. extra: further fields of the status; an empty one goes."""
    status = obj.get("status") or {}
    before = {c["type"]: c for c in status.get("conditions") or ()}
    made = []
    for kind, holds, reason, message in conditions:
        old, wanted = before.get(kind, {}), "True" if holds else "False"
        since = old.get("lastTransitionTime", now) if old.get("status") == wanted else now
        made.append({"type": kind, "status": wanted, "reason": reason, "message": message, "lastTransitionTime": since})
    fields = {k: v for k, v in extra.items() if v}
    kept = {k: v for k, v in status.items() if k not in ("conditions", "problems", "originals")}
    result: Obj = {**obj, "state": state, "status": {**kept, "conditions": made, **fields}}
    if obj.get("state") != state:
        result["stateTransitions"] = {**(obj.get("stateTransitions") or {}), state: now}
    return result
