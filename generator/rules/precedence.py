"""Rules of several bridges and a request -> who gets it, and for everyone else the reason why not.

**Precedence.** Of the rules that match, the first in this order wins. It is total, and each step is one entry of a tuple:

1. Rules with a *mark* (a header, query or cookie condition: what a caller adds on purpose) come before rules with none, so
   that nobody's path bridge takes requests that carry another user's mark.
2. Then the order of the Gateway API (HTTPRouteRule, `matches`, "Precedence"): an exact path; the longest path prefix, in
   bytes; path regexes, more before fewer (its order leaves them to the implementation); a method; the number of different
   headers; the number of different query parameters. Then the number of different cookies, which it does not have.
3. The older bridge (one that is not in the cluster yet is the newest), then the bridge's name, then the rule's number in it.

A rule without conditions, the global bridge, has nothing in steps 1 and 2 and comes after all that have something.
The carrier tries the rules in this order; `carrier2` and this module must agree on every request.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Final, NamedTuple

from carrier2.dispatch import Condition, Kind
from generator.rules import language
from generator.rules.conditions import KUBELET, field_holds, needs, subject
from generator.rules.request import Refused, Request, request

__all__ = [
    "Candidate",
    "Refused",
    "Request",
    "Verdict",
    "decide",
    "holds",
    "less_specific",
    "ordered",
    "precedence",
    "request",
    "routed",
]

_MARKS: Final[tuple[Kind, ...]] = ("header", "query", "cookie")


@dataclass(frozen=True, slots=True)
class Candidate:
    """One rule of a bridge. created: of the bridge, RFC 3339 in UTC, "" if it is not in the cluster. index: of the rule."""

    bridge: str
    created: str
    conditions: tuple[Condition, ...]
    index: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a candidate matched, and why it won, lost or did not match."""

    candidate: Candidate
    matched: bool
    reason: str


class _Step(NamedTuple):
    """One step of specificity: the greater `weight` wins; `words` name what a candidate has."""

    weight: Callable[[Candidate], int]
    words: Callable[[Candidate], str]


def seniority(created: str) -> tuple[bool, str]:
    """Older first, to be sorted by; what is not in the cluster yet is the youngest. created: as in Candidate, in whole seconds or not."""
    return not created, created.removesuffix("Z")


def precedence(candidate: Candidate) -> tuple[int | str | bool, ...]:
    """The candidate's place in the order above; the smallest wins. Different rules have different places."""
    specific = (-step.weight(candidate) for step in _STEPS)
    return (*specific, *seniority(candidate.created), candidate.bridge, candidate.index)


def ordered(candidates: Iterable[Candidate]) -> tuple[Candidate, ...]:
    """The candidates, winner first."""
    return tuple(sorted(candidates, key=precedence))


def routed(conditions: Iterable[Condition]) -> tuple[Condition, ...]:
    """The conditions as the carrier takes them: regexes as PCRE2 reads them."""
    return tuple(replace(c, value=language.pcre(c.value)) if c.match == "regex" else c for c in conditions)


def holds(condition: Condition, asked: Request) -> bool:
    """Whether a request has what `condition` asks for."""
    return field_holds(condition, _field(condition, asked))


def decide(asked: Request, candidates: Iterable[Candidate]) -> tuple[Candidate | None, tuple[Verdict, ...]]:
    """Who gets the request (None: the cluster), and a verdict for each candidate in order of precedence."""
    probe = asked.headers.get("user-agent", b"").startswith(tuple(map(str.encode, KUBELET)))
    winner: Candidate | None = None
    verdicts = []
    for candidate in ordered(candidates):
        failed = next((c for c in candidate.conditions if not holds(c, asked)), None)
        if probe:
            verdicts.append(Verdict(candidate, False, "kubelet's probes never go to a bridge"))
        elif failed:
            verdicts.append(Verdict(candidate, False, _mismatch(failed, asked)))
        elif winner:
            verdicts.append(Verdict(candidate, True, less_specific(candidate, winner)))
        else:
            winner = candidate
            verdicts.append(Verdict(candidate, True, "first of the rules that match"))
    if sum(v.matched for v in verdicts) == 1:
        verdicts = [replace(v, reason="only rule that matches") if v.matched else v for v in verdicts]
    return winner, tuple(verdicts)


def _field(condition: Condition, asked: Request) -> bytes:
    """The bytes a condition looks at, empty if there are none. Of query parameters and cookies the first with a value counts."""
    match condition.kind:
        case "path":
            return asked.path
        case "method":
            return asked.method.encode()
        case "header":
            return asked.headers.get(condition.name, b"")
        case "query":
            found = re.search(rb"(?:^|&)" + re.escape(condition.name.encode()) + rb"=([^&]*)", asked.args)
            return found[1] if found else b""
        case "cookie":
            line = asked.headers.get("cookie", b"")
            found = re.search(rb"(?:^|;)[ \t]*" + re.escape(condition.name.encode()) + rb"=([^;]*)", line)
            return found[1].rstrip(b" \t") if found else b""


def _mismatch(condition: Condition, asked: Request) -> str:
    has = _field(condition, asked)
    state = f"is {_shown(has.decode(errors='backslashreplace'))}" if has else "is missing"
    return f"{subject(condition)} {state}, needs {needs(condition)}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 100 else f"{text[:97]}...")


def less_specific(loser: Candidate, winner: Candidate) -> str:
    """The first step of the order in which `loser` stands behind `winner`, as the end of a sentence about its rule."""
    for step in _STEPS:
        if step.weight(loser) != step.weight(winner):
            return f"less specific: {step.words(loser)} against {step.words(winner)}"
    if loser.bridge == winner.bridge:
        return f"rule {winner.index} of the same bridge is as specific and comes first"
    same = loser.created == winner.created
    return f"as specific and as old as {winner.bridge}, later by name" if same else f"newer than {winner.bridge}"


def _values(candidate: Candidate, match: str) -> list[str]:
    return [c.value for c in candidate.conditions if c.kind == "path" and c.match == match]


def _prefix(candidate: Candidate) -> int:
    """Bytes of the longest path prefix; `/` has one, no prefix has none."""
    return max((max(1, len(value.encode())) for value in _values(candidate, "prefix")), default=0)


def _prefix_words(candidate: Candidate) -> str:
    longest = max(_values(candidate, "prefix"), key=lambda value: len(value.encode()), default=None)
    return "no path prefix" if longest is None else f"path prefix {longest or '/'} ({_prefix(candidate)})"


def _names(candidate: Candidate, *kinds: Kind) -> list[str]:
    """The different fields of these kinds that a candidate looks at."""
    return sorted({subject(c) for c in candidate.conditions if c.kind in kinds})


def _listed(items: Iterable[str], none: str) -> str:
    return ", ".join(items) or none


def _number_of(kind: Kind) -> _Step:
    return _Step(lambda c: len(_names(c, kind)), lambda c: _listed(_names(c, kind), f"no {kind}"))


_STEPS: Final = (
    _Step(lambda c: bool(_names(c, *_MARKS)), lambda c: _listed(_names(c, *_MARKS), "no header, query or cookie condition")),
    _Step(lambda c: bool(_values(c, "exact")), lambda c: _listed((f"exact path {v}" for v in _values(c, "exact")), "no exact path")),
    _Step(_prefix, _prefix_words),
    _Step(lambda c: len(_values(c, "regex")), lambda c: _listed((f"path regex {v}" for v in _values(c, "regex")), "no path regex")),
    _number_of("method"),
    _number_of("header"),
    _number_of("query"),
    _number_of("cookie"),
)
