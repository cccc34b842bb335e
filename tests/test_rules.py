from __future__ import annotations

from itertools import permutations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carrier2.dispatch import Condition
from generator.rules.precedence import Candidate, Refused, Request, decide, holds, ordered, precedence, request, routed

OLD, NEW = "2026-11-24T22:00:00Z", "2026-11-24T22:00:00.5Z"


def path(value: str, match: str = "prefix") -> Condition:
    """A path condition."""
    return Condition("path", match, value)  # type: ignore[arg-type]


def header(value: str, match: str = "exact", name: str = "x-user") -> Condition:
    """A header condition."""
    return Condition("header", match, value, name)  # type: ignore[arg-type]


METHOD = Condition("method", "exact", "GET")
QUERY = Condition("query", "exact", "1", "v")
COOKIE = Condition("cookie", "exact", "alice", "user")


def asked(url: str = "/", *headers: tuple[str, str], method: str = "GET") -> Request:
    """A request that nginx takes."""
    made = request(method, url, headers)
    assert isinstance(made, Request), made
    return made


CONDITIONS = st.sampled_from(
    [
        path(""),
        path("/a"),
        path("/a/b"),
        path("/a/b", "exact"),
        path("b$", "regex"),
        METHOD,
        Condition("method", "exact", "POST"),
        header("alice"),
        header("al", "prefix"),
        header("^a", "regex"),
        header("1", name="x-b"),
        QUERY,
        Condition("query", "prefix", "1", "w"),
        COOKIE,
    ]
)
CANDIDATES = st.lists(
    st.builds(
        Candidate,
        st.sampled_from(["alice-web", "bob-web", "carol-web"]),
        st.sampled_from(["", OLD, NEW]),
        st.lists(CONDITIONS, max_size=3, unique=True).map(lambda found: tuple(sorted(found))),
        st.integers(0, 9),
    ),
    max_size=5,
    unique_by=lambda c: (c.bridge, c.index),
)
REQUESTS = st.builds(
    asked,
    st.sampled_from(["/", "/a", "/a/b", "/a/b?v=1", "/ab?w=12&v=1", "/a/c?v=2"]),
    st.sampled_from(
        [("X-User", "alice"), ("x_user", "alan"), ("Cookie", "user=alice"), ("Accept", "*/*"), ("User-Agent", "kube-probe/1.36")]
    ),
    st.sampled_from([("X-B", "1"), ("Cookie", "a=b; user=alice"), ("X-User", "bob")]),
    method=st.sampled_from(["GET", "POST"]),
)


@given(CANDIDATES)
@settings(max_examples=200)
def test_the_order_is_total(candidates: list[Candidate]) -> None:
    """Different rules never tie, so every carrier and every run tries them in the same order."""
    assert len({precedence(c) for c in candidates}) == len(candidates)
    assert len({ordered(some) for some in permutations(candidates[:4])}) == 1


@given(CANDIDATES, REQUESTS)
@settings(max_examples=200)
def test_a_decision_is_the_first_match_whatever_the_order_of_the_input(candidates: list[Candidate], made: Request) -> None:
    """The winner matches, nobody before it does, and each candidate is accounted for once."""
    winner, verdicts = decide(made, candidates)
    assert decide(made, candidates[::-1]) == (winner, verdicts)
    assert [v.candidate for v in verdicts] == list(ordered(candidates))
    probe = made.headers.get("user-agent") == b"kube-probe/1.36"
    for verdict in verdicts:
        assert verdict.matched == (not probe and all(holds(c, made) for c in verdict.candidate.conditions))
    assert winner == next((v.candidate for v in verdicts if v.matched), None)


