"""Rules that meet on one port: who is refused, who is warned, and that nobody's bridge is in its own way."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.asked import conflicts
from generator.asked.bridge import Bridge, decode_bridge
from generator.asked.conflicts import SHOWN, STEPS, Standing
from generator.cluster.snapshot import Snapshot
from generator.desired.generate import generate
from generator.rules.analysis import Relation, Shape, relation, shape
from generator.rules.automaton import bits
from generator.rules.precedence import precedence
from tests import kube

NOW = "2026-11-25T12:00:00Z"
Rule = list[dict[str, Any]]


def header(value: str, match: str = "exact", name: str = "x-user") -> dict[str, Any]:
    """A header condition as it is written."""
    return {"matchHeader": {"name": name, "value": value, "type": match}}


def path(value: str, match: str = "prefix") -> dict[str, Any]:
    """A path condition as it is written."""
    return {"matchPath": {"path": value, "type": match}}


def obj(name: str, *rules: Rule, minute: int = 0, port: int = 8080, target: str = "deployment/web") -> dict[str, Any]:
    """A GefyraBridge that was created at a minute after noon."""
    return {
        "apiVersion": "gefyra.dev/v1",
        "kind": "GefyraBridge",
        "metadata": {"name": name, "namespace": "gefyra", "uid": f"uid-{name}", "creationTimestamp": f"2026-11-25T10:{minute:02}:00Z"},
        "client": name,
        "target": target,
        "targetNamespace": "shop",
        "targetContainer": "app",
        "portMappings": [f"3000:{port}"],
        "providerParameter": {"rules": [{"match": rule} for rule in rules]},
    }


def bridge(name: str, *rules: Rule, minute: int = 0) -> Bridge:
    """The same, decoded."""
    made, problems = decode_bridge(obj(name, *rules, minute=minute))
    assert made, problems
    return made


def judged(*bridges: Bridge) -> list[list[str]]:
    """The codes of each, in order of age; those that are not refused stand."""
    standing, found = Standing(8080), []
    for each in bridges:
        problems = standing.problems(each)
        found.append([p.code for p in problems])
        if all(p.severity == "warning" for p in problems):
            standing.add(each)
    return found


def test_the_same_requests_in_other_words_are_identical() -> None:
    """What a rule matches counts, not how it is written."""
    old = bridge("alice", [header("alice"), path("/api")])
    assert judged(old, bridge("bob", [header("^alice$", "regex"), path("/api/", "prefix")])) == [[], ["RuleIdentical"]]


def test_a_rule_that_an_older_bridge_leaves_nothing_is_refused() -> None:
    """The older rule comes first and matches all of the newer one."""
    assert judged(bridge("alice", [path("/api")]), bridge("bob", [path("^/api", "regex")])) == [[], ["RuleOverlap"]]
    two = bridge("bob", [header("bob")], [path("^/api/v1", "regex")])
    assert judged(bridge("alice", [path("/api")]), two) == [[], ["RuleNeverFires"]]


def test_a_rule_that_would_silence_an_older_bridge_is_refused() -> None:
    """Whoever came first keeps what he has."""
    assert judged(bridge("alice", [path("^/api/v1$", "regex")]), bridge("bob", [path("/api")])) == [[], ["RuleTakesAll"]]
    assert judged(bridge("alice"), bridge("bob", [path("/")])) == [[], ["RuleIdentical"]]


def test_a_narrower_rule_beside_a_wider_one_is_what_precedence_is_for() -> None:
    """A part of somebody's requests may be taken; both hear of it through the newer bridge."""
    old, new = bridge("alice", [path("/api")]), bridge("bob", [path("/api"), header("bob")])
    assert judged(old, new) == [[], ["RuleOverlap"]]
    standing = Standing(8080)
    standing.add(old)
    (problem,) = standing.problems(new)
    assert "bridge alice of alice" in problem.message
    assert "GET /api -H 'x-user: bob'" in problem.message
    assert "bob gets them" in problem.message


def test_a_bridge_without_rules_overlaps_with_all_and_says_nothing() -> None:
    """It takes what nobody else claims, so nobody needs a warning."""
    assert judged(bridge("alice", [header("alice")]), bridge("bob"), bridge("carol", [path("/c"), header("carol")])) == [[], [], []]
    assert judged(bridge("alice"), bridge("bob")) == [[], ["RuleIdentical"]]


