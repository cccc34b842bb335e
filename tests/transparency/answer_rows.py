"""Rows about answers: what the origin sends is what the client should get."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tests.transparency.exchange import OK, Observation, Row, Run, ask, exchange, refused, repeated, still_open, tell, words
from tests.transparency.message import complete
from tests.transparency.wire import HEAD_END, End, Talk, has


def answered(*lines: bytes, line: bytes = b"HTTP/1.1 200 OK", body: bytes = b"ok") -> Run:
    """An answer with `lines` besides the usual ones."""
    return exchange(ask(), tell(*lines, line=line, body=body))


def raw(answer: bytes, *, method: bytes = b"GET", close: bool = False) -> Run:
    """An answer byte for byte."""
    return exchange(ask(line=method + b" / HTTP/1.1"), answer, method=method.decode(), close=close)


def chunked(body: bytes, *lines: bytes) -> Run:
    """A chunked answer, in one write. The client takes trailers."""
    head = tell(*lines, chunked=True, body=b"")
    return exchange(ask(), head + body)


def _there(client: End, mark: bytes) -> bool:
    return mark in client.got.partition(HEAD_END)[2] or bool(client.over)


def in_steps(head: bytes, parts: list[bytes], end: Callable[[End], None] | None = None) -> Run:
    """An answer whose next part is sent only when the client has the one before. end: how the origin ends, by default not at all."""

    def run(talk: Talk) -> Observation:
        talk.client.send(ask())
        origin = talk.request(has(HEAD_END))
        if origin is None:
            return refused(talk)
        origin.send(head)
        if not talk.wait(lambda: HEAD_END in talk.client.got):
            return {"the head": "is held back until the body"}
        for part in parts:
            origin.send(part)
            if not talk.wait(partial(_there, talk.client, part.strip(b"\r\n").rpartition(b"\r\n")[2])):
                return {"a part": "is held back until the next"}
        if end:
            end(origin)
            talk.wait(lambda: talk.client.over or complete(talk.client.got))
        seen = {"answer": words(talk.client.got)}
        cut = f"ends with the connection {talk.client.over}" if talk.client.over else "goes on"
        seen["to the client the body"] = "is whole" if complete(talk.client.got) else cut
        return seen | repeated(talk)

    return run


def ended(end: Callable[[End], None], request: bytes, until: bytes = HEAD_END, first: bytes = b"") -> Run:
    """The origin ends the connection without an answer. Service Y' would answer."""

    def run(talk: Talk) -> Observation:
        talk.client.send(request)
        origin = talk.request(has(until))
        if origin is None:
            return refused(talk)
        origin.send(first)
        end(origin)

        def asked() -> list[End]:
            return [each for each in talk.origins if each is not origin and until in each.got]

        talk.wait(lambda: talk.client.over or complete(talk.client.got) or asked())
        for other in asked():
            other.send(OK)
        return {"answer": words(talk.answer()), "the client's connection": talk.client.over or "stays open"} | repeated(talk)

    return run


def aborted(*, midway: bool) -> Run:
    """The client goes away before the answer, or in the middle of it."""

    def run(talk: Talk) -> Observation:
        talk.client.send(ask())
        origin = talk.request(has(HEAD_END))
        if origin is None:
            return refused(talk)
        if midway:
            origin.send(tell(length=100))
            talk.wait(lambda: talk.client.got.endswith(b"ok"))
        talk.client.close()
        return {"the origin sees": "the end" if talk.wait(lambda: origin.over) else "nothing"}

    return run


def idle_closed(talk: Talk) -> Observation:
    """The origin closes a connection that waits for the next request."""
    talk.client.send(ask())
    origin = talk.request(has(HEAD_END))
    if origin is None:
        return refused(talk)
    origin.send(OK)
    talk.answer()
    origin.close()
    return {"the client's connection": still_open(talk)}


_LINE = "Status line"
_HEAD = "Answer headers"
_BODY = "Answer body"
_END = "Endings"

