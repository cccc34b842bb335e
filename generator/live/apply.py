"""A plan -> writes. The thin applier: it decides nothing, and a plan that has become stale ends where it is met.

Writes go in waves, each parallel in itself: what carriers need, then other objects, the Pods, the reports, the deletes. The writes
of one Pod keep their order, with the configuration delivered before an annotation says that the carrier has confirmed it. When
something of a wave fails, the next waves are not begun: read again, plan again. Two things are not held up: what is reported is what
was seen before any write, and says what fails; and no change of the same plan needs a Pod yet that cannot be made, so that a stand-in
that is refused for good does not keep its originals from the way back. Of a plan that is stale nothing more is written at all.
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

    for wave in waves(changes):
        holds_up = any((c.op, c.key.kind) != ("create", "Pod") for c, _ in result.failed)
        if result.stale or not goes_on():
            break
        if not holds_up or _wave(wave[0][0]) == _REPORTS:
            for done in [(deliveries or pool if any(c.deliver for c in steps) else pool).submit(chain, steps) for steps in wave]:
                done.result()
    return result


def waves(changes: Iterable[Change]) -> Iterator[list[list[Change]]]:
    """The changes in waves of chains: what is in one chain is written one after the other."""
    for _, wave in groupby(sorted(changes, key=_wave), _wave):
        chains: dict[Key, list[Change]] = {}
        for change in wave:
            chains.setdefault(change.key, []).append(change)
        yield list(chains.values())


_REPORTS = (3, 0)


def _wave(change: Change) -> tuple[int, int]:
    if change.op == "create":
        return (0, int(change.key.kind == "Pod"))
    if change.op == "delete":
        return (4, int(change.key.kind != "Pod"))
    if change.key.kind in OUR_KINDS.values():
        return _REPORTS
    return (2, 0) if change.key.kind == "Pod" else (1, 0)


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
