"""Everything that is asked, as data: claims on containers, and what stands against bridges and mounts."""

from __future__ import annotations

from dataclasses import dataclass, field

from generator.asked.bridge import Bridge, Mount
from generator.asked.client import Client
from generator.cluster.ports import Port
from generator.cluster.snapshot import Key, Obj, key_of
from generator.errors import Problem


@dataclass(frozen=True, slots=True)
class Claim:
    """One targeted container: the mount that asks for it (None when only bridges do), the bridges on it, its ports."""

    container: str
    mount: Mount | None
    bridges: tuple[Bridge, ...]
    ports: tuple[Port, ...]

    def without_bridges(self) -> Claim:
        """The claim with everything passed through to the shadows."""
        return Claim(self.container, None, (), self.ports)

    @property
    def allow_shared_volumes(self) -> bool:
        """What the mount says about a second writer."""
        return bool(self.mount and self.mount.allow_shared_volumes)


@dataclass
class Intent:
    """Everything that is asked.

    claims: by workload, then container. problems: by the object that has them. expired: to be removed, and why.
    targets: the workload and container that each bridge and mount resolved to.
    clients, bridges: all that can be read and have not expired, oldest first, whether they may stand or not.
    ends: when each that has not expired will, RFC 3339, unless something changes.
    """

    claims: dict[Key, dict[str, Claim]] = field(default_factory=dict)
    problems: dict[Key, list[Problem]] = field(default_factory=dict)
    expired: dict[Key, str] = field(default_factory=dict)
    targets: dict[Key, tuple[Key, str]] = field(default_factory=dict)
    clients: list[Client] = field(default_factory=list)
    bridges: list[Bridge] = field(default_factory=list)
    ends: dict[Key, str] = field(default_factory=dict)

    def blame(self, obj: Obj, *problems: Problem) -> None:
        """Note problems of an object. What is wrong with one that is in the cluster already (it has a uid) keeps only itself out."""
        there = "uid" in obj["metadata"]
        self.problems.setdefault(key_of(obj), []).extend(_lasting(p) if there else p for p in problems)


def _lasting(problem: Problem) -> Problem:
    """A mistake in somebody's object as a refusal of it; an incomplete snapshot stays what it is."""
    if problem.severity != "input" or problem.code == "SnapshotIncomplete":
        return problem
    return Problem("ObjectInvalid", problem.place, f"{problem.code}: {problem.message}", problem.cure)


@dataclass
class Memory:
    """What an earlier `read` has found out about objects that have not changed since. With or without it the answer is the same."""

    decoded: dict[Key, tuple[Obj, Mount | Bridge | Client | None, tuple[Problem, ...]]] = field(default_factory=dict)
    admitted: dict[tuple[Key, str], tuple[tuple[Claim, list[Bridge]], list[Bridge], dict[Key, list[Problem]]]] = field(default_factory=dict)

    def forget(self) -> Memory:
        """What there is, and from now on only what is asked for again."""
        before = Memory(self.decoded, self.admitted)
        self.decoded, self.admitted = {}, {}
        return before
