"""Why a row differs, and what to do about it: all of docs/transparency.md that is written by hand."""

# ruff: noqa: E501 (a table: one row, one line)
from __future__ import annotations

FIRST = (
    "Connections and addresses: client's address",
    "Connections and addresses: something that is not HTTP, `SSH-2.0-x`",
    "HTTP/2 without TLS (prior knowledge): the protocol that reaches the application",
    "TLS (the carrier has the port's certificate): the client's certificate (mutual TLS)",
    "Connections and addresses: authentication bound to a connection (NTLM, Negotiate)",
    "Connections and addresses: nobody listens",
    "Endings: the origin closes without an answer, GET",
    "Answer headers: a header of 40 kB",
    "Request headers: a header of 65 kB",
    "Request body: the client half-closes, and waits for the answer",
    "Connection, and what else is hop by hop: `Expect: 100-continue`, the origin answers 417 at once",
    "Status line: 100 Continue before the answer",
)
"""Rows that a reader must know, most harm first."""

_HOP = "Hop by hop: it speaks of one connection, and there are two now (RFC 9110, section 7.6.1)."
_BLANKS = "Blanks around a value are no part of it (RFC 9110, section 5.5)."
_BAD = "nginx refuses it (ngx_http_parse.c); RFC 9112 lets a server do so. Most servers do."
_PATH = "nginx must decode a path to match it, and refuses one that it cannot (ngx_http_parse_complex_uri)."
_SPELLED = "nginx writes the headers it knows anew. Names fold case (RFC 9110, section 5.1)."
_ORDER = "nginx writes the headers it knows first. The order of different names means nothing (RFC 9110, section 5.3)."
_HOST = "A server must refuse it (RFC 9112, section 3.2)."
_REQUEST_SIZE = "`large_client_header_buffers 8 64k`. Apache httpd and Tomcat stop at 8 kB, Node at 16 kB by default."
_ANSWER_SIZE = "`proxy_buffer_size 32k` holds the head of an answer; each request takes that much memory."
_LENGTH = "nginx had the whole body when it wrote the head, so it says its length. Bodies that come later stay chunked."
_SMUGGLED = "Refused, so that nobody can smuggle a request past the rules (RFC 9112, section 6.3)."
_CHUNKS = "Chunks are hop by hop (RFC 9112, section 7.1); what has come together goes on together."
_LAST = "HTTP/1.1 has chunks for it, so the client's connection can stay (RFC 9112, section 6.3). A broken body has no last chunk."
_KEEP = "The client's connection is kept, whatever the origin does with its own."
_1XX = (
    "nginx takes any 1xx but 101 and 103 for the last answer (ngx_http_proxy_process_header), so what follows is a body without end. "
    "Only an origin that sends 100 unasked, or 102, is hit: `Expect` never reaches one."
)
_RETRY = (
    "Unmatched: nginx asks the next server, Service Y', again when nothing was answered, but for POST, LOCK and PATCH "
    "(`proxy_next_upstream`). Matched: 502, as nginx may have sent the request already."
)
_UPGRADE = "Hop by hop: nginx makes its own `Connection: upgrade`. Tokens fold case."
_TWO = "A stream has an upstream connection of its own (ngx_http_grpc_module), which nginx closes: the application's call is cancelled all the same."
_TRAILERS = "`TE` goes on; the `Connection: TE` that belongs to it is each hop's own (RFC 9110, section 10.1.4)."

