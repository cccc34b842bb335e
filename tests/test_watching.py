"""What a watcher says of the bytes of a connection: every request of HTTP/1.1 and HTTP/2, and of anything else nothing, ever quietly."""

from __future__ import annotations

from itertools import pairwise

import h2.config
import h2.connection
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from generator.watching import Seen, Watcher

CUTS = st.lists(st.integers(1, 40), max_size=30)
BODIES = st.binary(max_size=200)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    """The bytes in pieces of these sizes; the last is the rest."""
    at = [0]
    for size in cuts:
        at.append(min(at[-1] + size, len(data)))
    return [data[a:b] for a, b in pairwise([*at, len(data)]) if a < b]


FRAMINGS = st.sampled_from(["length", "chunked", "lines"])


def message(start: str, body: bytes, framing: str) -> bytes:
    """A message of HTTP/1.1 whose body says its length, or comes in chunks: plain ones, or with extensions, trailers and bare line ends."""
    if framing == "length":
        return f"{start}\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    chunks = [body[at : at + 90] for at in range(0, len(body), 90)]
    if framing == "chunked":
        return f"{start}\r\ntransfer-encoding:chunked\r\n\r\n".encode() + b"".join(b"%x\r\n%b\r\n" % (len(c), c) for c in [*chunks, b""])
    whole = b"".join(b"%02X; a=b\n%b\n" % (len(c), c) for c in chunks)
    return f"{start}\nTransfer-Encoding: gzip, chunked \n\n".encode() + whole + b"0\nContent-Length: 7\n\n"


@given(st.lists(st.tuples(BODIES, FRAMINGS, BODIES, FRAMINGS, st.sampled_from([200, 404, 503])), min_size=1, max_size=4), CUTS)
def test_each_request_of_a_connection(exchanges: list[tuple[bytes, str, bytes, str, int]], cuts: list[int]) -> None:
    """However it is cut: one after the other, with bodies of either framing, each is seen once, with its own status and time."""
    watcher, now = Watcher(), 0.0
    for body, framing, answer, other, status in exchanges:
        asked = message("POST /a?b HTTP/1.1", body, framing)
        assert [found for piece in pieces(asked, cuts) for found in watcher.sent(piece, now)] == []
        whole = message(f"HTTP/1.1 {status} X", answer, other)
        found = [seen for piece in pieces(whole, cuts) for seen in watcher.answered(piece, now + 0.5)]
        assert found == [Seen("POST", "/a?b", status, 0.5)]
        now += 1.0


FRAGMENTS = (
    st.builds(message, st.sampled_from(["GET / HTTP/1.1", "HEAD /h HTTP/1.1", "CONNECT a:1 HTTP/1.0"]), BODIES, FRAMINGS)
    | st.builds(message, st.sampled_from([f"HTTP/1.1 {n} X" for n in (100, 101, 200, 204, 304, 500)]), BODIES, FRAMINGS)
    | st.sampled_from([b"\r\n", b"0\r\n", b"-1\r\n\r\n", b"GET / HTTP/1.1\r\ncontent-length: 1, 1\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
    | st.binary(max_size=50)
)
PARTS = st.tuples(st.booleans(), st.lists(FRAGMENTS, max_size=3).map(b"".join))


@given(st.lists(PARTS, max_size=12), CUTS)
@example([(True, b"GET / HTTP/1.1\r\n\r\n"), (False, b"HTTP/1.1 204 X\r\n\r\nnoise\r\n\r\n")], [20])
def test_how_bytes_are_cut_makes_no_difference(parts: list[tuple[bool, bytes]], cuts: list[int]) -> None:
    """Of whatever goes to and fro, in any order, the same is seen, and never more than was asked."""
    whole, cut = Watcher(), Watcher()
    asked = sum(b" HTTP/1." in data for inward, data in parts if inward)
    seen = [s for inward, data in parts for s in (whole.sent if inward else whole.answered)(data, 0)]
    again = [s for inward, data in parts for p in pieces(data, cuts) for s in (cut.sent if inward else cut.answered)(p, 0)]
    assert seen == again
    assert len(seen) <= asked


def test_of_a_process_that_never_answers_not_all_is_kept() -> None:
    """A caller who sends on and on costs no memory."""
    watcher = Watcher()
    for _ in range(1000):
        watcher.sent(b"GET / HTTP/1.1\r\n\r\n" * 100, 0)
    assert watcher.answered(b"HTTP/1.1 200 OK\r\n\r\n", 0) == ()


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("GET", 304)])
def test_an_answer_without_the_body_whose_length_it_says(method: str, status: int) -> None:
    """It is the length of what another GET would give; the next answer follows at once."""
    watcher = Watcher()
    for asked, answered, body in ((method, status, b""), ("GET", 200, b"hello")):
        watcher.sent(f"{asked} / HTTP/1.1\r\nHost: a\r\n\r\n".encode(), 0)
        answer = f"HTTP/1.1 {answered} X\r\nContent-Length: 5\r\n\r\n".encode() + body
        assert watcher.answered(answer, 0) == (Seen(asked, "/", answered, 0),)


