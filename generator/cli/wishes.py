"""Bridges and mounts that are asked for -> what has to be written, each write, and the rows whose end is waited for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Final, NamedTuple

from generator.cli.states import Row, Status, Target
from generator.cluster.snapshot import Key, Obj, key_of, notes_over
from generator.errors import InputError, Problem

if TYPE_CHECKING:
    from generator.live.kube import Kube

_ASKED: Final = ("GefyraBridgeMount", "GefyraBridge")
"""What is applied, in this order: a mount before its bridges."""
DEFAULTS: Final[Obj] = {
    "provider": "carrier2",
    "portMappings": [],
    **dict.fromkeys(("target", "targetNamespace", "targetContainer", "client", "destinationIP"), ""),
}
"""What the server puts into a bridge where a file leaves it out (overlays/base/crds/gefyrabridges.yaml)."""


class Wish(NamedTuple):
    """One object of the files: what is to be written, `create`, `patch` or `delete`, "" for nothing."""

    op: str
    key: Key
    obj: Obj


def wishes(objects: Iterable[Obj], live_: Iterable[Obj], *, delete: bool) -> list[Wish]:
    """What has to be written so that the cluster has the bridges and mounts of the files, or has them no more.

    Raises InputError for any other object.
    """
    there = {key_of(o): o for o in live_}
    found = []
    for obj in objects:
        key = key_of(obj)
        if key.kind not in _ASKED:
            cure = "Leave it out, or write it with `kubectl apply`."
            raise InputError(Problem("NotAnObject", str(key), "only bridges and mounts are applied", cure))
        old = there.get(key)
        if delete:
            found.append(Wish("delete" if old else "", key, obj))
        else:
            new = _written(old, obj)
            found.append(Wish("create" if old is None else "" if old == new else "patch", key, new))
    order = [_ASKED.index(w.key.kind) for w in found]
    return [w for _, w in sorted(zip(order, found, strict=True), key=lambda pair: pair[0], reverse=delete)]


def _written(old: Obj | None, obj: Obj) -> Obj:
    """The object to write: that of the file, under what the server and the operator have written. The kind is spelled as Gefyra's."""
    plain = {**obj, "kind": obj["kind"].lower()}
    if old is None:
        return plain
    kept: Obj = {k: old[k] for k in ("state", "stateTransitions", "status", "clusterEndpoint") if k in old and not obj.get(k)}
    kept |= {k: v for k, v in DEFAULTS.items() if k not in obj and old.get(k) == v}
    return {**plain, **kept, "metadata": {**old["metadata"], **notes_over(old, obj)}}


def put(kube: Kube, wish: Wish) -> None:
    """Write one object. Raises KubeError."""
    from generator.live.failures import NotFound  # noqa: PLC0415  # only when a cluster is written to

    if wish.op == "create":
        kube.create(wish.obj)
    elif wish.op == "patch":
        kube.replace(wish.obj)
    elif wish.op == "delete":
        try:
            kube.delete(wish.key)
        except NotFound:
            return


class Concerned(NamedTuple):
    """Whose end is waited for. items: the rows of what is asked, before it is written. targets: their workloads."""

    items: tuple[Target | Row, ...]
    targets: frozenset[str]

    def of(self, found: Status) -> tuple[Target | Row, ...]:
        """Their rows now: what is asked, its targets, and bridges beside it that are told a new configuration."""
        mounts, bridges = ({n for kind, n in map(_name, self.items) if kind is k} for k in (Target, Row))
        targets = [t for t in found.targets if t.mount in mounts or _workload(t) in self.targets]
        return (*targets, *(b for b in found.bridges if b.name in bridges or (_workload(b) in self.targets and b.state == "INSTALLING")))


def _name(item: Target | Row) -> tuple[type, str]:
    return type(item), item.mount if isinstance(item, Target) else item.name


def _workload(item: Target | Row) -> str:
    """NAMESPACE/KIND/NAME; the way back no longer knows a container."""
    return "/".join(item.written.split("/")[:3])


def concerned(found: Status, asked: Iterable[Wish]) -> Concerned:
    """The rows of what is asked, and the workloads that they are about."""
    keys = {((Target if w.key.kind == "GefyraBridgeMount" else Row), w.key.name) for w in asked}
    items = tuple(i for i in found.items if _name(i) in keys)
    return Concerned(items, frozenset(map(_workload, items)))