WHY = {
    "Request line: absolute form, `GET http://other/a`": "Meant for proxies; an origin is asked with the path (RFC 9112, section 3.2.2). `Host` stays as sent.",
    "Request line: authority form, `CONNECT other:443`": "nginx is no forward proxy.",
    "Request line: `OPTIONS *`": "nginx takes no `*` (ngx_http_parse.c). Hardly anybody sends it.",
    "Request line: TRACE": "nginx never passes it on (ngx_http_request.c).",
    "Request line: method in lower case, `get`": "Methods are A-Z, `-` and `_` to nginx (ngx_http_parse.c).",
    "Request line: dot segments above the root, `/../a`": _PATH,
    "Request line: broken percent-encoding, `/%zz`": _PATH,
    "Request line: `/%00`": _PATH,
    "Request line: a control character, `/\\x01`": _BAD,
    "Request line: a blank in the target, `/a b`": _BAD,
    "Request line: two blanks before the version": "nginx writes the line anew.",
    "Request line: HTTP/1.2": "The version is each hop's own (RFC 9112, section 2.3).",
    "Request line: an empty line before the request": "A server should skip it (RFC 9112, section 2.2).",
    "Request line: a line of 65 kB": _REQUEST_SIZE,
    "Request headers: `Host` not first": _ORDER,
    "Request headers: `content-length` in lower case, last": _SPELLED,
    "Request headers: `host` in lower case": _SPELLED,
    "Request headers: `Host` that is no name, `a_b..c`": "nginx refuses a host that is none (ngx_http_validate_host).",
    "Request headers: `Host` empty": "nginx refuses a host that is none (ngx_http_validate_host).",
    "Request headers: `Host` absent, HTTP/1.1": _HOST,
    "Request headers: `Host` twice": _HOST,
    "Request headers: an empty header without a blank, `X-A:`": _BLANKS,
    "Request headers: no blank after the colon, `X-A:1`": _BLANKS,
    "Request headers: a name that is none, `a b: 1`": _BAD,
    "Request headers: a blank before the colon, `X-A : 1`": "A server must refuse it (RFC 9112, section 5.1).",
    "Request headers: a line without colon": "To nginx a header without a value (`ignore_invalid_headers off`).",
    "Request headers: NUL in a value": _BAD,
    "Request headers: blanks around a value": _BLANKS,
    "Request headers: tabs around a value": f"{_BLANKS} nginx leaves the tabs to the application, but its own blank stands before them.",
    "Request headers: a header of 65 kB": _REQUEST_SIZE,
    "Connection, and what else is hop by hop: `Connection: close`": f"{_HOP} The client's connection ends all the same.",
    "Connection, and what else is hop by hop: `Connection: keep-alive`": _HOP,
    "Connection, and what else is hop by hop: `Connection: X-Hop`, and that header": f"{_HOP} nginx does not look for the headers it names, so they pass.",
    "Connection, and what else is hop by hop: `Keep-Alive: timeout=5`": _HOP,
    "Connection, and what else is hop by hop: `Proxy-Connection: keep-alive`": _HOP,
    "Connection, and what else is hop by hop: `TE: trailers`": _TRAILERS,
    "Connection, and what else is hop by hop: `Upgrade: h2c`, declined": f"{_UPGRADE} `Connection` no longer names `HTTP2-Settings`.",
    "Connection, and what else is hop by hop: HTTP/1.0": "The version is each hop's own (RFC 9112, section 2.3).",
    "Connection, and what else is hop by hop: HTTP/1.0 without `Host`": "The version is each hop's own (RFC 9112, section 2.3). The application gets HTTP/1.1 without `Host`, which most refuse.",
    "Connection, and what else is hop by hop: HTTP/1.0 with `Connection: keep-alive`": f"The version is each hop's own. {_HOP}",
    "Connection, and what else is hop by hop: `Expect: 100-continue`, the origin answers 100, then 200": "nginx asks for the body itself (ngx_http_test_expect), and takes `Expect` away, as it could not handle the origin's 100.",
    "Connection, and what else is hop by hop: `Expect: 100-continue`, the origin answers 417 at once": "nginx asks for the body itself. The client sends one that the application does not want; it gets the same answer in the end.",
    "Connection, and what else is hop by hop: `Expect: something`": "nginx takes `Expect` away, whatever it says.",
    "Request body: `Content-Length: 004`": "nginx writes the number anew.",
    "Request body: PUT in parts, each once the origin has the one before": "What may fall back to the cluster is kept until its body is there, if it is under 100 kB and the method is idempotent (`proxy_request_buffering`).",
    "Request body: chunks in one write": _LENGTH,
    "Request body: chunk extensions, capital and padded sizes": f"{_LENGTH} Extensions are hop by hop (RFC 9112, section 7.1.1).",
    "Request body: trailers of a request": f"{_LENGTH} nginx drops a request's trailers.",
    "Request body: the origin answers before it has the body": "After an answer nginx sends the origin no more; it reads what the client still sends, and closes (`lingering_close`).",
    "Request body: pipelined requests": "nginx sends one request at a time (ngx_http_request.c). Answers and their order are the same.",
    "Request body: the client half-closes, and waits for the answer": "To nginx a client that closes one direction is gone (499). `proxy_ignore_client_abort` would hide from the application every client that truly is.",
    "Ambiguous requests: `Content-Length` and `Transfer-Encoding`": _SMUGGLED,
    "Ambiguous requests: `Content-Length` twice, 4 and 5": _SMUGGLED,
    "Ambiguous requests: `Content-Length` twice, 4 and 4": _SMUGGLED,
    "Ambiguous requests: `Content-Length: +4`": _SMUGGLED,
    "Ambiguous requests: `Transfer-Encoding: identity`": _SMUGGLED,
    "Ambiguous requests: `Transfer-Encoding: gzip, chunked`": _SMUGGLED,
    "Ambiguous requests: `Transfer-Encoding : chunked`, a blank before the colon": _SMUGGLED,
    "Ambiguous requests: chunked in HTTP/1.0": _SMUGGLED,
    "Ambiguous requests: a chunk size that is none, `0x3`": _SMUGGLED,
    "Ambiguous requests: a folded header (obs-fold)": "Refused (RFC 9112, section 5.2).",
    "Ambiguous requests: lines that end in LF alone": "A server may read LF as the end of a line (RFC 9112, section 2.2). The application gets what nginx read: they cannot disagree.",
    "Ambiguous requests: CR within a value": "Refused (RFC 9112, section 2.2).",
    "Ambiguous requests: LF within a value": "As above: the application gets the two headers that nginx read.",
    "Ambiguous requests: no version (HTTP/0.9)": "nginx speaks HTTP/0.9 to the client, HTTP/1.1 to the application.",
    "Status line: HTTP/1.0": f"The version is each hop's own (RFC 9112, section 2.3). {_KEEP}",
    "Status line: HEAD, chunked": "An answer to HEAD need not say it (RFC 9112, section 6.1).",
    "Status line: 100 Continue before the answer": _1XX,
    "Status line: 102 Processing before the answer": _1XX,
    "Status line: no HTTP at all, `+OK`": f"nginx takes it for HTTP/0.9. {_KEEP}",
    "Answer headers: no `Connection`": "nginx always says which (ngx_http_header_filter_module.c). HTTP/1.1 means the same without.",
    "Answer headers: order and case": f"{_ORDER} {_SPELLED}",
    "Answer headers: `Content-Type` twice": "nginx holds one.",
    "Answer headers: no blank after the colon, blanks and tabs around a value": _BLANKS,
    "Answer headers: a folded header (obs-fold)": "nginx takes no such answer (RFC 9112, section 5.2).",
    "Answer headers: `Keep-Alive: timeout=5`, `Proxy-Connection`": f"{_HOP} nginx keeps a client's connection for an hour.",
    "Answer headers: `Connection: X-Hop`, and that header": _HOP,
    "Answer headers: a header of 40 kB": _ANSWER_SIZE,
    "Answer headers: a header of 65 kB": _ANSWER_SIZE,
    "Answer body: chunks in one write": _CHUNKS,
    "Answer body: chunk extensions, capital and padded sizes": _CHUNKS,
    "Answer body: trailers, the client says `TE: trailers`": _TRAILERS,
    "Answer body: without a length, in parts, until the origin closes": _LAST,
    "Answer body: without a length, the client speaks HTTP/1.0": "The version is each hop's own (RFC 9112, section 2.3).",
    "Answer body: chunked, the client speaks HTTP/1.0": "HTTP/1.0 has no chunks; the body ends with the connection.",
    "Answer body: server-sent events, each once the client has the one before": f"{_LAST} Events are not held back.",
    "Answer body: more than the length says": "nginx cuts it.",
    "Answer body: a body with 204": "204 has none (RFC 9110, section 15.3.5).",
    "Answer body: `Content-Length` and chunked": "nginx takes no ambiguous answer (RFC 9112, section 6.3).",
    "Answer body: `Content-Length` twice, 2 and 3": "nginx takes no ambiguous answer (RFC 9112, section 6.3).",
    "Endings: `Connection: close` from the origin": _KEEP,
    "Endings: the origin resets in a chunked body": "nginx closes where the origin resets. The body is as broken.",
    "Endings: the origin resets in a body without a length": f"{_LAST} The pass-through port closes where the origin resets, so there a broken body looks whole.",
    "Endings: the origin closes in the headers": _RETRY,
    "Endings: the origin closes without an answer, GET": _RETRY,
    "Endings: the origin resets without an answer, GET": f"{_RETRY} The pass-through port closes where the origin resets.",
    "Endings: the origin resets without an answer, POST": "nginx answers 502; it never sends a POST twice. The pass-through port closes where the origin resets.",
    "Endings: the origin closes an idle connection": f"{_KEEP} So a request never meets the origin's close.",
    "Connections and addresses: client's address": "The carrier connects anew. nginx could add `X-Forwarded-For`, but nothing is added: an application behind an ingress has it already. What looks at peer addresses (allow lists, NetworkPolicies of shadows) sees the original's Pod.",
    "Connections and addresses: a connection without a request yet": "nginx connects when it knows where to: after the head.",
    "Connections and addresses: a protocol in which the server speaks first": "A port with rules speaks HTTP. Leave the rules away, and it is passed through.",
    "Connections and addresses: something that is not HTTP, `SSH-2.0-x`": "A port with rules speaks HTTP. Leave the rules away, and it is passed through.",
    "Connections and addresses: a PROXY protocol line before the request": "nginx expects none. An application behind a load balancer that sends it can have no rules on that port.",
    "Connections and addresses: TLS to a port without it": "The carrier needs the port's certificate (`tls` of the mount).",
    "Connections and addresses: clients one after the other": "Idle connections to an application are shared by clients, for a second (`keepalive`).",
    "Connections and addresses: authentication bound to a connection (NTLM, Negotiate)": "A client's connection is not bound to one of the application's, so this authentication cannot work on a port with rules.",
    "Connections and addresses: nobody listens": "The carrier listens, whoever stands behind it. So probes of a port (`tcpSocket`) and clients that look for a refusal see an open port.",
    "Upgrades (websockets): the client sends on before the 101": "nginx passes on once the origin has switched. Nothing is lost.",
    "Upgrades (websockets): the client half-closes": "nginx ends both directions with either (ngx_http_upstream_process_upgraded). Websockets close with a frame first.",
    "TLS (the carrier has the port's certificate): ALPN": "nginx offers the origin none for HTTP/1.1. One that insists on it refuses.",
    "TLS (the carrier has the port's certificate): the client's certificate (mutual TLS)": "It cannot be passed on: its key stays with the client. A port with mutual TLS can have no rules.",
    "TLS (the carrier has the port's certificate): the origin is cut off in an answer without a length": "nginx takes the end of TCP for the end of such a body (RFC 9112, section 9.8, warns of it). Answers with a length or chunks are safe.",
    "HTTP/2 without TLS (prior knowledge): the protocol that reaches the application": "nginx cannot know what the application speaks, so only gRPC, which is always HTTP/2, stays HTTP/2. One that speaks nothing else can have no rules on that port.",
    "HTTP/2 without TLS (prior knowledge): a body without a length": "HTTP/1.1 needs chunks for it.",
    "HTTP/2 without TLS (prior knowledge): `expect: 100-continue`": "As in HTTP/1.1.",
    "HTTP/2 without TLS (prior knowledge): trailers of the request": "nginx takes no trailers of a request, and ends the whole connection, with all its streams. gRPC clients never send any.",
    "HTTP/2 without TLS (prior knowledge): the client cancels (RST_STREAM)": "HTTP/1.1 has no other way to cancel.",
    "gRPC: an error without an answer (trailers only)": "nginx writes the head of an answer anew. gRPC clients do not mind.",
    "gRPC: the client cancels (RST_STREAM)": _TWO,
    "gRPC: the origin resets in its answer (RST_STREAM 11)": "nginx resets with INTERNAL_ERROR, whatever the origin's code was. gRPC clients read INTERNAL from it.",
    "gRPC: two calls at a time": "nginx does not multiplex to upstreams (ngx_http_grpc_module). What an application counts or limits by connection, it counts by call.",
}
