"""The carrier's configuration: every text nginx is given means what the Dispatch says, with real requests through real nginx."""

from __future__ import annotations

import contextlib
import hashlib
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import crossplane
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from carrier2.contract import MAX_TOKEN
from carrier2.directive import Unquotable, key, regex, token, value
from carrier2.dispatch import Address, Condition, Destination, Dispatch, Kind, Listener, Match, Route
from carrier2.nginx import render
from carrier2.relocate import Place, addresses
from generator.cli.nginx import running
from tests.nginx_lab import Outcome, run, syntaxes

SERVICE, SHADOW, OTHER_SHADOW = "10.0.0.1", "10.1.0.1", "10.1.0.2"
HOSTILE = [
    *r"""alice Alice ALICE bob a ab abc 1 0:b1 a=b = ~abc ~*abc ~( default include hostnames
    volatile \abc \\abc \t \" a\ a$b $host ${host} $1 $ a"b a'b " a;b a{b } #b é É 日本 *.example.com
    www.example.* ( ) [ | ? + ^a a,b %41""".split(),
    *("a b", "; }", "x} server { listen 1; }"),
]
REGEXES = {text: text for text in ("a", "^a", "[$]", "\\$", "a.b", "\\\\", "é", '"', "{", "A|B", "^[^a]", "#", "[$]1|x")}
REGEXES |= {"b$": r"b\Z", "^(?:alice|bob)$": r"^(?:alice|bob)\Z", "^.$": r"^.\Z"}
"""As a rule has it: as Python's `re` has it."""
PATHS = ["", "/api", "/api/v1", "/API", "/a$b", "/é", "/a b", '/"', "/~x", "/default", "/a;b", "/a{b", "/a\\"]


def http(port: int = 8080, *routes: Route, to: dict[str, Destination] | None = None, tls: bool = False, sni: str = "") -> Listener:
    """An HTTP port; bridge `bN` is 10.9.0.N:3000 unless `to` says otherwise."""
    names = {route.bridge for route in routes}
    made = {name: Destination(name, Address(f"10.9.0.{name[1:]}", 3000)) for name in names}
    return Listener(port, "TCP", routes, tuple((made | (to or {}))[name] for name in sorted(names)), tls, sni)


def dispatch(*listeners: Listener) -> Dispatch:
    """A target with two originals, web-0 and web-1."""
    return Dispatch(listeners, SERVICE, {"web-0": (SHADOW,), "web-1": (OTHER_SHADOW,)})


def header(text: str, name: str = "x-user", match: Match = "exact") -> Condition:
    """A condition on a header."""
    return Condition("header", match, text, name)


def path(text: str, match: Match = "prefix") -> Condition:
    """A condition on the path."""
    return Condition("path", match, text)


def ask(
    target: str | bytes = "/", *lines: str | bytes, port: int = 8080, method: str = "GET", body: bytes = b"", **more: Any
) -> dict[str, Any]:
    """A request of exactly these bytes; a body gets its Content-Length."""
    if body:
        lines = (*lines, f"Content-Length: {len(body)}")
    parts = [f"{method} ".encode(), _bytes(target), b" HTTP/1.1\r\nHost: shop.example\r\n", *(_bytes(line) + b"\r\n" for line in lines)]
    return {"port": port, "send": b"".join(parts) + b"\r\n" + body, **more}


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def stubs(subject: Dispatch, **protocols: str) -> list[tuple[str, int, str]]:
    """A stub behind every address; `ip_10_9_0_1="down"` changes one."""
    return [(a.host, a.port, protocols.get("ip_" + re.sub("[.:]", "_", a.host), "http")) for a in addresses(subject)]


def send(subject: Dispatch, *requests: dict[str, Any], hostname: str = "web-0", **protocols: str) -> Outcome:
    """What comes of the requests."""
    return run(render(subject), hostname, stubs(subject, **protocols), requests)


def who(outcome: Outcome) -> list[str]:
    """Which address answered each request, or the status of nginx's own answer."""
    return [r["json"].get("who", "").rpartition(":")[0] or str(r.get("status", r.get("error"))) for r in outcome.results]


# ---- the oracle: first match in the list, on bytes, written as naively as can be

Request = tuple[str, bytes, dict[str, list[bytes]], bytes]  # method, raw target, headers, cookie line


