"""What a row of the table is, and the plain kind: one request, one answer, and whether the client can go on."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

from tests.transparency.message import complete, whole
from tests.transparency.wire import BRIEF, HEAD_END, End, Talk, Until

Observation = dict[str, str]
"""What was seen, by name and in order: `request` and `answer` are whole messages (latin-1), anything else is words."""

Run = Callable[[Talk], Observation]


class Row(NamedTuple):
    """subject: the table it stands in. run: the probe. tls: both sides of the lane speak TLS."""

    subject: str
    name: str
    run: Run
    tls: bool = False


HOST = b"Host: app"
_TYPE, _ORIGIN = b"Content-Type: text/plain", (b"Server: app", b"Date: Tue, 24 Nov 2026 10:00:00 GMT")
_AGAIN = b"GET /again HTTP/1.1\r\nHost: app\r\n\r\n"


def ask(*lines: bytes, line: bytes = b"GET / HTTP/1.1", host: bytes = HOST, body: bytes = b"") -> bytes:
    """A request. Host stands first, where nginx puts it, so that only the rows about order are about order."""
    return b"\r\n".join((line, *([host] if host else []), *lines)) + HEAD_END + body


def tell(
    *lines: bytes,
    line: bytes = b"HTTP/1.1 200 OK",
    length: int | None = None,
    chunked: bool = False,
    close: bool = False,
    body: bytes = b"ok",
) -> bytes:
    """An answer with the headers that nginx writes, in its order. length: None, that of `body`; below 0, or with `chunked`, none."""
    size = -1 if chunked else len(body) if length is None else length
    framing = [b"Transfer-Encoding: chunked"] if chunked else [b"Content-Length: %d" % size] if size >= 0 else []
    ends = [b"Connection: close" if close else b"Connection: keep-alive"]
    return b"\r\n".join((line, _TYPE, *framing, *ends, *_ORIGIN, *lines)) + HEAD_END + body


OK, BYE = tell(), tell(close=True)


def exchange(
    request: bytes,
    answer: bytes = OK,
    until: Until = whole,
    *,
    method: str = "GET",
    close: bool = False,
    again: bool = True,
    done: Until | None = None,
) -> Run:
    """The row of `request` and `answer`. until: whether the origin has all it waits for. close: it closes after the answer.

    done: whether the client has its answer, where this cannot be told from the answer itself.

    again: send another request afterwards, to see whether the client's connection still is one.
    """

    def run(talk: Talk) -> Observation:
        talk.client.send(request)
        origin = talk.request(until)
        if origin is None:
            return refused(talk)
        seen = {"request": words(origin.got)}
        origin.send(answer)
        if close:
            origin.close()
        talk.wait(lambda: talk.client.over or (done(talk.client.got) if done else complete(talk.client.got, method)))
        seen["answer"] = words(talk.client.got)
        seen |= repeated(talk)
        if again:
            seen["the client's connection"] = still_open(talk)
        return seen

    return run


def refused(talk: Talk) -> Observation:
    """The request reached no origin."""
    first, _, rest = talk.client.got.partition(b"\r\n")
    return {
        "refused": words(first if b"<center>nginx</center>" in rest else b"")
        or f"no answer of nginx, {talk.client.over or 'nothing comes'}"
    }


def still_open(talk: Talk, client: End | None = None) -> str:
    """Whether another request of the client reaches an origin."""
    client = client or talk.client
    client.send(_AGAIN)
    talk.fence()
    talk.wait(lambda: client.over or any(b" /again " in end.got for end in talk.origins), BRIEF)
    return "ends" if client.over else "stays open" if any(b" /again " in end.got for end in talk.origins) else "hangs"


def repeated(talk: Talk) -> Observation:
    """Whether Service Y' was asked, too."""
    return {"Service Y'": "is asked again"} if any(end.spare for end in talk.origins) else {}


def words(data: bytes) -> str:
    """Bytes as JSON can hold them; of a very long body its length and digest."""
    if len(data) > 1_000_000:
        head, _, body = data.partition(HEAD_END)
        data = head + HEAD_END + f"{len(body)} bytes, sha256 {sha256(body).hexdigest()}".encode()
    return data.decode("latin-1")
