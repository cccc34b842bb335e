"""Where every Pod of a workload stands -> what each of them should look like next.

The walk that loses no request: shadows join the Services, an original is held (taken out of the endpoints), given time to
drain, its image is swapped, it is released when it is ready, and the shadows leave. Install and restore are the same walk
with another image. Each decision is taken from the facts alone, so it does not matter who took the last one, or when.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from generator import names
from generator.cluster.snapshot import Obj, annotations_of
from generator.cluster.times import seconds_between
from generator.cluster.workload import Original, is_ready


@dataclass(frozen=True, slots=True)
class Facts:
    """What the snapshot says about one workload.

    wanted: carrier image by targeted container; empty means restore.
    originals: Pods that can be acted on.
    own: name of each original's own shadow. shadows: every shadow, needed or live -> the live Pod, or None.
    needed: shadows that originals need.
    inside: shadows that the target's Services select by their labels now.
    served: originals that a Service selects. listed: Pod name -> whether every Service that selects it (a shadow: its original)
    has it as a ready endpoint. drained: whether none has.
    rehearsed: originals whose node has started the carrier. configs: configuration hash by container, once there is one.
    """

    now: str
    wanted: Mapping[str, str]
    originals: tuple[Original, ...]
    own: Mapping[str, str]
    shadows: Mapping[str, Obj | None]
    needed: frozenset[str]
    inside: frozenset[str]
    served: frozenset[str]
    listed: Mapping[str, bool]
    drained: Mapping[str, bool]
    rehearsed: frozenset[str]
    configs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Next:
    """What an original should look like: images by container, hold, notes by container, and the reason of the change."""

    images: Mapping[str, str]
    held: bool
    drained_since: str
    replaced: Mapping[str, str]
    confirmed: Mapping[str, str]
    marked: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Handover:
    """The decisions.

    joined: shadows are in the target's Services. moving: some original is on its way.
    retiring: shadows nobody needs, and since when no endpoint lists them. kept: shadows that stay for now.
    """

    originals: Mapping[str, Next]
    joined: bool
    moving: bool
    retiring: Mapping[str, str]
    kept: frozenset[str]


def images_for(item: Original, wanted: Mapping[str, str]) -> dict[str, str]:
    """The image each container should have."""
    return {c.name: wanted.get(c.name, c.application) for c in item.containers.values()}


def needs_swap(item: Original, wanted: Mapping[str, str]) -> bool:
    """Whether an image has to change."""
    return any(item.containers[name].image != image for name, image in images_for(item, wanted).items())


def _settled(item: Original) -> bool:
    return all(c.settled for c in item.containers.values() if c.replaced)


def _covered(item: Original, facts: Facts) -> bool:
    """Whether somebody else serves what this original would, so that it may be held.

    On the way back an original whose own shadow is dead may lean on any other, or, with no shadow alive, on nobody:
    its carrier has nothing to send requests to, so only the application can help.
    """
    own = facts.own.get(item.name, "")
    if facts.listed.get(own, False):
        return True
    if any(name in facts.wanted for name, c in item.containers.items() if c.image != facts.wanted.get(name)):
        return False
    alive = [name for name, pod in facts.shadows.items() if pod and is_ready(pod)]
    return own not in alive and (not alive or any(facts.listed.get(name, False) for name in alive))


def _prepared(item: Original, facts: Facts) -> bool:
    """Whether the carrier may take over: it started on that node, and there is a configuration for it."""
    entering = [c for c, image in facts.wanted.items() if c in item.containers and item.containers[c].image != image]
    return not entering or (item.name in facts.rehearsed and all(c in facts.configs for c in entering))


def _moving(item: Original, facts: Facts) -> bool:
    """Whether the walk of this original has begun, or may begin: until then no shadow enters a Service."""
    if not needs_swap(item, facts.wanted):
        return item.held or not _settled(item)
    own = facts.shadows.get(facts.own.get(item.name, ""))
    return item.held or (_prepared(item, facts) and (not facts.wanted or (own is not None and is_ready(own))))


def decide(facts: Facts) -> Handover:
    """The next state of every original and of the shadows as a whole."""
    steps = {item.name: _next(item, facts) for item in facts.originals}
    moving = any(_moving(item, facts) for item in facts.originals)
    waiting = any(o.ready and not o.held and not facts.listed.get(o.name, False) for o in facts.originals)
    joined = moving or (waiting and bool(facts.inside))
    surplus = [name for name in facts.shadows if name not in facts.needed]
    retiring = {} if joined else {name: _shadow_drain(name, facts) for name in surplus}
    gone = {n for n, since in retiring.items() if since and seconds_between(since, facts.now) >= names.SETTLE_SECONDS}
    return Handover(steps, joined, moving, {n: s for n, s in retiring.items() if s}, frozenset(facts.shadows) - gone)


def _shadow_drain(name: str, facts: Facts) -> str:
    """Since when a shadow that has left its Services is in no endpoints; "" while it is."""
    pod = facts.shadows[name]
    if pod is None or name in facts.inside or not facts.drained.get(name, True):
        return ""
    return annotations_of(pod).get(names.DRAINED_SINCE) or facts.now


def _next(item: Original, facts: Facts) -> Next:
    swap, settled = needs_swap(item, facts.wanted), _settled(item)
    now_images = {c.name: c.image for c in item.containers.values()}
    replaced = {c.name: c.replaced for c in item.containers.values() if c.replaced}
    confirmed = _confirmed(item, facts) if settled else {c.name: c.confirmed for c in item.containers.values() if c.confirmed}
    since = annotations_of(item.pod).get(names.DRAINED_SINCE, "")
    marked = item.carried or item.held or swap or bool(replaced)

    if swap and not item.held:
        if _covered(item, facts) and _prepared(item, facts):
            return Next(now_images, True, "", replaced, confirmed, True, _why_hold(item, facts))
        touched = item.carried or bool(replaced)
        return Next(now_images, False, "", replaced, confirmed, touched, _waiting(item, confirmed))
    if swap:
        if not (_covered(item, facts) and _prepared(item, facts)):
            return Next(now_images, False, "", replaced, confirmed, item.carried, "release: its shadow no longer serves")
        if not facts.drained.get(item.name, True):
            return Next(now_images, True, "", replaced, confirmed, True, "hold: still in the endpoints")
        if seconds_between(since or facts.now, facts.now) < names.SETTLE_SECONDS:
            return Next(
                now_images, True, since or facts.now, replaced, confirmed, True, "drained: no endpoint lists it, give the proxies time"
            )
        images = images_for(item, facts.wanted)
        changed = {n: item.containers[n].container_id for n, image in images.items() if image != item.containers[n].image}
        to_carrier = any(images[n] == facts.wanted.get(n) for n in changed)
        reason = "swap: the carrier takes the application's place" if to_carrier else "swap back: the application returns"
        return Next(images, True, since, {**replaced, **changed}, {n: v for n, v in confirmed.items() if n not in changed}, True, reason)
    if not settled:
        return Next(now_images, item.held, since, replaced, confirmed, marked, "wait: the new container starts")
    delivered = all(n in confirmed for n, c in item.containers.items() if c.carried)
    if item.held and not (item.kubelet_ready and delivered):
        return Next(now_images, True, since, replaced, confirmed, True, "deliver the configuration" if confirmed else "wait: not ready")
    if item.held:
        return Next(
            now_images, False, "", {}, confirmed, item.carried, "release: ready" if item.carried else "release: the application is back"
        )
    reason = "deliver the configuration" if item.carried else "take our marks off"
    return Next(now_images, False, "", {}, confirmed, item.carried, reason)


def _why_hold(item: Original, facts: Facts) -> str:
    if item.name in facts.served:
        return "hold: its shadow serves now, take it out of the endpoints"
    return "hold: all is ready for the swap; it is in no Service"


def _waiting(item: Original, confirmed: Mapping[str, str]) -> str:
    """The reason of a write to an original that is not held yet."""
    told = {c.name: c.confirmed for c in item.containers.values() if c.confirmed}
    return "deliver the configuration" if confirmed != told else "wait: not all is ready for the swap"


def _confirmed(item: Original, facts: Facts) -> dict[str, str]:
    """What each running carrier should have confirmed; what it has, where there is no configuration."""
    result = {}
    for c in item.containers.values():
        if c.carried and c.running and c.name in facts.configs:
            result[c.name] = f"{facts.configs[c.name]}@{c.container_id}"
        elif c.carried and c.confirmed:
            result[c.name] = c.confirmed
    return result
