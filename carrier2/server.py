"""One HTTP port: who answers a request, who gets a copy of it, and the `server` block that does both.

    location /         HTTP/1.1, and HTTP/2 that is not gRPC; streamed both ways
    location @grpc     HTTP/2 with a gRPC content type
    location @mirror   requests of which a user's process gets a copy
    location @held     requests to a user's process that nginx would send twice, though the process had read them
    location @second   asks the cluster when the process got nothing of such a request, or ends it with a 502
    location @once     the same requests with a body of unknown length: a 502

nginx sends no request to the next server that was sent already and whose method is POST, PATCH or LOCK, or whose body it
streams (ngx_http_upstream.c, ngx_http_upstream_next). These stay in `location /`, and fall back by the upstream's backup
server. The others are held: the body is kept, and what was sent of the request is counted.

A copy needs the request's body twice, and nginx reads all of it before it makes one. So only requests whose body surely
fits in memory are copied: no gRPC, no upgrade, no chunked body, no Content-Length above six digits. nginx keeps the
client's connection until the copy is answered, so it closes that connection after the answer: a copy that hangs never
holds up the next request.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from carrier2 import accesslog, processes, upstreams
from carrier2.contract import TLS_DIR
from carrier2.directive import COLUMN, Directive, Quoted, block, key, mapping, regex, simple, value
from carrier2.dispatch import Dispatch, Listener
from carrier2.processes import ALONE, COPY, falls_back, makes_copies

NOTHING = Quoted('""')

HELD_BODY = "100k"
"""Memory for one held body, five digits of Content-Length.

nginx streams every longer one: what it reads together with a head is at most 64 KiB (`large_client_header_buffers`).
"""

MIRROR_BODY = "1m"
"""Memory for one copied body: more than six digits of Content-Length."""

MIRROR_TIMEOUT = "5s"
"""For the answer to a copy, which nobody reads. A client that reads until the connection ends waits as long."""


def shared(listeners: Iterable[Listener]) -> Iterator[Directive]:
    """The maps of a request that no port changes.

    `$c2_grpc`, `$c2_bridge_way`, `$c2_mirror_way`: the location that goes on with it, "" for `location /`, if the cluster
    answers it, a user's process with the cluster as fallback, or the cluster while a user's process gets a copy.
    """
    ports = list(listeners)
    yield from _headers()
    yield mapping(
        f"$server_protocol{COLUMN}$http_content_type",
        "$c2_grpc",
        ("default", ""),
        (regex(r"^HTTP/2\.0\t(?i)application/grpc(?:$|[+;])"), "@grpc"),
        note="gRPC",
    )
    if any(makes_copies(each) or falls_back(each) for each in ports):
        yield mapping(
            COLUMN.join(("$http_transfer_encoding", "$http_content_length", "$server_protocol", "$request_method")),
            "$c2_body",
            ("default", "unknown"),
            (regex(r"^\t\t(?:HTTP/1|.*\t(?:GET|HEAD|OPTIONS|DELETE)$)"), "none"),
            (regex(r"^\t0*[0-9]{1,5}\t"), "small"),
            (regex(r"^\t0*[0-9]{6}\t"), "medium"),
            (regex(r"^\t[0-9]"), "large"),
            note="how much of a body follows; HTTP/2 says so only by a Content-Length",
        )
    if any(map(falls_back, ports)):
        yield mapping(
            COLUMN.join(("$c2_grpc", "$request_method", "$c2_body")),
            "$c2_bridge_way",
            ("default", "@held"),
            (regex("^@"), "$c2_grpc"),
            (regex(r"\t(?:POST|PATCH|LOCK)\t|(?:medium|large)$"), ""),
            (regex("unknown$"), "@once"),
            note="what nginx would send twice",
        )
    if any(map(makes_copies, ports)):
        yield mapping(
            COLUMN.join(("$c2_grpc", "$c2_body", "$http_upgrade")),
            "$c2_mirror_way",
            ("default", "$c2_grpc"),
            (regex(r"^\t(?:none|small|medium)\t$"), "@mirror"),
            note="what can be copied",
        )


def _headers() -> Iterator[Directive]:
    """What a request's hop-by-hop headers become, and its Host if it has none, as nginx speaks HTTP/1.1 to the application."""
    yield mapping("$http_host", "$c2_host", ("default", "$http_host"), ("", "$server_addr:$server_port"), note="HTTP/1.0 needs no Host")
    asks = regex(r"^[^\t]+\t(?:.*,)?[ \t]*(?i:upgrade)[ \t]*(?:,|$)")
    columns = COLUMN.join(("$http_upgrade", "$http_connection"))
    yield mapping(columns, "$c2_connection", ("default", ""), (asks, "$http_connection"), note="websockets")
    takes = regex(r"(?:^|,)[ \t]*(?i:trailers)[ \t]*(?:,|;|$)")
    yield mapping("$http_te", "$c2_te", ("default", ""), (takes, "trailers"), note="who can read trailers")


