"""Where every Pod of a workload stands -> what each of them should look like next.

The walk that loses no request: stand-ins join the Services, an original is held (taken out of the endpoints), given time to
drain, its image is swapped, it is released when it is ready, and the stand-ins leave. Install and restore are the same walk
with another image. Each decision is taken from the facts alone, so it does not matter who took the last one, or when.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from generator import names
from generator.cluster.snapshot import Obj, annotations_of
from generator.cluster.times import seconds_between
from generator.cluster.workload import Original, is_serving


@dataclass(frozen=True, slots=True)
class Facts:
    """What the snapshot says about one workload.

    wanted: carrier image by targeted container; empty means restore. blocked: containers that no carrier may enter now.
    originals: Pods that can be acted on. own: name of each original's own shadow.
    shadows: every shadow, needed or live -> the live Pod, or None. needed: those that originals need.
    stand_ins: every live stand-in. covers: name of the stand-in for each original. standing: stand-ins that can take over.
    inside: stand-ins that a Service selects by their labels.
    served: originals that a Service selects. starting: those that no Service knows yet, while carriers serve.
    listed: Pod name -> whether every Service that selects it (a stand-in: its original) has it as a ready endpoint.
    drained: whether none has, as far as the proxies can know. configs: configuration hash by container, once there is one.
    """

    now: str
    wanted: Mapping[str, str]
    blocked: frozenset[str]
    originals: tuple[Original, ...]
    own: Mapping[str, str]
    shadows: Mapping[str, Obj | None]
    needed: frozenset[str]
    stand_ins: Mapping[str, Obj]
    covers: Mapping[str, str]
    standing: frozenset[str]
    inside: frozenset[str]
    served: frozenset[str]
    starting: frozenset[str]
    listed: Mapping[str, bool]
    drained: Mapping[str, bool]
    configs: Mapping[str, str]

    def alive(self, shadow: str) -> bool:
        """Whether a shadow serves."""
        return is_serving(self.shadows.get(shadow))

    def covered(self, item: Original) -> bool:
        """Whether a stand-in serves in the original's place."""
        name = self.covers.get(item.name, "")
        return name in self.standing and self.listed.get(name, False)


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
    starting: new originals that are held, and when they were made.
    """

    originals: Mapping[str, Next]
    joined: bool
    moving: bool
    wanted: frozenset[str]
    staying: frozenset[str]
    retiring: Mapping[str, str]
    kept: frozenset[str]
    resting: Mapping[str, str]
    starting: Mapping[str, str]


PATIENCE = 60.0
"""Seconds that an original waits for a stand-in on its way back; Kubernetes gives a Pod longer only for large images."""
_WAITS = "wait: the application is to return, a stand-in comes first"


def images_for(item: Original, wanted: Mapping[str, str]) -> dict[str, str]:
    """The image each container should have."""
    return {c.name: wanted.get(c.name, c.application) for c in item.containers.values()}


def needs_swap(item: Original, wanted: Mapping[str, str]) -> bool:
    """Whether an image has to change."""
    return any(item.containers[name].image != image for name, image in images_for(item, wanted).items())


def decide(facts: Facts) -> Handover:
    """The next state of every original, of the stand-ins and of the shadows."""
    steps = {item.name: _next(item, facts) for item in facts.originals}
    moving = any(_moving(item, facts) for item in facts.originals)
    absent = any(_returning(o, facts) for o in facts.originals)
    joined = moving or (absent and bool(facts.inside))
    changing = {facts.covers.get(o.name, "") for o in facts.originals if needs_swap(o, facts.wanted)}
    needed = frozenset(changing - {""}) | (facts.stand_ins.keys() & set(facts.covers.values()) if joined else frozenset())
    staying = facts.inside - needed if joined else frozenset()
    retiring = {name: _drain(name, pod, facts) for name, pod in facts.stand_ins.items() if name not in needed | staying}
    surplus = {name: pod for name, pod in facts.shadows.items() if pod and name not in facts.needed}
    resting = {name: annotations_of(pod).get(names.DRAINED_SINCE) or facts.now for name, pod in surplus.items() if _replaced(facts)}
    kept = frozenset(name for name in surplus if name not in resting or _in_use(resting[name], facts))
    starting = {o.name: o.pod["metadata"].get("creationTimestamp") or facts.now for o in facts.originals if o.name in facts.starting}
    return Handover(steps, joined, moving, needed, staying, retiring, kept, {n: resting[n] for n in resting if n in kept}, starting)


def _replaced(facts: Facts) -> bool:
    """Whether nobody leans on a surplus shadow any more: each carrier has confirmed the configuration of now, and its own shadow serves."""
    if facts.stand_ins:
        return False
    carried = [o for o in facts.originals if o.carried]
    return all(facts.alive(facts.own.get(o.name, "")) and _told(o) == _confirmed(o, facts) for o in carried)


def _in_use(since: str, facts: Facts) -> bool:
    """Whether requests may still be on their way to a shadow that no carrier has sent one since: in an old worker, or by Service Y'."""
    return any(o.touched for o in facts.originals) and seconds_between(since, facts.now) < names.REST_SECONDS


