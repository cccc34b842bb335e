"""Rules as languages: does a rule match any request at all, do two match the same one, does one match all of the other's?

A rule asks something of some fields of a request (the path, a header, ...), and what it asks of one field does not depend on
another. So a rule is a language for each field it names, its *shape*, and
- it matches nothing if the language of one field is empty;
- two rules share a request if they share a word in each field that both name;
- all requests of one are the other's if all words of each field that the other names are.
Each answer is exact, or `undecided` where it would take more than STEPS or fields depend on each other; nothing is
guessed. `fields.py` knows which words of a field nginx can see at all: no path has a `//`, no header's value begins with a blank.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, Literal

from carrier2.dispatch import Condition
from generator.rules import language
from generator.rules.automaton import Automaton, Found, accepts, literal, of_regex, outside, shared
from generator.rules.conditions import field_holds
from generator.rules.fields import PATH, Field, entangled, visible
from generator.rules.regex_tree import Bytes, Sequence, Start

STEPS: Final = 4000
"""For one question about one field: some ten milliseconds of Python. Rules that people write take a few hundred at most."""

Relation = Literal["disjoint", "overlap", "within", "covers", "same", "undecided"]
"""Of one rule to another: they share no request, some, all of its own, all of the other's, the same, or it is not known."""


@dataclass(frozen=True, slots=True, eq=False)
class Language:
    """What a rule asks of one field.

    word: a shortest word; None if there is none (`empty`) or it took too long to find one. only: it is the one word.
    start: every word begins with it.
    """

    conditions: tuple[Condition, ...]
    visible: tuple[Automaton, ...]
    word: bytes | None
    empty: bool
    only: bool
    start: bytes

    @property
    def automata(self) -> tuple[Automaton, ...]:
        """One for each condition."""
        return tuple(map(_automaton, self.conditions))

    def has(self, word: bytes) -> bool:
        """Whether a word that nginx can see in the field belongs to it."""
        return all(field_holds(c, word) for c in self.conditions)

    def may_meet(self, other: Language) -> bool:
        """False if the mere beginnings of their words tell that they share none."""
        return self.start.startswith(other.start) or other.start.startswith(self.start)


Shape = Mapping[Field, Language]


@lru_cache(maxsize=65536)
def shape(conditions: tuple[Condition, ...]) -> Shape:
    """The language of each field that a rule asks something of. A path that may be any path is not one of them."""
    named: dict[Field, list[Condition]] = {}
    for each in conditions:
        named.setdefault((each.kind, each.name), []).append(each)
    found = {field: _language(field, tuple(these)) for field, these in named.items()}
    if PATH in found and _has_all(found[PATH], _language(PATH, ())):
        del found[PATH]
    return found


def _has_all(large: Language, small: Language) -> bool:
    found = beyond(small, large)
    return found.decided and found.word is None


def never(rule: Shape) -> Field | None:
    """A field of which a rule asks what no request has there, or None."""
    return next((field for field, asked in rule.items() if asked.empty), None)


def relation(mine: Shape, theirs: Shape) -> tuple[Relation, int]:
    """How the requests of two rules that are not empty stand to each other, and the steps it took to tell."""
    if mine == theirs:
        return "same", 0
    steps, decided = 0, not entangled(mine.keys() | theirs.keys())
    for field, asked in mine.items():
        if field in theirs:
            found = share(asked, theirs[field])
            steps += found.steps
            if found.word is None and found.decided:
                return "disjoint", steps
            decided = decided and found.decided
    if not decided:
        return "undecided", steps
    within, covers = _beyond(mine, theirs), _beyond(theirs, mine)
    steps += within.steps + covers.steps
    if not (within.decided and covers.decided):
        return "undecided", steps
    relations: dict[tuple[bool, bool], Relation] = {(True, True): "same", (True, False): "within", (False, True): "covers"}
    return relations.get((within.word is None, covers.word is None), "overlap"), steps