def decision(dispatch: Dispatch, listener: Listener, name: str, first: str) -> Iterator[Directive]:
    """The maps of one port. first: the variable that holds the bridge of the first matching route.

    `${name}_pick`: the bridge that takes the request, "" if none. `${name}_route`: of its process, "" if there is none to
    send it to. `${name}_to`: the upstream that answers. `${name}_way`: the location, as in `shared`.
    """
    port, pick, own, route = listener.port, f"${name}_pick", f"${name}_own", f"${name}_route"
    probe = regex("^kube-(?:probe|lifecycle)/")
    yield mapping("$http_user_agent", pick, ("default", first), (probe, ""), note=f"port {port}: probes and hooks stay in the cluster")
    yield upstreams.own(dispatch, port, own)
    entries = [(key(bridge), to) for bridge, to in processes.routes(listener).items()]
    yield mapping(pick, route, ("default", ""), *entries, note=f"port {port}: whose process")
    alone, copy = regex(f"^{ALONE}"), regex(f"^{COPY}")
    answers = ("", own), (copy, own), (alone, processes.group(port, ALONE))
    yield mapping(route, f"${name}_to", ("default", processes.group(port)), *answers, note=f"port {port}: who answers")
    ways = [("", "$c2_grpc"), (alone, "$c2_grpc"), *([(copy, "$c2_mirror_way")] if makes_copies(listener) else [])]
    default = "default", "$c2_bridge_way" if falls_back(listener) else "$c2_grpc"
    yield mapping(route, f"${name}_way", default, *ways, note=f"port {port}: the location that goes on")


def server(listener: Listener, name: str, listen: Iterator[Directive]) -> Directive:
    """The `server` block of one port; `decision` has made its variables."""
    secure = "s" if listener.tls else ""
    proxy = simple("proxy_pass", f"http{secure}://${name}_to")
    grpc = [
        simple("grpc_set_header", "Host", NOTHING, note="nginx would send the client's authority as a header `host`"),
        simple("grpc_set_header", ":authority", "$http_host"),
        simple("grpc_pass", f"grpc{secure}://${name}_to"),
    ]
    return block(
        "server",
        of=[
            *listen,
            simple("http2", "on"),
            *(_tls(listener) if listener.tls else ()),
            *([accesslog.switch(listener.port)] if accesslog.logs(listener) else ()),
            simple("proxy_set_header", "Host", "$c2_host"),
            simple("proxy_set_header", "Upgrade", "$http_upgrade"),
            simple("proxy_set_header", "Connection", "$c2_connection"),
            simple("proxy_set_header", "TE", "$c2_te"),
            *([simple("recursive_error_pages", "on", note="a second jump, from @held")] if falls_back(listener) else ()),
            simple("error_page", 418, "=", f"${name}_way"),
            block("location", "/", of=[_end_if(418, f"(${name}_way)"), proxy]),
            block("location", "@grpc", of=grpc),
            *(_copies(listener, secure, proxy) if makes_copies(listener) else ()),
            *(_fallback(listener, secure, proxy) if falls_back(listener) else ()),
        ],
        note=f"port {listener.port}",
    )


def _end_if(status: int, *condition: str) -> Directive:
    """Go where `error_page` says for `status`, or answer it."""
    return block("if", *condition, of=[simple("return", status)])


def _copies(listener: Listener, secure: str, proxy: Directive) -> list[Directive]:
    """The location that makes copies, and the one that sends them. No request can name the latter: it begins without `/`."""
    make = [
        simple("client_body_buffer_size", MIRROR_BODY),
        simple("client_max_body_size", MIRROR_BODY),
        simple("keepalive_timeout", 0),
        simple("mirror", "copy"),
    ]
    send = [
        simple("internal"),
        *(simple(f"proxy_{way}_timeout", MIRROR_TIMEOUT) for way in ("read", "send")),
        simple("proxy_set_header", "Host", "$c2_host"),
        simple("proxy_set_header", "Connection", NOTHING),
        simple("proxy_pass", f"http{secure}://{processes.group(listener.port, COPY)}$request_uri"),
    ]
    return [block("location", "@mirror", of=[*make, proxy]), block("location", "=", "copy", of=send)]


def _fallback(listener: Listener, secure: str, proxy: Directive) -> list[Directive]:
    """The locations of requests that are sent once. An application's own 502 is no error of nginx, so no `error_page` sees it."""
    once = simple("proxy_next_upstream", "off")
    held = [
        simple("client_body_buffer_size", HELD_BODY),
        simple("client_max_body_size", HELD_BODY),
        simple("proxy_request_buffering", "on"),
        simple("error_page", 502, 504, "=", "@second"),
    ]
    service = simple("proxy_pass", f"http{secure}://{upstreams.service_name(listener.port)}")
    return [
        block("location", "@held", of=[*held, once, proxy]),
        block("location", "@second", of=[_end_if(502, "($upstream_bytes_sent", Quoted("!="), "0)"), service]),
        block("location", "@once", of=[once, proxy]),
    ]


def _tls(listener: Listener) -> Iterator[Directive]:
    """Both sides speak TLS. Nothing is verified: it is the application's certificate on both sides."""
    for directive, path, end in (("certificate", listener.certificate, "crt"), ("certificate_key", listener.key, "key")):
        yield simple(f"ssl_{directive}", value(path) if path else f"{TLS_DIR}/{listener.port}.{end}")
    for protocol in ("proxy", "grpc"):
        yield simple(f"{protocol}_ssl_server_name", "on")
        yield simple(f"{protocol}_ssl_name", value(listener.sni) if listener.sni else "$ssl_server_name")
