"""What should exist against what does -> an ordered list of changes, each with its reason.

Deleting is planning with less desired: there is no second path. A plan never holds a change to an object that is neither
ours nor a Pod of a target; that is a law the tests hold over generated clusters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from generator import names
from generator.asked.values import Tls
from generator.cluster.snapshot import MADE, OUR_KINDS, STOWAWAY_ROUTES, Key, Obj, Snapshot, annotations_of, is_ours, key_of, labels_of
from generator.cluster.workload import has_ended
from generator.desired.generate import Desired
from generator.desired.outcome import Outcome
from generator.patch import Op, patch


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a carrier is given before a Pod's annotation may say that it has confirmed it: nginx.conf, and TLS sources by port."""

    container: str
    text: str
    tls: tuple[tuple[int, Tls], ...] = ()


@dataclass(frozen=True, slots=True)
class Change:
    """One write.

    patch: RFC 6902 operations, for `patch`. body: the object, for `create`. subresource: "status" or "".
    uid, version: of the object, for `delete`: the preconditions under which it is deleted (Preconditions, meta/v1), None for none. The
    version of what expires: whoever has given it more time meanwhile keeps it. Our own objects go whatever has become of them.
    restarts: containers that this write restarts. deliver: what the Pod's carriers have to take first.
    foreign: the object is neither ours nor a Pod of a target; a bug if it is ever true.
    """

    op: Literal["create", "patch", "delete"]
    key: Key
    reason: str
    patch: tuple[Op, ...] = ()
    body: Obj | None = None
    subresource: str = ""
    uid: str | None = None
    version: str | None = None
    restarts: int = 0
    deliver: tuple[Delivery, ...] = ()
    foreign: bool = False


def plan(snapshot: Snapshot, desired: Desired) -> tuple[Change, ...]:
    """The changes of this moment, in the order in which they are written."""
    wanted = {key_of(o): o for o in desired.objects}
    outcomes = {(key.namespace, outcome.workload.id): outcome for key, outcome in desired.outcomes.items()}
    creates: list[Change] = []
    patches: list[Change] = []
    statuses: list[Change] = []
    deletes: list[Change] = []
    for key, obj in wanted.items():
        live = _live(snapshot, key)
        reason = desired.reasons[key]
        if live is None:
            creates.append(Change("create", key, reason, body=obj))
        elif live is not obj and live != obj:
            for change in _patches(key, live, obj, reason, outcomes):
                (statuses if change.subresource or key.kind in OUR_KINDS.values() else patches).append(change)
    for obj in _owned(snapshot, desired):
        key = key_of(obj)
        if key not in wanted and not obj["metadata"].get("deletionTimestamp"):
            deletes.append(Change("delete", key, _why_delete(obj), uid=obj["metadata"].get("uid")))
    if not desired.scope:
        deletes.extend(_expired(snapshot, key, why) for key, why in desired.intent.expired.items())
    creates.sort(key=lambda c: (MADE.index(c.key.kind), c.key))
    patches.sort(key=lambda c: (c.key.kind == "Pod", bool(c.restarts), c.key))
    statuses.sort(key=lambda c: (c.key.kind != "Pod", c.key))
    deletes.sort(key=lambda c: (c.key.kind != "Pod", c.key))
    return (*creates, *patches, *statuses, *deletes)


def _expired(snapshot: Snapshot, key: Key, why: str) -> Change:
    metadata = (_live(snapshot, key) or {"metadata": {}})["metadata"]
    return Change("delete", key, why, uid=metadata.get("uid"), version=metadata.get("resourceVersion"))


def _live(snapshot: Snapshot, key: Key) -> Obj | None:
    return snapshot.space(key.namespace).get(key.kind, key.name)


def _patches(key: Key, live: Obj, obj: Obj, reason: str, outcomes: Mapping[tuple[str, str], Outcome]) -> Iterable[Change]:
    """One patch of the object and, for a Pod, one of its status: a subresource is a write of its own.

    outcomes: by namespace and the workload's id.
    """
    foreign = not is_ours(live) and key.kind != "Pod" and key.kind not in OUR_KINDS.values() and key != STOWAWAY_ROUTES
    if key.kind != "Pod":
        yield Change("patch", key, reason, tuple(patch(live, obj)), foreign=foreign)
        return
    status = live.get("status")
    main = {k: v for k, v in obj.items() if k != "status"} | ({} if status is None else {"status": status})
    if operations := patch(live, main):
        pairs = zip(live["spec"]["containers"], obj["spec"]["containers"], strict=True)
        restarts = sum(a.get("image") != b.get("image") for a, b in pairs)
        yield Change("patch", key, reason, tuple(operations), restarts=restarts, deliver=_deliveries(live, obj, outcomes))
    if obj.get("status", status) != status:
        guarded = [op for op in patch(live, {**live, "status": obj["status"]}) if op["path"] != "/metadata/resourceVersion"]
        yield Change("patch", key, reason, tuple(guarded), subresource="status")


