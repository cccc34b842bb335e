"""Rows about requests: what the client sends is what the origin should get."""

from __future__ import annotations

from tests.transparency.exchange import HOST, Row, Run, ask, exchange, tell
from tests.transparency.wire import HEAD_END, has

CHUNKED = b"Transfer-Encoding: chunked"
POST = b"POST / HTTP/1.1"


def target(path: bytes, method: bytes = b"GET") -> Run:
    """A request for `path`."""
    return exchange(ask(line=method + b" " + path + b" HTTP/1.1"))


_LINE = "Request line"
_HEAD = "Request headers"
_SMUGGLE = "Ambiguous requests"

ROWS = [
    Row(_LINE, "absolute form, `GET http://other/a`", target(b"http://other/a")),
    Row(_LINE, "authority form, `CONNECT other:443`", target(b"other:443", b"CONNECT")),
    Row(_LINE, "`OPTIONS *`", target(b"*", b"OPTIONS")),
    Row(_LINE, "TRACE", target(b"/", b"TRACE")),
    Row(_LINE, "unknown method `BREW`", target(b"/", b"BREW")),
    Row(_LINE, "method `M-SEARCH`", target(b"/", b"M-SEARCH")),
    Row(_LINE, "method in lower case, `get`", target(b"/", b"get")),
    Row(_LINE, "`//a//b`", target(b"//a//b")),
    Row(_LINE, "dot segments, `/a/../b/./c`", target(b"/a/../b/./c")),
    Row(_LINE, "dot segments above the root, `/../a`", target(b"/../a")),
    Row(_LINE, "percent-encoding, `/%61%2fb%2F%20?x=%41+%zz`", target(b"/%61%2fb%2F%20?x=%41+%zz")),
    Row(_LINE, "broken percent-encoding, `/%zz`", target(b"/%zz")),
    Row(_LINE, "`/%00`", target(b"/%00")),
    Row(_LINE, "raw UTF-8, `/ä?ö`", target("/ä?ö".encode())),
    Row(_LINE, 'odd characters, `/<>"{}\\^`', target(b'/<>"{}\\^')),
    Row(_LINE, "fragment, `/a#b`", target(b"/a#b")),
    Row(_LINE, "empty query, `/a?`", target(b"/a?")),
    Row(_LINE, "a control character, `/\\x01`", target(b"/\x01")),
    Row(_LINE, "a blank in the target, `/a b`", target(b"/a b")),
    Row(_LINE, "two blanks before the version", exchange(ask(line=b"GET /  HTTP/1.1"))),
    Row(_LINE, "HTTP/1.2", exchange(ask(line=b"GET / HTTP/1.2"))),
    Row(_LINE, "an empty line before the request", exchange(b"\r\n" + ask(), until=has(HOST + HEAD_END))),
    *(Row(_LINE, f"a line of {size} kB", target(b"/" + b"a" * (size * 1024 - 15))) for size in (8, 31, 33, 65)),
    Row(_HEAD, "order and case", exchange(ask(b"x-b: 1", b"X-A: 2", b"ACCEPT: */*", b"x-C: 3"))),
    Row(_HEAD, "`Host` not first", exchange(ask(b"X-A: 1", b"X-B: 2", host=b"User-Agent: x").replace(b"X-A: 1", b"X-A: 1\r\nHost: app"))),
    Row(_HEAD, "`content-length` in lower case, last", exchange(ask(b"X-A: 1", b"content-length: 4", line=POST, body=b"body"))),
    Row(_HEAD, "`host` in lower case", exchange(ask(host=b"host: app"))),
    Row(_HEAD, "`Host` with capitals and port", exchange(ask(host=b"Host: App.Example:8080"))),
    Row(_HEAD, "`Host` that is no name, `a_b..c`", exchange(ask(host=b"Host: a_b..c"))),
    Row(_HEAD, "`Host` empty", exchange(ask(host=b"Host:"))),
    Row(_HEAD, "`Host` absent, HTTP/1.1", exchange(ask(host=b""))),
    Row(_HEAD, "`Host` twice", exchange(ask(b"Host: b"))),
    Row(_HEAD, "a header twice", exchange(ask(b"X-A: 1", b"Cookie: a=1", b"X-A: 2", b"Cookie: b=2"))),
    Row(_HEAD, "an empty header", exchange(ask(b"X-A: ", b"X-B: 1"))),
    Row(_HEAD, "an empty header without a blank, `X-A:`", exchange(ask(b"X-A:", b"X-B: 1"))),
    Row(_HEAD, "no blank after the colon, `X-A:1`", exchange(ask(b"X-A:1"))),
    Row(_HEAD, "names with `_`, `.`, `!#$%&'*+^~`", exchange(ask(b"a_b: 1", b"a.b: 2", b"a!#$%&'*+^~: 3"))),
    Row(_HEAD, "a name that is none, `a b: 1`", exchange(ask(b"a b: 1"))),
    Row(_HEAD, "a blank before the colon, `X-A : 1`", exchange(ask(b"X-A : 1"))),
    Row(_HEAD, "a line without colon", exchange(ask(b"X-A"))),
    Row(_HEAD, "UTF-8 and other bytes from 0x80 in a value", exchange(ask(b"X-A: \xc3\xa4 \xff\xfe"))),
    Row(_HEAD, "control characters in a value, `\\x01`, `\\x7f`", exchange(ask(b"X-A: \x01\x7f"))),
    Row(_HEAD, "NUL in a value", exchange(ask(b"X-A: a\0b"))),
    Row(_HEAD, "blanks around a value", exchange(ask(b"X-A:   a  b  "))),
    Row(_HEAD, "tabs around a value", exchange(ask(b"X-A:\ta\tb\t"))),
    *(Row(_HEAD, f"a header of {size} kB", exchange(ask(b"X-A: " + b"a" * (size * 1024 - 7)))) for size in (8, 31, 33, 65)),
    Row(_HEAD, "200 headers", exchange(ask(*(b"X-%d: %d" % (n, n) for n in range(200))))),
    Row(_HEAD, "1,100 headers", exchange(ask(*(b"X-%d: %d" % (n, n) for n in range(1100))))),
    Row(
        _HEAD,
        "`X-Forwarded-For`, `Forwarded`, `Via` of the client",
        exchange(ask(b"X-Forwarded-For: 10.0.0.1", b"Forwarded: for=10.0.0.1", b"Via: 1.1 a")),
    ),
    Row(_HEAD, "`Authorization`, `Proxy-Authorization`", exchange(ask(b"Authorization: Basic YTpi", b"Proxy-Authorization: Basic YTpi"))),
    Row(
        _HEAD,
        "`Range`, `If-None-Match`, `Accept-Encoding`",
        exchange(ask(b"Range: bytes=0-0", b'If-None-Match: "a"', b"Accept-Encoding: gzip"), tell(b'ETag: "a"', b"Accept-Ranges: bytes")),
    ),
    Row(
        _SMUGGLE,
        "`Content-Length` and `Transfer-Encoding`",
        exchange(ask(b"Content-Length: 4", CHUNKED, line=POST, body=b"0\r\n\r\n"), until=has(b"0\r\n\r\n"), again=False),
    ),
    Row(
        _SMUGGLE,
        "`Content-Length` twice, 4 and 5",
        exchange(ask(b"Content-Length: 4", b"Content-Length: 5", line=POST, body=b"bodyx"), until=has(b"bodyx"), again=False),
    ),
    Row(
        _SMUGGLE,
        "`Content-Length` twice, 4 and 4",
        exchange(ask(b"Content-Length: 4", b"Content-Length: 4", line=POST, body=b"body"), until=has(b"body"), again=False),
    ),
    Row(_SMUGGLE, "`Content-Length: +4`", exchange(ask(b"Content-Length: +4", line=POST, body=b"body"), until=has(b"body"), again=False)),
    Row(_SMUGGLE, "`Transfer-Encoding: identity`", exchange(ask(b"Transfer-Encoding: identity", line=POST), again=False)),
    Row(
        _SMUGGLE,
        "`Transfer-Encoding: gzip, chunked`",
        exchange(ask(b"Transfer-Encoding: gzip, chunked", line=POST, body=b"0\r\n\r\n"), until=has(b"0\r\n\r\n"), again=False),
    ),
    Row(
        _SMUGGLE,
        "`Transfer-Encoding : chunked`, a blank before the colon",
        exchange(ask(b"Transfer-Encoding : chunked", line=POST, body=b"0\r\n\r\n"), until=has(b"0\r\n\r\n"), again=False),
    ),
    Row(
        _SMUGGLE,
        "`Transfer_Encoding: chunked`, an underscore",
        exchange(
            ask(b"Content-Length: 5", b"Transfer_Encoding: chunked", line=POST, body=b"0\r\n\r\n"), until=has(b"0\r\n\r\n"), again=False
        ),
    ),
    Row(
        _SMUGGLE,
        "chunked in HTTP/1.0",
        exchange(ask(CHUNKED, line=b"POST / HTTP/1.0", body=b"0\r\n\r\n"), until=has(b"0\r\n\r\n"), again=False),
    ),
    Row(
        _SMUGGLE,
        "a chunk size that is none, `0x3`",
        exchange(ask(CHUNKED, line=POST, body=b"0x3\r\none\r\n0\r\n\r\n"), until=has(b"0\r\n\r\n"), again=False),
    ),
    Row(_SMUGGLE, "a folded header (obs-fold)", exchange(ask(b"X-A: 1", b" 2"), again=False)),
    Row(
        _SMUGGLE,
        "lines that end in LF alone",
        exchange(b"GET / HTTP/1.1\nHost: app\nX-A: 1\n\n", until=lambda got: b"\n\n" in got or HEAD_END in got, again=False),
    ),
    Row(_SMUGGLE, "CR within a value", exchange(ask(b"X-A: a\rb"), again=False)),
    Row(_SMUGGLE, "LF within a value", exchange(ask(b"X-A: a\nX-B: b"), again=False)),
    Row(_SMUGGLE, "no version (HTTP/0.9)", exchange(b"GET /\r\n\r\n", until=has(HEAD_END), again=False)),
]
