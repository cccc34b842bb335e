"""Where every Pod of a workload stands -> what each of them should look like next.

The walk that loses no request: stand-ins join the Services, an original is held (taken out of the endpoints), given time to
drain, its image is swapped, it is released when it is ready, and the stand-ins leave. Install and restore are the same walk
with another image. Each decision is taken from the facts alone, so it does not matter who took the last one, or when.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from generator import names
from generator.cluster.snapshot import Obj
from generator.cluster.times import seconds_between
from generator.cluster.workload import SLOW_SECONDS, SPARE_SECONDS, Original, ready_since
from generator.desired.facts import (
    Facts,
    entrants,
    images_for,
    is_covered,
    is_moving,
    is_pending,
    is_prepared,
    is_returning,
    is_settled,
    is_spare,
    may_start,
    needs_swap,
    noted,
    to_confirm,
    told_of,
)


@dataclass(frozen=True, slots=True)
class Next:
    """What an original should look like: images by container, hold, notes by container, and the reason of the change.

    marked: it bears our label and the name of its shadow. waits_since: since when it waits for a stand-in on its way back, "" if not.
    ready: the condition Ready is ours to set, and to this; None: leave it.
    """

    images: Mapping[str, str]
    held: bool
    drained_since: str
    waits_since: str
    replaced: Mapping[str, str]
    confirmed: Mapping[str, str]
    marked: bool
    ready: bool | None
    reason: str


@dataclass(frozen=True, slots=True)
class Handover:
    """The decisions.

    joined: stand-ins are in the target's Services. moving: some original is on its way.
    wanted: stand-ins that somebody needs. staying: live ones of before, in the Services until the originals serve.
    retiring: live ones nobody needs, and since when no endpoint lists them ("" while one does).
    kept: shadows that nobody needs and that stay for now. resting: those to which no carrier sends requests, and since when.
    starting: when new originals that are held are let go: since when, and after how many seconds.
    """

    originals: Mapping[str, Next]
    joined: bool
    moving: bool
    wanted: frozenset[str]
    staying: frozenset[str]
    retiring: Mapping[str, str]
    kept: frozenset[str]
    resting: Mapping[str, str]
    starting: tuple[tuple[str, float], ...]


_WAITS = "wait: the application is to return, a stand-in comes first"


def decide(facts: Facts) -> Handover:
    """The next state of every original, of the stand-ins and of the shadows."""
    steps = {item.name: _next(item, facts) for item in facts.originals}
    moving = any(is_moving(item, facts) for item in facts.originals)
    absent = any(is_returning(o, facts) for o in facts.originals)
    joined = moving or (absent and bool(facts.inside))
    changing = {facts.covers.get(o.name, "") for o in facts.originals if needs_swap(o, facts.wanted)}
    needed = frozenset(changing - {""}) | (facts.stand_ins.keys() & set(facts.covers.values()) if joined else frozenset())
    staying = facts.inside - needed if joined else frozenset()
    retiring = {name: _drain(name, pod, facts) for name, pod in facts.stand_ins.items() if name not in needed | staying}
    surplus = {name: pod for name, pod in facts.shadows.items() if pod and name not in facts.needed}
    resting = {name: noted(pod, names.DRAINED_SINCE, facts.now) or facts.now for name, pod in surplus.items() if _replaced(facts)}
    kept = frozenset(name for name in surplus if name not in resting or _in_use(resting[name], facts))
    fresh = [o.pod for o in facts.originals if o.name in facts.starting]
    ends = [(pod["metadata"].get("creationTimestamp") or facts.now, SLOW_SECONDS) for pod in fresh]
    starting = (*ends, *((since, SPARE_SECONDS) for pod in fresh if (since := ready_since(pod))))
    return Handover(steps, joined, moving, needed, staying, retiring, kept, {n: resting[n] for n in resting if n in kept}, starting)


def _replaced(facts: Facts) -> bool:
    """Whether nobody leans on a surplus shadow any more: each carrier has confirmed the configuration of now, and its own shadow serves."""
    if facts.stand_ins:
        return False
    carried = [o for o in facts.originals if o.carried]
    return all(facts.alive(facts.own.get(o.name, "")) and told_of(o) == to_confirm(o, facts) for o in carried)


def _in_use(since: str, facts: Facts) -> bool:
    """Whether requests may still be on their way to a shadow that no carrier has sent one since: in an old worker, or by Service Y'."""
    return any(o.touched for o in facts.originals) and seconds_between(since, facts.now) < names.REST_SECONDS


def _drain(name: str, pod: Obj, facts: Facts) -> str:
    """Since when a stand-in that has left its Services is in no endpoints; "" while it is."""
    if name in facts.inside or not facts.drained.get(name, True):
        return ""
    return noted(pod, names.DRAINED_SINCE, facts.now) or facts.now


