"""The bytes of one connection, both ways -> the requests in it: HTTP/1.1, and HTTP/2 with prior knowledge, as a carrier speaks them.

A watcher only looks. What is no HTTP, or what it cannot follow, makes it silent for the rest of the connection; it never raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple, Protocol

import h11
from hpack import Decoder
from hyperframe.frame import ContinuationFrame, DataFrame, Frame, HeadersFrame, RstStreamFrame

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client of HTTP/2 begins with (RFC 9113, 3.4)."""
_MOST: Final = 1024 * 1024
"""Bytes of one head that are still read."""


class Seen(NamedTuple):
    """A request and how it was answered. seconds: from its head to the head of the answer."""

    method: str
    path: str
    status: int
    seconds: float


class _Protocol(Protocol):
    def sent(self, data: bytes, now: float) -> Iterator[Seen]: ...
    def answered(self, data: bytes, now: float) -> Iterator[Seen]: ...


class Watcher:
    """One connection. Give it each piece before it is passed on, so that a request is known before its answer comes."""

    def __init__(self) -> None:
        self._begun = b""
        self._protocol: _Protocol | None = None
        self._silent = False

    def sent(self, data: bytes, now: float) -> tuple[Seen, ...]:
        """A piece towards the user's process. now: seconds of a clock that only grows."""
        if self._protocol is None and not self._silent and data:
            self._begun += data
            if len(self._begun) < len(_PREFACE) and _PREFACE.startswith(self._begun):
                return ()
            self._protocol = _Http2() if self._begun.startswith(_PREFACE) else _Http1()
            data, self._begun = self._begun.removeprefix(_PREFACE), b""
        return self._follow(lambda protocol: protocol.sent(data, now)) if data else ()

    def answered(self, data: bytes, now: float) -> tuple[Seen, ...]:
        """A piece of what the user's process answers: the requests that are answered with it."""
        return self._follow(lambda protocol: protocol.answered(data, now)) if data else ()

    def _follow(self, look: Callable[[_Protocol], Iterator[Seen]]) -> tuple[Seen, ...]:
        if self._protocol is None or self._silent:
            self._silent = self._silent or self._protocol is None
            return ()
        try:
            return tuple(look(self._protocol))
        except Exception:  # noqa: BLE001  # whatever a decoder says of bytes that are not its own
            self._silent, self._protocol = True, None
            return ()


class _Http1:
    """Two ends that tell each other what they read: each knows then, as the real ones do, where a message ends."""

    def __init__(self) -> None:
        self._process = h11.Connection(h11.SERVER, max_incomplete_event_size=_MOST)
        self._carrier = h11.Connection(h11.CLIENT, max_incomplete_event_size=_MOST)
        self._asked = ("", "", 0.0)

    def sent(self, data: bytes, now: float) -> Iterator[Seen]:
        self._process.receive_data(data)
        return self._read(now)

    def answered(self, data: bytes, now: float) -> Iterator[Seen]:
        self._carrier.receive_data(data)
        return self._read(now)

    def _read(self, now: float) -> Iterator[Seen]:
        while True:
            for event in _events(self._process):
                if isinstance(event, h11.Request):
                    self._asked = event.method.decode(), event.target.decode(), now
                self._carrier.send_with_data_passthrough(event)
            for event in _events(self._carrier):
                if isinstance(event, h11.Response) or (isinstance(event, h11.InformationalResponse) and event.status_code == 101):
                    method, target, since = self._asked
                    yield Seen(method, target, event.status_code, now - since)
                self._process.send_with_data_passthrough(_newer(event))
            if (self._process.our_state, self._process.their_state) != (h11.DONE, h11.DONE):
                return
            self._process.start_next_cycle()
            self._carrier.start_next_cycle()


def _events(end: h11.Connection) -> Iterator[h11.Event]:
    while not isinstance(event := end.next_event(), type | h11.ConnectionClosed):
        yield event


def _newer(event: h11.Event) -> h11.Event:
    """The answer of an HTTP/1.0 server in HTTP/1.1, the only one that h11 says itself."""
    if isinstance(event, h11.Response) and event.http_version != b"1.1":
        return h11.Response(status_code=event.status_code, headers=[*event.headers, (b"connection", b"close")])
    return event


class _Http2:
    def __init__(self) -> None:
        self._asked: dict[int, tuple[str, str, float]] = {}
        self._inward, self._outward = _Heads(), _Heads()

    def sent(self, data: bytes, now: float) -> Iterator[Seen]:
        for stream, head in self._inward.read(data):
            if head is None:
                self._asked.pop(stream, None)
            elif ":method" in head:
                self._asked[stream] = head[":method"], head.get(":path", ""), now
        yield from ()

    def answered(self, data: bytes, now: float) -> Iterator[Seen]:
        for stream, head in self._outward.read(data):
            status = int(head.get(":status", "0")) if head else 0
            if (head is None or status >= 200) and (asked := self._asked.pop(stream, None)) and head:
                yield Seen(*asked[:2], status, now - asked[2])


class _Heads:
    """One direction of HTTP/2: its frames -> (stream, head), None for a stream that is broken off."""

    def __init__(self) -> None:
        self._begun, self._skip, self._block = bytearray(), 0, b""
        self._decoder = Decoder(_MOST)
        self._decoder.max_allowed_table_size = _MOST

    def read(self, data: bytes) -> Iterator[tuple[int, dict[str, str] | None]]:
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        self._begun += data[skipped:]
        while len(self._begun) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(bytes(self._begun[:9])))
            if isinstance(frame, DataFrame):
                self._skip = max(0, length + 9 - len(self._begun))
                del self._begun[: length + 9]
                continue
            if length > _MOST:
                raise ValueError("a frame that no head has")
            if len(self._begun) < length + 9:
                return
            frame.parse_body(memoryview(bytes(self._begun[9 : length + 9])))
            del self._begun[: length + 9]
            if isinstance(frame, RstStreamFrame):
                yield frame.stream_id, None
            elif isinstance(frame, HeadersFrame | ContinuationFrame):
                self._block += frame.data
                if len(self._block) > _MOST:
                    raise ValueError("a head without an end")
                if "END_HEADERS" in frame.flags:
                    block, self._block = self._block, b""
                    yield frame.stream_id, {_text(name): _text(value) for name, value in self._decoder.decode(block, raw=True)}


def _text(raw: bytes | str) -> str:
    """For a terminal: nothing that moves a cursor."""
    text = raw.decode("latin-1") if isinstance(raw, bytes) else raw
    return "".join(c if c.isprintable() else "?" for c in text)