@pytest.mark.parametrize(
    ("winner", "loser", "reason"),
    [
        ([header("alice")], [path("/a/b", "exact"), METHOD], "less specific: no header, query or cookie condition against header x-user"),
        ([QUERY], [path("/a/b")], "less specific: no header, query or cookie condition against query parameter v"),
        ([COOKIE], [METHOD], "less specific: no header, query or cookie condition against cookie user"),
        ([path("/a/b", "exact")], [path("/a/b"), METHOD], "less specific: no exact path against exact path /a/b"),
        ([path("/a/b")], [path("/a"), METHOD], "less specific: path prefix /a (2) against path prefix /a/b (4)"),
        ([path("/a")], [path("")], "less specific: path prefix / (1) against path prefix /a (2)"),
        ([path("/a")], [path("b$", "regex"), METHOD], "less specific: no path prefix against path prefix /a (2)"),
        ([path("b$", "regex")], [METHOD], "less specific: no path regex against path regex b$"),
        ([path("/a"), METHOD], [path("/a")], "less specific: no method against method"),
        ([METHOD, header("alice")], [header("alice"), header("1", name="x-b")], "less specific: no method against method"),
        (
            [header("alice"), header("1", name="x-b")],
            [header("alice"), QUERY],
            "less specific: header x-user against header x-b, header x-user",
        ),
        ([QUERY], [COOKIE], "less specific: no query against query parameter v"),
        ([QUERY, COOKIE], [QUERY], "less specific: no cookie against cookie user"),
        ([METHOD], [], "less specific: no method against method"),
        ([path("")], [], "less specific: no path prefix against path prefix / (1)"),
        ([header("alice")], [], "less specific: no header, query or cookie condition against header x-user"),
    ],
)
def test_the_documented_tiers(winner: list[Condition], loser: list[Condition], reason: str) -> None:
    """The more specific rule wins although it is younger, and the loser hears which step decided."""
    made = asked("/a/b?v=1", ("x-user", "alice"), ("x-b", "1"), ("cookie", "user=alice"))
    first, second = Candidate("b", NEW, tuple(sorted(winner))), Candidate("a", OLD, tuple(sorted(loser)))
    found, verdicts = decide(made, [second, first])
    assert found == first
    assert [(v.matched, v.reason) for v in verdicts] == [(True, "first of the rules that match"), (True, reason)]


@pytest.mark.parametrize(
    ("winner", "loser", "reason"),
    [
        (Candidate("b", OLD, ()), Candidate("a", NEW, ()), "newer than b"),
        (Candidate("b", NEW, ()), Candidate("a", "", ()), "newer than b"),
        (Candidate("a", OLD, ()), Candidate("b", OLD, ()), "as specific and as old as a, later by name"),
        (
            Candidate("a", OLD, (header("al", "prefix"),), 0),
            Candidate("a", OLD, (header("alice"),), 1),
            "rule 0 of the same bridge is as specific and comes first",
        ),
        (Candidate("b", OLD, (header("al", "prefix"),)), Candidate("a", NEW, (header("alice"), header("^a", "regex"))), "newer than b"),
    ],
)
def test_equally_specific_rules_go_by_age_then_name_then_number(winner: Candidate, loser: Candidate, reason: str) -> None:
    """A newcomer never takes traffic from who was there; what is not in the cluster yet is the newest."""
    found, verdicts = decide(asked("/", ("x-user", "alice")), [loser, winner])
    assert found == winner
    assert verdicts[1].reason == reason


