"""Rows about a request's connection and body."""

from __future__ import annotations

from functools import partial

from tests.transparency.exchange import BYE, OK, Observation, Row, Run, ask, exchange, refused, still_open, tell, words
from tests.transparency.message import complete, whole
from tests.transparency.request_rows import CHUNKED, POST
from tests.transparency.wire import HEAD_END, End, Talk, has


def expect(answer: bytes, *, early: bool) -> Run:
    """A client that waits for 100 before it sends the body. early: the origin's final answer comes instead."""

    def run(talk: Talk) -> Observation:
        talk.client.send(ask(b"Content-Length: 4", b"Expect: 100-continue", line=POST))
        origin = talk.request(has(HEAD_END))
        if origin is None:
            return refused(talk)
        seen = {"request": words(origin.got)}
        if not early:
            talk.fence()
            seen["100 comes"] = "from nginx, before the origin says it" if talk.client.got else "from the origin"
            if b"Expect" in origin.got:
                origin.send(b"HTTP/1.1 100 Continue\r\n\r\n")
            talk.wait(lambda: talk.client.got)
        if b" 100 " in talk.client.got:
            talk.client.send(b"body")
            talk.wait(lambda: origin.got.endswith(b"body"))
        origin.send(answer)
        talk.wait(lambda: talk.client.over or complete(talk.client.got))
        seen["answer"] = words(talk.client.got)
        return seen

    return run


def _ends(end: End, mark: bytes) -> bool:
    return mark in end.got.partition(HEAD_END)[2]


def in_steps(head: bytes, parts: list[bytes]) -> Run:
    """A body whose next part is sent only when the origin has the one before, if it has the head."""

    def run(talk: Talk) -> Observation:
        talk.client.send(head)
        talk.fence()
        streamed = next((end for end in talk.origins if end.got.startswith(head)), None)
        for part in parts:
            talk.client.send(part)
            mark = part.strip(b"\r\n").rpartition(b"\r\n")[2]
            if streamed and not talk.wait(partial(_ends, streamed, mark)):
                return {"a part": "is held back until the next"}
        origin = talk.request(lambda got: got.startswith(head[:4]) and whole(got))
        if origin is None:
            return refused(talk)
        origin.send(OK)
        talk.answer()
        seen = {"the origin gets": "each part as it is sent" if streamed else "the request when its body is whole"}
        return {**seen, "request": words(origin.got), "answer": words(talk.client.got)}

    return run


def large(talk: Talk) -> Observation:
    """Eight megabytes, the first of which the origin reads before the client has the rest."""
    total, first = 8_000_000, 65536
    talk.client.send(ask(b"Content-Length: %d" % total, line=POST, body=b"x" * first))
    origin = talk.request(lambda got: len(got.partition(HEAD_END)[2]) >= first)
    if origin is None:
        return refused(talk)
    talk.client.send(b"x" * (total - first))
    talk.wait(lambda: len(origin.got.partition(HEAD_END)[2]) >= total)
    seen = {"request": words(origin.got)}
    origin.send(OK)
    return {**seen, "answer": words(talk.answer())}


def pipelined(talk: Talk) -> Observation:
    """Two requests in one write, both answered in order."""
    talk.client.send(ask(line=b"GET /1 HTTP/1.1") + ask(line=b"GET /2 HTTP/1.1"))
    origin = talk.request(has(b"/1"))
    if origin is None:
        return refused(talk)
    talk.fence()
    together = b"/2" in origin.got
    origin.send(tell(body=b"one"))
    if not together:
        talk.wait(lambda: any(b"/2" in end.got for end in talk.origins))
    second = next(end for end in talk.origins if b"/2" in end.got)
    second.send(tell(body=b"two"))
    talk.wait(lambda: talk.client.got.endswith(b"two"))
    return {
        "the origin gets the second request": "with the first" if together else "after its first answer",
        "answer": words(talk.client.got),
    }


def half_closed(talk: Talk) -> Observation:
    """The client says that it will send no more, and waits for the answer."""
    talk.client.send(ask())
    origin = talk.request(has(HEAD_END))
    if origin is None:
        return refused(talk)
    talk.client.finish()
    seen = {"the origin sees": "the end" if talk.wait(lambda: origin.over) else "nothing"}
    origin.send(BYE)
    origin.close()
    talk.wait(lambda: talk.client.over)
    return {**seen, "answer": words(talk.client.got)}


def half_closed_body(talk: Talk) -> Observation:
    """The client breaks off in the middle of its body."""
    talk.client.send(ask(b"Content-Length: 10", line=POST, body=b"half"))
    origin = talk.request(has(b"half"))
    if origin is None:
        return refused(talk)
    talk.client.close()
    talk.wait(lambda: origin.over)
    return {"request": words(origin.got), "the origin sees the connection": origin.over}


