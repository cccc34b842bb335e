"""Rows about HTTP/2 with prior knowledge: the origin takes what it is spoken to in, HTTP/2 or HTTP/1.1."""

from __future__ import annotations

from functools import partial

import h2.events

from tests.transparency.exchange import Observation, Row, Run, refused, tell, words
from tests.transparency.http2 import Fields, Http2, answer, asked, origin_of, request, trailers
from tests.transparency.message import whole
from tests.transparency.wire import Talk

GRPC: Fields = [("te", "trailers"), ("content-type", "application/grpc")]
ORIGIN: Fields = [("server", "app"), ("date", "Tue, 24 Nov 2026 10:00:00 GMT")]
GRPC_ANSWER: Fields = [(":status", "200"), GRPC[1], *ORIGIN]


def call(
    fields: Fields,
    body: bytes = b"",
    *,
    reply: Fields | None = None,
    early: Fields | None = None,
    end: Fields | None = None,
    show: tuple[str, ...] = ("request", "answer"),
) -> Run:
    """One request and its answer, of which `show` is the row.

    reply: fields besides the usual. early: a 103 first. end: trailers.
    """

    def run(talk: Talk) -> Observation:
        client = Http2(talk.client, client=True)
        client.headers(1, fields, last=not body)
        if body:
            client.data(1, body, last=True)
        origin, speaker = origin_of(talk)
        if origin is None:
            return refused(talk)
        talk.wait(lambda: speaker.all(h2.events.StreamEnded) if speaker else whole(origin.got))
        if speaker:
            _answer(speaker, reply or [], early, end)
        else:
            origin.send(_answer1(reply or [], early, end))
        talk.wait(client.over)
        seen = {
            "protocol": "HTTP/2" if speaker else "HTTP/1.1",
            "request": words(request(origin, speaker)),
            "answer": words(answer(client)),
            "trailers of the answer": trailers(client),
            "the client's stream": "is reset" if client.all(h2.events.StreamReset) else "ends",
        }
        return {name: text for name, text in seen.items() if name in (*show, "the client's stream")}

    return run


def _answer(speaker: Http2, reply: Fields, early: Fields | None, end: Fields | None) -> None:
    if early:
        speaker.headers(1, [(":status", "103"), *early])
    kind = GRPC[1] if end and GRPC[1] in reply else ("content-type", "text/plain")
    length = [] if end else [("content-length", "2")]
    speaker.headers(1, [(":status", "200"), kind, *length, *ORIGIN, *(pair for pair in reply if pair != kind)])
    speaker.data(1, b"ok", last=not end)
    if end:
        speaker.headers(1, end, last=True)


def _answer1(reply: Fields, early: Fields | None, end: Fields | None) -> bytes:
    """The same in HTTP/1.1."""

    def lines(fields: Fields | None) -> list[bytes]:
        return [f"{name}: {value}".encode("latin-1") for name, value in fields or []]

    first = b"\r\n".join((b"HTTP/1.1 103 Early Hints", *lines(early), b"", b"")) if early else b""
    body = b"\r\n".join((b"2", b"ok", b"0", *lines(end), b"", b"")) if end else b"ok"
    return first + tell(*lines(reply), chunked=bool(end), body=body)


def request_trailers(talk: Talk) -> Observation:
    """Trailers, once the origin has the body."""
    client = Http2(talk.client, client=True)
    client.headers(1, asked("POST"))
    client.data(1, b"body")
    origin, speaker = origin_of(talk)
    if origin is None:
        return refused(talk)
    talk.wait(lambda: speaker.all(h2.events.DataReceived) if speaker else b"body" in origin.got)
    client.headers(1, [("x-a", "1")], last=True)
    talk.wait(lambda: client.end.over or origin.over or (speaker.all(h2.events.StreamEnded) if speaker else whole(origin.got)))
    gone = client.all(h2.events.ConnectionTerminated)
    return {
        "the origin gets": trailers(speaker),
        "the client's connection": f"ends, GOAWAY {int(gone[0].error_code or 0)}" if gone else "stays open",
    }


def trailers_only(talk: Talk) -> Observation:
    """gRPC's error: the answer is a head alone."""  # noqa: D403
    client = Http2(talk.client, client=True)
    client.headers(1, asked("POST", *GRPC), last=True)
    _, speaker = origin_of(talk)
    if speaker is None:
        return refused(talk)
    talk.wait(lambda: speaker.all(h2.events.StreamEnded))
    speaker.headers(1, [(":status", "200"), GRPC[1], ("grpc-status", "9")], last=True)
    talk.wait(client.over)
    return {"answer": words(answer(client)), "the client's stream": "ends" if client.all(h2.events.StreamEnded) else "is reset"}


def both_ways(talk: Talk) -> Observation:
    """Messages to and fro on one stream, each once the one before is there."""
    client = Http2(talk.client, client=True)
    client.headers(1, asked("POST", *GRPC))
    _, speaker = origin_of(talk)
    if speaker is None:
        return refused(talk)
    talk.wait(lambda: speaker.all(h2.events.RequestReceived))
    speaker.headers(1, GRPC_ANSWER)
    for number in range(1, 4):
        client.data(1, b"\0\0\0\0\1%d" % number)
        there = talk.wait(partial(_received, speaker, number))
        speaker.data(1, b"\0\0\0\0\1%d" % number)
        if not (there and talk.wait(partial(_received, client, number))):
            return {"messages": "are held back"}
    return {"messages": "arrive one by one"}


def _received(side: Http2, number: int) -> bool:
    return len(side.all(h2.events.DataReceived)) >= number