def _deliveries(live: Obj, obj: Obj, outcomes: Mapping[tuple[str, str], Outcome]) -> tuple[Delivery, ...]:
    """For each carrier whose confirmation this patch writes, the configuration that it confirms."""
    before, notes = annotations_of(live), annotations_of(obj)
    found = []
    for key in sorted(k for k in notes if k.startswith(names.CONFIRMED) and notes[k] != before.get(k)):
        container = key.removeprefix(names.CONFIRMED)
        outcome = outcomes[obj["metadata"]["namespace"], labels_of(obj)[names.CARRIER]]
        found.append(Delivery(container, outcome.texts[container], outcome.tls.get(container, ())))
    return tuple(found)


def renewals(desired: Desired) -> tuple[Change, ...]:
    """What every carrier has that serves over TLS, once more: the certificate behind it may have been renewed. Nothing is patched."""
    found = []
    for outcome in desired.outcomes.values():
        for item in outcome.originals:
            served = [
                c for c in item.containers.values() if outcome.tls.get(c.name) and c.confirmed == c.confirmation(outcome.configs[c.name])
            ]
            again = tuple(Delivery(c.name, outcome.texts[c.name], outcome.tls[c.name]) for c in served)
            guard = {"op": "test", "path": "/metadata/uid", "value": item.pod["metadata"].get("uid")}
            if again:
                found.append(Change("patch", key_of(item.pod), "deliver what it has again: TLS files may be new", (guard,), deliver=again))
    return tuple(found)


def _owned(snapshot: Snapshot, desired: Desired) -> list[Obj]:
    if desired.scope is None:
        spaces = [space for space in snapshot.spaces.values() if snapshot.follows(space.name)]
        return [o for space in spaces for objects in space.ours.values() for o in objects]
    if not desired.scope:
        return snapshot.space(names.CONTROL_NAMESPACE).ours.get(names.STOWAWAY, [])
    keys = [key for key in desired.scope if snapshot.follows(key.namespace)]
    return [o for key in keys for o in snapshot.space(key.namespace).ours.get(names.target_id(key.kind, key.name), ())]


def _why_delete(obj: Obj) -> str:
    role = labels_of(obj).get(names.ROLE, "")
    if has_ended(obj):
        return "it has failed; another one is made"
    if role == "stand-in":
        return "the originals serve again"
    if role == "connection":
        return "no bridge leaves the cluster there any more"
    return "no original needs it any more" if role == "shadow" else "nothing of the target is bridged any more"


def summary(rounds: Iterable[Iterable[Change]]) -> dict[str, int]:
    """The counts a person wants first, over rounds of changes: objects created, patched, deleted; containers restarted.

    An object counts once in a round, however many writes it takes. edited: objects that are neither ours nor Pods of a target.
    state: reports of the state of bridges and mounts.
    """
    counts: Counter[str] = Counter()
    for changes in rounds:
        writes = list(changes)
        reports = {c.key for c in writes if c.op == "patch" and c.key.kind in OUR_KINDS.values()}
        counts["state"] += len(reports)
        counts.update(op for op, _ in {(c.op, c.key) for c in writes if c.key not in reports})
        counts["restarts"] += sum(c.restarts for c in writes)
        counts["edited"] += len({c.key for c in writes if c.foreign})
    return {k: counts[k] for k in ("create", "patch", "delete", "restarts", "edited", "state")}


def summary_line(rounds: Iterable[Iterable[Change]]) -> str:
    """The counts as one line."""
    n = summary(rounds)
    parts = f"{n['create']} create, {n['patch']} patch, {n['delete']} delete"
    restarts = f"{n['restarts']} container{'s' * (n['restarts'] != 1)} restart{'s' * (n['restarts'] == 1)}"
    return f"{parts}; {restarts}; {n['edited']} objects of yours edited"


def change_json(change: Change) -> dict[str, Any]:
    """A change as plain data, for `-o json`."""
    result: dict[str, Any] = {
        "op": change.op,
        "kind": change.key.kind,
        "namespace": change.key.namespace,
        "name": change.key.name,
        "reason": change.reason,
    }
    if change.subresource:
        result["subresource"] = change.subresource
    if change.op == "patch":
        result["patch"] = list(change.patch)
    if change.op == "delete" and (found := {k: v for k, v in (("uid", change.uid), ("resourceVersion", change.version)) if v}):
        result["preconditions"] = found
    if change.body is not None:
        result["body"] = change.body
    if change.restarts:
        result["restarts"] = change.restarts
    return result