ROWS = [
    Row(_LINE, "the usual reason", answered()),
    Row(_LINE, "a reason of the application's own", answered(line=b"HTTP/1.1 200 Very well")),
    Row(_LINE, "no reason, `HTTP/1.1 200 `", answered(line=b"HTTP/1.1 200 ")),
    Row(_LINE, "no reason, `HTTP/1.1 200`", answered(line=b"HTTP/1.1 200")),
    *(Row(_LINE, f"status {code}", answered(line=b"HTTP/1.1 %d Odd" % code)) for code in (299, 418, 419, 499, 502, 599, 999)),
    Row(_LINE, "HTTP/1.0", exchange(ask(), tell(line=b"HTTP/1.0 200 OK", close=True), close=True)),
    Row(_LINE, "204", raw(b"HTTP/1.1 204 No Content\r\nConnection: keep-alive\r\nServer: app\r\nDate: x\r\n\r\n")),
    Row(
        _LINE,
        "304 without `Content-Length`",
        raw(b'HTTP/1.1 304 Not Modified\r\nConnection: keep-alive\r\nServer: app\r\nDate: x\r\nETag: "a"\r\n\r\n'),
    ),
    Row(
        _LINE,
        "304 with `Content-Length`",
        raw(b'HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\nConnection: keep-alive\r\nServer: app\r\nDate: x\r\nETag: "a"\r\n\r\n'),
    ),
    Row(_LINE, "HEAD, with `Content-Length`", raw(tell(length=99, body=b""), method=b"HEAD")),
    Row(_LINE, "HEAD, without", raw(tell(length=-1, body=b""), method=b"HEAD")),
    Row(_LINE, "HEAD, chunked", raw(tell(chunked=True, body=b""), method=b"HEAD")),
    *(
        Row(_LINE, f"{code} before the answer", raw(b"HTTP/1.1 " + code.encode() + b"\r\nLink: </a>\r\n\r\n" + OK))
        for code in ("100 Continue", "102 Processing", "103 Early Hints")
    ),
    Row(_LINE, "no HTTP at all, `+OK`", exchange(ask(), b"+OK ready\r\n\r\n", close=True, done=has(b"ready"))),
    Row(_HEAD, "no `Connection`", raw(OK.replace(b"Connection: keep-alive\r\n", b""))),
    Row(_HEAD, "no `Server`, no `Date`", raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok")),
    Row(
        _HEAD,
        "no `Content-Type`",
        raw(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\nServer: app\r\nDate: x\r\n\r\nok"),
    ),
    Row(
        _HEAD,
        "order and case",
        raw(
            b"HTTP/1.1 200 OK\r\nx-b: 1\r\nX-A: 2\r\ncontent-type: text/plain\r\nDATE: x\r\n"
            b"content-length: 2\r\nserver: app\r\nx-C: 3\r\nConnection: keep-alive\r\n\r\nok"
        ),
    ),
    Row(
        _HEAD, '`Content-Type` with odd spelling, `Text/HTML;Charset="utf-8"`', raw(OK.replace(b"text/plain", b'Text/HTML;Charset="utf-8"'))
    ),
    Row(_HEAD, "a header twice", answered(b"X-A: 1", b"Vary: a", b"X-A: 2", b"Vary: b")),
    Row(_HEAD, "`Set-Cookie` twice", answered(b"Set-Cookie: a=1; Path=/", b"Set-Cookie: b=2")),
    Row(_HEAD, "`Content-Type` twice", answered(b"Content-Type: text/html")),
    Row(_HEAD, "an empty header", answered(b"X-A: ", b"X-B: 1")),
    Row(_HEAD, "no blank after the colon, blanks and tabs around a value", answered(b"X-A:1", b"X-B:   a  ", b"X-C:\ta\t")),
    Row(_HEAD, "names with `_` and `.`", answered(b"a_b: 1", b"a.b: 2")),
    Row(_HEAD, "UTF-8 and odd bytes in a value", answered(b"X-A: \xc3\xa4 \xff\x01\x7f")),
    Row(_HEAD, "a folded header (obs-fold)", answered(b"X-A: 1", b" 2")),
    Row(
        _HEAD,
        "`Location`, `Refresh`, `Content-Location` with the origin's address",
        answered(
            b"Location: http://10.1.0.1:8080/a",
            b"Refresh: 0; url=http://10.1.0.1:8080/a",
            b"Content-Location: /b",
            line=b"HTTP/1.1 302 Found",
        ),
    ),
    Row(_HEAD, "`Location` of a path", answered(b"Location: /a", line=b"HTTP/1.1 302 Found")),
    *(
        Row(_HEAD, f"`X-Accel-{name}`", answered(f"X-Accel-{name}: {value}".encode()))
        for name, value in (("Redirect", "/x"), ("Buffering", "yes"), ("Expires", "1"), ("Limit-Rate", "1"), ("Charset", "utf-8"))
    ),
    Row(_HEAD, "`X-Pad`, `Status`, `P3P`", answered(b"X-Pad: 1", b"Status: 500", b"P3P: a")),
    Row(
        _HEAD,
        "`Expires`, `Cache-Control`, `Vary`, `Pragma`, `Age`",
        answered(b"Expires: 0", b"Cache-Control: no-store", b"Vary: *", b"Pragma: x", b"Age: 1"),
    ),
    Row(
        _HEAD,
        "`ETag`, `Last-Modified`, `Accept-Ranges`",
        answered(b'ETag: W/"a"', b"Last-Modified: Tue, 24 Nov 2026 10:00:00 GMT", b"Accept-Ranges: bytes"),
    ),
    Row(_HEAD, "`Content-Encoding: gzip`", answered(b"Content-Encoding: gzip", body=b"\x1f\x8b\x08\0 not really")),
    Row(
        _HEAD,
        "`Via`, `Alt-Svc`, `Strict-Transport-Security`",
        answered(b"Via: 1.1 a", b'Alt-Svc: h3=":443"', b"Strict-Transport-Security: max-age=1"),
    ),
    Row(_HEAD, "`Upgrade: h2c` as an offer", answered(b"Upgrade: h2c")),
    Row(_HEAD, "`Keep-Alive: timeout=5`, `Proxy-Connection`", answered(b"Keep-Alive: timeout=5", b"Proxy-Connection: keep-alive")),
    Row(
        _HEAD,
        "`WWW-Authenticate` of every kind",
        answered(b"WWW-Authenticate: Negotiate", b"WWW-Authenticate: NTLM", b'WWW-Authenticate: Basic realm="a"', line=b"HTTP/1.1 401 No"),
    ),
    Row(_HEAD, "`Connection: X-Hop`, and that header", raw(OK.replace(b"keep-alive", b"keep-alive, X-Hop\r\nX-Hop: 1"))),
    *(Row(_HEAD, f"a header of {size} kB", answered(b"X-A: " + b"a" * (size * 1024 - 7))) for size in (3, 8, 15, 17, 40, 65)),
    Row(_HEAD, "500 headers", answered(*(b"X-%d: %d" % (n, n) for n in range(500)))),
    Row(
        _BODY,
        "with a length, in parts, each once the client has the one before",
        in_steps(tell(length=9, body=b""), [b"one", b"two", b"six"]),
    ),
    Row(_BODY, "8 MB", exchange(ask(), tell(body=b"x" * 8_000_000))),
    Row(
        _BODY,
        "chunks, each once the client has the one before",
        in_steps(tell(chunked=True, body=b""), [b"3\r\none\r\n", b"4\r\nfour\r\n", b"0\r\n\r\n"]),
    ),
    Row(_BODY, "chunks in one write", chunked(b"3\r\none\r\n4\r\nfour\r\n0\r\n\r\n")),
    Row(_BODY, "chunk extensions, capital and padded sizes", chunked(b"00A;a=b\r\nonetwofour\r\n0\r\n\r\n")),
    Row(_BODY, "trailers", chunked(b"3\r\none\r\n0\r\nX-A: 1\r\n\r\n", b"Trailer: X-A")),
    Row(
        _BODY,
        "trailers, the client says `TE: trailers`",
        exchange(
            ask(b"Connection: TE", b"TE: trailers"), tell(b"Trailer: X-A", chunked=True, body=b"") + b"3\r\none\r\n0\r\nX-A: 1\r\n\r\n"
        ),
    ),
    Row(
        _BODY,
        "without a length, in parts, until the origin closes",
        in_steps(tell(length=-1, close=True, body=b""), [b"one", b"two"], End.close),
    ),
    Row(
        _BODY,
        "without a length, the client speaks HTTP/1.0",
        exchange(ask(line=b"GET / HTTP/1.0"), tell(length=-1, close=True), close=True),
    ),
    Row(
        _BODY,
        "chunked, the client speaks HTTP/1.0",
        exchange(ask(line=b"GET / HTTP/1.0"), tell(chunked=True, close=True, body=b"") + b"2\r\nok\r\n0\r\n\r\n", close=True),
    ),
    Row(
        _BODY,
        "server-sent events, each once the client has the one before",
        in_steps(tell(length=-1, close=True, body=b"").replace(b"text/plain", b"text/event-stream"), [b"data: 1\n\n", b"data: 2\n\n"]),
    ),
    Row(_BODY, "more than the length says", exchange(ask(), tell(length=2, body=b"ok and more"), again=False)),
    Row(
        _BODY,
        "a body with 204",
        exchange(
            ask(),
            b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\nConnection: keep-alive\r\nServer: app\r\nDate: x\r\n\r\nok",
            again=False,
        ),
    ),
    Row(_BODY, "`Content-Length` and chunked", chunked(b"2\r\nok\r\n0\r\n\r\n", b"Content-Length: 2")),
    Row(_BODY, "`Content-Length` twice, 2 and 3", exchange(ask(), tell(b"Content-Length: 3", body=b"ok!", length=2), again=False)),
    Row(_END, "`Connection: close` from the origin", exchange(ask(), tell(close=True), close=True)),
    Row(_END, "the origin closes in a body with a length", in_steps(tell(length=9, body=b""), [b"one"], End.close)),
    Row(_END, "the origin closes in a chunked body", in_steps(tell(chunked=True, body=b""), [b"3\r\none\r\n"], End.close)),
    Row(_END, "the origin resets in a chunked body", in_steps(tell(chunked=True, body=b""), [b"3\r\none\r\n"], End.reset)),
    Row(_END, "the origin resets in a body without a length", in_steps(tell(length=-1, close=True, body=b""), [b"one"], End.reset)),
    Row(_END, "the origin closes in the headers", ended(End.close, ask(), first=b"HTTP/1.1 200 OK\r\nX-A: 1\r\n")),
    Row(_END, "the origin closes without an answer, GET", ended(End.close, ask())),
    Row(_END, "the origin resets without an answer, GET", ended(End.reset, ask())),
    Row(
        _END,
        "the origin resets without an answer, POST",
        ended(End.reset, ask(b"Content-Length: 4", line=b"POST / HTTP/1.1", body=b"body"), b"body"),
    ),
    Row(_END, "the origin closes an idle connection", idle_closed),
    Row(_END, "the client goes away before the answer", aborted(midway=False)),
    Row(_END, "the client goes away in the answer", aborted(midway=True)),
]
