"""The carrier's configuration: every text nginx is given means what the Dispatch says, with real requests through real nginx."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from itertools import product
from urllib.parse import quote, unquote_to_bytes

import crossplane
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from carrier2.contract import MAX_TOKEN
from carrier2.directive import Unquotable, key, regex, token, value
from carrier2.dispatch import Address, Condition, Destination, Dispatch, Listener, Route
from carrier2.nginx import render
from carrier2.relocate import Place, addresses
from tests.nginx_lab import Outcome, run, syntax, syntaxes

SERVICE, SHADOW, OTHER_SHADOW = "10.0.0.1", "10.1.0.1", "10.1.0.2"
HOSTILE = [
    *("alice", "Alice", "ALICE", "bob", "a", "ab", "abc", "1", "0:bridge_10.9.0.1_3000", "a=b", "=", "~abc", "~*abc", "~(", "default", "include"),
    *("hostnames", "volatile", "\\abc", "\\\\abc", "\\t", '\\"', "a\\", "a$b", "$host", "${host}", "$1", "$", 'a"b', "a'b", '"', "a;b", "; }", "a{b"),
    *("}", "a b", "#b", "é", "É", "日本", "*.example.com", "www.example.*", "(", ")", "[", "|", "?", "+", "^a", "a,b", "%41", "x} server { listen 1; }"),
]
REGEXES = ["a", "^a", "b$", "^(?:alice|bob)$", "[$]", "\\$", "a.b", "^.$", "\\\\", "é", '"', "{", "A|B", "^[^a]", "#"]
PATHS = ["", "/api", "/api/v1", "/API", "/a$b", "/é", "/a b", '/"', "/~x", "/default", "/a;b", "/a{b", "/a\\"]


def http(port: int = 8080, *routes: Route, to: dict[str, Destination] | None = None, tls: bool = False, sni: str = "") -> Listener:
    """An HTTP port; bridge `bN` is 10.9.0.N:3000 unless `to` says otherwise."""
    names = {route.bridge for route in routes}
    made = {name: Destination(name, Address(f"10.9.0.{name[1:]}", 3000)) for name in names}
    return Listener(port, "TCP", routes, tuple((made | (to or {}))[name] for name in sorted(names)), tls, sni)


def dispatch(*listeners: Listener) -> Dispatch:
    """A target with two originals, web-0 and web-1."""
    return Dispatch(listeners, SERVICE, {"web-0": (SHADOW,), "web-1": (OTHER_SHADOW,)})


def header(text: str, name: str = "x-user", match: str = "exact") -> Condition:
    return Condition("header", match, text, name)  # type: ignore[arg-type]


def path(text: str, match: str = "prefix") -> Condition:
    return Condition("path", match, text)  # type: ignore[arg-type]


def ask(target: str | bytes = "/", *lines: str | bytes, port: int = 8080, method: str = "GET", body: bytes = b"", **more: object) -> dict[str, object]:
    """A request of exactly these bytes."""
    parts = [f"{method} ".encode(), _bytes(target), b" HTTP/1.1\r\nHost: shop.example\r\n", *(_bytes(line) + b"\r\n" for line in lines)]
    return {"port": port, "send": b"".join(parts) + b"\r\n" + body, **more}


def _bytes(text: str | bytes) -> bytes:
    return text.encode() if isinstance(text, str) else text


def stubs(subject: Dispatch, **protocols: str) -> list[tuple[str, int, str]]:
    """A stub behind every address; `ip_10_9_0_1="down"` changes one."""
    return [(a.host, a.port, protocols.get("ip_" + re.sub("[.:]", "_", a.host), "http")) for a in addresses(subject)]


def send(subject: Dispatch, *requests: dict[str, object], hostname: str = "web-0", **protocols: str) -> Outcome:
    return run(render(subject), hostname, stubs(subject, **protocols), requests)


def who(outcome: Outcome) -> list[str]:
    """Which address answered each request, or the status of nginx's own answer."""
    return [r["json"].get("who", "").rpartition(":")[0] or str(r.get("status", r.get("error"))) for r in outcome.results]


# ---- the oracle: first match in the list, on bytes, written as naively as can be


Request = tuple[str, bytes, dict[str, list[bytes]], bytes]  # method, raw target, headers, cookie line


def field(condition: Condition, request: Request) -> bytes:
    method, target, headers, cookies = request
    raw, _, args = target.partition(b"?")
    name = condition.name.encode()
    if condition.kind == "path":
        return unquote_to_bytes(raw)
    if condition.kind == "method":
        return method.encode()
    if condition.kind == "header":
        return b", ".join(headers.get(condition.name, []))
    pairs = args.split(b"&") if condition.kind == "query" else [part.lstrip(b" \t") for part in cookies.split(b";")]
    found = [pair[len(name) + 1 :] for pair in pairs if pair.startswith(name + b"=")][:1]
    return b"".join(found).rstrip(b" \t") if condition.kind == "cookie" else b"".join(found)


def holds(condition: Condition, request: Request) -> bool:
    got, wanted = field(condition, request), condition.value.encode()
    if condition.match == "exact":
        return got == wanted
    if condition.match == "regex":
        return bool(got) and re.search(wanted.removesuffix(b"$") + b"\\Z" * wanted.endswith(b"$") if wanted != b"\\$" else wanted, got, re.S) is not None
    return f"{condition.kind}" == "path" and (wanted == b"" or got == wanted or got.startswith(wanted + b"/")) or condition.kind != "path" and got.startswith(wanted)


