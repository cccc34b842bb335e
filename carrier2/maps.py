r"""Routes, first match wins, become nginx maps whose cost grows with the kinds of routes, not with their number.

Routes that look at the same things (a *signature*: header x-user and the first 4 bytes of the path, say) share one hash
lookup of a composite key:

    map "$http_x_user\t$c2_path_4" $c2_8080_1_entry { "\\alice\t/api" "alices-bridge=alice\t/api"; }

Hash keys fold case, so the entry carries the true spelling, and one regex with a back-reference compares it. Signatures
whose ranks do not interleave are tried one after the other, and only until one hits. Where they do, an entry begins with
its rank (`07:alices-bridge`) and the smaller one is taken. Both are balanced trees: nginx gives up at 100 nested variables.

Rules of one regex alone share a map for each field, which tries them in order of rank.

A bridge stands here by its name alone: where it leads is in one more map (server.py), so a new address changes one line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import count, groupby
from typing import NamedTuple

from carrier2.directive import COLUMN, Directive, Unquotable, key, mapping, regex, value
from carrier2.dispatch import Condition, Kind, Match, Route

_TRUE = "1"
_SPELLED = regex(r"^(?:[^\t].*\n)?([^=\n\t]+)=([^\n]*)(?:\n.*)?\t\2\z")
_SMALLER = regex(r"^(?:[^\t]+\t\z|([0-9]*)(?:" + "|".join(rf"{d}[^\t]*\t\1[{d + 1}-9]" for d in range(9)) + "))")
_UNRANKED = regex("^[0-9]+:(.+)")
_HEADER = re.compile("[a-z0-9_-]+")
_BRIDGE = re.compile("[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?")


class Look(NamedTuple):
    """What a condition looks at; conditions with equal Looks differ only in the text they expect.

    pattern: of a regex that stands beside other conditions. alone: of a rule that is one regex, which it expects as text.
    """

    kind: Kind
    name: str
    match: Match
    length: int = 0
    pattern: str = ""
    alone: bool = False

    def __str__(self) -> str:
        detail = {"exact": "", "prefix": f" of {self.length} bytes", "regex": f" {self.pattern}".rstrip()}[self.match]
        return " ".join(filter(None, (self.kind, self.name, self.match))) + detail


class _Hit(NamedTuple):
    """A route within its signature: expected text per Look, and its bridge, after a rank where ranks decide."""

    rank: int
    expected: tuple[str, ...]
    bridge: str


Signature = tuple[Look, ...]


def looks(conditions: Iterable[Condition]) -> tuple[tuple[Look, str], ...]:
    """What the conditions of a rule look at, each with the text they expect there, sorted."""
    asked = {c for c in conditions if not _always(c)}
    return tuple(sorted(_look(c, alone=len(asked) == 1) for c in asked))


def _look(condition: Condition, *, alone: bool) -> tuple[Look, str]:
    kind, match, text, name = condition.kind, condition.match, condition.value, condition.name
    if match == "prefix":
        return Look(kind, name, match, len(text.encode("utf-8", "surrogatepass"))), text
    if match == "regex" and not alone:
        return Look(kind, name, match, pattern=text), _TRUE
    return Look(kind, name, match, alone=match == "regex"), text


def fields(routes: Iterable[Route]) -> tuple[dict[Look, str], list[Directive]]:
    """The variable for each Look of the routes, and the maps that define those nginx does not have. Raises Unquotable."""
    found = sorted({each for route in routes for each, _ in looks(route.conditions)})
    sources: dict[tuple[Kind, str], str] = {}
    variables: dict[Look, str] = {}
    maps: list[Directive] = []
    for number, each in enumerate(found, 1):
        field = each.kind, each.name
        if field not in sources:
            sources[field], made = _source(*field, number)
            maps += made
        variables[each] = sources[field]
        if each.match == "exact" or each.alone:
            continue
        variables[each] = f"$c2_{each.kind}_{each.match}_{number}"
        end = "(?:/|$)" if each.kind == "path" else ""
        entry = (regex(each.pattern), _TRUE) if each.match == "regex" else (regex(f"^(.{{{each.length}}}){end}"), "$1")
        maps.append(mapping(sources[field], variables[each], ("default", ""), entry, note=str(each)))
    return variables, maps


def router(name: str, routes: Sequence[Route], variables: dict[Look, str]) -> tuple[str, list[Directive]]:
    """The variable that holds the bridge of the first matching route ("": none does), and the maps behind it.

    name: begins every variable made here. variables: as `fields` gives them.
    Raises Unquotable for a bridge whose name is no RFC 1123 subdomain, the name of an object: hash keys fold case.
    """
    maps: list[Directive] = []
    number = count(1)
    if not routes:
        return "", maps

    def join(pairwise: Callable[[str, str, str], Directive], parts: Sequence[str]) -> str:
        if len(parts) == 1:
            return parts[0]
        half = len(parts) // 2
        left, right = join(pairwise, parts[:half]), join(pairwise, parts[half:])
        maps.append(pairwise(left, right, joined := f"${name}_join_{next(number)}"))
        return joined

    found = []
    for group in _clusters(_signatures(routes)):
        hit = []
        for signature, hits in group:
            hit.append(variable := f"${name}_{next(number)}")
            maps += _lookup(variable, [variables[each] for each in signature], signature, hits)
        best = join(_smaller, hit)
        if len(group) > 1:
            maps.append(mapping(best, best := f"${name}_{next(number)}", ("default", ""), (_UNRANKED, "$1"), note="without its rank"))
        found.append(best)
    return join(_first, found), maps


def _always(condition: Condition) -> bool:
    """Whether every request meets `condition`."""
    return (condition.kind, condition.match, condition.value) == ("path", "prefix", "")


def _source(kind: Kind, name: str, number: int) -> tuple[str, list[Directive]]:
    """The variable that holds a field of the request, and the map behind it where nginx's own differs from our rules.

    `$arg_` and `$cookie_` fold the case of the name, so both are cut out of the line they stand in: the first of its name.
    """
    if kind == "header":
        if not _HEADER.fullmatch(name):
            raise Unquotable(f"{name!r}: not a header name nginx has a variable for")
        return f"$http_{name.replace('-', '_')}", []
    if kind in ("path", "method"):
        return {"path": "$uri", "method": "$request_method"}[kind], []
    line, pattern = {
        "query": ("$args", "(?:^|&)%s=([^&]*)"),
        "cookie": ("$http_cookie", r"(?:^|;)[ \t]*+%s=((?:[^;]*[^; \t])?)"),
    }[kind]
    variable = f"$c2_{kind}_{number}"
    return variable, [mapping(line, variable, ("default", ""), (regex(pattern % re.escape(name)), "$1"), note=f"{kind} {name}")]


def _signatures(routes: Sequence[Route]) -> dict[Signature, list[_Hit]]:
    """The routes, each but the first of equals, by signature, each list in order of rank."""
    signatures: dict[Signature, list[_Hit]] = {}
    seen = set()
    for rank, route in enumerate(routes):
        if not _BRIDGE.fullmatch(route.bridge):
            raise Unquotable(f"{route.bridge!r}: not a bridge's name")
        pairs = looks(route.conditions)
        if pairs in seen:
            continue
        seen.add(pairs)
        signature = tuple(each for each, _ in pairs)
        signatures.setdefault(signature, []).append(_Hit(rank, tuple(text for _, text in pairs), route.bridge))
    return signatures


def _clusters(signatures: dict[Signature, list[_Hit]]) -> list[list[tuple[Signature, list[_Hit]]]]:
    """Signatures in order of their best rank, those whose ranks interleave together."""
    clusters: list[list[tuple[Signature, list[_Hit]]]] = []
    last = -1
    for signature, hits in sorted(signatures.items(), key=lambda item: item[1][0].rank):
        if hits[0].rank > last:
            clusters.append([])
        clusters[-1].append((signature, hits))
        last = max(last, hits[-1].rank)
    return [_ranked(group) if len(group) > 1 else group for group in clusters]


def _ranked(group: list[tuple[Signature, list[_Hit]]]) -> list[tuple[Signature, list[_Hit]]]:
    """The same with `rank:` before each bridge, in as few digits as do.

    Neighbours of one signature share a rank: a request hits only one of them, or a map tries them in this order.
    """
    order = sorted((hit.rank, signature) for signature, hits in group for hit in hits)
    runs = [[rank for rank, _ in run] for _, run in groupby(order, key=lambda item: item[1])]
    width = len(str(len(runs) - 1))
    ranks = {rank: f"{number:0{width}d}" for number, run in enumerate(runs) for rank in run}
    return [(signature, [hit._replace(bridge=f"{ranks[hit.rank]}:{hit.bridge}") for hit in hits]) for signature, hits in group]


def _lookup(variable: str, columns: Sequence[str], signature: Signature, hits: Sequence[_Hit]) -> list[Directive]:
    """The maps that set `variable` to the bridge of the one hit there is, else to nothing."""
    note = " + ".join(map(str, signature)) or "every request"
    if not signature:
        return [mapping("", variable, ("default", value(hits[0].bridge)), note=note)]
    source, miss = COLUMN.join(columns), ("default", "")
    if signature[0].alone:
        entries = ((regex(hit.expected[0]), value(hit.bridge)) for hit in hits)
        return [mapping(source, variable, miss, *entries, note=note)]
    if all(each.match == "regex" for each in signature):
        return [mapping(source, variable, miss, (key(*hits[0].expected), value(hits[0].bridge)), note=note)]
    spellings: dict[bytes, list[_Hit]] = {}
    for hit in hits:
        spellings.setdefault(key(*hit.expected).encode().lower(), []).append(hit)
    spelled = [(key(*same[0].expected), value(*map(_spelled, same))) for same in spellings.values()]
    entry = f"{variable}_entry"
    return [
        mapping(source, entry, miss, *spelled, note=note),
        mapping(COLUMN.join((entry, source)), variable, miss, (_SPELLED, "$1"), note="and the case is right"),
    ]


def _spelled(hit: _Hit) -> tuple[str, ...]:
    return f"{hit.bridge}={hit.expected[0]}", *hit.expected[1:]


def _first(left: str, right: str, joined: str) -> Directive:
    return mapping(left, joined, ("default", left), ("", right))


def _smaller(left: str, right: str, joined: str) -> Directive:
    return mapping(COLUMN.join((left, right)), joined, ("default", right), (_SMALLER, left))
