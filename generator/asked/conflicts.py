"""Rules that stand on one port of one container, and whether a newer bridge's rules can stand beside them.

Whoever came first keeps what he has. A newer bridge is refused when one of its rules
- is the same as a rule that stands (RuleIdentical), or gets no request that such a rule would leave to it (RuleNeverFires);
- takes every request of a rule that stands (RuleTakesAll).
A rule without conditions takes what no other rule does: it overlaps with each, and no warning says so. Else the bridge is
admitted with a warning when some requests match both (RuleOverlap: by `precedence` somebody wins), and when that
could not be decided (RuleUndecided). A rule is compared with one other at a time; several that only together leave nothing
are not found.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from operator import itemgetter
from typing import Final, NamedTuple

from generator.asked.beginnings import Beginnings
from generator.asked.bridge import Bridge
from generator.cluster.snapshot import key_of
from generator.errors import Example, Problem
from generator.rules.analysis import Language, Relation, Shape, common, relation, shape
from generator.rules.automaton import bits
from generator.rules.conditions import in_words
from generator.rules.fields import Field, Witness, entangled, request_with
from generator.rules.precedence import Candidate, Request, holds, less_specific, precedence, request

STEPS: Final = 100_000
"""What comparing one bridge may cost in all, about half a second; then the rest is undecided (`analysis.STEPS` for one question).