def _drain(name: str, pod: Obj, facts: Facts) -> str:
    """Since when a stand-in that has left its Services is in no endpoints; "" while it is."""
    if name in facts.inside or not facts.drained.get(name, True):
        return ""
    return annotations_of(pod).get(names.DRAINED_SINCE) or facts.now


def _settled(item: Original) -> bool:
    return all(c.settled for c in item.containers.values() if c.replaced)


def _pending(item: Original) -> bool:
    """Whether kubelet has not acted on the last image patch yet; another one now would be lost on it."""
    return any(c.running and c.replaced == c.container_id for c in item.containers.values() if c.replaced)


def _entering(item: Original, facts: Facts) -> list[str]:
    """Containers that wait for their carrier."""
    return [c for c, image in facts.wanted.items() if c in item.containers and item.containers[c].image != image]


def _covered(item: Original, facts: Facts) -> bool:
    """Whether somebody else serves what this original would, so that it may be held.

    On the way back nothing may stop it for good. When no shadow is alive only the application can help, since carriers have nothing
    to send requests to; when no stand-in comes in time (no room, no image any more, an admission policy), originals go one by one.
    """
    if facts.covered(item):
        return bool(not _entering(item, facts) or facts.alive(facts.own.get(item.name, "")))
    if _entering(item, facts):
        return False
    if not any(facts.alive(name) for name in facts.shadows):
        return True
    since = annotations_of(item.pod).get(names.WAITS_SINCE, "")
    return bool(since) and seconds_between(since, facts.now) >= PATIENCE and _is_next(item, facts)


def _is_next(item: Original, facts: Facts) -> bool:
    """Whether it is this original's turn where only one may be away at a time."""
    away = [o for o in facts.originals if o.held or not _settled(o) or _returning(o, facts)]
    return item is min(away or [o for o in facts.originals if needs_swap(o, facts.wanted)], key=lambda o: (not o.held, o.name))


def _returning(item: Original, facts: Facts) -> bool:
    """Whether nobody holds it any more and the endpoints are yet to list it."""
    return item.kubelet_ready and not item.held and not facts.listed.get(item.name, False)


def _prepared(item: Original, facts: Facts) -> bool:
    """Whether the carrier may take over: nothing stands against it, and its stand-in shows that it works."""
    entering = _entering(item, facts)
    if not entering:
        return True
    return facts.covers.get(item.name, "") in facts.standing and not facts.blocked & set(entering)


def _moving(item: Original, facts: Facts) -> bool:
    """Whether the walk of this original has begun, or may begin: until then no stand-in enters a Service."""
    if not needs_swap(item, facts.wanted):
        return item.held or not _settled(item)
    ready = not _entering(item, facts) or facts.alive(facts.own.get(item.name, ""))
    return item.held or (_prepared(item, facts) and ready)


def _told(item: Original) -> dict[str, str]:
    return {c.name: c.confirmed for c in item.containers.values() if c.confirmed}


def _confirmed(item: Original, facts: Facts) -> dict[str, str]:
    """What each running carrier should have confirmed; what it has, where there is no configuration."""
    result = {}
    for c in item.containers.values():
        if c.carried and c.running and c.name in facts.configs:
            result[c.name] = f"{facts.configs[c.name]}@{c.container_id}"
        elif c.carried and c.confirmed:
            result[c.name] = c.confirmed
    return result


