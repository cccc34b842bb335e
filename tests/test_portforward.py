"""The pump between two descriptors and a port of a Pod, against a server that speaks the API server's protocol."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.sync.server import ServerConnection

from generator.cluster.relay import POD
from generator.live.failures import KubeError, Refused
from generator.live.kube import Kube
from generator.live.portforward import forward
from tests.session_lab import PATIENCE, channels, echo, free_port, kube, port_forward, serving, tls_of, whole


class Ends:
    """A thread with the pump; `near` is what its caller holds of it."""

    def __init__(self, api: int, port: int = 2222, scheme: str = "http") -> None:
        self.near, far = socket.socketpair()
        self.near.settimeout(PATIENCE)
        self.error: KubeError | None = None
        self.alive = True
        self.thread = threading.Thread(target=self._run, args=(kube(api, scheme), port, far), daemon=True)
        self.thread.start()

    def _run(self, account: Kube, port: int, far: socket.socket) -> None:
        with far, far.dup() as back:
            try:
                forward(account, POD, port, far.fileno(), back.fileno(), lambda: self.alive)
            except KubeError as error:
                self.error = error
            with suppress(OSError):
                far.shutdown(socket.SHUT_RDWR)

    def end(self) -> None:
        """It has ended."""
        self.thread.join(PATIENCE)
        self.near.close()
        assert not self.thread.is_alive()


@pytest.fixture(scope="module")
def echoing() -> Iterator[int]:
    """An API server before an echo."""
    with serving(echo) as port, port_forward(port) as api:
        yield api


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """The same with TLS."""
    with serving(echo) as port, port_forward(port, tls=tls_of(tmp_path_factory.mktemp("tls"))) as api:
        yield api


@pytest.mark.parametrize("scheme", ["http", "https"])
@given(st.lists(st.binary(min_size=1, max_size=200_000) | st.integers(1, 400_000).map(bytes), min_size=1, max_size=6))
def test_what_goes_in_comes_out(echoing: int, secure: int, scheme: str, pieces: list[bytes]) -> None:
    """Any bytes in any pieces, also more than both sides keep, arrive whole and in order, and come back so; with TLS too."""
    ends = Ends(echoing if scheme == "http" else secure, scheme=scheme)
    wanted = b"".join(pieces)

    def send() -> None:
        for piece in pieces:
            ends.near.sendall(piece)

    sender = threading.Thread(target=send, daemon=True)
    sender.start()
    found = b""
    while len(found) < len(wanted):
        found += ends.near.recv(65536)
    sender.join()

    assert found == wanted
    ends.near.close()
    ends.end()
    assert ends.error is None


@given(st.lists(st.lists(st.binary(max_size=70_000), min_size=1, max_size=4), max_size=6))
def test_messages_come_in_frames(sent: list[list[bytes]]) -> None:
    """A message in any number of frames, empty ones too, with pings between messages, is its bytes; one without a channel is nothing."""

    def speak(websocket: ServerConnection) -> None:
        for channel in (b"\x00", b"\x01"):
            websocket.send(channel + (2222).to_bytes(2, "little"))
        for frames in sent:
            websocket.ping()
            websocket.send(b"")
            websocket.send([b"", b"\x00", *frames])

    with channels(speak, "v4.channel.k8s.io") as api:
        ends = Ends(api)
        assert whole(ends.near) == b"".join(map(b"".join, sent))
        ends.end()
        assert ends.error is None


def test_a_ping_is_answered() -> None:
    """Proxies and servers that ask whether somebody is there hear it, though nothing else moves."""
    answered = threading.Event()

    def speak(websocket: ServerConnection) -> None:
        if websocket.ping().wait(PATIENCE):
            answered.set()

    with channels(speak, "v4.channel.k8s.io") as api:
        Ends(api).end()
        assert answered.is_set()


def test_a_slow_reader_holds_the_other_side_up() -> None:
    """What nobody takes is not read from the cluster without an end, and nothing of it is lost."""
    size = 16 * 1024 * 1024
    sent = 0

    def pour(made: socket.socket) -> None:
        nonlocal sent
        while sent < size:
            sent += made.send(bytes(65536))

    with serving(pour) as port, port_forward(port) as api:
        ends = Ends(api)
        first = ends.near.recv(1)
        before = -1
        while before != sent:  # until it moves no more
            before = sent
            threading.Event().wait(0.3)

        assert 0 < before < size
        assert len(first + whole(ends.near)) == size
        ends.end()


def test_a_slow_line_holds_little() -> None:
    """What the cluster does not take stays with whoever sends it: all that follows would have to wait for it."""
    go = threading.Event()

    def speak(websocket: ServerConnection) -> None:
        websocket.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32 * 1024)
        go.wait(PATIENCE)

    with channels(speak, "v4.channel.k8s.io", max_queue=1) as api:
        ends = Ends(api)
        ends.near.settimeout(1)
        sent = 0
        with suppress(TimeoutError):
            while sent < 16 * 1024 * 1024:
                sent += ends.near.send(bytes(4096))
        go.set()
        ends.near.close()
        ends.end()

    assert 64 * 1024 < sent < 1024 * 1024


def test_the_end_of_the_pod_is_the_end() -> None:
    """Its last bytes arrive, then the pump returns."""

    def bye(made: socket.socket) -> None:
        made.sendall(b"bye")

    with serving(bye) as port, port_forward(port) as api:
        ends = Ends(api)
        assert whole(ends.near) == b"bye"
        ends.end()
        assert ends.error is None


def test_nobody_listens_in_the_pod() -> None:
    """What kubelet says on the error channel is what is raised, with the Pod and the port."""
    with port_forward(free_port()) as api:
        ends = Ends(api)
        ends.end()

        assert isinstance(ends.error, Refused)
        assert str(ends.error).startswith("port-forward to Pod gefyra/bascule-relay-0 port 2222: ")
        assert "refused" in str(ends.error)


def test_the_request_names_the_port_and_the_pod() -> None:
    """As the Kubernetes API has it."""
    seen: list[str] = []
    with serving(echo) as port, port_forward(port, seen) as api:
        ends = Ends(api, 2222)
        ends.near.sendall(b"x")
        assert ends.near.recv(1) == b"x"
        ends.near.close()
        ends.end()

    assert seen == ["/api/v1/namespaces/gefyra/pods/bascule-relay-0/portforward?ports=2222"]


def test_no_api_server() -> None:
    """No connection is a KubeError, as everywhere."""
    ends = Ends(free_port())
    ends.end()
    assert isinstance(ends.error, KubeError)


def test_it_ends_with_whom_it_serves(echoing: int) -> None:
    """When `alive` is no longer true, also while nothing moves."""
    ends = Ends(echoing)
    ends.near.sendall(b"x")
    assert ends.near.recv(1) == b"x"
    ends.alive = False
    ends.end()
