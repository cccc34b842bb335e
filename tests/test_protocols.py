"""What applications speak goes through a carrier unharmed: real clients and servers on both sides of real nginx, on IPv4 and IPv6."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import pytest

from carrier2.dispatch import Address, Condition, Destination, Dispatch, Listener, Route
from tests.protocol_hosts import PROCESS, SERVICE, SHADOW
from tests.protocol_http import BODY, EVENTS
from tests.protocol_lab import talk

ALICE = (Condition("header", "exact", "alice", "x-user"),)
BOTH = [("alice", "process"), ("nobody", "shadow")]


def routed(port: int, **more: Any) -> Listener:
    """A port on which alice's requests go to her process, at the same port."""
    return Listener(port, "TCP", (Route("alices-bridge", ALICE),), (Destination("alices-bridge", Address(PROCESS, port)),), **more)


def told(scenario: str, *listeners: Listener) -> Any:
    """What the client saw, which must not depend on the family."""
    answer = talk(scenario, Dispatch(listeners, SERVICE, {"web-0": (SHADOW,)}, ipv6=True))
    assert answer["IPv4"] == answer["IPv6"]
    return answer["IPv4"]


def test_http2_without_tls() -> None:
    """A client with prior knowledge stays on HTTP/2, body and answer intact."""
    seen = told("h2c", routed(8080))
    for user, who in BOTH:
        assert seen[user] == [["HTTP/2", who, hashlib.sha256(body).hexdigest()] for body in (BODY, b"")]


def test_grpc() -> None:
    """Every kind of call; 8 MiB both ways; an error in trailers alone; a deadline and a cancellation that reach the server."""
    seen = told("grpc", routed(8081))
    for user, who in BOTH:
        assert seen[user] == {
            "unary": f"{who}!",
            "client stream": f"{who}abc",
            "server stream": [f"{who}0", f"{who}1", f"{who}2"],
            "bidirectional": [f"{who}1", f"{who}2", f"{who}3"],
            "big": [who, True],
            "error": ["FAILED_PRECONDITION", "sold out: é%", f"{who} has none", "00ff"],
            "deadline": ["DEADLINE_EXCEEDED", f"{who} deadline limited"],
            "cancelled": f"{who} cancel unlimited",
        }


def test_websockets() -> None:
    """Text, bytes, a MiB of each, a ping; the close codes of both sides arrive at the other."""
    seen = told("websockets", routed(8082))
    for user, who in BOTH:
        assert seen[user] == [who, True, True, True, True, True, [4001, "as you wish"], [4001, 4002]]


def test_server_sent_events() -> None:
    """An event is with the client before the server sends the next: nothing waits in a buffer."""
    seen = told("events", routed(8080))
    for version in ("HTTP/1.1", "HTTP/2"):
        for user, who in BOTH:
            assert seen[f"{version} {user}"] == [f"data: {who} {number}" for number in range(EVENTS)]


@pytest.mark.parametrize(("sni", "seen_there"), [("", "shop.example"), ("other.example", "other.example")])
def test_tls(sni: str, seen_there: str) -> None:
    """The client sees the carrier's certificate and has its choice of HTTP; either server is asked by the name that is wanted."""
    seen = told("tls", routed(8443, tls=True, sni=sni))
    for user, who in BOTH:
        assert [seen[f"HTTP/1.1 {user}"], seen[f"HTTP/2 {user}"]] == [[who, seen_there]] * 2
    assert (seen["h2 or http/1.1"], seen["http/1.1"]) == ("h2", "http/1.1")


def test_grpc_over_tls() -> None:
    """TLS on both sides of the carrier."""
    seen = told("grpc_tls", routed(8444, tls=True))
    for user, who in BOTH:
        error = ["FAILED_PRECONDITION", "sold out: é%", f"{who} has none", "00ff"]
        assert seen[user] == [f"{who}!", [f"{who}1", f"{who}2", f"{who}3"], error]


BESIDE = routed(8080), Listener(5432), Listener(5353, "UDP"), Listener(9443)
"""Ports without rules, beside one with."""


def test_a_server_that_speaks_first() -> None:
    """No byte of the client is waited for, and the client may finish before the server does."""
    assert told("tcp", *BESIDE) == ["shadow greets\n", "heard one\n", "heard two\n", "the end\n"]


def test_udp() -> None:
    """Each client has one session, all through, and nobody else's answers."""
    heard = {name: [[name, str(number)] for number in range(4)] for name in ("one", "two")}
    assert told("udp", *BESIDE) == {"who": ["shadow"], "heard": heard, "sessions": [1, 1, 2]}


def test_tls_without_rules_is_the_applications_own() -> None:
    """The carrier has no part in it."""
    assert told("passed", *BESIDE) == ["shadow greets\n", True]


def test_mirror() -> None:
    """The cluster answers, the process gets whole copies, and a copy that hangs delays none of the next requests."""
    listener = routed(8080)
    copied = replace(listener, destinations=tuple(replace(each, mode="mirror") for each in listener.destinations))
    assert told("mirror", copied) == {"answers": ["shadow"] * 4, "copies are whole": True, "copy still hangs": True}
