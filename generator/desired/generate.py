"""`generate`: a snapshot of the cluster and the bridges and mounts in it -> everything that should exist.

The one function. Permuting its input changes nothing in its output; applied again and again to a cluster that stands still, it
soon changes nothing more; and with no bridges and mounts it gives the way back to exactly what was there.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from carrier2 import Dispatch
from generator import names
from generator.asked.admission import read
from generator.asked.intent import Intent
from generator.cluster.snapshot import Key, Obj, Snapshot, Space, annotations_of, key_of, labels_of
from generator.cluster.workload import Workload, workload_of
from generator.desired.connected import connected
from generator.desired.group import build
from generator.desired.outcome import Outcome
from generator.desired.status import with_status
from generator.errors import Problem


@dataclass(frozen=True)
class Desired:
    """Everything that should exist.

    objects: in order of their Key. reasons: why each is as it is. outcomes: by workload. intent: what was asked.
    scope: the workloads that were looked at; None means all, none the bridges and mounts without one.
    connecting: problems of connections, where these were looked at.
    """

    objects: tuple[Obj, ...]
    reasons: Mapping[Key, str]
    outcomes: Mapping[Key, Outcome]
    intent: Intent
    scope: frozenset[Key] | None = None
    connecting: tuple[Problem, ...] = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """Every problem, sorted."""
        found = {*self.connecting, *(p for items in self.intent.problems.values() for p in items)}
        for outcome in self.outcomes.values():
            found.update(outcome.problems)
            found.update(p for items in outcome.connections.values() for p in items)
        return tuple(sorted(found))

    def dispatch(self, workload: Key, container: str) -> Dispatch | None:
        """The routing model of a carrier, or None while there is none."""
        outcome = self.outcomes.get(workload)
        return outcome.dispatches.get(container) if outcome else None


def generate(snapshot: Snapshot, only: frozenset[Key] | None = None, intent: Intent | None = None) -> Desired:
    """What should exist for every workload that is asked for or still bears our marks.

    only: workloads, to look at these and their bridges and mounts alone; an empty set: at those without a workload, and at clients
        and connections.
    intent: `admission.read(snapshot)`, when the caller has it already.
    """
    intent = intent or read(snapshot)
    outcomes = {key: build(snapshot, workload, intent.claims.get(key, {})) for key, workload in _workloads(snapshot, intent, only)}
    objects: dict[Key, tuple[Obj, str]] = {}
    for outcome in outcomes.values():
        objects.update(outcome.objects)
    for obj, reason in with_status(snapshot, intent, outcomes, only):
        objects[key_of(obj)] = (obj, reason)
    more, connecting = connected(snapshot, intent, objects) if not only else ({}, ())
    objects |= more
    ordered = sorted(objects)
    return Desired(tuple(objects[k][0] for k in ordered), {k: objects[k][1] for k in ordered}, outcomes, intent, only, connecting)


def _workloads(snapshot: Snapshot, intent: Intent, only: frozenset[Key] | None) -> list[tuple[Key, Workload]]:
    keys = concerned(snapshot, intent) if only is None else only
    return [(key, _workload(snapshot, key)) for key in sorted(keys) if snapshot.follows(key.namespace)]


def concerned(snapshot: Snapshot, intent: Intent) -> frozenset[Key]:
    """Workloads that are claimed, and those that still bear marks of ours."""
    return frozenset(intent.claims).union(*(_marked(space) for space in snapshot.spaces.values() if snapshot.follows(space.name)))


def _marked(space: Space) -> set[Key]:
    found = set()
    for pod in space.all("Pod"):
        if (
            names.CARRIER in labels_of(pod)
            or names.HELD in labels_of(pod)
            or any(k.startswith(names.BOUND_TO_US) for k in annotations_of(pod))
        ):
            workload = workload_of(space, pod)
            found.add(Key(workload.kind, workload.namespace, workload.name))
    for objects in space.ours.values():
        for obj in objects:
            kind, _, name = annotations_of(obj).get(names.WORKLOAD, "").partition("/")
            if name:
                found.add(Key(kind, space.name, name))
    return found


def _workload(snapshot: Snapshot, key: Key) -> Workload:
    return Workload(key.namespace, key.kind, key.name, snapshot.space(key.namespace).get(key.kind, key.name))