def early_answer(talk: Talk) -> Observation:
    """The origin answers when it has the head alone; then the client sends its body and another request."""
    talk.client.send(ask(b"Content-Length: 4", line=POST))
    origin = talk.request(has(HEAD_END))
    if origin is None:
        return refused(talk)
    origin.send(tell(line=b"HTTP/1.1 413 Too Large"))
    seen = {"answer": words(talk.answer())}
    talk.client.send(b"body")
    if not talk.client.over:
        talk.wait(lambda: origin.got.endswith(b"body") or talk.client.over)
    seen["request"] = words(origin.got)
    seen["the client's connection"] = still_open(talk)
    return seen


_HOP = "Connection, and what else is hop by hop"
_BODY = "Request body"

ROWS = [
    Row(_HOP, "HTTP/1.1 without `Connection`", exchange(ask())),
    Row(_HOP, "`Connection: close`", exchange(ask(b"Connection: close"), BYE, close=True)),
    Row(_HOP, "`Connection: keep-alive`", exchange(ask(b"Connection: keep-alive"))),
    Row(_HOP, "`Connection: X-Hop`, and that header", exchange(ask(b"Connection: X-Hop", b"X-Hop: 1"))),
    Row(_HOP, "`Keep-Alive: timeout=5`", exchange(ask(b"Keep-Alive: timeout=5"))),
    Row(_HOP, "`Proxy-Connection: keep-alive`", exchange(ask(b"Proxy-Connection: keep-alive"))),
    Row(_HOP, "`TE: trailers`", exchange(ask(b"TE: trailers", b"Connection: TE"))),
    Row(_HOP, "`Trailer: X-A`", exchange(ask(b"Trailer: X-A"))),
    Row(
        _HOP,
        "`Upgrade: h2c`, declined",
        exchange(ask(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQAAP__")),
    ),
    Row(_HOP, "`Upgrade` without `Connection`", exchange(ask(b"Upgrade: websocket"))),
    Row(_HOP, "HTTP/1.0", exchange(ask(line=b"GET / HTTP/1.0"), BYE, close=True)),
    Row(_HOP, "HTTP/1.0 without `Host`", exchange(ask(line=b"GET / HTTP/1.0", host=b""), BYE, close=True)),
    Row(_HOP, "HTTP/1.0 with `Connection: keep-alive`", exchange(ask(b"Connection: keep-alive", line=b"GET / HTTP/1.0"))),
    Row(_HOP, "`Expect: 100-continue`, the origin answers 100, then 200", expect(OK, early=False)),
    Row(_HOP, "`Expect: 100-continue`, the origin answers 417 at once", expect(tell(line=b"HTTP/1.1 417 No"), early=True)),
    Row(_HOP, "`Expect: something`", exchange(ask(b"Expect: something"))),
    Row(_BODY, "`Content-Length: 0`", exchange(ask(b"Content-Length: 0", line=POST))),
    Row(_BODY, "POST without a length", exchange(ask(line=POST))),
    Row(_BODY, "a body with a length", exchange(ask(b"Content-Length: 4", line=POST, body=b"body"))),
    Row(_BODY, "GET with a body", exchange(ask(b"Content-Length: 4", body=b"body"))),
    Row(_BODY, "`Content-Length: 004`", exchange(ask(b"Content-Length: 004", line=POST, body=b"body"))),
    Row(
        _BODY, "in parts, each once the origin has the one before", in_steps(ask(b"Content-Length: 9", line=POST), [b"one", b"two", b"six"])
    ),
    Row(
        _BODY,
        "PUT in parts, each once the origin has the one before",
        in_steps(ask(b"Content-Length: 9", line=b"PUT / HTTP/1.1"), [b"one", b"two", b"six"]),
    ),
    Row(_BODY, "8 MB, the origin reads while the client sends", large),
    Row(
        _BODY,
        "chunks, each once the origin has the one before",
        in_steps(ask(CHUNKED, line=POST), [b"3\r\none\r\n", b"4\r\nfour\r\n", b"0\r\n\r\n"]),
    ),
    Row(_BODY, "chunks in one write", exchange(ask(CHUNKED, line=POST, body=b"3\r\none\r\n4\r\nfour\r\n0\r\n\r\n"))),
    Row(_BODY, "chunk extensions, capital and padded sizes", exchange(ask(CHUNKED, line=POST, body=b"00A;a=b\r\nonetwofour\r\n0\r\n\r\n"))),
    Row(_BODY, "trailers of a request", exchange(ask(CHUNKED, line=POST, body=b"3\r\none\r\n0\r\nX-A: 1\r\n\r\n"))),
    Row(_BODY, "the origin answers before it has the body", early_answer),
    Row(_BODY, "the client breaks off in its body", half_closed_body),
    Row(_BODY, "pipelined requests", pipelined),
    Row(_BODY, "the client half-closes, and waits for the answer", half_closed),
]