def _next(item: Original, facts: Facts) -> Next:
    swap, settled = needs_swap(item, facts.wanted), is_settled(item)
    replaced = {c.name: c.replaced for c in item.containers.values() if c.replaced}
    confirmed = to_confirm(item, facts) if settled else told_of(item)
    stay = Next(
        images={c.name: c.image for c in item.containers.values()},
        held=item.held,
        drained_since=noted(item.pod, names.DRAINED_SINCE, facts.now),
        waits_since=noted(item.pod, names.WAITS_SINCE, facts.now),
        replaced=replaced,
        confirmed=confirmed,
        marked=item.carried or item.held or bool(replaced) or (item.touched and item.held_back),
        ready=False if item.held else None,
        reason="deliver the configuration" if confirmed != told_of(item) else "wait: not all is ready for the swap",
    )
    if not settled and (not swap or is_pending(item)):
        return replace(stay, reason="wait: the new container starts")
    if swap:
        return _toward(item, facts, stay)
    if not item.held:
        return _at_rest(item, stay)
    if not item.carried and not replaced:
        return replace(stay, held=False, drained_since="", waits_since="", ready=_as_it_is(item), reason="release: it stays as it is")
    delivered = all(name in confirmed for name, c in item.containers.items() if c.carried)
    if not (item.kubelet_ready and delivered):
        return replace(stay, reason="deliver the configuration" if confirmed != told_of(item) else "wait: it is not ready")
    reason = "release: the carrier is ready" if item.carried else "release: the application is back"
    return replace(stay, held=False, drained_since="", waits_since="", replaced={}, ready=_as_it_is(item), reason=reason)


def _at_rest(item: Original, stay: Next) -> Next:
    """An original with the right images that nobody holds: told the configuration, or freed of our marks once it is ready.

    If the condition Ready was left at False by us (killed between two writes), it is set now and not at kubelet's next tick.
    """
    ready = _as_it_is(item) if item.touched and item.held_back else None
    reason = stay.reason if item.carried else "take our marks off"
    done = replace(stay, drained_since="", waits_since="", replaced={}, ready=ready)
    return replace(done, reason="release: it is ready" if ready else reason)


def _as_it_is(item: Original) -> bool | None:
    """The condition Ready of a Pod that nobody holds: True if that is sure, else it is left to kubelet."""
    return True if item.kubelet_ready and item.gates_open else None


def _toward(item: Original, facts: Facts, stay: Next) -> Next:
    """One step of an original whose image has to change.

    On the way back a carrier is told the configuration of now in a step of its own: should it take none, it holds up nothing else.
    """
    entering = entrants(item, facts)
    confirmed, stay = stay.confirmed, stay if entering else replace(stay, confirmed=told_of(item))
    may = (is_covered(item, facts) or is_spare(item, facts)) and is_prepared(item, facts)
    starting = may_start(item, facts)
    if not item.held:
        if may or starting:
            return replace(stay, held=True, marked=True, drained_since="", ready=False, reason=_why_hold(item, facts))
        if entering:
            return stay
        return replace(stay, confirmed=confirmed) if stay.waits_since else replace(stay, waits_since=facts.now, reason=_WAITS)
    if not (may or starting):
        return replace(stay, held=False, drained_since="", ready=_as_it_is(item), reason="release: the swap cannot go on now")
    if not facts.drained.get(item.name, True):
        return replace(stay, drained_since="", reason="hold: still in the endpoints")
    since = stay.drained_since or facts.now
    if seconds_between(since, facts.now) < names.SETTLE_SECONDS:
        return replace(stay, drained_since=since, reason="drained: no endpoint lists it, give the proxies time")
    if not may:
        return replace(stay, drained_since=since, reason="wait: its shadow and its stand-in start")
    images = images_for(item, facts.wanted)
    changed = {n: item.containers[n].container_id for n, image in images.items() if image != item.containers[n].image}
    return replace(
        stay,
        images=images,
        replaced={**stay.replaced, **changed},
        confirmed={n: v for n, v in stay.confirmed.items() if n not in changed},
        reason="swap: the carrier takes the application's place" if entering else "swap back: the application returns",
    )


def _why_hold(item: Original, facts: Facts) -> str:
    if item.name in facts.starting:
        return "hold: it is new, and serves once it is a carrier, as the others do"
    if item.name not in facts.served:
        return "hold: all is ready for the swap; it is in no Service"
    if facts.covered(item):
        return "hold: its stand-in serves now, take it out of the endpoints"
    return "hold: no stand-in has come; the other originals serve"
