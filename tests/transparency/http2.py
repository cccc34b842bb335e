"""HTTP/2 with prior knowledge on an End, and its messages in the form of HTTP/1.1, so that both can be compared."""

from __future__ import annotations

from typing import Any, TypeVar

import h2.config
import h2.connection
import h2.events

from tests.transparency.message import split
from tests.transparency.wire import HEAD_END, End, Talk

Fields = list[tuple[str, str]]
Found = TypeVar("Found", bound=h2.events.Event)
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class Http2:
    """One side of HTTP/2. events: all there were."""

    def __init__(self, end: End, *, client: bool) -> None:
        config = h2.config.H2Configuration(
            client_side=client, header_encoding="latin-1", validate_outbound_headers=False, normalize_outbound_headers=False
        )
        self.state = h2.connection.H2Connection(config)
        self.end, self.read = end, 0
        self.events: list[h2.events.Event] = []
        self.state.initiate_connection()
        self.flush()

    def flush(self) -> None:
        """Send what the state wants sent."""
        self.end.send(self.state.data_to_send())

    def headers(self, stream: int, fields: Fields, *, last: bool = False) -> None:
        """Send a head, or trailers."""
        self.state.send_headers(stream, fields, end_stream=last)
        self.flush()

    def data(self, stream: int, data: bytes, *, last: bool = False) -> None:
        """Send a part of a body."""
        self.state.send_data(stream, data, end_stream=last)
        self.flush()

    def reset(self, stream: int, code: int) -> None:
        """Send RST_STREAM."""
        self.state.reset_stream(stream, code)
        self.flush()

    def all(self, kind: type[Found]) -> list[Found]:
        """Events of a kind, after reading what has come."""
        data, self.read = self.end.got[self.read :], len(self.end.got)
        for event in self.state.receive_data(data) if data else ():
            self.events.append(event)
            if isinstance(event, h2.events.DataReceived):
                self.state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
        self.flush()
        return [each for each in self.events if isinstance(each, kind)]

    def over(self) -> bool:
        """Whether a stream has ended, one way or the other."""
        return bool(self.all(h2.events.StreamEnded) or self.all(h2.events.StreamReset) or self.end.over)


def asked(method: str, *more: tuple[str, str], path: str = "/") -> Fields:
    """A request's head."""
    return [(":method", method), (":scheme", "http"), (":path", path), (":authority", "app"), *more]


def origin_of(talk: Talk) -> tuple[End | None, Http2 | None]:
    """The origin's connection once it has a request's head, and the HTTP/2 on it if it is that."""

    def spoken() -> bool:
        return bool(talk.origins) and (talk.origins[0].got.startswith(_PREFACE) or HEAD_END in talk.origins[0].got[len(_PREFACE) :])

    talk.wait(lambda: spoken() or talk.client.over)
    if not spoken():
        return None, None
    end = talk.origins[0]
    return end, Http2(end, client=False) if end.got.startswith(_PREFACE) else None


def request(end: End, speaker: Http2 | None) -> bytes:
    """The request as an HTTP/1.1 message without the version, whatever it came in; names in lower case."""
    if speaker is None:
        lines, body = split(end.got)
        named = [(name.lower(), value) for name, _, value in (line.partition(b":") for line in lines[1:])]
        return b"\r\n".join((lines[0].rpartition(b" ")[0], *(name + b":" + value for name, value in named))) + HEAD_END + body
    sent = pairs(speaker.all(h2.events.RequestReceived)[0])
    pseudo = dict(sent)
    return _message(f"{pseudo[':method']} {pseudo[':path']}", [("host", pseudo[":authority"]), *sent]) + _body(speaker)


def answer(client: Http2) -> bytes:
    """The client's answer, in the same form."""
    heads = map(pairs, (*client.all(h2.events.InformationalResponseReceived), *client.all(h2.events.ResponseReceived)))
    return b"".join(_message(f"HTTP/1.1 {dict(head)[':status']}", head) for head in heads) + _body(client)


def trailers(side: Http2 | None) -> str:
    """What stood behind the body that this side received."""
    events = side.all(h2.events.TrailersReceived) if side else []
    return "; ".join(f"{name}: {value}" for event in events for name, value in pairs(event)) or "none"


def pairs(event: Any) -> Fields:
    """An event's fields."""
    return [(str(name), str(value)) for name, value in event.headers]


def _message(line: str, fields: Fields) -> bytes:
    return "\r\n".join((line, *(f"{name}: {value}" for name, value in fields if not name.startswith(":")))).encode("latin-1") + HEAD_END


def _body(side: Http2) -> bytes:
    return b"".join(event.data or b"" for event in side.all(h2.events.DataReceived))