def test_an_old_server() -> None:
    """HTTP/1.0, as Python's http.server answers: the body lasts until the connection ends."""
    watcher = Watcher()
    watcher.sent(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", 1)
    assert watcher.answered(b"HTTP/1.0 404 Not Found\r\nServer: x\r\n\r\nno", 3) == (Seen("GET", "/", 404, 2),)


def test_an_answer_before_the_request_has_ended() -> None:
    """A server may refuse an upload while it comes."""
    watcher = Watcher()
    watcher.sent(b"POST /up HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc", 0)
    assert watcher.answered(b"HTTP/1.1 413 Too Large\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", 1) == (
        Seen("POST", "/up", 413, 1),
    )


def test_what_is_informational_is_no_answer() -> None:
    """100 Continue comes before it."""
    watcher = Watcher()
    watcher.sent(b"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n", 0)
    assert watcher.answered(b"HTTP/1.1 100 Continue\r\n\r\n", 1) == ()
    watcher.sent(b"x", 1)
    assert watcher.answered(b"HTTP/1.1 204 No Content\r\n\r\n", 2) == (Seen("POST", "/", 204, 2),)


def test_a_websocket_is_one_request() -> None:
    """Seen when it is agreed on; what follows is not HTTP."""
    watcher = Watcher()
    watcher.sent(b"GET /ws HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", 0)
    answer = b"HTTP/1.1 101 X\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x02hi"
    assert watcher.answered(answer, 1) == (Seen("GET", "/ws", 101, 1),)
    assert watcher.sent(b"\x81\x82abcd", 2) == watcher.answered(b"HTTP/1.1 200 OK\r\n\r\n", 3) == ()


@given(st.lists(st.tuples(st.integers(0, 5), BODIES), min_size=1, max_size=6), CUTS)
def test_streams_of_http2(asked: list[tuple[int, bytes]], cuts: list[int]) -> None:
    """As a real implementation writes them: heads that refer to earlier ones, bodies between, answers out of order."""
    carrier = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    process = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False))
    watcher = Watcher()
    found: list[Seen] = []

    def flow(now: float) -> None:
        inward = carrier.data_to_send()
        for piece in pieces(inward, cuts):
            found.extend(watcher.sent(piece, now))
        process.receive_data(inward)
        outward = process.data_to_send()
        for piece in pieces(outward, cuts):
            found.extend(watcher.answered(piece, now))
        carrier.receive_data(outward)

    carrier.initiate_connection()
    process.initiate_connection()
    flow(0)
    streams = []
    for number, (kind, body) in enumerate(asked):
        stream = carrier.get_next_available_stream_id()
        streams.append((stream, number, kind))
        heads = [(":method", "POST"), (":path", f"/{kind}/{number}"), (":scheme", "http"), (":authority", "a"), ("x-same", "again" * 20)]
        carrier.send_headers(stream, heads)
        carrier.send_data(stream, body, end_stream=True)
        flow(number)
    for stream, _, kind in reversed(streams):
        process.send_headers(stream, [(":status", str(200 + kind)), ("content-type", "application/grpc")])
        process.send_data(stream, b"x" * 50)
        process.send_headers(stream, [("grpc-status", "0")], end_stream=True)
        flow(10)

    assert found == [Seen("POST", f"/{kind}/{number}", 200 + kind, 10 - number) for _, number, kind in reversed(streams)]


@given(
    st.lists(st.tuples(st.booleans(), st.binary(max_size=300)), max_size=8),
    st.sampled_from([b"", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", b"GET / "]),
)
def test_of_other_bytes_it_says_nothing_and_never_fails(parts: list[tuple[bool, bytes]], begin: bytes) -> None:
    """A database, TLS, noise, or HTTP that breaks off: no exception, and no request that was not there whole."""
    watcher = Watcher()
    found = [*watcher.sent(begin, 0)]
    for inward, data in parts:
        found += watcher.sent(data, 0) if inward else watcher.answered(data, 0)
    assert found == []


def test_what_is_told_moves_no_cursor() -> None:
    """A path is the caller's: control characters of it are not for a terminal."""
    carrier = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, validate_outbound_headers=False))
    process = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, validate_inbound_headers=False))
    carrier.initiate_connection()
    carrier.send_headers(1, [(":method", "GET"), (":path", "/\x1b[2J"), (":scheme", "http"), (":authority", "a")], end_stream=True)
    data = carrier.data_to_send()
    process.receive_data(data)
    process.send_headers(1, [(":status", "200")], end_stream=True)
    watcher = Watcher()
    watcher.sent(data, 0)
    assert watcher.answered(process.data_to_send(), 1) == (Seen("GET", "/?[2J", 200, 1),)