def _next(item: Original, facts: Facts) -> Next:
    swap, settled = needs_swap(item, facts.wanted), _settled(item)
    replaced = {c.name: c.replaced for c in item.containers.values() if c.replaced}
    confirmed = _confirmed(item, facts) if settled else _told(item)
    stay = Next(
        images={c.name: c.image for c in item.containers.values()},
        held=item.held,
        drained_since=annotations_of(item.pod).get(names.DRAINED_SINCE, ""),
        waits_since=annotations_of(item.pod).get(names.WAITS_SINCE, ""),
        replaced=replaced,
        confirmed=confirmed,
        marked=item.carried or item.held or bool(replaced) or (item.touched and item.kubelet_ready and not item.ready),
        ready=False if item.held else None,
        reason="deliver the configuration" if confirmed != _told(item) else "wait: not all is ready for the swap",
    )
    if not settled and (not swap or _pending(item)):
        return replace(stay, reason="wait: the new container starts")
    if swap:
        return _toward(item, facts, stay)
    if not item.held:
        return _at_rest(item, stay)
    if not item.carried and not replaced:
        return replace(stay, held=False, drained_since="", waits_since="", ready=item.kubelet_ready, reason="release: it stays as it is")
    delivered = all(name in confirmed for name, c in item.containers.items() if c.carried)
    if not (item.kubelet_ready and delivered):
        return replace(stay, reason="deliver the configuration" if confirmed != _told(item) else "wait: it is not ready")
    reason = "release: the carrier is ready" if item.carried else "release: the application is back"
    return replace(stay, held=False, drained_since="", waits_since="", replaced={}, ready=True, reason=reason)


def _at_rest(item: Original, stay: Next) -> Next:
    """An original with the right images that nobody holds: told the configuration, or freed of our marks once it is ready.

    If the condition Ready was left at False by us (killed between two writes), it is set now and not at kubelet's next tick;
    a readiness gate may hold it there with reason, so a Pod that has one is left to kubelet.
    """
    gated = bool(item.pod["spec"].get("readinessGates"))
    ready = True if item.touched and item.kubelet_ready and not item.ready and not gated else None
    reason = stay.reason if item.carried else "take our marks off"
    done = replace(stay, drained_since="", waits_since="", replaced={}, ready=ready)
    return replace(done, reason="release: it is ready" if ready else reason)


def _toward(item: Original, facts: Facts, stay: Next) -> Next:
    """One step of an original whose image has to change.

    On the way back a carrier is told the configuration of now in a step of its own: should it take none, it holds up nothing else.
    """
    entering = _entering(item, facts)
    confirmed, stay = stay.confirmed, stay if entering else replace(stay, confirmed=_told(item))
    may = (_covered(item, facts) or _spare(item, facts)) and _prepared(item, facts)
    starting = item.name in facts.starting and not facts.blocked & set(entering)
    if not item.held:
        if may or starting:
            return replace(stay, held=True, marked=True, drained_since="", ready=False, reason=_why_hold(item, facts))
        if entering:
            return stay
        return replace(stay, confirmed=confirmed) if stay.waits_since else replace(stay, waits_since=facts.now, reason=_WAITS)
    if not (may or starting):
        return replace(stay, held=False, drained_since="", ready=item.kubelet_ready, reason="release: the swap cannot go on now")
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


def _spare(item: Original, facts: Facts) -> bool:
    """Whether the original is one that nobody knows yet, while carriers serve; it runs, and its shadow shows that the application works."""
    runs = all(c.running for c in item.containers.values())
    return item.name in facts.starting and runs and facts.alive(facts.own.get(item.name, ""))


def _why_hold(item: Original, facts: Facts) -> str:
    if item.name in facts.starting:
        return "hold: it is new, and serves once it is a carrier, as the others do"
    if item.name not in facts.served:
        return "hold: all is ready for the swap; it is in no Service"
    if facts.covered(item):
        return "hold: its stand-in serves now, take it out of the endpoints"
    return "hold: no stand-in has come; the other originals serve"
