"""What the snapshot says about one workload, and what that means for one of its originals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from generator import names
from generator.cluster.snapshot import Obj, annotations_of
from generator.cluster.times import seconds_between
from generator.cluster.workload import Original, is_serving, trouble

PATIENCE = 60.0
"""Seconds that an original waits for a stand-in on its way back; Kubernetes gives a Pod longer only for large images."""


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


def noted(pod: Obj, note: str, now: str) -> str:
    """Since when, by that note on a Pod, "" without one. A time that is yet to come counts as now: the clock that wrote it was ahead."""
    since = annotations_of(pod).get(note, "")
    return now if seconds_between(since, now) < 0 else since


def is_covered(item: Original, facts: Facts) -> bool:
    """Whether somebody else serves what this original would, so that it may be held.

    On the way back nothing may stop it for good. When no shadow is alive only the application can help, since carriers have nothing
    to send requests to; when no stand-in comes in time (no room, no image any more, an admission policy), originals go one by one.
    """
    if facts.covered(item):
        return bool(not entrants(item, facts) or facts.alive(facts.own.get(item.name, "")))
    if entrants(item, facts):
        return False
    if not any(facts.alive(name) for name in facts.shadows):
        return True
    since = noted(item.pod, names.WAITS_SINCE, facts.now)
    return bool(since) and seconds_between(since, facts.now) >= PATIENCE and is_next(item, facts)


def images_for(item: Original, wanted: Mapping[str, str]) -> dict[str, str]:
    """The image each container should have."""
    return {c.name: wanted.get(c.name, c.application) for c in item.containers.values()}


def needs_swap(item: Original, wanted: Mapping[str, str]) -> bool:
    """Whether an image has to change."""
    return any(item.containers[name].image != image for name, image in images_for(item, wanted).items())


def is_settled(item: Original) -> bool:
    """Whether in each container that an image patch replaces the new one runs."""
    return all(c.settled for c in item.containers.values() if c.replaced)


def is_pending(item: Original) -> bool:
    """Whether kubelet has not acted on the last image patch yet; another one now would be lost on it."""
    return any(c.running and c.replaced == c.container_id for c in item.containers.values() if c.replaced)


def entrants(item: Original, facts: Facts) -> list[str]:
    """Containers that wait for their carrier."""
    return [c for c, image in facts.wanted.items() if c in item.containers and item.containers[c].image != image]


def is_next(item: Original, facts: Facts) -> bool:
    """Whether it is this original's turn where only one may be away at a time.

    Nobody waits for one whose node is lost while yet another one serves, and its turn comes last.
    """
    serves = any(facts.listed.get(o.name, False) for o in facts.originals if o is not item)
    absent = {o.name for o in facts.originals if is_returning(o, facts) and not (serves and o.seems_lost)}
    away = [o for o in facts.originals if o.held or not is_settled(o) or o.name in absent]
    waiting = [o for o in facts.originals if needs_swap(o, facts.wanted)]
    return item is min(away or waiting, key=lambda o: (not o.held, o.seems_lost, o.name))


def is_returning(item: Original, facts: Facts) -> bool:
    """Whether nobody holds it any more and the endpoints are yet to list it."""
    return item.kubelet_ready and not item.held and not facts.listed.get(item.name, False)


def is_prepared(item: Original, facts: Facts) -> bool:
    """Whether the carrier may take over: the application runs, nothing stands against it, and its stand-in shows that it works."""
    entering = entrants(item, facts)
    if not entering:
        return True
    if not all(item.containers[name].running for name in entering):
        return False
    return facts.covers.get(item.name, "") in facts.standing and not facts.blocked & set(entering)


def is_moving(item: Original, facts: Facts) -> bool:
    """Whether the walk of this original has begun, or may begin: until then no stand-in enters a Service."""
    if not needs_swap(item, facts.wanted):
        return item.held or not is_settled(item)
    ready = not entrants(item, facts) or facts.alive(facts.own.get(item.name, ""))
    return item.held or (is_prepared(item, facts) and ready)


def told_of(item: Original) -> dict[str, str]:
    """What each carrier has confirmed."""
    return {c.name: c.confirmed for c in item.containers.values() if c.confirmed}


def to_confirm(item: Original, facts: Facts) -> dict[str, str]:
    """What each running carrier should have confirmed; what it has, where there is no configuration."""
    result = {}
    for c in item.containers.values():
        if c.carried and c.running and c.name in facts.configs:
            result[c.name] = c.confirmation(facts.configs[c.name])
        elif c.carried and c.confirmed:
            result[c.name] = c.confirmed
    return result


def may_start(item: Original, facts: Facts) -> bool:
    """Whether a new original may be held until it is a carrier: nothing stands against that, nor looks as if its copies would not come."""
    copies = (facts.shadows.get(facts.own.get(item.name, "")), facts.stand_ins.get(facts.covers.get(item.name, "")))
    stuck = any(copy and trouble(copy, facts.now) for copy in copies)
    return item.name in facts.starting and not facts.blocked & set(entrants(item, facts)) and not stuck


def is_spare(item: Original, facts: Facts) -> bool:
    """Whether the original is one that nobody knows yet, while carriers serve; its shadow shows that the application works."""
    return item.name in facts.starting and facts.alive(facts.own.get(item.name, ""))
