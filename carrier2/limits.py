"""Routes -> whether one nginx configuration can hold them. The generator asks before it admits a bridge."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from carrier2.contract import CONNECTION_BYTES, MAX_REGEXES, MOST_CONNECTIONS, WORKER_CONNECTIONS
from carrier2.directive import Unquotable, render, value
from carrier2.dispatch import Condition, Route
from carrier2.maps import Look, Signature, fields, looks, router

_WORST = 12
"""Bytes that one byte of a value becomes at most: a dollar is written as `${c2_dollar}`."""

_RANK = 10
"""Bytes around a bridge's name in an entry: its rank, `:` and `=`, and the end of the line."""

_SAFE = 3000
"""Bytes of a token that are never too many, whatever stands around a value (contract.MAX_TOKEN)."""

MAX_TEXT = 700_000
"""Bytes of routes and destinations in one configuration. A ConfigMap holds 1 MiB (Kubernetes, "ConfigMap"); a third of it is left for
the addresses of the shadows, some 210 bytes for each Pod.
"""

_BLOCK = 400
"""Bytes of what is written once for a Look or a Signature, without the names and values in it."""

_DESTINATION = 150
"""Bytes of what is written once for a destination, without the bridge's name."""

_PORT = 3000
"""Bytes of what is written once for a port that has routes."""

_Block = Look | tuple[int, Signature | None]


@dataclass(frozen=True)
class Room:
    """What is left of MAX_TEXT, and the blocks that are written already: Looks, and by port Signatures, and None for the port itself.

    regexes: by port.
    """

    left: int = MAX_TEXT
    blocks: frozenset[_Block] = frozenset()
    regexes: Mapping[int, frozenset[Condition]] = field(default_factory=dict)

    def beside(self, bridge: str, rules: Sequence[tuple[Condition, ...]], ports: Collection[int]) -> Room | str:
        """What is left with a bridge on these ports too, or why there is no room for it. Counts rather too much than too little."""
        asked = frozenset(c for rule in rules for c in rule if c.match == "regex")
        regexes = {port: self.regexes.get(port, frozenset()) | asked for port in ports}
        if (most := max(map(len, regexes.values()), default=0)) > MAX_REGEXES:
            return f"{most} distinct regexes on the port, at most {MAX_REGEXES} fit"
        found = [looks(conditions) for conditions in rules]
        blocks: dict[_Block, int] = {look: 2 * _BLOCK + _named(look) for pairs in found for look, _ in pairs}
        for signature in dict.fromkeys(tuple(look for look, _ in pairs) for pairs in found):
            size = _BLOCK + sum(_BLOCK // 4 + _named(look) for look in signature)
            blocks |= {(port, signature): size for port in ports}
        blocks |= {(port, None): _PORT for port in ports}
        entries = sum(2 * len(bridge) + 40 + sum(2 * _size(text) + 4 for _, text in pairs) for pairs in found)
        needed = sum(blocks[b] for b in blocks.keys() - self.blocks) + len(ports) * (entries + _DESTINATION + 4 * len(bridge))
        if needed > self.left:
            return f"with the older bridges, its rules would take more than {MAX_TEXT} bytes of the carrier's configuration"
        return Room(self.left - needed, self.blocks.union(blocks), {**self.regexes, **regexes})


def _named(look: Look) -> int:
    return 4 * _size(f"{look.name}{look.pattern}")


def _size(text: str) -> int:
    """Bytes that a text has at most once it is written: escaped for a regex, and quoted."""
    return sum(_WORST if c == "$" else len(c.encode("utf-8", "surrogatepass")) if c.isalnum() else 4 for c in text)


def connections(memory: int | None) -> int:
    """That a worker has at once, in a container with so many bytes of memory, None for as many as it likes."""
    return MOST_CONNECTIONS if memory is None else min(max(memory // CONNECTION_BYTES, WORKER_CONNECTIONS), MOST_CONNECTIONS)


def unquotable(text: str) -> str:
    """Why one value of a configuration cannot be this text, or ""."""
    try:
        value(text)
    except Unquotable as error:
        return str(error)
    return ""


def unfit(routes: Sequence[Route]) -> str:
    """Why a key or value of the routes does not fit, or "". Cheap for ordinary routes; only long or much-alike values are tried out."""
    alike: dict[str, int] = {}
    for route in routes:
        text = "\t".join(f"{c.kind}{c.name}{c.value}" for c in route.conditions)
        size = _WORST * len(text.encode("utf-8", "surrogatepass")) + len(route.bridge) + _RANK
        alike[text.lower()] = alike.get(text.lower(), 0) + size
    if max(alike.values(), default=0) <= _SAFE:
        return ""
    try:
        variables, maps = fields(routes)
        _, more = router("c2_65535", routes, variables)
        render((*maps, *more))
    except Unquotable as error:
        return f"a key or value is too long once it is written for nginx: {str(error).rpartition('...: ')[2]}"
    return ""
