"""What a workload should become: the objects, and what the status of its bridges and mounts is made from."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import carrier2
from generator.asked.values import Tls
from generator.cluster.snapshot import Key, Obj, key_of
from generator.cluster.workload import Original, Workload
from generator.desired.case import concerns
from generator.desired.handover import Handover
from generator.errors import Problem

FINAL = ("WorkloadDeleting",)
"""Refusals that also take down what is installed; all others only keep further carriers out."""


@dataclass
class Outcome:
    """What a workload should become.

    objects: by Key, with the reason of any change. problems: of the workload; connections: by bridge.
    dispatches, configs, texts, tls: routing model, configuration (its hash, nginx.conf, TLS sources by port) by container, while
    the carrier has one.
    originals, walk: what the status is made from. carried: containers that are carriers in some Pod.
    admitted: the containers that may be carriers, or may stay it.
    lagging: stand-ins that serve and have not confirmed the configuration of now.
    """

    workload: Workload
    originals: tuple[Original, ...] = ()
    carried: frozenset[str] = frozenset()
    admitted: frozenset[str] = frozenset()
    problems: tuple[Problem, ...] = ()
    connections: dict[Key, list[Problem]] = field(default_factory=dict)
    objects: dict[Key, tuple[Obj, str]] = field(default_factory=dict)
    dispatches: dict[str, carrier2.Dispatch] = field(default_factory=dict)
    configs: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict)
    tls: dict[str, tuple[tuple[int, Tls], ...]] = field(default_factory=dict)
    lagging: tuple[str, ...] = ()
    walk: Handover | None = None

    def add(self, obj: Obj, reason: str) -> None:
        """An object that should exist."""
        self.objects[key_of(obj)] = (obj, reason)

    def refusals(self, container: str) -> list[Problem]:
        """What stands against a carrier in this container. Where one is already, only the end of the target does."""
        found = [p for p in self.problems if p.severity != "warning" and concerns(p, container)]
        return [p for p in found if p.code in FINAL] if container in self.carried else found

    def warn(self, problems: Iterable[Problem]) -> None:
        """More problems."""
        self.problems = tuple(sorted({*self.problems, *problems}))
