"""The tap passes bytes as they come, whatever they are, and tells of the requests in them."""

from __future__ import annotations

import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress

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


def dial(port: int) -> socket.socket:
    """A connection that fails rather than waits for ever."""
    return socket.create_connection(("127.0.0.1", port), PATIENCE)


@pytest.fixture(scope="module")
def echoing() -> Iterator[int]:
    """A tap before an echo."""
    with serving(echo) as port, tapped(port, lambda _: None) as tap:
        yield tap


@given(PIECES)
def test_what_goes_in_comes_out(echoing: int, pieces: list[bytes]) -> None:
    """Any bytes in any pieces arrive at the process as they are; so does its answer, after the caller has ended his half."""
    with dial(echoing) as made:

        def send() -> None:
            for piece in pieces:
                made.sendall(piece)
            made.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send, daemon=True)
        sender.start()
        assert whole(made) == b"".join(pieces)
        sender.join()


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


def test_requests_are_told() -> None:
    """Each with method, path and status, also many on one connection, and on many at once."""
    told: list[Seen] = []
    with serving(hello) as port, tapped(port, told.append) as tap:

        def two(name: int) -> None:
            with dial(tap) as made:
                for each in ("x", "y"):
                    made.sendall(f"GET /{name}{each} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
                    assert made.recv(1000).endswith(b"hello")

        callers = [threading.Thread(target=two, args=(n,)) for n in range(100)]
        for each in callers:
            each.start()
        for each in callers:
            each.join()

    wanted = sorted(("GET", f"/{n}{x}", 200) for n in range(100) for x in "xy")
    assert sorted(seen[:3] for seen in told) == wanted
    assert all(seen.seconds >= 0 for seen in told)


def test_nobody_listens() -> None:
    """The caller is cut off at once; when the process is there, the same tap leads to it."""
    port = free_port()
    with tapped(port, lambda _: None) as tap:
        with dial(tap) as made, suppress(ConnectionResetError):
            assert whole(made) == b""
        with socket.create_server(("127.0.0.1", port)) as server, dial(tap) as made:
            server.settimeout(PATIENCE)
            made.sendall(b"x")
            process, _ = server.accept()
            with process:
                assert process.recv(1) == b"x"


def test_a_process_that_listens_on_ipv6_alone() -> None:
    """As some do that say localhost."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as server, tapped(server.getsockname()[1], lambda _: None) as tap:
        server.settimeout(PATIENCE)
        with dial(tap) as made:
            made.sendall(b"x")
            process, _ = server.accept()
            with process:
                assert process.recv(1) == b"x"


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
