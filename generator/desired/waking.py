"""When to look again although nothing has changed: what time alone decides."""

from __future__ import annotations

from collections.abc import Iterator

from generator import names
from generator.asked.intent import Intent
from generator.cluster.times import seconds_between
from generator.desired.facts import PATIENCE
from generator.desired.generate import Desired


def next_look(desired: Desired, now: str) -> float | None:
    """Seconds until a decision about these workloads may be another one with nothing but time gone by; None: never."""
    left = (seconds - seconds_between(since, now) for since, seconds in _waiting(desired))
    return min((seconds for seconds in left if seconds > 0), default=None)


def _waiting(desired: Desired) -> Iterator[tuple[str, float]]:
    """Times that are noted on Pods, and the seconds for which somebody waits from then on."""
    for outcome in desired.outcomes.values():
        if outcome.walk:
            yield from outcome.walk.starting
            for step in outcome.walk.originals.values():
                yield step.drained_since, names.SETTLE_SECONDS
                yield step.waits_since, PATIENCE
            resting = (*outcome.walk.retiring.values(), *outcome.walk.resting.values())
            yield from ((since, names.REST_SECONDS) for since in resting)


def next_end(intent: Intent, now: str) -> float | None:
    """Seconds until the first bridge, mount or client expires; None: none does."""
    return min((max(0.0, -seconds_between(end, now)) for end in intent.ends.values()), default=None)
