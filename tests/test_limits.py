"""The laws of what one configuration holds: what is counted is never less than what is written, and what came first stays."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import carrier2
from carrier2.contract import MAX_REGEXES
from carrier2.dispatch import Address, Condition, Destination, Dispatch, Kind, Listener, Match, Route
from carrier2.limits import MAX_TEXT, Room
from generator.asked.bridge import decode_bridge
from generator.cluster.snapshot import Obj, Snapshot
from generator.desired.generate import generate
from tests import kube
from tests.test_conflicts import codes, counted, header, obj

LAW = settings(max_examples=200, deadline=None)
TEXT = (
    st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=40) | st.just("$" * 30) | st.just('."\\' * 9)
)
NAME = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,20}[a-z0-9])?", fullmatch=True)


@st.composite
def conditions(draw: st.DrawFn) -> Condition:
    """A condition as the generator makes them."""
    kind = draw(st.sampled_from(get_args(Kind)))
    match: Match = "exact" if kind == "method" else draw(st.sampled_from(get_args(Match)))
    name = draw(NAME) if kind in ("header", "query", "cookie") else ""
    return Condition(kind, match, draw(NAME if match == "regex" else TEXT), name)


RULES = st.lists(st.lists(conditions(), max_size=4).map(lambda found: tuple(sorted(found))), min_size=1, max_size=6)
LOGGED = st.booleans()


@LAW
@given(bridges=st.lists(st.tuples(RULES, st.booleans(), LOGGED), min_size=1, max_size=8), ports=st.integers(1, 3), name=NAME)
def test_more_is_never_written_than_was_counted(
    bridges: list[tuple[list[tuple[Condition, ...]], bool, bool]], ports: int, name: str
) -> None:
    """Whatever bridges ask, the configuration grows by no more than their Room has shrunk."""
    room, numbers = Room(), range(8080, 8080 + ports)
    named = [(f"{name}-{i}", *bridge) for i, bridge in enumerate(bridges)]
    for bridge, rules, _, _ in named:
        left = room.beside(bridge, rules, numbers)
        assert isinstance(left, Room)
        room = left
    routes = tuple(Route(bridge, rule) for bridge, rules, _, _ in named for rule in rules)
    away = Address("fd00:1234:5678:9abc:def0:1234:5678:9abc", 65535)
    destinations = tuple(
        Destination(bridge, away, mode="mirror" if mirrored else "intercept", log=logged) for bridge, _, mirrored, logged in named
    )
    shadows: dict[str, tuple[str, ...]] = {"web": ("10.0.0.1",)}
    bare = tuple(Listener(n, http=True) for n in numbers)
    full = tuple(Listener(n, routes=routes, destinations=destinations, http=True) for n in numbers)
    before, after = (len(carrier2.render(Dispatch(each, "10.0.0.2", shadows)).encode()) for each in (bare, full))
    assert after - before <= MAX_TEXT - room.left


def test_a_bridge_too_many_is_refused_and_the_others_stay() -> None:
    """A target with rules for more than a ConfigMap holds: who came first keeps his place, and the one too many hears why."""
    objects = [*kube.deployment("web", {"app": "web"}, [kube.container()], 1, 1), kube.service("web", {"app": "web"})]
    many = [_bridge(f"b{n:03}", n) for n in range(60)]
    desired = generate(Snapshot.of([*objects, *many], kube.NOW))
    refused = [key.name for key, found in desired.intent.problems.items() if any(p.code == "CarrierLimit" for p in found)]
    assert refused
    assert refused == [f"b{n:03}" for n in range(60 - len(refused), 60)]


def test_who_is_refused_takes_no_room_from_others() -> None:
    """One bridge has the regexes of another and some of its own: what is refused leaves them to the next."""
    regexes = [[header(f"^{letter}{n}[0-9]*$", "regex")] for letter in "abc" for n in range(MAX_REGEXES // 2)]
    first, again, third = regexes[: MAX_REGEXES // 2], regexes[:MAX_REGEXES], regexes[MAX_REGEXES:]
    assert codes(obj("alice", *first), obj("bob", *again, minute=1), obj("carol", *third, minute=2), prefix="") == {
        "alice": [],
        "bob": ["RuleIdentical"],
        "carol": [],
    }


@pytest.mark.parametrize("count", [MAX_REGEXES, MAX_REGEXES + 1])
def test_regexes_are_counted_before_they_are_looked_at(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as fit are compared with what stands; one more, of one bridge or of two together, is refused without that."""
    compared = counted(monkeypatch)
    mine = [[header(f"b{n}", "regex")] for n in range(count - 1)]
    judged = codes(obj("alice", [header("a", "regex")]), obj("bob", *mine, minute=1), prefix="")
    assert ("CarrierLimit" in judged["bob"]) == (count > MAX_REGEXES)
    assert bool(compared) == (count <= MAX_REGEXES)
    found, problems = decode_bridge(obj("bob", *mine, [header("c", "regex")]))
    assert [p.code for p in problems] == (["CarrierLimit"] if count > MAX_REGEXES else [])
    assert bool(found) == (count <= MAX_REGEXES)


def _bridge(name: str, number: int) -> Obj:
    rules = [{"match": [{"matchHeader": {"name": "x-user", "value": f"{number}-{rule}-" + "v" * 200}}]} for rule in range(100)]
    return {**kube.bridge(name, "", rules), "target": "deployment/web", "targetNamespace": "shop", "targetContainer": "app"}
