"""Routes of one port -> whether one nginx configuration can hold them. The generator asks before it admits a bridge."""

from __future__ import annotations

from collections.abc import Sequence

from carrier2.contract import MAX_REGEXES
from carrier2.directive import Unquotable, render
from carrier2.dispatch import Route
from carrier2.maps import fields, router

_WORST = 12
"""Bytes that one byte of a value becomes at most: a dollar is written as `${c2_dollar}`."""

_RANK = 10
"""Bytes around a bridge's name in an entry: its rank, `:` and `=`, and the end of the line."""

_SAFE = 3000
"""Bytes of a token that are never too many, whatever stands around a value (contract.MAX_TOKEN)."""


def unfit(routes: Sequence[Route]) -> str:
    """Why the routes do not fit, or "". Cheap for ordinary routes; only long or much-alike values are tried out."""
    regexes = {(c.kind, c.name, c.value) for route in routes for c in route.conditions if c.match == "regex"}
    if len(regexes) > MAX_REGEXES:
        return f"{len(regexes)} distinct regexes on the port, at most {MAX_REGEXES} fit"
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