A pair of rules costs one at least, so that bridges of thousands of rules are judged in the API server's ten seconds too.
"""

SHOWN: Final = 3
"""Overlaps that are told one by one; of the others only the number."""


@dataclass(frozen=True, slots=True)
class _Rule:
    """A rule that stands."""

    bridge: Bridge
    candidate: Candidate
    shape: Shape


class _Overlap(NamedTuple):
    """A rule of the newer bridge and one that stands, by its number, and how they stand to each other."""

    number: int
    relation: Relation
    mine: _Rule
    theirs: _Rule


@dataclass(slots=True)
class Standing:
    """The rules of one port. Bit n of an index is the rule with number n.

    alike: by the fields that they ask something of. only: by field, those that take one word alone, by that word.
    loose: by field, those that take more than one word there, by what these begin with.
    """

    port: int
    rules: list[_Rule] = field(default_factory=list)
    alike: dict[frozenset[Field], int] = field(default_factory=dict)
    only: defaultdict[Field, Beginnings] = field(default_factory=lambda: defaultdict(Beginnings))
    loose: defaultdict[Field, Beginnings] = field(default_factory=lambda: defaultdict(Beginnings))

    def add(self, bridge: Bridge) -> None:
        """Let all rules of a bridge stand."""
        for rule in _rules(bridge):
            bit = 1 << len(self.rules)
            self.rules.append(rule)
            fields = frozenset(rule.shape)
            self.alike[fields] = self.alike.get(fields, 0) | bit
            for at, asked in rule.shape.items():
                (self.only if asked.only else self.loose)[at].add(asked.start, bit)

    def problems(self, bridge: Bridge) -> list[Problem]:
        """What stands against a newer bridge; empty, or warnings, or one refusal."""
        place, steps, shared = str(key_of(bridge.obj)), 0, 0
        pairs: list[_Overlap] = []
        for mine in _rules(bridge):
            free, near = self._near(mine.shape)
            shared |= free
            pairs += [_Overlap(number, "overlap", mine, self.rules[number]) for number in islice(bits(free), SHOWN)]
            if steps >= STEPS and mine.shape:
                shared |= near & ~self.alike.get(frozenset(), 0)
            for number in bits(near) if steps < STEPS else islice(bits(near), SHOWN):
                theirs = self.rules[number]
                found, cost = relation(mine.shape, theirs.shape) if steps < STEPS else ("undecided", 0)
                steps += cost + 1
                if found in ("same", "within", "covers") and (refusal := _refusal(place, self.port, found, mine, theirs)):
                    return [refusal]
                if found != "disjoint" and mine.shape and theirs.shape:
                    shared |= 1 << number
                    pairs.append(_Overlap(number, found, mine, theirs))
        names = dict.fromkeys(self.rules[number].bridge.name for number in bits(shared))
        return list(_warnings(place, self.port, sorted(pairs, key=itemgetter(0)), list(names)))

    def _near(self, mine: Shape) -> tuple[int, int]:
        """Rules that surely share a request with `mine`, as both ask of different fields; and those that may, for all that the
        beginnings of words tell.
        """
        fields, free, near = frozenset(mine), 0, 0
        for theirs, alike in self.alike.items():
            both, left = fields & theirs, alike
            for at in both:
                left &= self._meeting(at, mine[at])
            if both or not fields or not theirs or entangled(fields | theirs):
                near |= left
            else:
                free |= left
        return free, near

    def _meeting(self, at: Field, asked: Language) -> int:
        """Rules that may share a word of a field with `asked`, for all that the beginnings tell."""
        only, loose = self.only[at], self.loose[at]
        same = only.of(asked.start) if asked.only else only.longer(asked.start) | loose.longer(asked.start)
        return same | loose.shorter(asked.start)


def _rules(bridge: Bridge) -> Iterator[_Rule]:
    for index, conditions in enumerate(bridge.rules or ((),)):
        yield _Rule(bridge, Candidate(bridge.name, bridge.created, conditions, index), shape(conditions))


def _refusal(place: str, port: int, found: Relation, mine: _Rule, theirs: _Rule) -> Problem | None:
    older, owner = theirs.bridge.name, theirs.bridge.owner
    wins = precedence(mine.candidate) < precedence(theirs.candidate)
    what, cure = _what(mine), f"Add a condition, for example a header of your own, or ask {owner}."
    if found == "same":
        message = f"on port {port}, {what} is taken by bridge {older} of {owner}, which is older"
        return Problem("RuleIdentical", place, message, cure)
    if found == "within" and not wins:
        message = f"on port {port}, {what} gets no request: bridge {older} of {owner} takes them all by {_what(theirs)}"
        return Problem("RuleNeverFires", place, f"{message}; {_why(mine, theirs)}", cure)
    if found == "covers" and wins:
        message = f"on port {port}, {what} takes every request from bridge {older} of {owner}, which is older and has {_what(theirs)}"
        return Problem("RuleTakesAll", place, f"{message}; {_why(theirs, mine)}", cure)
    return None


def _warnings(place: str, port: int, pairs: list[_Overlap], others: list[str]) -> Iterator[Problem]:
    """A warning for each of the first bridges, and one for the rest."""
    told: dict[str, _Overlap] = {}
    for pair in pairs:
        told.setdefault(pair.theirs.bridge.name, pair)
    for _, found, mine, theirs in [*told.values()][:SHOWN]:
        found_one = _example(mine, theirs)
        example = f", for example {found_one}" if found_one else ""
        asked = Example(port, found_one.method, found_one.url, tuple(map(": ".join, found_one.headers))) if found_one else None
        first, second = sorted((mine, theirs), key=lambda rule: precedence(rule.candidate))
        wins = f"{first.bridge.name} gets them, {_why(second, first)}"
        other = f"bridge {theirs.bridge.name} of {theirs.bridge.owner}"
        if found == "undecided":
            message = f"on port {port}, it is not decided which requests match both {_what(mine)} and {_what(theirs)} of {other}{example}"
            cure = "Use prefix or exact for a regex with many repeats, and a cookie condition for one on the whole cookie header."
            yield Problem("RuleUndecided", place, f"{message}; {wins}", cure, asked)
        else:
            message = f"on port {port}, some requests match {other} too{example}; {wins}"
            yield Problem("RuleOverlap", place, message, "Nothing, if that is meant; else add a condition to one of the two.", asked)
    if left := [name for name in others if name not in [*told][:SHOWN]]:
        listed = ", ".join(left[:SHOWN]) + (f" and {len(left) - SHOWN} more" if len(left) > SHOWN else "")
        message = f"on port {port}, some requests may match {len(left)} more bridges: {listed}"
        yield Problem("RuleOverlap", place, message, "Ask `bascule explain` who gets a request.")


def _example(one: _Rule, other: _Rule) -> Witness | None:
    """A request that both match, as `explain` reads it, or None if none was found."""
    words = common(one.shape, other.shape)
    if words is None:
        return None
    found = request_with(words)
    made = request(*found)
    both = (*one.candidate.conditions, *other.candidate.conditions)
    return found if isinstance(made, Request) and all(holds(c, made) for c in both) else None


def _what(rule: _Rule) -> str:
    conditions = rule.candidate.conditions
    return f"the rule `{in_words(conditions)}`" if conditions else "the whole traffic (a bridge without rules)"


def _why(loser: _Rule, winner: _Rule) -> str:
    return f"the rule of {loser.bridge.name} is {less_specific(loser.candidate, winner.candidate)}"