def cancelled(fields: Fields) -> Run:
    """The client cancels its stream, and keeps its connection."""

    def run(talk: Talk) -> Observation:
        client = Http2(talk.client, client=True)
        client.headers(1, fields, last=True)
        origin, speaker = origin_of(talk)
        if origin is None:
            return refused(talk)
        if speaker:
            talk.wait(lambda: speaker.all(h2.events.RequestReceived))
        client.reset(1, 8)
        talk.wait(lambda: origin.over or (speaker and speaker.all(h2.events.StreamReset)))
        resets = speaker.all(h2.events.StreamReset) if speaker else []
        return {
            "the origin sees": f"RST_STREAM {int(resets[0].error_code or 0)}" if resets else f"its connection {origin.over or 'as before'}"
        }

    return run


def origin_resets(talk: Talk) -> Observation:
    """The origin resets a stream in the middle of an answer."""
    client = Http2(talk.client, client=True)
    client.headers(1, asked("POST", *GRPC), last=True)
    _, speaker = origin_of(talk)
    if speaker is None:
        return refused(talk)
    talk.wait(lambda: speaker.all(h2.events.RequestReceived))
    speaker.headers(1, GRPC_ANSWER)
    speaker.data(1, b"\0\0\0\0\1x")
    talk.wait(lambda: client.all(h2.events.DataReceived))
    speaker.reset(1, 11)
    talk.wait(client.over)
    resets = client.all(h2.events.StreamReset)
    ended = f"the connection {client.end.over}" if client.end.over else "an end as if whole"
    return {"the client sees": f"RST_STREAM {int(resets[0].error_code or 0)}" if resets else ended}


def together(talk: Talk) -> Observation:
    """Two streams of one connection at a time."""
    client = Http2(talk.client, client=True)
    client.headers(1, asked("POST", *GRPC), last=True)
    _, speaker = origin_of(talk)
    if speaker is None:
        return refused(talk)
    talk.wait(lambda: speaker.all(h2.events.RequestReceived))
    client.headers(3, asked("POST", *GRPC), last=True)
    talk.wait(lambda: len(speaker.all(h2.events.RequestReceived)) == 2 or len(talk.origins) == 2)
    return {"the origin has them on": "one connection" if len(talk.origins) == 1 else "two connections"}


_H2 = "HTTP/2 without TLS (prior knowledge)"
_GRPC = "gRPC"
_BODY = b"\0\0\0\0\0"
_GET = asked("GET")
_ODD: Fields = [("set-cookie", "a=1"), ("set-cookie", "b=2"), ("x-accel-redirect", "/x"), ("a_b", "1")]
_METADATA: Fields = [*GRPC, ("grpc-timeout", "1S"), ("x-a-bin", "AAEC"), ("user-agent", "grpc")]

ROWS = [
    Row(_H2, "the protocol that reaches the application", call(_GET, show=("protocol",))),
    Row(_H2, "a request and its answer", call(asked("GET", ("x-a", "1"), ("accept", "*/*")))),
    Row(_H2, "a request with a body", call(asked("POST", ("content-length", "4")), b"body")),
    Row(_H2, "a body without a length", call(asked("POST"), b"body")),
    Row(_H2, "cookies in several fields", call(asked("GET", ("cookie", "a=1"), ("cookie", "b=2")))),
    Row(_H2, "a field twice", call(asked("GET", ("x-a", "1"), ("x-a", "2")))),
    Row(_H2, "names with `_`, `.`; odd bytes in values", call(asked("GET", ("a_b", "1"), ("a.b", "2"), ("x-a", "\xc3\xa4\xff")))),
    Row(_H2, "`te: trailers`", call(asked("GET", ("te", "trailers")))),
    Row(_H2, "`expect: 100-continue`", call(asked("POST", ("content-length", "4"), ("expect", "100-continue")), b"body")),
    Row(_H2, "`:path` `//a/../b%2f?x=%zz`", call(asked("GET", path="//a/../b%2f?x=%zz"))),
    Row(_H2, "`set-cookie` twice, odd headers of the answer", call(_GET, reply=_ODD)),
    Row(_H2, "trailers of the request", request_trailers),
    Row(_H2, "trailers of the answer", call(asked("GET", ("te", "trailers")), end=[("x-a", "1")], show=("trailers of the answer",))),
    Row(_H2, "103 before the answer", call(_GET, early=[("link", "</a>")], show=("answer",))),
    Row(_H2, "the client cancels (RST_STREAM)", cancelled(_GET)),
    Row(
        _GRPC,
        "the protocol that reaches the application",
        call(asked("POST", *GRPC), _BODY, reply=GRPC[1:], end=[("grpc-status", "0")], show=("protocol",)),
    ),
    Row(
        _GRPC,
        "a call and its answer, with metadata and trailers",
        call(
            asked("POST", *_METADATA, path="/a.B/C"),
            _BODY,
            reply=[GRPC[1], ("x-b-bin", "AAEC")],
            end=[("grpc-status", "0"), ("x-c-bin", "AAEC")],
            show=("protocol", "request", "answer", "trailers of the answer"),
        ),
    ),
    Row(_GRPC, "an error without an answer (trailers only)", trailers_only),
    Row(_GRPC, "messages both ways, one by one", both_ways),
    Row(_GRPC, "the client cancels (RST_STREAM)", cancelled(asked("POST", *GRPC))),
    Row(_GRPC, "the origin resets in its answer (RST_STREAM 11)", origin_resets),
    Row(_GRPC, "two calls at a time", together),
]
