"""A snapshot and what should exist -> the rows of `bascule status`: how far each target and bridge is, and what holds it up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Final, NamedTuple

from generator import names
from generator.asked.bridge import Bridge, decode_bridge
from generator.cli import live
from generator.cluster.snapshot import OUR_KINDS, Key, Obj, Snapshot, key_of, labels_of
from generator.cluster.workload import is_serving, trouble
from generator.desired.generate import Desired
from generator.desired.outcome import Outcome
from generator.desired.routing import connections
from generator.errors import Problem
from generator.rules.conditions import in_words
from generator.text.printable import printable

MOVING: Final = ("PREPARING", "INSTALLING", "RESTORING", "TERMINATING")
"""States of what is on its way."""


@dataclass(frozen=True, slots=True)
class Target:
    """A container that is bridged, is to be, or is on its way back. mount: that asks for it, or "".

    written: as `--target` takes it. carried, originals: Pods with a carrier, and all. serving, shadows: the same of our copies.
    waits: what it waits for; when it is ACTIVE, its new Pods that are held.
    """

    mount: str
    written: str
    carried: int
    originals: int
    serving: int
    shadows: int
    state: str
    waits: tuple[str, ...]
    problem: Problem | None


@dataclass(frozen=True, slots=True)
class Row:
    """A bridge. rules: in words. waits: what it waits for, unless it is ACTIVE. problem: what stands against it.

    ways: where its requests leave the cluster, `HOST:PORT` by port of the container. mode, fallback: as in Bridge, "" if it is none.
    """

    name: str
    owner: str
    written: str
    ports: tuple[int, ...]
    rules: tuple[str, ...]
    state: str
    waits: tuple[str, ...]
    problem: Problem | None
    created: str
    ways: Mapping[int, str]
    mode: str
    fallback: str


@dataclass(frozen=True, slots=True)
class Status:
    """What is shown, and when. leader: who leads, None where no cluster is read."""

    targets: tuple[Target, ...]
    bridges: tuple[Row, ...]
    now: str
    leader: live.Leader | None = None

    @property
    def items(self) -> tuple[Target | Row, ...]:
        """Every row."""
        return (*self.targets, *self.bridges)


class _View(NamedTuple):
    """What the rows are made from. written: bridges and mounts as they should be, with state and conditions."""

    snapshot: Snapshot
    desired: Desired
    written: Mapping[Key, Obj]

    def state(self, key: Key) -> str:
        """As the cluster shows it now; of an object that is being deleted, TERMINATING."""
        return str(self.written.get(key, {}).get("state") or "TERMINATING")


def judge(snapshot: Snapshot, desired: Desired, leader: live.Leader | None = None) -> Status:
    """The state of everything."""
    seen = _View(snapshot, desired, {key_of(o): o for o in desired.objects if o["kind"].lower() in OUR_KINDS})
    bridges = [_bridge(seen, obj) for obj in snapshot.controls if key_of(obj).kind == "GefyraBridge"]
    targets = sorted(_targets(seen), key=lambda t: t.written)
    return Status(tuple(targets), tuple(bridges), snapshot.now, leader)


def narrowed(found: Status, only: Sequence[str]) -> Status:
    """The bridges and mounts that are named, with the targets of these bridges; everything if none is."""
    if not only:
        return found
    bridges = tuple(b for b in found.bridges if b.name in only)
    targets = tuple(t for t in found.targets if t.mount in only or t.written in {b.written for b in bridges})
    return replace(found, targets=targets, bridges=bridges)


def absent(found: Status, only: Sequence[str]) -> list[Problem]:
    """What is wrong with each name that is of no bridge and no mount, with those that are spelt like it."""
    there = sorted({*(b.name for b in found.bridges), *(t.mount for t in found.targets if t.mount)})
    return [
        Problem(
            "TargetUnknown",
            "NAME",
            f"no bridge or mount is called {name!r}",
            f"Did you mean {' or '.join(near)}?" if (near := get_close_matches(name, there)) else "`bascule status` shows all there are.",
        )
        for name in dict.fromkeys(only)
        if name not in there
    ]


def _targets(seen: _View) -> Iterator[Target]:
    """Every mount, every container that bridges name without one, and those that are on their way back."""
    intent = seen.desired.intent
    mounts = [o for o in seen.snapshot.controls if key_of(o).kind == "GefyraBridgeMount"]
    yield from (_target(seen, intent.targets.get(key_of(o)), o) for o in mounts)
    mounted = {intent.targets.get(key_of(o)) for o in mounts}
    for workload, outcome in seen.desired.outcomes.items():
        containers = {*intent.claims.get(workload, ()), *outcome.carried}
        at = [(workload, container) for container in sorted(containers or {""})]
        yield from (_target(seen, each, None) for each in at if each not in mounted)


def _target(seen: _View, at: tuple[Key, str] | None, mount: Obj | None) -> Target:
    snapshot, desired, _ = seen
    name = mount["metadata"]["name"] if mount else ""
    own = desired.intent.problems.get(key_of(mount), []) if mount else []
    outcome = desired.outcomes.get(at[0]) if at else None
    if at is None or outcome is None:
        written = f"{(mount or {}).get('targetNamespace') or 'default'}/{(mount or {}).get('target', '')}"
        return Target(name, written, 0, 0, 0, 0, seen.state(key_of(mount)) if mount else "", (), _refusal(own))
    workload, container = at
    copies = snapshot.space(workload.namespace).ours.get(names.target_id(workload.kind, workload.name), [])
    shadows = [o for o in copies if labels_of(o).get(names.ROLE) == "shadow" and o["kind"] == "Pod"]
    carried = sum(c.carried and c.settled for o in outcome.originals if (c := o.containers.get(container)))
    refusal = _refusal([*own, *outcome.refusals(container)])
    if mount:
        state = seen.state(key_of(mount))
    elif container not in desired.intent.claims.get(workload, {}):
        state = "RESTORING"
    elif refusal:
        state = "ERROR"
    else:
        total = len(outcome.originals)
        state = "ACTIVE" if carried == total > 0 else "INSTALLING" if carried or (outcome.walk and outcome.walk.moving) else "PREPARING"
    waits = () if refusal else tuple(_held(outcome) if state == "ACTIVE" else _waits(snapshot, outcome, copies))
    problem = refusal or next((p for p in outcome.problems if p.code in _STUCK and state != "ACTIVE"), None)
    return Target(
        mount=name,
        written="/".join(filter(None, (workload.namespace, workload.kind.lower(), workload.name, container))),
        carried=carried,
        originals=len(outcome.originals),
        serving=sum(map(is_serving, shadows)),
        shadows=len(shadows),
        state=state,
        waits=waits,
        problem=problem,
    )


_STUCK: Final = ("StandInFailed", "ShadowNotReady", "NoReadyPods", "RolloutStuck", "MarksLost")
"""Warnings that say why a target does not move."""


def _waits(snapshot: Snapshot, outcome: Outcome, copies: Iterable[Obj]) -> Iterator[str]:
    """What has to happen next: Pods of ours that do not serve yet, originals by what is done with them."""
    starting: Counter[str] = Counter()
    for pod in copies:
        role = labels_of(pod)[names.ROLE]
        if pod["kind"] != "Pod" or is_serving(pod):
            continue
        if pod["metadata"].get("deletionTimestamp"):
            starting[f"{role}: being deleted"] += 1
        elif why := trouble(pod, snapshot.now):
            yield f"{role} {pod['metadata']['name']}: {why}"
        else:
            starting[f"{role}: starting"] += 1
    for what, count in sorted(starting.items()):
        yield f"{count} {what.replace(':', 's:' if count != 1 else ':', 1)}"
    reasons = Counter(n.reason for n in (outcome.walk.originals.values() if outcome.walk else ()) if n.marked or n.held)
    for reason, count in sorted(reasons.items()):
        yield f"{count} original{'s' * (count != 1)}: {reason}"


def _held(outcome: Outcome) -> Iterator[str]:
    """New Pods that do not serve yet because of us."""
    known = {o.name for o in outcome.originals}
    for name, step in outcome.walk.originals.items() if outcome.walk else ():
        if name not in known and step.held:
            yield f"new Pod {name}: {step.reason}"


def _bridge(seen: _View, obj: Obj) -> Row:
    snapshot, desired, _ = seen
    key = key_of(obj)
    item: Bridge | None = decode_bridge(obj)[0]
    at = desired.intent.targets.get(key)
    outcome = desired.outcomes.get(at[0]) if at else None
    problems = list(desired.intent.problems.get(key, ()))
    if outcome and at:
        problems += [*outcome.refusals(at[1]), *outcome.connections.get(key, ())]
    state = seen.state(key)
    problem = next((p for p in problems if p.severity != "warning" or p.code in ("EndpointUnresolved", "BridgeExpired")), None)
    written = "/".join((at[0].namespace, at[0].kind.lower(), at[0].name, at[1])) if at else str(obj.get("target") or "")
    reached = connections(snapshot, [item])[0] if item else {}
    return Row(
        name=key.name,
        owner=item.owner if item else printable(str(obj.get("client") or "")),
        written=written,
        ports=tuple(remote for remote, _ in item.ports) if item else (),
        rules=(tuple(map(in_words, item.rules)) or ("every request",)) if item else (),
        state=state,
        waits=() if state == "ACTIVE" or problem else (_condition(seen.written.get(key, {})),),
        problem=problem if state != "ACTIVE" else None,
        created=str(obj["metadata"].get("creationTimestamp") or snapshot.now),
        ways={port: str(reached[key.name, port].address) for port, _ in item.ports if (key.name, port) in reached} if item else {},
        mode=item.mode if item else "",
        fallback=item.fallback if item else "",
    )


def _refusal(problems: Iterable[Problem]) -> Problem | None:
    return next((p for p in problems if p.severity != "warning"), None)


def _condition(obj: Obj) -> str:
    """What its first condition that does not hold says."""
    conditions = (obj.get("status") or {}).get("conditions") or ()
    return next((str(c["message"]) for c in conditions if c["status"] != "True"), "it is being removed")


def pending(items: Iterable[Target | Row]) -> list[str]:
    """A line for each bridge and each target that is not ACTIVE: what it waits for."""
    lines = []
    for item in items:
        if item.state != "ACTIVE":
            what = f"bridge {item.name}" if isinstance(item, Row) else f"mount {item.mount}" if item.mount else f"target {item.written}"
            why = f"{item.problem.code}: {item.problem.message}" if item.problem else "; ".join(item.waits)
            lines.append(f"{what} {item.state}" + (f": {why}" if why else ""))
    return lines
