"""The originals of a workload -> their revisions, and which shadow belongs to which original.

A shadow once given to an original stays with it (it is written on the Pod), so that a Pod that goes does not move the others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from generator import names
from generator.cluster.quantity import whole
from generator.cluster.snapshot import Obj, annotations_of
from generator.cluster.workload import Original, Workload
from generator.desired.shadow import application_spec, shadow_name, spec_hash


@dataclass(frozen=True, slots=True)
class Revision:
    """Originals whose Pods are alike. shadows: names, the originals' own ones and any kept beyond them."""

    hash: str
    spec: Obj
    originals: tuple[Original, ...]
    own: Mapping[str, str]
    shadows: tuple[str, ...]

    @property
    def models(self) -> dict[str, Original]:
        """The original that each shadow takes after; a spare one after the oldest."""
        owners = {shadow: o for o in self.originals for shadow in (self.own[o.name],)}
        return {shadow: owners.get(shadow, self.originals[0]) for shadow in self.shadows}


def own_shadows(groups: Iterable[Revision]) -> dict[str, str]:
    """The shadow of each original, by name, over all revisions."""
    return {name: shadow for r in groups for name, shadow in r.own.items()}


def revisions(workload: Workload, originals: Iterable[Original], pinned: bool, floor: int) -> tuple[Revision, ...]:
    """Group originals by revision, newest last.

    pinned: their shadows must run on the same node. floor: how many shadows there are at least; what exceeds the originals
    goes to the newest revision, unless its Pods have an identity of their own.
    """
    groups: dict[str, list[Original]] = {}
    specs: dict[str, Obj] = {}
    total = 0
    for item in originals:
        spec = application_spec(item, pinned)
        key = spec_hash(workload, spec)
        groups.setdefault(key, []).append(item)
        specs[key] = spec
        total += 1
    ordered = sorted(groups, key=lambda k: max((o.pod["metadata"].get("creationTimestamp") or "", o.name) for o in groups[k]))
    result = []
    for key in ordered:
        spare = max(0, floor - total) if key == ordered[-1] and workload.kind in ("Deployment", "ReplicaSet") else 0
        result.append(_revision(workload, key, specs[key], groups[key], spare))
    return tuple(result)


def _revision(workload: Workload, key: str, spec: Obj, originals: list[Original], spare: int) -> Revision:
    possible = [shadow_name(workload, key, n) for n in range(len(originals) + spare)]
    highest = max((_ordinal(annotations_of(o.pod).get(names.SHADOW, "")) for o in originals), default=0)
    valid = {shadow_name(workload, key, n) for n in range(max(highest + 1, len(possible)))} if highest < 10_000 else set(possible)
    own: dict[str, str] = {}
    for item in originals:
        claimed = annotations_of(item.pod).get(names.SHADOW, "")
        if claimed in valid and claimed not in own.values():
            own[item.name] = claimed
    free = (name for name in possible if name not in own.values())
    for item in originals:
        if item.name not in own:
            own[item.name] = next(free)
    extras = [name for _, name in zip(range(spare), free, strict=False)]
    return Revision(key, spec, tuple(originals), own, tuple(sorted([*own.values(), *extras], key=_ordinal)))


def _ordinal(shadow: str) -> int:
    return whole(shadow.rpartition("-")[2], 5) or 0