def common(*rules: Shape) -> dict[Field, bytes] | None:
    """For each field that one or two rules name a word that matches, the shortest that was found, or None if there is none."""
    words: dict[Field, bytes] = {}
    for field in sorted({field for rule in rules for field in rule}):
        asked = [rule[field] for rule in rules if field in rule]
        word = asked[0].word if len(asked) == 1 else meet(*asked).word or share(*asked).word
        if word is None:
            return None
        words[field] = word
    return words


def share(one: Language, other: Language) -> Found:
    """Any word of both, as soon as one is found."""
    if one.word and other.word and not one.only and not other.only:
        for word in (one.word + other.word, other.word + one.word):
            if one.has(word) and other.has(word) and all(accepts(each, word) for each in one.visible):
                return Found(word, 0)
    return meet(one, other)


def meet(one: Language, other: Language) -> Found:
    """A shortest word of both. If one's shortest belongs to the other, that is it."""
    if not one.may_meet(other):
        return Found(None, 0)
    for each, beside in ((one, other), (other, one)):
        if each.word is not None and beside.has(each.word):
            return Found(each.word, 0)
        if each.empty or each.only:
            return Found(None, 0)
    return _meet(one, other)


@lru_cache(maxsize=1 << 15)
def _meet(one: Language, other: Language) -> Found:
    return shared((*one.automata, *other.automata, *one.visible), STEPS)


def _beyond(small: Shape, large: Shape) -> Found:
    """A word that some field of a request of `small` can have, but none of `large`. A field it does not name can be missing."""
    if not large.keys() <= small.keys():
        return Found(b"", 0)
    steps, decided = 0, True
    for field, asked in large.items():
        found = beyond(small[field], asked)
        steps += found.steps
        decided = decided and found.decided
        if found.word is not None:
            return Found(found.word, steps)
    return Found(None, steps, decided)


def beyond(one: Language, other: Language) -> Found:
    """A word of `one` that `other` has not."""
    if one.word is not None and (one.only or not other.has(one.word)):
        return Found(None if other.has(one.word) else one.word, 0)
    return _outside(one, other)


@lru_cache(maxsize=1 << 15)
def _outside(one: Language, other: Language) -> Found:
    steps, decided = 0, True
    for condition, automaton in zip(other.conditions, other.automata, strict=True):
        if condition not in one.conditions:
            found = outside((*one.automata, *one.visible), automaton, STEPS)
            steps += found.steps
            decided = decided and found.decided
            if found.word is not None:
                return Found(found.word, steps)
    return Found(None, steps, decided)


@lru_cache(maxsize=65536)
def _language(field: Field, conditions: tuple[Condition, ...]) -> Language:
    seen, start = visible(field), max(map(_start, conditions), key=len, default=b"")
    only = any(c.match == "exact" for c in conditions)
    simple = bool(conditions) and all(c.match != "regex" for c in conditions)
    if only or simple:  # the one word that it can be, or the shortest
        word = next((c.value.encode() for c in conditions if c.match == "exact"), start)
        there = all(field_holds(c, word) for c in conditions)
        if there and all(accepts(each, word) for each in seen):
            return Language(conditions, seen, word, empty=False, only=only, start=start)
        if only or not there:
            return Language(conditions, seen, None, empty=True, only=only, start=start)
    found = shared((*map(_automaton, conditions), *seen), STEPS)
    return Language(conditions, seen, found.word, empty=found.decided and found.word is None, only=False, start=start)


@lru_cache(maxsize=65536)
def _automaton(condition: Condition) -> Automaton:
    if condition.match == "regex":
        return of_regex(language.parse(condition.value))
    if condition.match == "exact":
        return literal(condition.value.encode())
    return literal(condition.value.encode(), "element" if condition.kind == "path" else "prefix")


def _start(condition: Condition) -> bytes:
    """What every text begins with that meets `condition`."""
    if condition.match != "regex":
        return condition.value.encode()
    tree, out = language.parse(condition.value), bytearray()
    if isinstance(tree, Sequence) and isinstance(tree.parts[0], Start):
        for part in tree.parts[1:]:
            if not isinstance(part, Bytes) or len(part.among) > 1:
                break
            out += bytes(part.among)
    return bytes(out)
