"""A plan -> writes. The thin applier: it decides nothing, and a plan that has become stale ends where it is met.

Writes go in waves, each parallel in itself: what carriers need, then other objects, the Pods, those of them whose carriers are delivered
to, the reports, the deletes. The writes of one Pod keep their order, with the configuration delivered before an annotation says that the
carrier has confirmed it. The other Pods come first, as a delivery takes long on a busy machine, and a new Pod that is to be held serves
meanwhile.

Of a plan that is stale nothing more is written: read again, plan again. When something fails otherwise, the next waves are not begun,
but for the reports: they tell what was seen before any write, and what fails. A Pod that cannot be patched holds up no delivery to
another, and one that cannot be made nothing at all: no change of the same plan needs it yet, and a stand-in that is refused for good must
not keep its originals from the way back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from itertools import groupby

from generator import names
from generator.cluster.snapshot import OUR_KINDS, Key, Obj
from generator.desired.carrier_objects import config_hash
from generator.live.deliver import ConfigRefused, deliver
from generator.live.failures import Conflict, Invalid, KubeError, NotFound
from generator.live.kube import Kube
from generator.plan import Change, Delivery


@dataclass
class Result:
    """What became of a plan.

    written: changes that the server has taken. stale: some met another object than the one they were made for.
    failed: the others, with the reason.
    """

    written: list[Change] = field(default_factory=list)
    stale: list[Change] = field(default_factory=list)
    failed: list[tuple[Change, KubeError]] = field(default_factory=list)

    @property
    def complete(self) -> bool:
        """Whether all was written."""
        return not (self.stale or self.failed)


def write(
    kube: Kube,
    changes: Iterable[Change],
    pool: Executor,
    seen: Callable[[Key, Obj | None], None] = lambda _key, _obj: None,
    deliveries: Executor | None = None,
    goes_on: Callable[[], bool] = lambda: True,
) -> Result:
    """Write the changes.

    seen: is told each object as the server has it then, None for one that is gone. deliveries: where to wait for carriers that answer
    late, so that they hold up no other write; `pool` by default. goes_on: asked before each wave, whether to begin it.
    """
    result = Result()

    def chain(steps: list[Change]) -> None:
        for change in steps:
            try:
                _write(kube, change, seen)
            except KubeError as error:
                if is_stale(change, error):
                    result.stale.append(change)
                else:
                    result.failed.append((change, error))
                return
            result.written.append(change)

    held_up: set[int] = set()
    for number, wave in waves(changes):
        if result.stale or not goes_on():
            break
        if number in held_up:
            continue
        before = len(result.failed)
        threads = deliveries if deliveries and number == _CARRIERS else pool
        for done in [threads.submit(chain, steps) for steps in wave]:
            done.result()
        if len(result.failed) > before:
            held_up |= _HELD_UP[number]
    return result


def waves(changes: Iterable[Change]) -> Iterator[tuple[int, list[list[Change]]]]:
    """The changes in waves of chains, by the wave's number: what is in one chain is written one after the other."""
    found = list(changes)
    slow = {c.key for c in found if c.deliver}

    def number(change: Change) -> int:
        return _CARRIERS if change.key in slow else _wave(change)

    for wave, members in groupby(sorted(found, key=number), number):
        chains: dict[Key, list[Change]] = {}
        for change in members:
            chains.setdefault(change.key, []).append(change)
        yield wave, list(chains.values())


_NEW, _NEW_PODS, _OBJECTS, _PODS, _CARRIERS, _REPORTS, _OLD_PODS, _OLD = range(8)
_HELD_UP = {number: {n for n in range(number + 1, 8) if n != _REPORTS} for number in range(8)} | {
    _NEW_PODS: set[int](),
    _PODS: {_OLD_PODS, _OLD},
}
"""What is not begun after a failure in a wave."""


def _wave(change: Change) -> int:
    pod = change.key.kind == "Pod"
    if change.op == "create":
        return _NEW_PODS if pod else _NEW
    if change.op == "delete":
        return _OLD_PODS if pod else _OLD
    return _REPORTS if change.key.kind in OUR_KINDS.values() else _PODS if pod else _OBJECTS


def _write(kube: Kube, change: Change, seen: Callable[[Key, Obj | None], None]) -> None:
    if change.op == "create":
        assert change.body is not None
        seen(change.key, kube.create(change.body))
    elif change.op == "patch":
        for delivery in change.deliver:
            try:
                deliver(kube, change.key, delivery)
            except ConfigRefused as error:
                seen(change.key, kube.merge(change.key, refusal(delivery, error)))
                raise
        seen(change.key, kube.patch(change.key, change.patch, change.subresource))
    else:
        seen(change.key, kube.delete(change.key, change.uid, change.version))


def refusal(delivery: Delivery, error: ConfigRefused) -> Obj:
    """What is noted on the Pod, so that its bridges can tell; it goes with the next patch that the carrier's answer allows."""
    why = f"{config_hash(delivery.text)} {' '.join(str(error).split())[:500]}"
    return {"metadata": {"annotations": {names.REFUSED + delivery.container: why}}}


def is_stale(change: Change, error: KubeError) -> bool:
    """Whether the change met another object than the one it was made for.

    A patch that cannot be applied, a failed `test` among them, is answered with 422 as an invalid object is, but names no cause (tried).
    """
    if isinstance(error, NotFound | Conflict):
        return change.op != "create" or isinstance(error, Conflict)
    return isinstance(error, Invalid) and change.op == "patch" and not error.causes