def field(condition: Condition, request: Request) -> bytes:
    """What the request has where the condition looks."""
    method, target, headers, cookies = request
    raw, _, args = target.partition(b"?")
    if condition.kind in ("path", "method"):
        return unquote_to_bytes(raw) if condition.kind == "path" else method.encode()
    if condition.kind == "header":
        return b", ".join(headers.get(condition.name, []))
    pairs = args.split(b"&") if condition.kind == "query" else [part.strip(b" \t") for part in cookies.split(b";")]
    start = condition.name.encode() + b"="
    return next((pair.removeprefix(start) for pair in pairs if pair.startswith(start)), b"")


def holds(condition: Condition, request: Request) -> bool:
    """Whether the request meets the condition."""
    got, wanted = field(condition, request), condition.value.encode()
    if condition.match == "exact":
        return got == wanted
    if condition.match == "regex":
        return bool(got) and bool(re.search(REGEXES[condition.value].encode(), got, re.DOTALL))
    return (got + b"/").startswith(wanted + b"/") if condition.kind == "path" else got.startswith(wanted)


def expected(routes: tuple[Route, ...], request: Request) -> str:
    """The address that answers: of the first route whose conditions all hold."""
    first = next((r.bridge for r in routes if all(holds(c, request) for c in r.conditions)), None)
    return f"10.9.0.{first[1:]}" if first else SHADOW


# ---- strategies

TEXTS = st.sampled_from(HOSTILE) | st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)


def named(kind: Kind, *names: str) -> st.SearchStrategy[Condition]:
    """A condition on a field that has a name."""
    match: st.SearchStrategy[Match] = st.sampled_from(["exact", "prefix"])
    found = st.builds(Condition, st.just(kind), st.just("regex"), st.sampled_from(sorted(REGEXES)), st.sampled_from(names))
    return st.builds(Condition, st.just(kind), match, TEXTS, st.sampled_from(names)) | found


CONDITIONS = st.one_of(
    st.builds(path, st.sampled_from(PATHS[1:]), st.just("exact")),
    st.builds(path, st.sampled_from(PATHS), st.just("prefix")),
    st.builds(path, st.sampled_from(sorted(REGEXES)), st.just("regex")),
    st.builds(Condition, st.just("method"), st.just("exact"), st.sampled_from(["GET", "POST", "M-SEARCH"])),
    named("header", "x-user", "x-team"),
    named("query", "q", "Q", "a.b", "x$"),
    named("cookie", "q", "Q", "a.b", "x$"),
)

FEW = [header(text, name) for text in "ab" for name in ("x-user", "x-team", "x-tier")]
"""Conditions of which most requests meet two or three, so that ranks decide."""


@st.composite
def dispatches(draw: st.DrawFn) -> Dispatch:
    """Six HTTP ports; a bridge's number is its rank, and few distinct conditions make signatures share and interleave."""
    listeners = []
    for port in range(8080, 8086):
        pool = st.sampled_from(draw(st.lists(CONDITIONS, min_size=2, max_size=6) | st.just(FEW)))
        chosen = draw(st.lists(st.lists(pool, min_size=1, max_size=2), min_size=8, max_size=12)) + draw(st.sampled_from([[], [[]]]))
        listeners.append(http(port, *(Route(f"b{rank}", tuple(each)) for rank, each in enumerate(chosen, 1))))
    return dispatch(*listeners)


@st.composite
def nearly(draw: st.DrawFn, routes: tuple[Route, ...]) -> Request:
    """A request that meets the conditions of one or two routes, but for a change here and there."""
    method, raw, headers, args, cookies = "GET", b"/", dict[str, list[bytes]](), list[bytes](), list[bytes]()
    for condition in (c for route in draw(st.lists(st.sampled_from(routes), min_size=1, max_size=3)) for c in route.conditions):
        text = draw(st.sampled_from(["alice", "a", 'A"b', "$", "aXb"])) if condition.match == "regex" else condition.value
        changed = text.encode() + draw(st.sampled_from([b"", b"", b"", b"x", b"/x", b"/"]))
        changed = draw(st.sampled_from([changed, changed, changed, changed.swapcase(), b"x" + changed]))
        if condition.kind == "method":
            method = draw(st.sampled_from([condition.value, "PUT"]))
        elif condition.kind == "path":
            end = draw(st.sampled_from([b"", b"", b"%0A", b"%0A0:b1=%09"]))
            raw = quote(b"/" + changed.lstrip(b"/"), safe="/").encode() + end
        elif condition.kind == "header":
            headers[condition.name] = [*headers.get(condition.name, []), changed.strip(b" ")][-draw(st.sampled_from([1, 1, 2])) :]
        elif condition.kind == "query":
            args.append(condition.name.encode() + b"=" + re.sub(rb"[ #]", b"", changed))
        else:
            cookies.append(condition.name.encode() + b"=" + changed + draw(st.sampled_from([b"", b" ", b" \t"])))
    joint = draw(st.sampled_from([b"; ", b";", b" ;\t"]))
    return method, (raw + b"?" + b"&".join(args)).rstrip(b"?"), headers, joint.join(cookies).strip(b" \t")