def test_rules_of_one_bridge_never_stand_against_each_other() -> None:
    """Any of them suffices, so one may lie within another."""
    assert judged(bridge("alice", [path("/api")], [path("^/api/v1$", "regex")], [path("/api"), header("alice")])) == [[]]


def test_of_many_overlaps_a_few_are_shown_and_the_rest_counted() -> None:
    """A hundred users give no hundred warnings."""
    standing = Standing(8080)
    for number in range(20):
        standing.add(bridge(f"b{number:02}", [header("1", name=f"x-{number}")]))
    problems = standing.problems(bridge("zoe", [path("/api")]))
    assert [p.code for p in problems] == ["RuleOverlap"] * (SHOWN + 1)
    assert "17 more bridges: b03, b04, b05 and 14 more" in problems[-1].message


def test_no_example_is_shown_that_is_none() -> None:
    """The Cookie header and a cookie in it: undecided, and without a request that only looks like one for both."""
    standing = Standing(8080)
    standing.add(bridge("alice", [header("s=v", name="cookie")]))
    cookie = {"matchCookie": {"name": "s", "value": "v"}}
    (problem,) = standing.problems(bridge("bob", [cookie]))
    assert problem.code == "RuleUndecided"
    assert "for example" not in problem.message


def test_a_bridge_cannot_make_the_comparison_endless() -> None:
    """Steps are counted for all rules of a bridge together: the rest is undecided, and said to be."""
    standing = Standing(8080)
    for number in range(60):
        standing.add(bridge(f"b{number:02}", [header(f"^.*a.{{{20 + number}}}$", "regex")]))
    newer = bridge("zoe", [header("^.*[ab].{19}$", "regex")])
    spent = sum(relation(shape(newer.rules[0]), rule.shape)[1] for rule in standing.rules)
    assert spent > STEPS
    assert {p.code for p in standing.problems(newer)} <= {"RuleUndecided", "RuleOverlap"}


WRITTEN = st.sampled_from(
    [
        header("a"),
        header("ab"),
        header("a", "prefix"),
        header("^a", "regex"),
        header("^ab?$", "regex"),
        path("/a"),
        path("/a", "exact"),
        path("/a/b"),
        path("^/a(?:/|$)", "regex"),
        path("^/a/b", "regex"),
        path("/"),
    ]
)