@pytest.mark.parametrize(
    ("condition", "made", "expected"),
    [
        (path("/api"), asked("/api"), True),
        (path("/api"), asked("/api/x?y"), True),
        (path("/api"), asked("/apiv2"), False),
        (path("/api"), asked("/API"), False),
        (path("/api"), asked("/api%0A"), False),
        (path(""), asked("/"), True),
        (path("/é", "exact"), asked("/%c3%a9"), True),
        (path("/é"), asked("/é/x"), True),
        (path("/a%b", "exact"), asked("/a%25b"), True),
        (path("/api", "exact"), asked("/api/"), False),
        (path("/api", "exact"), asked("/api?x#y"), True),
        (path("v[12]$", "regex"), asked("/x/v1?y"), True),
        (path("^/a.b$", "regex"), asked("/a%0Ab"), True),
        (METHOD, asked("/", method="GETT"), False),
        (header("alice"), asked("/", ("X_USER", " alice ")), True),
        (header("alice"), asked("/", ("X-User", "Alice")), False),
        (header("alice"), asked("/", ("X-User", "\talice")), False),
        (header("alice"), asked("/", ("X-User", "alice"), ("x_user", "bob")), False),
        (header("alice, bob"), asked("/", ("X-User", "alice"), ("x_user", "bob")), True),
        (header("al", "prefix"), asked("/"), False),
        (header(".*", "regex"), asked("/", ("x-user", "")), False),
        (header(".*", "regex"), asked("/"), False),
        (header("lic", "regex"), asked("/", ("x-user", "alice")), True),
        (header("a", name="user-agent"), asked("/", ("User-Agent", "a")), True),
        (header("a", name="user-agent"), asked("/", ("User_Agent", "a")), False),
        (header("a", name="x-forwarded-for"), asked("/", ("X_Forwarded_For", "b"), ("X-Forwarded-For", "a")), True),
        (header("a, b", name="if-match"), asked("/", ("If_Match", "a"), ("If-Match", "b")), True),
        (QUERY, asked("/?v=1"), True),
        (QUERY, asked("/?V=1"), False),
        (QUERY, asked("/?v=2&v=1"), False),
        (QUERY, asked("/?v&v=1"), True),
        (QUERY, asked("/?v=&v=1"), False),
        (QUERY, asked("/?xv=1"), False),
        (QUERY, asked("/?%76=1"), False),
        (QUERY, asked("/?v=%31"), False),
        (QUERY, asked("/?a#?v=1"), False),
        (COOKIE, asked("/", ("Cookie", "user=alice")), True),
        (COOKIE, asked("/", ("Cookie", "a=b;\t user=alice \t; c=d")), True),
        (COOKIE, asked("/", ("Cookie", "a=b"), ("cookie", "user=alice")), True),
        (COOKIE, asked("/", ("Cookie", "user=bob; user=alice")), False),
        (COOKIE, asked("/", ("Cookie", "User=alice")), False),
        (COOKIE, asked("/", ("Cookie", "xuser=alice")), False),
        (COOKIE, asked("/", ("Cookie", 'user="alice"')), False),
        (Condition("cookie", "prefix", "al", "user"), asked("/", ("Cookie", "user=alice")), True),
        (Condition("query", "regex", "^[0-9]+$", "v.x"), asked("/?vax=1&v.x=22"), True),
    ],
)
def test_what_a_condition_means(condition: Condition, made: Request, expected: bool) -> None:
    """The semantics that the carrier's nginx implements, field by field."""
    assert holds(condition, made) is expected


@pytest.mark.parametrize(
    ("url", "path_seen", "args"),
    [
        ("/x/../api/y", b"/api/y", b""),
        ("/x/%2e%2e/api/y", b"/api/y", b""),
        ("//api//y", b"/api/y", b""),
        ("/%61pi/x", b"/api/x", b""),
        ("/api%2Fx", b"/api/x", b""),
        ("/api/..", b"/", b""),
        ("/api/.", b"/api/", b""),
        ("/api/...", b"/api/...", b""),
        ("/a/api%2f..%2f", b"/a/", b""),
        ("/api/a%20b+c", b"/api/a b+c", b""),
        ("/api/%25%32%66", b"/api/%2f", b""),
        ("/..%25", b"/..%", b""),
        ("/api/x#f?g", b"/api/x", b""),
        ("/api/x%23%3f?y=%00#z", b"/api/x#?", b"y=%00"),
        ("http://other/api/x?q", b"/api/x", b"q"),
        ("http://other:80", b"/", b""),
        ("http://[::1]?q", b"/", b"q"),
        ("/API/x", b"/API/x", b""),
        ("/é", b"/\xc3\xa9", b""),
    ],
)
def test_a_path_is_what_nginx_makes_of_it(url: str, path_seen: bytes, args: bytes) -> None:
    """The rows were measured on nginx: decoded once, slashes merged, dots resolved, no query."""
    made = asked(url)
    assert (made.path, made.args) == (path_seen, args)


