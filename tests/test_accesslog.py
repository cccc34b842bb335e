"""The access log: a line of JSON for each request of a bridge that asks for it, and nothing else, as real nginx writes it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from carrier2.dispatch import Address, Condition, Destination, Dispatch, Listener, Route
from carrier2.nginx import render
from carrier2.relocate import addresses
from generator.asked.bridge import decode_bridge
from generator.asked.intent import Claim
from generator.cluster.ports import Port
from generator.desired import routing
from generator.desired.routing import Connection
from tests.fallback_lab import ask

SERVICE, SHADOW = "10.0.0.1:8080", "10.1.0.1:8080"
USERS = {
    "alice": Destination("alice", Address("10.9.0.1", 3000), log=True),
    "bob": Destination("bob", Address("10.9.0.2", 3000), log=True),
    "john": Destination("john", Address("10.9.0.1", 3000), mode="mirror", log=True),
    "anna": Destination("anna", Address("10.9.0.1", 3000)),
}
"""alice: a process that is up. bob: one that is down. john: gets copies. anna: asks for no log."""


def dispatch(*users: str) -> Dispatch:
    """A port with these bridges, each for its user's header."""
    routes = tuple(Route(user, (Condition("header", "exact", user, "x-user"),)) for user in users)
    return Dispatch((Listener(8080, "TCP", routes, tuple(USERS[user] for user in users)),), "10.0.0.1", {"web-0": ("10.1.0.1",)})


def http(user: str, path: bytes = b"/", *lines: str, method: str = "GET", body: bytes = b"") -> dict[str, Any]:
    """A request of a user, with the connection closed after its answer."""
    head = [f"X-User: {user}", "Host: shop.example", "Connection: close", f"Content-Length: {len(body)}", *lines]
    return {"port": 8080, "send": method.encode() + b" " + path + b" HTTP/1.1\r\n" + "\r\n".join(head).encode() + b"\r\n\r\n" + body}


def written(*requests: dict[str, Any]) -> list[dict[str, Any]]:
    """The lines that come of the requests, without what differs from run to run; in order of path."""
    subject = dispatch(*USERS)
    stubs = [(a.host, a.port, "down" if a.host == "10.9.0.2" else "up") for a in addresses(subject)]
    _, lines = ask(render(subject), stubs, requests)
    logged = [json.loads(line) for line in lines]
    for each in logged:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}[+-]\d\d:\d\d", each.pop("time"))
        assert 0 <= each.pop("seconds") < 1000
        assert each.pop("bytes") > 0
    return sorted(logged, key=lambda each: str(each["path"]))


def line(bridge: str, path: str, upstream: str, statuses: str = "200", **more: str) -> dict[str, Any]:
    """What is expected of one."""
    usual = {"mode": "intercept", "method": "GET", "status": "200"}
    return {**usual, "bridge": bridge, "path": path, "upstream": upstream, "upstream_status": statuses, **more}


def test_each_request_of_a_bridge_is_one_line() -> None:
    """A plain one, two that fell back, one that was copied, an own error and gRPC: who took it, who answered, and how."""
    grpc = {":method": "POST", ":path": "/6.Shop/Buy?no", ":scheme": "http", ":authority": "a", "x-user": "alice"}
    call = {"port": 8080, "kind": "h2", "headers": [*grpc.items(), ("content-type", "application/grpc")], "send": b"\0" * 5}
    assert written(
        http("alice", b"/1?secret=1"),
        http("bob", b"/2"),
        http("bob", b"/3", method="POST", body=b"x"),
        http("john", b"/4"),
        http("alice", b"/5", "X-Stub: 503"),
        call,
    ) == [
        line("alice", "/1", "10.9.0.1:3000"),
        line("bob", "/2", f"10.9.0.2:3000 : {SERVICE}", "502 : 200"),
        line("bob", "/3", f"10.9.0.2:3000, {SERVICE}", "502, 200", method="POST"),
        line("john", "/4", SHADOW, mode="mirror"),
        line("alice", "/5", "10.9.0.1:3000", "503", status="503"),
        line("alice", "/6.Shop/Buy", "10.9.0.1:3000", method="POST"),
    ]


def test_other_requests_are_not_written() -> None:
    """Not of a bridge that does not ask for it, not the cluster's own, not a probe."""
    probe = http("alice", b"/", "User-Agent: kube-probe/1.36")
    assert written(http("anna"), http("nobody"), probe, http("alice", b"/last")) == [line("alice", "/last", "10.9.0.1:3000")]


def test_a_line_is_json_whatever_the_path_holds() -> None:
    """Quotes, control characters, every kind of UTF-8 and what is none: then the path is shown as sent, if that is readable."""
    shown = {
        b'/1"\\{}$host': '/1"\\{}$host',
        b"/2%22%5C%0A%09%01%7F?q": '/2"\\\n\t\x01\x7f',
        "/3é日😀".encode(): "/3é日😀",
        b"/4%C3%A9%F4%8F%BF%BF%ED%9F%BF": "/4é\U0010ffff\ud7ff",
        b"/5%FF/%C3%A9?q=1": "/5%FF/%C3%A9",
        b"/6%ED%A0%80": "/6%ED%A0%80",
        b"/7%C0%AF": "/7%C0%AF",
        b"/8%F4%90%80%80": "/8%F4%90%80%80",
        b"/9" + b"%C3%A9" * 5000: "/9" + "é" * 5000,
        b"/\xff": "",
    }
    logged = written(*(http("alice", path) for path in shown))
    assert [each["path"] for each in logged] == sorted(shown.values())


@pytest.mark.parametrize(("user", "wanted"), [("anna", 0), ("alice", 1)])
def test_a_port_without_a_log_has_no_word_of_it(user: str, wanted: int) -> None:
    """Only a bridge that asks for a log makes a format, and only one that a route leads to."""
    text = render(dispatch(user))
    assert (text.count("log_format"), text.count("access_log stdout"), text.count("$msec")) == (wanted,) * 3
    assert text.count("access_log off;") == 1


@pytest.mark.parametrize(("option", "wanted"), [({}, False), ({"accessLog": False}, False), ({"accessLog": True}, True)])
def test_a_bridge_asks_for_it(option: dict[str, bool], wanted: bool) -> None:
    """`providerParameter.accessLog` of the object is what the carrier is told."""
    obj = {
        "apiVersion": "gefyra.dev/v1",
        "kind": "gefyrabridge",
        "metadata": {"name": "alice"},
        "target": "deployment/web",
        "targetNamespace": "shop",
        "portMappings": ["3000:8080"],
        "providerParameter": option,
    }
    bridge, problems = decode_bridge(obj)
    assert bridge is not None, problems
    claim = Claim("app", None, (bridge,), (Port(8080, "TCP", ""),))
    reached = {("alice", 8080): Connection(Address("10.9.0.1", 3000), {}, 3000)}
    model = routing.dispatch(claim, reached, "10.0.0.1", {})
    assert [to.log for to in model.listeners[0].destinations] == [wanted]


def test_the_option_is_true_or_false() -> None:
    """Anything else is refused, at its place."""
    obj = {"apiVersion": "gefyra.dev/v1", "kind": "gefyrabridge", "metadata": {"name": "alice"}, "target": "deployment/web"}
    bridge, problems = decode_bridge({**obj, "providerParameter": {"accessLog": "yes"}})
    assert bridge is None
    assert [problem.code for problem in problems if "accessLog" in problem.place] == ["WrongType"]
