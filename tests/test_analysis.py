"""The analysis of rules: against brute force over small alphabets, and every witness against the rules and against real nginx."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from functools import cache
from itertools import product

import pytest

from carrier2.dispatch import Address, Condition, Destination, Dispatch, Listener, Route
from generator.rules import language
from generator.rules.analysis import STEPS, Relation, Shape, _beyond, common, never, relation, shape
from generator.rules.conditions import field_holds
from generator.rules.fields import Field, Witness, request_with
from generator.rules.precedence import Request, holds, request, routed
from tests.fuzz_lab import answers

Rule = tuple[Condition, ...]

SEED = int(os.environ.get("BASCULE_SEED", "20261125"))
PAIRS = 2500

WORDS: dict[Field, list[bytes]] = {
    ("path", ""): [b"/" + b"".join(w) for n in range(5) for w in product((b"a", b"b", b"/", b"."), repeat=n)],
    ("header", "x-user"): [b"".join(w) for n in range(6) for w in product((b"a", b"b"), repeat=n)],
    ("query", "v"): [b"".join(w) for n in range(4) for w in product((b"a", b"b"), repeat=n)],
    ("cookie", "c"): [b"".join(w) for n in range(4) for w in product((b"a", b"b"), repeat=n)],
    ("method", ""): [b"GET", b"POST", b"PUT"],
}
"""All short words of a field; the empty one is a field that is missing."""


def visible(path: bytes) -> bool:
    """Whether nginx hands on a decoded path as it is."""
    made = request("GET", path.decode(), ())
    return isinstance(made, Request) and made.path == path


WORDS["path", ""] = [word for word in WORDS["path", ""] if visible(word)]


def regex(dice: random.Random, letters: str, depth: int = 3) -> str:
    """A random regex over a small alphabet."""
    kind = dice.randrange(9 if depth else 3)
    if kind < 3:
        return str(dice.choice([*letters, *letters, ".", "[ab]", "[^a]"]))
    if kind < 6:
        return regex(dice, letters, depth - 1) + regex(dice, letters, depth - 1)
    if kind == 6:
        return f"(?:{regex(dice, letters, depth - 1)}|{regex(dice, letters, depth - 1)})"
    if kind == 7:
        return f"(?:{regex(dice, letters, depth - 1)}){dice.choice(['*', '+', '?', '{2}', '{1,2}'])}"
    return dice.choice(["^{}", "{}$", "^{}$"]).format(regex(dice, letters, depth - 1))


def condition(dice: random.Random, field: Field) -> Condition:
    """A random condition on a field."""
    kind, name = field
    if kind == "method":
        return Condition(kind, "exact", dice.choice(["GET", "POST"]))
    match = dice.choice(["exact", "prefix", "regex", "regex"])
    if match == "regex":
        while language.check(text := regex(dice, "ab/" if kind == "path" else "ab")):
            pass
        return Condition(kind, "regex", text, name)
    text = dice.choice([w for w in WORDS[field] if w]).decode()
    return Condition(kind, match, text.rstrip("/") if kind == "path" and match == "prefix" else text, name)  # type: ignore[arg-type]


def a_rule(dice: random.Random) -> Rule:
    """A random rule of up to three conditions, often two on one field."""
    fields = dice.choices(list(WORDS), weights=[4, 4, 1, 1, 1], k=dice.randrange(1, 4))
    return tuple(sorted({condition(dice, field) for field in fields}))


@cache
def pairs() -> list[tuple[Rule, Rule]]:
    """Random pairs of rules that can fire; every other pair is made alike, so that containment happens."""
    dice = random.Random(SEED)
    found: list[tuple[Rule, Rule]] = []
    while len(found) < PAIRS:
        one = a_rule(dice)
        other = a_rule(dice) if len(found) % 2 else tuple(sorted({*dice.sample(one, dice.randrange(len(one) + 1)), *a_rule(dice)[:1]}))
        if never(shape(one)) is None and never(shape(other)) is None:
            found.append((one, other))
    return found


def columns(rule: Rule) -> dict[Field, set[bytes]]:
    """For each field, the short words with which the rule's conditions on it hold."""
    on = {field: [c for c in rule if (c.kind, c.name) == field] for field in WORDS}
    return {field: {word for word in words if all(field_holds(c, word) for c in on[field])} for field, words in WORDS.items()}