def test_only_rules_that_may_meet_are_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefixes, exact values and anchored regexes that begin differently cost no comparison, however many there are."""
    compared = counted(monkeypatch)

    def many(of: str) -> list[Rule]:
        kinds = ("exact", "prefix", "regex")
        return [[header(f"{'^' if match == 'regex' else ''}{of}{number}/", match)] for number in range(60) for match in kinds]

    assert judged(bridge("alice", *many("a")), bridge("bob", *many("b"))) == [[], []]
    assert compared == []
    assert judged(bridge("alice", *many("a")), bridge("bob", [header("a5", "prefix")])) == [[], ["RuleOverlap"]]
    assert compared


def test_a_pair_costs_a_step_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    """So many rules that all meet are not compared without end either, and everybody whom they may meet is named all the same."""
    monkeypatch.setattr(conflicts, "STEPS", 50)
    compared = counted(monkeypatch, free=True)
    standing = Standing(8080)
    for number in range(20):
        standing.add(bridge(f"b{number:02}", [header("a", "prefix"), header("1", name=f"x-{number}")]))
    problems = standing.problems(bridge("zoe", *([header("a", "prefix"), header("1", name=f"y-{number}")] for number in range(20))))
    assert len(compared) == 50
    assert {p.code for p in problems} == {"RuleOverlap"}
    assert "17 more bridges" in problems[-1].message


@given(st.lists(st.lists(WRITTEN, max_size=2, unique_by=str), min_size=1, max_size=6), st.lists(WRITTEN, max_size=2, unique_by=str))
def test_no_rule_that_may_meet_is_left_out(stand: list[Rule], new: Rule) -> None:
    """Of the rules that stand, all that share a request with a newer one are looked at."""
    standing = Standing(8080)
    for number, rule in enumerate(stand):
        if made := decode_bridge(obj(f"b{number}", rule))[0]:
            standing.add(made)
    if newer := decode_bridge(obj("new", new))[0]:
        mine = shape(newer.rules[0])
        free, near = standing._near(mine)
        meeting = {n for n, theirs in enumerate(standing.rules) if relation(mine, theirs.shape)[0] != "disjoint"}
        assert meeting <= {*bits(free | near)}


def counted(monkeypatch: pytest.MonkeyPatch, *, free: bool = False) -> list[Shape]:
    """What is compared from now on, as one of the two shapes. free: each answer comes without a step of a search."""
    compared: list[Shape] = []

    def answer(mine: Shape, theirs: Shape) -> tuple[Relation, int]:
        compared.append(mine)
        found, steps = relation(mine, theirs)
        return found, 0 if free else steps

    monkeypatch.setattr(conflicts, "relation", answer)
    return compared


def codes(*bridges: dict[str, Any], now: str = NOW, prefix: str = "Rule") -> dict[str, list[str]]:
    """The codes of each bridge that begin with `prefix`, beside two Deployments, web and api, through the whole of `generate`."""
    containers = [kube.container(ports=(8080, 9090))]
    cluster = [*kube.deployment("web", {"app": "web"}, containers, 1, 1), *kube.deployment("api", {"app": "api"}, containers, 1, 2)]
    desired = generate(Snapshot.of([*cluster, *bridges], now))
    found = {key.name: problems for key, problems in desired.intent.problems.items()}
    return {o["metadata"]["name"]: [p.code for p in found.get(o["metadata"]["name"], ()) if p.code.startswith(prefix)] for o in bridges}


def test_rules_meet_only_on_the_same_target_and_port() -> None:
    """The same header on another workload or port is another request."""
    same = [header("alice")]
    assert codes(obj("alice", same), obj("bob", same, minute=1)) == {"alice": [], "bob": ["RuleIdentical"]}
    assert codes(obj("alice", same), obj("bob", same, minute=1, port=9090)) == {"alice": [], "bob": []}
    assert codes(obj("alice", same), obj("bob", same, minute=1, target="deployment/api")) == {"alice": [], "bob": []}


def test_a_bridge_that_is_not_in_the_cluster_yet_is_the_youngest() -> None:
    """Also where the cluster has one of the same second and a later name, and the clock of whoever asks shows a part of that second."""
    there, asked = obj("bob", [header("alice")]), obj("alice", [header("alice")])
    for name in ("uid", "creationTimestamp"):
        del asked["metadata"][name]
    second = there["metadata"]["creationTimestamp"].removesuffix("Z")
    for now in (f"{second}Z", f"{second}.750Z"):
        assert codes(there, asked, now=now) == {"bob": [], "alice": ["RuleIdentical"]}


def test_a_bridge_that_is_renamed_in_one_step_is_not_in_its_own_way() -> None:
    """The old name is deleted, or on its way out, when the new one comes."""
    old, new = obj("alice", [header("alice")]), obj("alice-2", [header("alice")], minute=1)
    leaving = {**old, "metadata": {**old["metadata"], "deletionTimestamp": NOW, "finalizers": ["example.com/wait"]}}
    assert codes(new) == {"alice-2": []}
    assert codes(leaving, new) == {"alice": [], "alice-2": []}


def test_a_bridge_that_moves_or_changes_is_not_in_its_own_way() -> None:
    """What counts is the set of bridges now: two that swap their rules or ports in one step meet nobody."""
    alice, bob = [header("alice")], [header("bob")]
    assert codes(obj("alice", bob), obj("bob", alice, minute=1)) == {"alice": [], "bob": []}
    assert codes(obj("alice", alice, port=9090), obj("bob", alice, minute=1)) == {"alice": [], "bob": []}


RULES = st.lists(st.lists(WRITTEN, max_size=2, unique_by=str), min_size=1, max_size=2)


@given(st.lists(RULES, min_size=2, max_size=5))
@settings(max_examples=300)
def test_no_admitted_rule_is_silenced_by_another(written: list[list[Rule]]) -> None:
    """Whatever comes in whatever order: of two rules that stand, neither takes all that the other asks for."""
    bridges = [made for n, rules in enumerate(written) if (made := decode_bridge(obj(f"b{n}", *rules, minute=n))[0])]
    standing = Standing(8080)
    for each in bridges:
        if all(p.severity == "warning" for p in standing.problems(each)):
            standing.add(each)
    for one in standing.rules:
        for other in standing.rules:
            if one.bridge.name != other.bridge.name:
                found, _ = relation(one.shape, other.shape)
                assert found in ("disjoint", "overlap", "within", "covers")
                if found == "within":
                    assert precedence(one.candidate) < precedence(other.candidate)
