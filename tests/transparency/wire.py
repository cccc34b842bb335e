"""Both ends of a connection in one hand: a client and a raw origin, driven step by step by one thread.

    talk = Talk(lane)
    talk.client.send(b"GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n")
    origin = talk.request(has(HEAD_END))        # None: the client has its answer already
    origin.send(b"HTTP/1.1 200 OK\\r\\nContent-Length: 0\\r\\n\\r\\n")
    talk.answer()

Nothing sleeps: each step waits for what the other end must have seen, PATIENCE at most. Whether something does *not* come is
seen behind a fence: nginx has one worker, which does first what came first.
"""

from __future__ import annotations

import select
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from carrier2.contract import TLS_DIR
from tests.enclosure import RUN
from tests.transparency.message import complete

PATIENCE = 10.0
BRIEF = 1.0
CLIENT_IP = "192.0.2.1"
TLS = str(RUN / TLS_DIR / "8440")
"""Certificate and key of all who speak TLS."""
HEAD_END = b"\r\n\r\n"
_FENCE = b"GET /fence HTTP/1.1\r\nHost: app\r\n\r\n"
Until = Callable[[bytes], bool]


class Lane(NamedTuple):
    """A way from the client to the origin. spare: where Service Y' stands, which is asked when the origin fails."""

    name: str
    door: tuple[str, int]
    origin: socket.socket
    spare: socket.socket
    client_tls: ssl.SSLContext | None = None
    origin_tls: ssl.SSLContext | None = None


class End:
    """One end of a connection. got: all it received; over: "", "closed", "reset", or "cut" (TLS ended without saying so)."""

    def __init__(self, sock: socket.socket, tls: ssl.SSLContext | None = None, name: str | None = None, *, spare: bool = False) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.peer = sock.getpeername()[0]
        self.tls: ssl.SSLSocket | None = None
        if tls:
            self.tls = tls.wrap_socket(sock, name is None, do_handshake_on_connect=False, suppress_ragged_eofs=False, server_hostname=name)
        self.sock = self.tls or sock
        self.shaken = tls is None
        self.spare = spare
        self.got, self.over, self.unsent = b"", "", b""

    def send(self, data: bytes) -> None:
        """Send `data`, now or as the other side takes it."""
        self.unsent += data
        self._flush()

    def finish(self) -> None:
        """Send the end of the stream, but go on reading."""
        self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        """Close."""
        self.sock.close()
        self.over = self.over or "closed here"

    def reset(self) -> None:
        """Close with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def step(self) -> None:
        """Send and receive what goes without waiting."""
        self._flush()
        self._receive()

    def _flush(self) -> None:
        try:
            if self.tls and not self.shaken:
                self.tls.do_handshake()
                self.shaken = True
            while self.unsent:
                self.unsent = self.unsent[self.sock.send(self.unsent) :]
        except (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except (BrokenPipeError, ConnectionResetError):
            self.unsent = b""
        except ssl.SSLError as error:
            self.over, self.unsent = f"TLS fails: {error.reason}", b""

    def _receive(self) -> None:
        try:
            while self.shaken and not self.over:
                data = self.sock.recv(1 << 18)
                self.got += data
                if not data:
                    self.over = "closed"
        except (BlockingIOError, ssl.SSLWantReadError):
            pass
        except ssl.SSLEOFError:
            self.over = "cut"
        except ConnectionResetError:
            self.over = "reset"
        except ssl.SSLError as error:
            self.over = f"TLS fails: {error.reason}"


class Talk:
    """One probe on one lane. origins: the connections that reached the origin or Service Y', in order."""

    def __init__(self, lane: Lane) -> None:
        self.lane = lane
        self.origins: list[End] = []
        self.clients: list[End] = []
        self.client = self.dial()

    def dial(self) -> End:
        """Another connection of the client."""
        sock = socket.create_connection(self.lane.door, PATIENCE, source_address=(CLIENT_IP, 0))
        end = End(sock, self.lane.client_tls, "example.test")
        self.clients.append(end)
        return end

    def wait(self, done: Callable[[], object], seconds: float = PATIENCE) -> bool:
        """Let all ends send and receive until `done`; False after `seconds`."""
        last = time.monotonic() + seconds
        doors = {self.lane.origin: False, self.lane.spare: True}
        while not done():
            left = last - time.monotonic()
            if left <= 0:
                return False
            ends = {end.sock: end for end in (*self.clients, *self.origins) if not end.over}
            full = [end.sock for end in ends.values() if end.unsent]
            ready, free, _ = select.select([*doors, *ends], full, [], left)
            for sock in {*ready, *free}:
                if sock in doors:
                    self.origins.append(End(sock.accept()[0], self.lane.origin_tls, spare=doors[sock]))
                    ends[self.origins[-1].sock] = self.origins[-1]
                else:
                    ends[sock].step()
        return True

    def request(self, until: Until, seconds: float = PATIENCE) -> End | None:
        """The origin's connection once what it got is enough; None if the client has its answer already, or never."""

        def there() -> list[End]:
            return [end for end in self.origins if until(end.got)]

        self.wait(lambda: there() or self.client.over or complete(self.client.got), seconds)
        return next(iter(there()), None)

    def fence(self) -> None:
        """Return once all that the client has sent so far is where it goes: a request on another connection has gone the same way."""
        client = self.dial()
        client.send(_FENCE)
        self.wait(lambda: any(_FENCE in end.got for end in self.origins))
        origin = next(end for end in self.origins if _FENCE in end.got)
        origin.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
        self.wait(lambda: client.over or complete(client.got))
        client.close()
        origin.close()

    def answer(self, method: str = "GET") -> bytes:
        """All the client got, once that is an answer or the connection has ended."""
        self.wait(lambda: self.client.over or complete(self.client.got, method))
        return self.client.got

    def end(self) -> None:
        """Close everything."""
        for end in (*self.clients, *self.origins):
            end.close()


def origin_tls(**changes: Any) -> ssl.SSLContext:
    """A fresh context of an origin, so that no session of another row is taken up."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{TLS}.crt", f"{TLS}.key")
    context.load_verify_locations(f"{TLS}.crt")
    for name, value in changes.items():
        setattr(context, name, value)
    return context


@contextmanager
def talking(lane: Lane) -> Iterator[Talk]:
    """A Talk that ends with the block."""
    talk = Talk(lane)
    try:
        yield talk
    finally:
        talk.end()


def has(text: bytes, times: int = 1) -> Until:
    """Whether what was got holds `text` that often."""
    return lambda got: got.count(text) >= times