def brute(one: Rule, other: Rule) -> tuple[bool, bool, bool]:
    """Over all requests of short words: whether some match both, all of one match other, and all of other match one."""
    mine, theirs = columns(one), columns(other)
    shared = all(mine[field] & theirs[field] for field in WORDS)
    within = any(not words for words in mine.values()) or all(mine[field] <= theirs[field] for field in WORDS)
    covers = any(not words for words in theirs.values()) or all(theirs[field] <= mine[field] for field in WORDS)
    return shared, within, covers


def where(one: Rule, other: Rule) -> str:
    """What to print of a pair."""
    return f"BASCULE_SEED={SEED}\n  {one}\n  {other}"


def meets(rule: Rule, witness: Witness) -> bool:
    """Whether the rule's conditions hold for a request as `explain` reads it."""
    made = request(*witness)
    assert isinstance(made, Request), (witness, made)
    return all(holds(c, made) for c in rule)


def witness_of(*shapes: Shape) -> Witness | None:
    """The request that the analysis shows."""
    words = common(*shapes)
    return None if words is None else request_with(words)


def test_the_analysis_agrees_with_brute_force() -> None:
    """2,500 random pairs: nothing that short words show is missed, and nothing is claimed that no request bears out."""
    seen: dict[Relation, int] = {}
    for one, other in pairs():
        mine, theirs = shape(one), shape(other)
        found, _ = relation(mine, theirs)
        seen[found] = seen.get(found, 0) + 1
        shared, within, covers = brute(one, other)
        assert found != "undecided", where(one, other)
        if shared:
            assert found != "disjoint", where(one, other)
        if found != "disjoint":
            witness = witness_of(mine, theirs)
            assert witness, where(one, other)
            assert meets(one, witness), (where(one, other), witness)
            assert meets(other, witness), (where(one, other), witness)
        for claimed, small, large, here in (
            (found in ("within", "same"), one, other, within),
            (found in ("covers", "same"), other, one, covers),
        ):
            if found != "disjoint" and claimed:
                assert here, where(one, other)
            elif found != "disjoint" and here:
                assert _refuted(small, large), where(one, other)
    assert min(seen.get(each, 0) for each in ("disjoint", "overlap", "within", "covers", "same")) >= 25, seen


def _refuted(small: Rule, large: Rule) -> bool:
    """Whether the word that shows the one not to lie within the other does so, though it is longer than brute force looks."""
    word = _beyond(shape(small), shape(large)).word
    if word == b"":
        return True
    assert word
    return any(
        all(field_holds(c, word) for c in small if (c.kind, c.name) == field)
        and not all(field_holds(c, word) for c in large if (c.kind, c.name) == field)
        for field in WORDS
    )


def test_a_witness_is_a_shortest_one() -> None:
    """No field of the witness has a shorter word that both rules take."""
    for one, other in pairs():
        words = common(shape(one), shape(other))
        mine, theirs = columns(one), columns(other)
        for field, word in (words or {}).items():
            shortest = min((len(w) for w in mine[field] & theirs[field]), default=99)
            assert len(word) <= shortest, (where(one, other), field, word)


def test_never_is_said_exactly_when_no_word_is_left() -> None:
    """A rule that matches nothing is found, and no other is called so."""
    dice = random.Random(SEED)
    dead = 0
    for _ in range(2000):
        rule = tuple(sorted({condition(dice, field) for field in dice.choices(list(WORDS)[:2], k=2)}))
        found = never(shape(rule))
        words = columns(rule)
        if found is not None:
            dead += 1
            assert not words[found], (SEED, rule)
        else:
            witness = witness_of(shape(rule))
            assert witness, (SEED, rule)
            assert meets(rule, witness), (SEED, rule, witness)
    assert dead >= 100


def test_real_nginx_takes_every_witness_by_both_rules() -> None:
    """Each rule alone, told apart by a header of its own, gets the request that the analysis shows for its pair."""
    user = Address("10.9.0.1", 3000)
    shown = [(pair, w) for pair in pairs() if (w := witness_of(shape(pair[0]), shape(pair[1])))]
    assert len(shown) >= 1000
    for start in range(0, len(shown), 150):
        routes: list[Route] = []
        asked: list[tuple[int, bytes]] = []
        for number, (pair, witness) in enumerate(shown[start : start + 150]):
            for rule, mark in zip(pair, (f"{number}-one", f"{number}-other"), strict=True):
                routes.append(Route("b", routed((*rule, header(mark, name="x-pair")))))
                lines = [f"{witness.method} {witness.url} HTTP/1.1", "host: shop", *map(": ".join, witness.headers), f"x-pair: {mark}"]
                asked.append((8080, "\r\n".join([*lines, "content-length: 0", "", ""]).encode(errors="surrogateescape")))
        listener = Listener(8080, "TCP", tuple(routes), (Destination("b", user),))

        found = answers(Dispatch((listener,), "10.0.0.1", {"web-0": ("10.1.0.1",)}), asked)

        missed = [request for (_, request), who in zip(asked, found, strict=True) if who != "10.9.0.1:3000"]
        assert missed == [], f"BASCULE_SEED={SEED}"


