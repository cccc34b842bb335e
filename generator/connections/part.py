"""What a connection provider says should exist. Each is a function `provide(snapshot, clients, bridges) -> Part`."""

from __future__ import annotations

from collections.abc import Callable, Container, Hashable, Iterable, Iterator, Mapping
from itertools import chain
from typing import NamedTuple, TypeVar

from generator.cluster.snapshot import Obj
from generator.errors import Problem

Who = TypeVar("Who", bound=Hashable)


class Part(NamedTuple):
    """What should exist for the bridges and clients of one provider.

    objects: with the reason of each. notes: annotations by client. endpoints: host:port by bridge and port of the container.
    problems: by client.
    """

    objects: tuple[tuple[Obj, str], ...] = ()
    notes: Mapping[str, Mapping[str, str]] = {}
    endpoints: Mapping[tuple[str, int], str] = {}
    problems: Mapping[str, tuple[Problem, ...]] = {}


def places(
    asking: Iterable[tuple[Who, int]], numbers: range, taken: Container[int] = (), begin: Callable[[Who], int] = lambda _: 0
) -> dict[Who, int]:
    """A number for each of `asking`: the one that it has, else the first that nobody has. Who gets none is left out.

    asking: who, and the number it has, in order of precedence: of two that have the same the first keeps it. taken: held by others.
    begin: at which place of `numbers` the search begins; after the last it goes on with the first.
    """
    wishes = list(asking)
    kept: dict[Who, int] = {}
    used: set[int] = set()
    for who, has in wishes:
        if has in numbers and has not in used and has not in taken:
            kept[who] = has
            used.add(has)
    searches: dict[int, Iterator[int]] = {}
    for who in (who for who, _ in wishes if who not in kept):
        at = begin(who) % len(numbers)
        search = searches.setdefault(at, (n for n in chain(numbers[at:], numbers[:at]) if n not in used and n not in taken))
        if (number := next(search, None)) is not None:
            kept[who] = number
            used.add(number)
    return kept