@pytest.mark.parametrize(
    ("method", "url", "headers", "reason"),
    [
        ("GET", "/..", [], "above its root"),
        ("GET", "/../api/x", [], "above its root"),
        ("GET", "/a/../%2e%2e/x", [], "above its root"),
        ("GET", "/%00", [], "%00"),
        ("GET", "/%zz", [], "%zz"),
        ("GET", "/x%2", [], "%2"),
        ("GET", "/a b", [], "blank"),
        ("GET", "/a?b\x7f", [], "blank"),
        ("OPTIONS", "*", [], "start with /"),
        ("GET", "", [], "start with /"),
        ("GET", "http://u@h/", [], "start with /"),
        ("GET", "/\ud800", [], "surrogate"),
        ("get", "/", [], "capitals"),
        ("TRACE", "/", [], "405"),
        ("CONNECT", "/", [], "405"),
        ("GET", "/", [("x user", "a")], "x user"),
        ("GET", "/", [("", "a")], "''"),
        ("GET", "/", [("x-user", "a\r\nb")], "x-user"),
        ("GET", "/", [("Authorization", "a"), ("authorization", "b")], "only once"),
        ("GET", "/", [("Host", "a"), ("host", "a")], "only once"),
        ("GET", "/", [("Host", "")], "no host"),
        ("GET", "/", [("Host", "a..b")], "no host"),
        ("GET", "/", [("Host", ".")], "no host"),
        ("GET", "/", [("Host", "a/b")], "no host"),
        ("GET", "/", [("Host", "é")], "no host"),
        ("GET", "/", [("Host", "a:65536")], "no host"),
        ("GET", "/", [("Host", "[::1]x")], "no host"),
        ("GET", "http://a:65536/", [], "host is none"),
        ("POST", "/", [("Content-Length", "1x")], "no number"),
        ("POST", "/", [("Content-Length", "0"), ("Transfer-Encoding", "chunked")], "beside"),
        ("POST", "/", [("Transfer-Encoding", "gzip")], "501"),
    ],
)
def test_what_nginx_answers_itself_reaches_no_rule(method: str, url: str, headers: list[tuple[str, str]], reason: str) -> None:
    """`explain` says so instead of naming a winner."""
    made = request(method, url, headers)
    assert isinstance(made, Refused)
    assert reason in made.reason


def test_headers_that_cannot_be_named_are_left_out_and_the_host_of_a_url_counts() -> None:
    """The carrier has no variable for `X.User`; a client that sends an absolute URL sends its host too."""
    made = asked("http://web:80/", ("X.User", "a"), ("X_User", "b"))
    assert made.headers == {"host": b"web:80", "x-user": b"b"}
    assert asked("http://web/", ("Host", "other")).headers == {"host": b"other"}
    for host in (".a", "a.", "a:", "a:0065535", "[]", "[a.b]:80", "a_b!%zz"):
        assert asked("/", ("Host", host)).headers == {"host": host.encode()}


def test_the_reason_for_a_mismatch_names_the_field_and_both_sides() -> None:
    """The first condition that fails, with what was sent and what was wanted."""
    rules = {
        "a": ([header("alice")], "header x-user is 'bob', needs 'alice'"),
        "b": ([header("al", "prefix", "x-b")], "header x-b is missing, needs something that starts with 'al'"),
        "c": ([path("/api")], "path is '/', needs '/api' or below"),
        "d": ([Condition("query", "regex", "^1", "v")], "query parameter v is '2', needs a match of '^1'"),
        "e": ([COOKIE], "cookie user is missing, needs 'alice'"),
        "f": ([METHOD], "method is 'POST', needs 'GET'"),
    }
    winner, verdicts = decide(
        asked("/?v=2", ("x-user", "bob"), method="POST"), [Candidate(name, OLD, tuple(r)) for name, (r, _) in rules.items()]
    )
    assert winner is None
    assert {v.candidate.bridge: v.reason for v in verdicts} == {name: reason for name, (_, reason) in rules.items()}


def test_kubelets_probes_never_go_to_a_bridge() -> None:
    """Not even to a global one: a dead user's process must not make the Pod unready."""
    everything = [Candidate("global", OLD, ())]
    winner, (verdict,) = decide(asked("/", ("user-agent", "kube-probe/1.36")), everything)
    assert winner is None
    assert "probes" in verdict.reason
    assert decide(asked("/", ("user-agent", "my-kube-probe/1")), everything)[0] == everything[0]


def test_the_carrier_gets_regexes_as_pcre_reads_them() -> None:
    """PCRE would take `$` for the place before a last newline, and a group for a capture."""
    candidate = Candidate("a", OLD, (path("/(a|b)$", "regex"), header("$(x)")))
    assert routed(candidate.conditions) == (path(r"/(?:a|b)\z", "regex"), header("$(x)"))
