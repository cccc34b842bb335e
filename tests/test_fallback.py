"""What comes of a request when a user's process is down or dies over it, and who has seen it: counted, with real nginx."""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any, NamedTuple

import pytest

from carrier2.dispatch import Address, Condition, Destination, Dispatch, Listener, Route
from carrier2.nginx import render
from carrier2.relocate import addresses
from tests.fallback_lab import ask

SERVICE, SHADOW = "10.0.0.1:8080", "10.1.0.1:8080"
PROCESS = {"refused": "10.9.0.1:3000", "gone": "10.9.0.2:3000", "close": "10.9.0.3:3000", "502": "10.9.0.3:3000", "503": "10.9.0.3:3000"}
"""Address by what happens there: nobody listens, nobody is there, the request is read and nobody answers, an own error."""

SMALL, PREREAD, BIG = b"hello", bytes(range(256)) * 120, bytes(range(256)) * 1200
"""PREREAD arrives together with its head and fits in the buffer nginx reads both into."""


class Case(NamedTuple):
    """A request: `once` says that nginx cannot know how much of it would be left, so that it never falls back."""

    method: str
    body: bytes = b""
    chunked: bool = False
    http2: bool = False
    headers: tuple[str, ...] = ()
    once: bool = False


CASES = {
    "GET": Case("GET"),
    "HEAD": Case("HEAD"),
    "DELETE": Case("DELETE"),
    "PROPFIND": Case("PROPFIND"),
    "websocket": Case("GET", headers=("Upgrade: websocket",)),
    "PUT small": Case("PUT", SMALL),
    "PUT preread": Case("PUT", PREREAD, headers=("X-Long: " + 1500 * "x",)),
    "PUT big": Case("PUT", BIG),
    "PUT chunked": Case("PUT", SMALL, chunked=True, once=True),
    "PUT big chunked": Case("PUT", BIG, chunked=True, once=True),
    "POST empty": Case("POST"),
    "POST small": Case("POST", SMALL),
    "POST big": Case("POST", BIG),
    "POST chunked": Case("POST", SMALL, chunked=True),
    "POST big chunked": Case("POST", BIG, chunked=True),
    "HTTP/2 GET": Case("GET", http2=True),
    "HTTP/2 PUT": Case("PUT", PREREAD[:16000], http2=True, headers=("content-length: 16000",)),
    "HTTP/2 PUT of no length": Case("PUT", SMALL, http2=True, once=True),
    "HTTP/2 POST": Case("POST", SMALL, http2=True),
    "gRPC": Case("POST", b"\0\0\0\0\0", http2=True, headers=("content-type: application/grpc", "te: trailers")),
}


def request(state: str, fallback: str, name: str) -> dict[str, Any]:
    """The case's request, for the bridge of that state and fallback."""
    case = CASES[name]
    extra = [f"X-User: {state}-{fallback}", f"X-Id: {state} {fallback} {name}", *case.headers]
    if state not in ("refused", "gone"):
        extra.append(f"X-Stub: {state}")
    if case.http2:
        pseudo = [(":method", case.method), (":path", "/"), (":scheme", "http"), (":authority", "shop.example")]
        pairs = [(key.lower(), text) for key, text in (line.split(": ") for line in extra)]
        return {"port": 8080, "kind": "h2", "headers": [*pseudo, *pairs], "send": case.body}
    lines = [f"{case.method} / HTTP/1.1", "Host: shop.example", *extra]
    lines.append("Connection: Upgrade" if "websocket" in name else "Connection: close")
    body = case.body
    if case.chunked:
        lines.append("Transfer-Encoding: chunked")
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    elif body or name == "POST empty":
        lines.append(f"Content-Length: {len(body)}")
    return {"port": 8080, "send": "\r\n".join(lines).encode() + b"\r\n\r\n" + body}


@cache
def answers() -> dict[tuple[str, str, str], tuple[dict[str, Any], list[dict[str, Any]]]]:
    """By state, fallback and case: the answer, and what each address saw of the request."""
    names = [(state, fallback) for state in PROCESS for fallback in ("cluster", "error")]
    routes = tuple(Route(f"{s}-{f}", (Condition("header", "exact", f"{s}-{f}", "x-user"),)) for s, f in names)
    to = []
    for state, fallback in names:
        host, _, port = PROCESS[state].partition(":")
        to.append(Destination(f"{state}-{fallback}", Address(host, int(port)), fallback="cluster" if fallback == "cluster" else "error"))
    subject = Dispatch((Listener(8080, "TCP", routes, tuple(to)),), "10.0.0.1", {"web-0": ("10.1.0.1",)})
    states = {"10.9.0.1": "down", "10.9.0.2": "gone"}
    stubs = [(a.host, a.port, states.get(a.host, "up")) for a in addresses(subject)]
    keys = [(state, fallback, name) for state, fallback in names for name in CASES]
    outcome, output = ask(render(subject), stubs, [request(*key) for key in keys])
    assert output == []
    assert "temporary file" not in outcome.log
    seen: dict[str, list[dict[str, Any]]] = {" ".join(key): [] for key in keys}
    for each in outcome.seen:
        seen[{name.lower(): text for name, text in each["headers"]}["x-id"]].append(each)
    return {key: (result, seen[" ".join(key)]) for key, result in zip(keys, outcome.results, strict=True)}


def expected(state: str, fallback: str, name: str) -> tuple[int, list[str]]:
    """The status of the answer, and the addresses that saw the request."""
    if state in ("502", "503"):
        return int(state), [PROCESS[state]]
    if state == "close":
        return 502, [PROCESS[state]]
    if fallback == "cluster" and not CASES[name].once:
        return 101 if name == "websocket" else 200, [SERVICE]
    return {"refused": 502, "gone": 504}[state], []


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("fallback", ["cluster", "error"])
@pytest.mark.parametrize("state", PROCESS)
def test_who_sees_a_request_and_who_answers(state: str, fallback: str, name: str) -> None:
    """The cluster answers what no process has seen; what one has seen, nobody else sees; its own errors are its answer."""
    result, seen = answers()[state, fallback, name]
    status = 101 if name == "websocket" and state in ("502", "503") else expected(state, fallback, name)[0]
    assert (result.get("status"), [each["who"] for each in seen]) == (status, expected(state, fallback, name)[1]), result
    case = CASES[name]
    for each in seen:
        assert each["len"] == len(case.body)
        assert each.get("sha256", hashlib.sha256(case.body).hexdigest()) == hashlib.sha256(case.body).hexdigest()
        assert each.get("method", case.method) == case.method
