"""RFC 3339 times, as the Kubernetes API writes them. There is no clock in here: `now` always comes from outside."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

_FIRST: Final = datetime(2, 1, 1, tzinfo=UTC)
_LAST: Final = datetime(9998, 12, 31, 23, 59, 59, tzinfo=UTC)
"""A year within what Python can hold, so that every zone can show what lies between."""


def parse(text: str) -> datetime | None:
    """The moment `text` names, or None when it is not RFC 3339 with a zone."""
    try:
        moment = datetime.fromisoformat(text)
        there = moment.astimezone(UTC) if moment.tzinfo and "T" in text.upper() else None
    except (ValueError, OverflowError):  # year 1 or 9999, moved by its zone
        return None
    return there if there and _FIRST <= there <= _LAST else None


def seconds_between(earlier: str, later: str) -> float:
    """Seconds from one RFC 3339 time to another; infinite when `earlier` cannot be read, so that no one waits for it."""
    start, end = parse(earlier), parse(later)
    return (end - start).total_seconds() if start and end else float("inf")


def after(text: str, seconds: float) -> str:
    """The RFC 3339 time `seconds` after `text` (a valid time), at the latest in 9998, with milliseconds only where they are needed."""
    moment = parse(text)
    if moment is None:
        raise ValueError(f"not an RFC 3339 time: {text!r}")
    moment += min(timedelta(seconds=seconds), _LAST - moment)
    return written(moment, "milliseconds" if moment.microsecond else "seconds")


def written(moment: datetime, to: str) -> str:
    """An aware moment in UTC as RFC 3339, in `to`: seconds, milliseconds or microseconds."""
    return moment.isoformat(timespec=to).replace("+00:00", "Z")
