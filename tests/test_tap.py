"""The tap passes bytes as they come, whatever they are, and tells of the requests in them."""

from __future__ import annotations

import select
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator.live.tap import tapped
from generator.watching import Seen
from tests.session_lab import PATIENCE, echo, free_port, hello, serving, until, whole

REQUEST = b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
PIECES = st.lists(
    st.binary(min_size=1, max_size=5000) | st.sampled_from([REQUEST, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / HT", bytes(300_000)]),
    max_size=8,
)
KERNEL = 128 * 1024 * 1024
"""Bytes that the buffers of two connections on loopback cannot hold."""


def dial(port: int) -> socket.socket:
    """A connection that fails rather than waits for ever."""
    return socket.create_connection(("127.0.0.1", port), PATIENCE)


def ask(made: socket.socket, path: str) -> None:
    """One request to `hello`, answered whole."""
    made.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
    found = b""
    while not found.endswith(b"hello"):
        piece = made.recv(1000)
        assert piece, "cut off"
        found += piece


def called(server: socket.socket) -> socket.socket:
    """Who has something to say: the tap looks for a process with connections that say nothing."""
    server.settimeout(PATIENCE)
    while True:
        made, _ = server.accept()
        if made.recv(1, socket.MSG_PEEK):
            return made
        made.close()


def reaches(tap: int, server: socket.socket) -> bool:
    """Whether what goes into the tap comes to the server."""
    with dial(tap) as made:
        made.sendall(b"x")
        with called(server) as process:
            return process.recv(1) == b"x"


@pytest.fixture(scope="module")
def echoing() -> Iterator[int]:
    """A tap before an echo."""
    with serving(echo) as port, tapped(port, lambda _: None) as tap:
        yield tap


@given(st.lists(PIECES, min_size=1, max_size=4))
def test_what_goes_in_comes_out(echoing: int, callers: list[list[bytes]]) -> None:
    """Any bytes in any pieces arrive at the process as they are, of several callers at once; so do its answers, after each has
    ended his half.
    """
    with ExitStack() as stack, ThreadPoolExecutor(2 * len(callers)) as pool:

        def send(made: socket.socket, pieces: list[bytes]) -> None:
            for piece in pieces:
                made.sendall(piece)
            made.shutdown(socket.SHUT_WR)

        connections = [stack.enter_context(dial(echoing)) for _ in callers]
        sent = [pool.submit(send, *each) for each in zip(connections, callers, strict=True)]
        assert list(pool.map(whole, connections)) == [b"".join(pieces) for pieces in callers]
        for each in sent:
            each.result()


def test_the_process_ends_its_half_first() -> None:
    """Its end reaches the caller, who goes on sending."""
    found = []

    def closing(made: socket.socket) -> None:
        made.sendall(b"first")
        made.shutdown(socket.SHUT_WR)
        found.append(whole(made))

    with serving(closing) as port, tapped(port, lambda _: None) as tap, dial(tap) as made:
        assert whole(made) == b"first"
        made.sendall(b"second")
        made.shutdown(socket.SHUT_WR)
        until(lambda: found == [b"second"], "what was sent after the end")


def test_an_answer_before_the_request_has_come_arrives() -> None:
    """A process that refuses an upload, answers and closes while more of it comes: its answer arrives whole."""
    answer = b"HTTP/1.1 413 Too Large\r\nContent-Length: 10\r\n\r\n0123456789"

    def refusing(made: socket.socket) -> None:
        made.recv(200)
        made.sendall(answer)

    with serving(refusing) as port, tapped(port, lambda _: None) as tap:
        for _ in range(50):
            with dial(tap) as made:
                with suppress(OSError):
                    for _ in range(40):
                        made.sendall(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 8000000\r\n\r\n" + bytes(100_000))
                assert whole(made) == answer


def test_requests_are_told() -> None:
    """Each with method, path and status, also many on one connection, and on many at once."""
    told: list[Seen] = []
    with serving(hello) as port, tapped(port, told.append) as tap:

        def two(name: int) -> None:
            with dial(tap) as made:
                for each in ("x", "y"):
                    ask(made, f"/{name}{each}")

        callers = [threading.Thread(target=two, args=(n,)) for n in range(100)]
        for each in callers:
            each.start()
        for each in callers:
            each.join()

    wanted = sorted(("GET", f"/{n}{x}", 200) for n in range(100) for x in "xy")
    assert sorted(seen[:3] for seen in told) == wanted
    assert all(seen.seconds >= 0 for seen in told)


def test_nobody_need_listen_to_what_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a terminal stands still, all connections go on; of what is seen meanwhile so much is told later as may wait."""
    monkeypatch.setattr("generator.live.tap._UNTOLD", 3)
    begun, free, told = threading.Event(), threading.Event(), list[str]()

    def tell(seen: Seen) -> None:
        begun.set()
        assert free.wait(PATIENCE)
        told.append(seen.path)

    with serving(hello) as port, tapped(port, tell) as tap, dial(tap) as one, dial(tap) as other:
        ask(one, "/0")
        assert begun.wait(PATIENCE)
        for n in range(1, 6):
            ask(other, f"/{n}")
        assert told == []
        free.set()
    assert told == ["/0", "/1", "/2", "/3"]


def test_who_reads_slowly_is_sent_to_slowly() -> None:
    """What he does not take stays with the process, but for what the kernel holds of two connections; others are served meanwhile."""
    sent = [0]

    def pouring(made: socket.socket) -> None:
        first = made.recv(1)
        if first != b"p":
            made.sendall(first)
            return
        made.setblocking(False)
        while sent[0] < 8 * KERNEL and select.select((), (made,), (), 1.0)[1]:
            sent[0] += made.send(bytes(65536))
        made.setblocking(True)
        full.set()

    full = threading.Event()
    with serving(pouring) as port, tapped(port, lambda _: None) as tap, dial(tap) as slow:
        slow.sendall(b"p")
        assert full.wait(PATIENCE)
        assert 0 < sent[0] < KERNEL
        with dial(tap) as other:
            other.sendall(b"x")
            assert other.recv(1) == b"x"
        assert len(whole(slow)) == sent[0]


def test_with_the_block_all_ends() -> None:
    """Nobody is left with a connection that leads nowhere, nor is a thread."""
    before = set(threading.enumerate())
    with socket.create_server(("127.0.0.1", 0)) as process:
        with tapped(process.getsockname()[1], lambda _: None) as tap:
            made = dial(tap)
            made.sendall(b"x")
            other = called(process)
            assert other.recv(1) == b"x"
        with made, other:
            assert (whole(made), whole(other)) == (b"", b"")
    assert set(threading.enumerate()) <= before


def test_nobody_listens() -> None:
    """The caller is cut off at once; when the process is there, the same tap leads to it. Each change is told, and once."""
    port, turns = free_port(), list[bool]()
    with tapped(port, lambda _: None, turns.append) as tap:
        until(lambda: turns == [False], "that nobody listens")
        for expected in ([False, True], [False, True, False, True]):
            for _ in range(3):
                with suppress(ConnectionResetError), dial(tap) as made:
                    assert whole(made) == b""
            with socket.create_server(("127.0.0.1", port)) as server:
                assert reaches(tap, server)
                until(lambda expected=expected: turns == expected, f"that somebody listens, after {turns}")  # type: ignore[misc]
    assert turns == [False, True, False, True]


def test_a_process_that_takes_nobody_for_now_listens() -> None:
    """Whose queue is full at the beginning is taken to be there; when it takes somebody, he is led to it."""
    turns: list[bool] = []
    with ExitStack() as stack:
        server = stack.enter_context(socket.socket())
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        stack.enter_context(dial(server.getsockname()[1]))
        tap = stack.enter_context(tapped(server.getsockname()[1], lambda _: None, turns.append))
        until(lambda: turns == [True], "that it is taken to listen")
        server.accept()[0].close()
        assert reaches(tap, server)
    assert turns == [True]


def test_a_process_that_listens_on_ipv6_alone() -> None:
    """As some do that say localhost."""
    turns: list[bool] = []
    with (
        socket.create_server(("::1", 0), family=socket.AF_INET6) as server,
        tapped(server.getsockname()[1], lambda _: None, turns.append) as tap,
    ):
        assert reaches(tap, server)
    assert turns == [True]


SCARCE = """
import resource, sys
from generator.live.tap import tapped
resource.setrlimit(resource.RLIMIT_NOFILE, (32, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
with tapped(int(sys.argv[1]), lambda seen: None) as port:
    print(port, flush=True)
    sys.stdin.read()
"""


def test_when_descriptors_run_out_it_goes_on(echoing: int) -> None:
    """Connections that it cannot take now wait; when others have ended, they and new ones are served."""
    command = [sys.executable, "-c", SCARCE, str(echoing)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        assert process.stdout
        port = int(process.stdout.readline())
        many = [socket.create_connection(("127.0.0.1", port), PATIENCE) for _ in range(60)]
        for each in many:
            each.close()
        with socket.create_connection(("127.0.0.1", port), PATIENCE) as last:
            last.settimeout(PATIENCE)
            last.sendall(b"here")
            assert last.recv(4) == b"here"
        process.communicate()
