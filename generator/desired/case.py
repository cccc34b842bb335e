"""What the preflight looks at, and whose problem a finding is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from generator.asked.intent import Claim
from generator.cluster.snapshot import Obj, Snapshot, Space
from generator.cluster.workload import Original, Workload
from generator.desired.revisions import Revision
from generator.errors import Problem


@dataclass(frozen=True, slots=True)
class Case:
    """What the checks look at. live: Pods that can be acted on, with their revisions; every: all Pods of the workload."""

    snapshot: Snapshot
    workload: Workload
    claims: Mapping[str, Claim]
    every: tuple[Original, ...]
    live: tuple[Original, ...]
    revisions: tuple[Revision, ...]
    services: tuple[Obj, ...]
    images: Mapping[str, str]
    needed: Mapping[str, Obj]

    @property
    def space(self) -> Space:
        """The workload's namespace."""
        return self.snapshot.space(self.workload.namespace)

    def problem(self, code: str, message: str, cure: str, at: str = "") -> Problem:
        """A problem of the workload, or of what stands below it."""
        return Problem(code, f"{self.workload}{' ' + at if at else ''}", message, cure)


def concerns(problem: Problem, container: str) -> bool:
    """Whether a problem of the workload is one for this container: those of another container are not."""
    _, mark, named = problem.place.partition(" container ")
    return not mark or named == container