@st.composite
def tried(draw: st.DrawFn) -> tuple[Dispatch, list[tuple[Listener, Request]]]:
    """A Dispatch and requests to its ports."""
    subject = draw(dispatches())
    return subject, [(each, draw(nearly(each.routes))) for each in subject.listeners for _ in range(8)]


# ---- the text


def tree(subject: Dispatch, folder: Path) -> list[Any]:
    """The directives' names and nesting, as crossplane reads them; the entries of a map only counted."""
    file = folder / "nginx.conf"
    file.write_text(render(subject), encoding="utf-8")
    found = crossplane.parse(str(file), single=True, check_ctx=False, check_args=False)
    assert found["status"] == "ok", found

    def shape(directives: list[Any], *, count: bool = False) -> list[Any]:
        return (
            [len(directives)]
            if count
            else [(d["directive"], shape(d.get("block", []), count=d["directive"] in ("map", "geo"))) for d in directives]
        )

    return shape(found["config"][0]["parsed"])


@pytest.mark.parametrize("kind", ["header", "query", "cookie", "path", "method"])
def test_a_hostile_value_changes_no_directive(kind: Kind, tmp_path: Path) -> None:
    """Whatever a condition says, the tree of directives is that of a harmless one."""
    names = {"query": HOSTILE, "cookie": HOSTILE, "header": ["x-user"]}.get(kind, [""])

    def subject(text: str, name: str) -> Dispatch:
        return dispatch(
            http(8080, Route("b1", (Condition(kind, "exact", text, name),)), Route("b2", (Condition("header", "prefix", text, "x-b"),)))
        )

    plain = tree(subject("x", names[0]), tmp_path)
    for number, text in enumerate(HOSTILE):
        assert tree(subject(text, names[number % len(names)]), tmp_path) == plain, text


