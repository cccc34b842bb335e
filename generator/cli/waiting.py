"""Looking again and again: until it is done, or a deadline says what was still missing."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

import click

from generator.cli import view
from generator.errors import InputError, Problem

T = TypeVar("T")


def seconds(_: click.Context, __: click.Parameter, written: str) -> float:
    """A duration as in 90s, 5m or 1h; a bare number is seconds. A callback of click."""
    found = re.fullmatch(r"([0-9]{1,6})(s|m|h|)", written)
    if not found:
        raise click.BadParameter(f"{written!r} is not a duration, as in 90s, 5m or 1h")
    return float(found[1]) * {"s": 1, "": 1, "m": 60, "h": 3600}[found[2]]


def again(look: Callable[[], T], pause: float = 1.0, deadline: float = math.inf) -> Iterator[T]:
    """What is seen, again and again. A cluster that does not answer any more is said once, and asked again until the deadline.

    pause: seconds between two looks. deadline: of the monotonic clock. Raises InputError.
    """
    said: tuple[Problem, ...] | None = None
    while True:
        try:
            found = look()
        except InputError as error:
            if said is None or any(p.code != "ClusterUnreachable" for p in error.problems) or time.monotonic() >= deadline:
                raise
            if said != error.problems:
                view.complain(error.problems)
            said = error.problems
        else:
            said = ()
            yield found
        time.sleep(pause)


def until(look: Callable[[], tuple[T, Sequence[str]]], timeout: float, pause: float = 1.0) -> tuple[T, bool]:
    """Look until nothing is missing; what was seen last, and whether that was reached.

    What is missing for more than one look is said once, and at the deadline all that is.
    """
    deadline = time.monotonic() + timeout
    said: set[str] = set()
    before: Sequence[str] = ()
    for found, missing in again(look, pause, deadline):
        if not missing:
            return found, True
        if time.monotonic() >= deadline:
            lines = [part for line in missing for part in view.wrapped(line, "    ", view.width(), "  ")]
            view.fail("\n".join((f"after {timeout:.0f} s still waiting for", *lines)))
            return found, False
        for line in missing:
            if line in before and line not in said:
                view.note("\n".join(view.wrapped(f"waiting for {line}", "  ", view.width())))
                said.add(line)
        before = missing
    raise AssertionError("it never ends")