def header(text: str, match: str = "exact", name: str = "x-user") -> Condition:
    """A condition on a header."""
    return Condition("header", match, text, name)  # type: ignore[arg-type]


def path(text: str, match: str = "prefix") -> Condition:
    """A condition on the path."""
    return Condition("path", match, text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("one", "other", "expected", "witness"),
    [
        ([header("alice")], [path("/api")], "overlap", "GET /api -H 'x-user: alice'"),
        ([header("alice")], [header("bob")], "disjoint", None),
        ([header("^al", "regex")], [header("ice$", "regex")], "overlap", "GET / -H 'x-user: alice'"),
        ([header("^al", "regex")], [header("alice")], "covers", "GET / -H 'x-user: alice'"),
        ([path("/api")], [path("^/api/v[0-9]+$", "regex")], "covers", "GET /api/v0"),
        ([path("/api")], [path("/apiv2")], "disjoint", None),
        ([path("/api")], [path("/api/", "exact")], "covers", "GET /api/"),
        ([path("^/api(?:/.*)?$", "regex")], [path("/api")], "same", "GET /api"),
        ([path("")], [path("^/", "regex")], "same", "GET /"),
        ([path("^/a", "regex")], [], "within", "GET /a"),
        ([path("[?#%]", "regex")], [path("é", "regex")], "overlap", "GET /%C3%A9%23"),
        ([path("/a b")], [Condition("query", "exact", "it's", "v")], "overlap", "GET '/a%20b?v=it'\\''s'"),
        ([Condition("cookie", "exact", "1", "a")], [Condition("cookie", "prefix", "2", "b")], "overlap", "GET / -H 'cookie: a=1; b=2'"),
        ([Condition("method", "exact", "PUT")], [header("^[^ -~]$", "regex")], "overlap", "PUT / -H $'x-user: \\x01'"),
        ([header("shop", "prefix", "host")], [header(":80$", "regex", "host")], "overlap", "GET / -H 'host: shop:80'"),
    ],
)
def test_what_people_write(one: list[Condition], other: list[Condition], expected: Relation, witness: str | None) -> None:
    """The relation of two rules, and the request that is shown, ready for a shell."""
    mine, theirs = shape(tuple(one)), shape(tuple(other))
    assert relation(mine, theirs)[0] == expected
    assert (str(witness_of(mine, theirs)) if witness else None) == witness


def test_fields_that_depend_on_each_other_are_not_guessed_about() -> None:
    """The Cookie line and a cookie in it, and what frames a body: undecided, unless another field tells."""
    line, cookie = header("a=1", "prefix", "cookie"), Condition("cookie", "exact", "2", "a")
    assert relation(shape((line,)), shape((cookie,)))[0] == "undecided"
    assert relation(shape((line, header("alice"))), shape((cookie, header("bob"))))[0] == "disjoint"
    assert relation(shape((header("5", name="content-length"),)), shape((path("/a"),)))[0] == "undecided"


EXPLODING = [
    ("^.*a.{90}b.{90}$", "^.*c.{90}d.{90}$"),
    ("^.*a.{20}$", "^.*[ab].{20}$"),
    ("^(?:.*a.{50})$", "^(?:.*b.{51}|.*a.{49})$"),
    ("^(?:a|b.)*a(?:a|b.){40}$", "^(?:b|a.)*b(?:b|a.){40}$"),
    ("^a.*b.*c.*d.*e.*f.{99}$", "^a.*e.*d.*c.*b.{98}$"),
]


def exploding() -> Iterator[tuple[Rule, Rule]]:
    """Pairs of rules whose analysis would take very long."""
    for one, other in EXPLODING:
        yield (header(one, "regex"),), (header(other, "regex"),)


def test_regexes_built_to_explode_end_undecided_after_bounded_work() -> None:
    """The steps are counted, so no pair can hold up an operator, on a slow machine as little as on a fast one."""
    found = [relation(shape(one), shape(other)) for one, other in exploding()]
    assert {answer for answer, _ in found} == {"undecided"}
    assert max(steps for _, steps in found) < 4 * STEPS
