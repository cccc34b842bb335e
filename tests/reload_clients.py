"""Clients that lose nothing if the carrier loses nothing. Each yields its answers: (since, then, route, who).

Which carrier may have answered was in force between `since`, when the connection was last known to be served, and `then`. An answer
says that its connection was served after it had been asked for: who reads it late learns nothing newer.
"""

from __future__ import annotations

import hashlib
import http.client
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping

import grpc

from tests.enclosure import CARRIER_IP
from tests.reload_pod import PATIENCE

BODY = bytes(range(256)) * 256

Answer = tuple[float, float, str, str]


def ask(connection: http.client.HTTPConnection, since: float, route: str, body: bytes = b"") -> Answer:
    """One request. since: when the connection was last known to be served."""
    since = since if connection.sock else time.monotonic()
    connection.request("POST" if body else "GET", "/", body or None, {"X-User": "alice"} if route == "alice" else {})
    answer = connection.getresponse()
    who, digest = answer.read().decode().split()
    assert answer.status == 200
    assert digest == hashlib.sha256(body).hexdigest()
    return since, time.monotonic(), route, who


def http_client(body: bytes, lives: int) -> Iterator[Answer]:
    """Requests one after the other, `lives` on a connection at most. Only who never lets go of one asks without a pause."""
    while True:
        connection = http.client.HTTPConnection(CARRIER_IP, 8080, timeout=PATIENCE)
        since = 0.0
        for turn in range(lives):
            asked = time.monotonic()
            yield ask(connection, since, ("alice", "nobody")[turn % 2 if lives > 1 else time.monotonic_ns() // 1000 % 2], body)
            since = asked
            time.sleep(0 if lives > 1000 else 0.005)
        connection.close()


def unary_client() -> Iterator[Answer]:
    """Calls on one channel, 200 on each."""
    while True:
        since = time.monotonic()
        with grpc.insecure_channel(f"{CARRIER_IP}:9090") as channel:
            call = channel.unary_unary("/t/Who")
            for turn in range(200):
                route = ("alice", "nobody")[turn % 2]
                asked = time.monotonic()
                who = call(b"", timeout=PATIENCE, metadata=[("x-user", "alice")] if route == "alice" else []).decode()
                yield since, time.monotonic(), route, who
                since = asked
                time.sleep(0.005)


def stream_client() -> Iterator[Answer]:
    """Streams of 20 messages, each answered before the next is sent, all by the same."""
    while True:
        since = time.monotonic()
        with grpc.insecure_channel(f"{CARRIER_IP}:9090") as channel:
            go = threading.Semaphore(0)

            def messages(go: threading.Semaphore = go) -> Iterator[bytes]:
                for number in range(20):
                    go.acquire()
                    yield str(number).encode()

            go.release()
            answers = channel.stream_stream("/t/Chat")(messages(), timeout=PATIENCE, metadata=[("x-user", "alice")])
            opened, first = 0.0, ""
            for number, message in enumerate(answers):
                who, said = message.decode().split()
                opened, first = opened or time.monotonic(), first or who
                assert (who, said) == (first, str(number))
                yield since, opened, "alice", who
                time.sleep(0.02)
                go.release()
            assert said == "19"


class Crowd:
    """Clients in threads, until `stop`. answers and lost: by client."""

    def __init__(self, clients: Mapping[str, Iterator[Answer]]) -> None:
        """The clients start at once."""
        self.answers: dict[str, list[Answer]] = {name: [] for name in clients}
        self.lost: list[str] = []
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._go, args=each, daemon=True) for each in clients.items()]
        for thread in self._threads:
            thread.start()

    def _go(self, name: str, client: Iterator[Answer]) -> None:
        try:
            for answer in client:
                self.answers[name].append(answer)
                if self._end.is_set():
                    break
        except Exception as error:  # noqa: BLE001 - whatever it is, an answer was lost
            self.lost.append(f"{name}: {error!r}")
        finally:
            client.close()  # type: ignore[attr-defined]

    def stop(self) -> None:
        """Each client ends after its next answer."""
        self._end.set()
        for thread in self._threads:
            thread.join(2 * PATIENCE)


def until(what: Callable[[], bool]) -> bool:
    """Whether it comes true in time."""
    end = time.monotonic() + PATIENCE
    while not what():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def upgraded(port: int = 8080) -> socket.socket:
    """A connection that has left HTTP."""
    sock = socket.create_connection((CARRIER_IP, port), PATIENCE)
    sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1)
    assert head.startswith(b"HTTP/1.1 101 ")
    return sock


def echoes(sock: socket.socket) -> bool:
    """Whether the other side is still there."""
    try:
        sock.sendall(b"ping")
        return sock.recv(4) == b"ping"
    except OSError:
        return False