def expected(routes: tuple[Route, ...], request: Request) -> str:
    for route in routes:
        if all(holds(condition, request) for condition in route.conditions):
            return f"10.9.0.{route.bridge[1:]}"
    return SHADOW


def wire(request: Request, port: int) -> dict[str, object]:
    method, target, headers, cookies = request
    lines = [name.encode() + b": " + text for name, texts in headers.items() for text in texts]
    return ask(target, *lines, *([b"Cookie: " + cookies] if cookies else []), port=port, method=method)


# ---- strategies


def conditions() -> st.SearchStrategy[Condition]:
    texts = st.sampled_from(HOSTILE) | st.text(st.characters(min_codepoint=32, exclude_categories=["Cs", "Cc"]), min_size=1, max_size=8)
    return st.one_of(
        st.builds(path, st.sampled_from(PATHS[1:]), st.just("exact")),
        st.builds(path, st.sampled_from(PATHS), st.just("prefix")),
        st.builds(path, st.sampled_from(REGEXES), st.just("regex")),
        st.builds(Condition, st.just("method"), st.just("exact"), st.sampled_from(["GET", "POST", "M-SEARCH"])),
        st.builds(
            Condition,
            st.sampled_from(["header"]),
            st.sampled_from(["exact", "prefix"]),
            texts,
            st.sampled_from(["x-user", "x-team"]),
        ),
        st.builds(Condition, st.sampled_from(["query", "cookie"]), st.sampled_from(["exact", "prefix"]), texts, st.sampled_from(["q", "Q", "a.b", "x$"])),
        st.builds(Condition, st.just("header"), st.just("regex"), st.sampled_from(REGEXES), st.sampled_from(["x-user", "x-team"])),
        st.builds(Condition, st.sampled_from(["query", "cookie"]), st.just("regex"), st.sampled_from(REGEXES), st.sampled_from(["q", "x$"])),
    )


@st.composite
def ports(draw: st.DrawFn, number: int = 6) -> Dispatch:
    """A Dispatch of some HTTP ports; a route's rank is its bridge's number."""
    listeners = []
    for port in range(8080, 8080 + number):
        pool = draw(st.lists(conditions(), min_size=2, max_size=6))
        chosen = draw(st.lists(st.lists(st.sampled_from(pool), max_size=3).map(tuple), min_size=1, max_size=12))
        listeners.append(http(port, *(Route(f"b{rank}", each) for rank, each in enumerate(chosen, 1))))
    return dispatch(*listeners)


@st.composite
def requests_for(draw: st.DrawFn, listener: Listener) -> Request:
    """A request that meets the conditions of one route, nearly."""
    route = draw(st.sampled_from(listener.routes))
    method, raw, headers, args, cookies = draw(st.sampled_from(["GET", "POST"])), b"/", {}, [], []
    for condition in route.conditions:
        text = draw(st.sampled_from(["alice", "a", "A\"b", "$", "aXb"])) if condition.match == "regex" else condition.value
        changed = text.encode() + draw(st.sampled_from([b"", b"", b"", b"", b"x", b"/x", b"/"]))
        changed = draw(st.sampled_from([changed, changed, changed, changed.swapcase(), changed.lower()]))
        if condition.kind == "method":
            method = condition.value
        elif condition.kind == "path":
            raw = quote(b"/" + changed.lstrip(b"/"), safe="/").encode() + draw(st.sampled_from([b"", b"%0A", b"%0A0:bridge_10.9.0.1_3000=%09"]))
        elif condition.kind == "header":
            headers.setdefault(condition.name, []).append(changed.strip())
        elif condition.kind == "query":
            args.append(condition.name.encode() + b"=" + re.sub(rb"[ #\x7f]", b"", changed))
        else:
            cookies.append(condition.name.encode() + b"=" + changed + draw(st.sampled_from([b"", b" ", b" \t"])))
    target = raw + (b"?" + b"&".join(draw(st.permutations(args))) if args else b"")
    return method, target, headers, draw(st.sampled_from([b"; ", b";", b" ;\t"])).join(cookies).strip(b" ")


# ---- the text


def test_a_hostile_value_changes_no_directive() -> None:
    """Whatever a condition says, the tree of directives is that of a harmless one (read by crossplane)."""

    def shape(tree: list[dict[str, object]]) -> list[object]:
        return [(d["directive"] if "block" in d or depth else "", shape(d["block"])) if "block" in d else 1 for d in tree for depth in (0,)]  # type: ignore[arg-type]

    def parsed(subject: Dispatch, folder: pytest.TempPathFactory | None = None) -> list[object]:
        import tempfile

        with tempfile.NamedTemporaryFile("w", suffix=".conf", encoding="utf-8") as file:
            file.write(render(subject))
            file.flush()
            tree = crossplane.parse(file.name, single=True, check_ctx=False, check_args=False)
        assert tree["status"] == "ok"
        return shape(tree["config"][0]["parsed"])

    for text in HOSTILE:
        for kind, match in product(("header", "query", "cookie"), ("exact", "prefix")):
            for name in ("x", text):
                if kind == "header" and name != "x":
                    continue
                routes = [Route("b1", (Condition(kind, match, t, n),)) for t, n in ((text, name),)]  # type: ignore[arg-type]
                plain = [Route("b1", (Condition(kind, match, "x", "x"),))]  # type: ignore[arg-type]
                assert parsed(dispatch(http(8080, *routes))) == parsed(dispatch(http(8080, *plain))), (text, kind, match, name)
