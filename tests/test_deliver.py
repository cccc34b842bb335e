"""Exec in a Pod over a websocket, against a server that speaks the API server's protocol."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection

from generator.asked.values import Tls
from generator.cluster.snapshot import Key
from generator.live.deliver import ConfigRefused, deliver, run
from generator.live.failures import Forbidden, KubeError, Refused, Unreachable
from generator.plan import Delivery
from tests.session_lab import channels, free_port, kube

POD = Key("Pod", "shop", "web-0")


@contextmanager
def server(answer: Callable[[bytes], list[bytes]], refusal: int = 0) -> Iterator[int]:
    """An API server that knows exec alone: standard input -> the messages that are sent."""

    def one(websocket: ServerConnection) -> None:
        given = b""
        for message in websocket:
            assert isinstance(message, bytes)
            if message == b"\xff\x00":
                break
            given += message[1:]
        for each in answer(given):
            websocket.send(each)

    def first(websocket: ServerConnection, _: Request) -> Response | None:
        return websocket.respond(refusal, '{"message": "not you"}') if refusal else None

    with channels(one, "v5.channel.k8s.io", process_request=first) as port:
        yield port


def result(status: str, message: str = "") -> bytes:
    """What ends an exec."""
    return b"\x03" + json.dumps({"status": status, "message": message}).encode()


@pytest.fixture(scope="module")
def echo() -> Iterator[int]:
    """A command that prints how much it was given."""
    with server(lambda given: [b"\x01" + str(len(given)).encode(), b"\x02noise", b"\x01!", result("Success")]) as port:
        yield port


@given(st.integers(0, 300_000))
def test_all_of_standard_input_arrives(echo: int, size: int) -> None:
    """Whatever its size; what comes out is put together."""
    assert run(kube(echo), POD, "app", ("carrier2", "apply"), bytes(size)) == f"{size}!"


def test_a_command_that_fails() -> None:
    """Its own words, else those of the server."""
    with (
        server(lambda _: [b"\x02no such file\n", result("Failure", "exit code 1")]) as port,
        pytest.raises(Refused, match="app: no such file"),
    ):
        run(kube(port), POD, "app", ("x",), b"")
    with server(lambda _: [result("Failure", "exit code 1")]) as port, pytest.raises(Refused, match="exit code 1"):
        run(kube(port), POD, "app", ("x",), b"")


def test_it_ends_without_a_result() -> None:
    """That is no success."""
    with server(lambda _: [b"\x01half"]) as port, pytest.raises(Unreachable, match="ended without a result"):
        run(kube(port), POD, "app", ("x",), b"")


def test_the_account_may_not() -> None:
    """The server's words, with the class of its status."""
    with server(lambda _: [], 403) as port, pytest.raises(KubeError) as found:
        run(kube(port), POD, "app", ("x",), b"")
    assert isinstance(found.value, Forbidden)
    assert found.value.status == 403


@pytest.mark.parametrize(
    "tls", [Tls("secret:gefyra/a:x", "/k"), Tls("/c", "secret:gefyra/bascule-relay-ca:ca"), Tls("/c", "secret:sho/a:x")]
)
def test_a_secret_of_another_namespace_is_not_even_read(tls: Tls) -> None:
    """Whatever a plan says, a Pod gets no key of another namespace: the delivery fails before anything is asked of the API server."""
    with pytest.raises(ConfigRefused, match="another namespace"):
        deliver(kube(free_port()), POD, Delivery("app", "", ((443, tls),)))