@pytest.mark.parametrize(
    "text", ["a\nb", "\r", "\t", "\0", "\x7f", "\ud800", "x" * (MAX_TOKEN + 1), "é" * (MAX_TOKEN // 2 + 1), "$" * (MAX_TOKEN // 12 + 1)]
)
def test_what_nginx_cannot_hold_is_refused(text: str) -> None:
    """Control characters, lone surrogates and tokens above nginx's limit never reach the text."""
    with pytest.raises(Unquotable):
        value(text)
    with pytest.raises(Unquotable):
        render(dispatch(http(8080, Route("b1", (header(text * 12),)))))


@pytest.mark.parametrize("pattern", ["(?<c2_grpc>a)", "(?P<x>a)", "(?'x'a)", "(*UTF)a", "a\n"])
def test_a_regex_cannot_define_a_variable(pattern: str) -> None:
    """A named group would overwrite a variable of ours."""
    with pytest.raises(Unquotable):
        regex(pattern)
    assert regex("[(?<a]\\(?<b>|(?<=c)d") == '"~(?s)[(?<a]\\\\(?<b>|(?<=c)d"'


@pytest.mark.parametrize(
    "broken",
    [
        dispatch(http(8080, Route("b1", (header("a", "x user"),)))),
        Dispatch((Listener(80),), "service.example"),
        Dispatch((Listener(80),), "fe80::1%eth0"),
        Dispatch((Listener(80),), SERVICE, {"web 0; }": (SHADOW,)}),
        *(dispatch(Listener(80, "TCP", (Route(name),))) for name in ("", "Alice", "a:b", "a=b", "a_b", "a\tb", "-a", "a.", "a" * 254)),
    ],
)
def test_names_and_addresses_that_nginx_reads_otherwise_are_refused(broken: Dispatch) -> None:
    """A header name without a variable, an address that is no literal IP, a hostname or a bridge's name that is none."""
    with pytest.raises(Unquotable):
        render(broken)


def test_quoting_by_example() -> None:
    """The three forms, readable."""
    assert token("http://$a") == "http://$a"
    assert token("a b") == '"a b"'
    assert key('~a"\\', "b") == r'"\\~a\"\\\tb"'
    assert value(("a$", "b"), "c") == '"a${c2_dollar}\\tb\\nc"'


@settings(max_examples=4)
@given(st.lists(dispatches(), min_size=5, max_size=5))
def test_nginx_takes_every_configuration(many: list[Dispatch]) -> None:
    """The check of the configuration says nothing but ok."""
    for ok, said in syntaxes([render(each) for each in many]):
        assert (ok, "[warn]" in said) == (True, False), said


def test_nginx_takes_what_has_only_one_kind_of_port() -> None:
    """No port, no route, no stream, no shadow, IPv6 everywhere, a port for TCP and UDP, a key as long as may be."""
    six = Dispatch((http(), Listener(53), Listener(53, "UDP")), "2001:db8::10", {"web-0": ("2001:db8::11", "10.1.0.1")})
    long = dispatch(http(8080, Route("b1", (header("x" * 1900),))))
    shapes = [
        dispatch(),
        dispatch(http()),
        dispatch(Listener(80)),
        Dispatch((Listener(9, "UDP"),), SERVICE),
        dispatch(http(80, Route("b1"))),
        six,
        long,
    ]
    for ok, said in syntaxes([render(each) for each in shapes]):
        assert (ok, "[warn]" in said) == (True, False), said


def test_the_text_does_not_depend_on_the_order_of_what_has_none() -> None:
    """Listeners, destinations and shadows are sets."""
    one = http(8080, Route("b1", (header("a"),)), Route("b2", (header("b"),)))
    turned = Listener(8080, "TCP", one.routes, one.destinations[::-1])
    there = Dispatch((one, Listener(53)), SERVICE, {"a": (SHADOW,), "b": (OTHER_SHADOW,)})
    assert render(there) == render(Dispatch((Listener(53), turned), SERVICE, {"b": (OTHER_SHADOW,), "a": (SHADOW,)}))


def test_bridges_cost_an_entry_not_a_map() -> None:
    """Variables grow with the kinds of routes, upstreams with distinct addresses; neither with bridges."""

    def blocks(number: int) -> list[int]:
        to = {f"b{n}": Destination(f"b{n}", Address("10.9.0.1", 3000)) for n in range(number)}
        text = render(dispatch(http(8080, *(Route(f"b{n}", (header(f"user-{n}"), path(f"/v{n % 10}"))) for n in range(number)), to=to)))
        return [text.count("\n  map "), text.count("\n  upstream ")]

    assert blocks(10) == blocks(1000)


def test_a_changed_destination_changes_one_line() -> None:
    """Rules name bridges, and where a bridge leads is said once."""
    routes = [Route(f"b{n}", (header(f"user-{n}"), path(f"/v{n % 3}"))) for n in range(1, 9)] + [Route("b1", (header("me"),))]
    to = {"b9": Destination("b9", Address("10.9.0.1", 3000))}
    before = dispatch(http(8080, *routes, Route("b9"), to=to))
    after = dispatch(http(8080, *routes, Route("b9"), to={**to, "b1": Destination("b1", Address("10.9.0.2", 3000))}))
    pairs = zip(render(before).splitlines(), render(after).splitlines(), strict=True)
    assert [new.strip() for old, new in pairs if old != new] == ['"\\\\b1" 10.9.0.2:3000;']


# ---- real requests


@settings(max_examples=12)
@given(tried())
def test_the_first_match_in_the_list_wins(case: tuple[Dispatch, list[tuple[Listener, Request]]]) -> None:
    """Real nginx and the oracle agree on every request."""
    subject, tries = case
    asked = []
    for listener, (method, target, headers, cookies) in tries:
        lines = [name.encode() + b": " + text for name, texts in headers.items() for text in texts]
        asked.append(ask(target, *lines, *([b"Cookie: " + cookies] if cookies else []), port=listener.port, method=method))
    for answer, (listener, request) in zip(who(send(subject, *asked)), tries, strict=True):
        assert answer == expected(listener.routes, request), (request, listener.routes)


def test_interleaved_ranks() -> None:
    """Two kinds of routes that take turns in precedence: of two hits the better rank wins, with two digits too."""
    routes = [Route(f"b{n}", (header(f"u{n}", ("x-user", "x-team", "x-tier")[n % 3]),)) for n in range(1, 61)]
    pairs = [(n, m) for n in range(1, 61, 7) for m in range(1, 61, 4) if n % 3 != m % 3]
    asked = [ask("/", *(f"{routes[n - 1].conditions[0].name}: u{n}" for n in pair)) for pair in pairs]
    assert who(send(dispatch(http(8080, *routes)), *asked)) == [f"10.9.0.{min(pair)}" for pair in pairs]


def test_more_kinds_of_routes_than_nginx_nests_variables() -> None:
    """Real nginx gives up after 100 nested variables; the last of 180 kinds is found all the same."""
    routes = [Route(f"b{n}", (header(f"^u{n}$", match="regex"),)) for n in range(1, 181)]
    assert who(send(dispatch(http(8080, *routes)), *(ask("/", f"X-User: u{n}") for n in (1, 90, 180)))) == [
        "10.9.0.1",
        "10.9.0.90",
        "10.9.0.180",
    ]


def test_spellings_of_one_word_are_different_users() -> None:
    """The hash of nginx folds case; ours does not."""
    routes = Route("b1", (header("Alice"),)), Route("b2", (header("alice"),)), Route("b3", (header("Alice"),))
    asked = [ask("/", f"X-User: {name}") for name in ("Alice", "alice", "ALICE", "Alice ", "Alice,alice")]
    assert who(send(dispatch(http(8080, *routes)), *asked)) == ["10.9.0.1", "10.9.0.2", SHADOW, "10.9.0.1", SHADOW]


def test_a_path_prefix_is_by_element_of_the_decoded_path() -> None:
    """`/api` is `/api` and below, however the client spells it, and the application sees the client's spelling."""
    targets = {
        "/api": 1,
        "/api/": 1,
        "/api/x?q": 1,
        "/x/../api/y": 1,
        "/%61pi%2Fx": 1,
        "//api//y": 1,
        "/apiv2": 0,
        "/API/x": 0,
        "/x/api": 0,
        "/api%0A": 0,
    }
    outcome = send(dispatch(http(8080, Route("b1", (path("/api"),)))), *map(ask, targets))
    assert who(outcome) == ["10.9.0.1" if hit else SHADOW for hit in targets.values()]
    assert [r["json"]["path"] for r in outcome.results] == list(targets)


def test_a_global_bridge_takes_the_rest_but_no_probe() -> None:
    """A route without conditions gets what no route before it takes; what kubelet asks stays in the cluster."""
    subject = dispatch(http(8080, Route("b1", (header("a"),)), Route("b2"), Route("b3", (header("c"),))))
    asked = (
        ask("/", "X-User: a"),
        ask("/", "X-User: c"),
        ask("/"),
        ask("/", "User-Agent: kube-probe/1.36"),
        ask("/", "User-Agent: x kube-probe/1"),
    )
    assert who(send(subject, *asked)) == ["10.9.0.1", "10.9.0.2", "10.9.0.2", SHADOW, "10.9.0.2"]


def test_the_first_parameter_and_cookie_of_a_name_counts() -> None:
    """Names have case and are not decoded; an empty first one hides the next; blanks around a cookie are not its value."""
    subject = dispatch(
        http(8080, Route("b1", (Condition("query", "exact", "1", "q"),)), Route("b2", (Condition("cookie", "exact", "1", "c"),)))
    )
    queries = {
        "/?q=1": 1,
        "/?a&q=1&q=2": 1,
        "/?q=2&q=1": 0,
        "/?q=&q=1": 0,
        "/?Q=1": 0,
        "/?%71=1": 0,
        "/?aq=1": 0,
        "/?q": 0,
        "/?q=1#f": 1,
        "/?a;q=1": 0,
    }
    cookies = {"c=1": 1, "a=b; c=1": 1, "a=b;\t c=1 \t;d": 1, "c=; c=1": 0, "c=2; c=1": 0, "C=1": 0, "ac=1": 0, "c=11": 0, "a=c=1": 0}
    outcome = send(subject, *map(ask, queries), *(ask("/", f"Cookie: {line}") for line in cookies))
    assert who(outcome) == [SHADOW if not n else "10.9.0.1" for n in queries.values()] + [
        SHADOW if not n else "10.9.0.2" for n in cookies.values()
    ]


def test_a_repeated_header_is_one_value() -> None:
    """Lines of one name are joined by `, `; `_` is `-`."""
    subject = dispatch(http(8080, Route("b1", (header("a, b"),)), Route("b2", (header("b"),))))
    asked = ask("/", "X-User: a", "x_user: b"), ask("/", "X-User: b", "X-User: a"), ask("/", "X_USER: b")
    assert who(send(subject, *asked)) == ["10.9.0.1", SHADOW, "10.9.0.2"]


def test_nothing_is_added_or_changed_on_the_way() -> None:
    """The application sees the client's request line and headers, the client the application's answer."""
    sent = ["X-Forwarded-For: 1.2.3.4", "X.Odd: 1", "x_odd: 2", "Accept: */*", "Referer: http://a/%2e%2e/"]
    result = send(dispatch(http(8080, Route("b1"))), ask("/a/%2e/..//b%20c?x=%zz&y", *sent)).results[0]
    assert result["json"]["path"] == "/a/%2e/..//b%20c?x=%zz&y"
    assert result["json"]["headers"] == [["Host", "shop.example"], *(line.split(": ") for line in sent)]
    for line in (["Server", "stub"], ["X-Accel-Redirect", "/x"], ["Location", "http://10.9.0.1:3000/"]):
        assert line in result["headers"]


def h2(*headers: tuple[str, str], body: bytes = b"", method: str = "GET") -> dict[str, Any]:
    """A request over HTTP/2."""
    pseudo = [(":method", method), (":path", "/"), (":scheme", "http"), (":authority", "shop.example")]
    return {"port": 8080, "kind": "h2", "headers": [*pseudo, *headers], "send": body}


def test_http2_without_tls() -> None:
    """h2c with prior knowledge on the same port: gRPC stays HTTP/2 with its trailers, the rest becomes HTTP/1.1."""
    subject = dispatch(http(8080, Route("b1", (header("a"),)), Route("b2", (header("b"),))))
    grpc = ("content-type", "application/grpc+proto"), ("te", "trailers")
    outcome = send(subject, h2(("x-user", "a")), h2(("x-user", "b"), *grpc, body=b"\0" * 5, method="POST"), h2(), ip_10_9_0_2="h2")
    assert who(outcome) == ["10.9.0.1", "10.9.0.2", SHADOW]
    assert ["grpc-status", "0"] in outcome.results[1]["headers"]
    assert [":authority", "shop.example"] in outcome.results[1]["json"]["headers"][:4]
    assert ["Host", "shop.example"] in outcome.results[0]["json"]["headers"]


def test_ports_without_routes_pass_through() -> None:
    """TCP whose server speaks first and client closes first, and UDP on the same port; with the backup when the shadow is down."""
    subject = dispatch(Listener(53), Listener(53, "UDP"), Listener(9000))
    behind = [(SHADOW, 53, "tcp"), (SHADOW, 53, "udp"), (SHADOW, 9000, "down"), (SERVICE, 9000, "tcp")]
    asked = [{"port": port, "kind": kind, "send": b"abc"} for port, kind in ((53, "tcp"), (53, "udp"), (9000, "tcp"))]
    answers = [r["raw"] for r in run(render(subject), "web-0", behind, asked).results]
    assert answers == [b"hello from 10.1.0.1:53\nabcbye", b"10.1.0.1:53 abc", b"hello from 10.0.0.1:9000\nabcbye"]


@pytest.mark.parametrize(
    ("hostname", "down", "answer"), [("web-0", "", SHADOW), ("Web-1", "", OTHER_SHADOW), ("web-0", SHADOW, SERVICE), ("web-9", "", SERVICE)]
)
def test_unmatched_requests_go_to_the_own_shadow(hostname: str, down: str, answer: str) -> None:
    """Chosen by hostname; Service Y' where it is down or unknown. A POST body survives the change."""
    down_stub = {"ip_" + down.replace(".", "_"): "down"} if down else {}
    outcome = send(
        dispatch(http(8080, Route("b1", (header("a"),)))),
        ask("/"),
        ask("/", method="POST", body=b"x" * 100_000),
        hostname=hostname,
        **down_stub,
    )
    assert who(outcome) == [answer] * 2
    assert outcome.results[1]["json"]["len"] == 100_000


MIRROR = {"b1": Destination("b1", Address("10.9.0.1", 3000), mode="mirror")}


def test_a_mirror_gets_a_copy_and_the_cluster_answers() -> None:
    """The copy has the bytes of the request; what a mirror cannot copy without a file, the cluster answers alone."""
    subject = dispatch(http(8080, Route("b1", (header("a"),)), to=MIRROR))
    asked = [ask("/x%2Fy?z", "X-User: a", method="POST", body=b"b" * size) for size in (5, 300_000, 1_000_000)]
    outcome = send(
        subject,
        *asked,
        ask("/", "X-User: a"),
        ask("/none"),
        ask("/copy"),
        ask("/", "X-User: a", "Upgrade: websocket", "Connection: upgrade"),
    )
    assert who(outcome)[:6] == [SHADOW] * 6
    copies = [each for each in outcome.seen if each["who"] == "10.9.0.1:3000"]
    assert sorted((c["path"], c["len"], c["sha256"]) for c in copies) == sorted(
        (path, size, hashlib.sha256(b"b" * size).hexdigest()) for path, size in (("/x%2Fy?z", 5), ("/x%2Fy?z", 300_000), ("/", 0))
    )
    assert "temporary file" not in outcome.log


@pytest.mark.parametrize("state", ["down", "hang"])
def test_a_broken_mirror_is_not_noticed(state: str) -> None:
    """The client has its whole answer while the copy is refused or hangs."""
    subject = dispatch(http(8080, Route("b1"), to=MIRROR))
    outcome = send(subject, *(ask("/", method="POST", body=b"x") for _ in range(3)), ip_10_9_0_1=state)
    assert who(outcome) == [SHADOW] * 3
    assert all(["Connection", "close"] in r["headers"] for r in outcome.results)


def test_ipv6() -> None:
    """Clients and upstreams of both families, once the cluster has IPv6."""
    to = {"b1": Destination("b1", Address("2001:db8:1::7", 3000))}
    subject = Dispatch((http(8080, Route("b1", (header("a"),)), to=to),), "2001:db8:1::1", {"web-0": ("2001:db8:1::2",)})
    outcome = send(subject, ask("/", "X-User: a", ipv6=True), ask("/", ipv6=True), ask("/"))
    assert who(outcome) == ["2001:db8:1::7", "2001:db8:1::2", "2001:db8:1::2"]


# ---- the same on a laptop


@contextlib.contextmanager
def listening(answer: bytes) -> Iterator[int]:
    """A port of 127.0.0.1 on which everyone gets `answer`."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            with contextlib.suppress(OSError):
                while True:
                    with server.accept()[0] as client:
                        client.recv(65536)
                        client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(answer), answer))

        thread = threading.Thread(target=serve)
        thread.start()
        yield int(server.getsockname()[1])
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def test_the_same_configuration_runs_on_loopback(tmp_path: Path) -> None:
    """Place moves addresses and ports, and nothing else; nginx ends with the block."""
    subject = dispatch(http(80, Route("b1", (header("a"),))))
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = int(probe.getsockname()[1])
    with listening(b"cluster") as cluster, listening(b"bridge") as user:
        place = Place(lambda _: f"127.0.0.1:{port}", lambda a: Address("127.0.0.1", user if a.port == 3000 else cluster))
        moved = [line for line in render(subject, place).splitlines() if line not in render(subject).splitlines()]
        assert all(line.split()[0] in ("listen", "server") for line in moved)
        with running(render(subject, place), tmp_path):
            answers = []
            for line in (b"X-User: a\r\n", b""):
                with socket.create_connection(("127.0.0.1", port)) as client:
                    client.sendall(b"GET / HTTP/1.0\r\n" + line + b"\r\n")
                    answers.append(b"".join(iter(lambda: client.recv(4096), b"")).rpartition(b"\n")[2])
    assert answers == [b"bridge", b"cluster"]
    assert not (tmp_path / "nginx.pid").exists()
