"""The bytes of one connection, both ways -> the requests in it: HTTP/1.1, and HTTP/2 with prior knowledge, as a carrier speaks them.

A watcher only looks. What is no HTTP, or what it cannot follow, makes it silent for the rest of the connection; it never raises.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Generator, Iterator
from math import inf
from typing import Final, NamedTuple, Protocol, TypeVar

from hpack import Decoder
from hyperframe.frame import ContinuationFrame, DataFrame, Frame, HeadersFrame, RstStreamFrame

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
"""What a client of HTTP/2 begins with (RFC 9113, 3.4)."""
_MOST: Final = 1024 * 1024
"""Bytes of one head that are still read."""
_UNANSWERED: Final = 100
"""Requests of HTTP/1.1 that may wait for their answers: a carrier sends the next after the answer."""
_LINE, _BLANK = re.compile(rb"\n"), re.compile(rb"\n\r?\n")
_REQUEST: Final = re.compile(rb"(?:\r?\n)*([!-~]+) ([^\x00-\x20]+) HTTP/1\.\d\r?\n")
_ANSWER: Final = re.compile(rb"HTTP/1\.\d ([1-9]\d\d)[ \r\n]")
_LENGTH: Final = re.compile(rb"\ncontent-length:[ \t]*(\d+)[ \t]*\r?\n", re.IGNORECASE)
_CODING: Final = re.compile(rb"\ntransfer-encoding:([^\n]*)\n", re.IGNORECASE)
_CHUNK: Final = re.compile(rb"([0-9a-f]+)[ \t]*[;\r\n]", re.IGNORECASE)


class Seen(NamedTuple):
    """A request and how it was answered. seconds: from its head to the head of the answer."""

    method: str
    path: str
    status: int
    seconds: float


class _Protocol(Protocol):
    seen: list[Seen]

    def sent(self, data: bytes, now: float) -> None: ...
    def answered(self, data: bytes, now: float) -> None: ...


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
        return self._follow(self._protocol.sent if self._protocol else None, data, now) if data else ()

    def answered(self, data: bytes, now: float) -> tuple[Seen, ...]:
        """A piece of what the user's process answers: the requests that are answered with it."""
        return self._follow(self._protocol.answered if self._protocol else None, data, now) if data else ()

    def _follow(self, look: Callable[[bytes, float], None] | None, data: bytes, now: float) -> tuple[Seen, ...]:
        if not self._protocol or not look:
            self._silent = True
            return ()
        seen = self._protocol.seen = []
        try:
            look(data, now)
        except Exception:  # noqa: BLE001  # whatever a decoder says of bytes that are not its own
            self._silent, self._protocol = True, None
        return tuple(seen)


_T = TypeVar("_T")
_Reading = Generator[None, bytes, _T]
"""Is sent each piece of one direction, and goes on as far as it reaches."""


class _Http1:
    """Each direction is read for itself (RFC 9112); an answer belongs to the oldest request that has none."""

    def __init__(self) -> None:
        self._asked = deque[tuple[str, str, float]]()
        self._now, self.seen = 0.0, list[Seen]()
        self._inward, self._outward = self._requests(), self._answers()
        next(self._inward)
        next(self._outward)

    def sent(self, data: bytes, now: float) -> None:
        self._now = now
        self._inward.send(data)

    def answered(self, data: bytes, now: float) -> None:
        self._now = now
        self._outward.send(data)

    def _requests(self) -> _Reading[None]:
        kept = bytearray()
        while len(self._asked) < _UNANSWERED:
            head = yield from _until(_BLANK, kept)
            method, target = _begins(_REQUEST, head).groups()
            self._asked.append((_text(method), _text(target), self._now))
            yield from _body(head, kept, 0)

    def _answers(self) -> _Reading[None]:
        kept = bytearray()
        while True:
            head = yield from _until(_BLANK, kept)
            status = int(_begins(_ANSWER, head)[1])
            if status < 200 and status != 101:
                continue
            method, target, since = self._asked.popleft()
            self.seen.append(Seen(method, target, status, self._now - since))
            if status == 101:  # from here it is another protocol, both ways
                self._inward = _past(inf, bytearray())
                next(self._inward)
                yield from _past(inf, kept)
            elif method != "HEAD" and status not in (204, 304):
                yield from _body(head, kept, inf)


def _until(end: re.Pattern[bytes], kept: bytearray) -> _Reading[bytes]:
    """Everything up to the end of `end`. kept: what has come and is not read."""
    at = 0
    while not (found := end.search(kept, at)):
        if len(kept) > _MOST:
            raise ValueError("a head without an end")
        at = max(0, len(kept) - 2)
        kept += yield
    part = bytes(kept[: found.end()])
    del kept[: found.end()]
    return part


def _past(size: float, kept: bytearray) -> _Reading[None]:
    """So many bytes are left out, without a copy of those that are still to come."""
    here = int(min(size, len(kept)))
    del kept[:here]
    size -= here
    while size > 0:
        piece = yield
        kept += piece[int(min(size, len(piece))) :]
        size -= len(piece)


def _body(head: bytes, kept: bytearray, unsaid: float) -> _Reading[None]:
    """The body of a message is left out. unsaid: its size where the head gives none (RFC 9112, 6.3)."""
    coding = _CODING.search(head)
    if coding and coding[1].strip().lower().endswith(b"chunked"):
        while size := int(_begins(_CHUNK, (yield from _until(_LINE, kept)))[1], 16):
            yield from _past(size, kept)
            yield from _until(_LINE, kept)
        while (yield from _until(_LINE, kept)).strip():  # trailers
            pass
    elif coding:
        yield from _past(inf, kept)
    elif length := _LENGTH.search(head):
        yield from _past(int(length[1]), kept)
    else:
        yield from _past(unsaid, kept)


def _begins(pattern: re.Pattern[bytes], data: bytes) -> re.Match[bytes]:
    if found := pattern.match(data):
        return found
    raise ValueError("no HTTP")


class _Http2:
    def __init__(self) -> None:
        self.seen = list[Seen]()
        self._asked: dict[int, tuple[str, str, float]] = {}
        self._inward, self._outward = _Heads(), _Heads()

    def sent(self, data: bytes, now: float) -> None:
        for stream, head in self._inward.read(data):
            if head is None:
                self._asked.pop(stream, None)
            elif ":method" in head:
                self._asked[stream] = head[":method"], head.get(":path", ""), now

    def answered(self, data: bytes, now: float) -> None:
        for stream, head in self._outward.read(data):
            status = int(head.get(":status", "0")) if head else 0
            if (head is None or status >= 200) and (asked := self._asked.pop(stream, None)) and head:
                self.seen.append(Seen(*asked[:2], status, now - asked[2]))


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
