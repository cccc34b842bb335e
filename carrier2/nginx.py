"""A Dispatch becomes the text of the carrier's nginx configuration.

    directive.py   the tree of directives, and all quoting
    maps.py        routes -> maps: which bridge takes a request
    server.py      one HTTP port
    accesslog.py   what is written about a request
    processes.py   users' processes: bridge -> route -> upstream block
    upstreams.py   what the cluster answers -> upstream blocks
    relocate.py    where the result runs

A port with routes, or that had some, is an HTTP server: HTTP/1.1, websockets, h2c and gRPC on one socket. Others are streams, passed
through unread. What the application sees differs from what the client sent where HTTP/1.1 is hop by hop, and in little else
(docs/transparency.md, measured). Nothing is ever buffered to a file, since the files would be memory.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from carrier2 import accesslog, directive, processes, upstreams
from carrier2.directive import DOLLAR, Directive, Quoted, block, simple
from carrier2.dispatch import Dispatch, Listener
from carrier2.maps import fields, router
from carrier2.relocate import Place, addresses
from carrier2.server import decision, server, shared

CONNECT_TIMEOUT = "2s"
"""For one server. The next one, if there is one, is asked after it."""

FOREVER = "24h"
"""Timeouts that are the application's to decide."""

UDP_SESSION = "60s"
"""How long a client's UDP port keeps its shadow without traffic."""

_FILES = 128
"""Of a worker, that are no connection. Where the container's own limit is lower, nginx says so ([alert]) and keeps to that one."""

_APPLICATION_HEADERS = ("Date", "Server", "X-Pad", *(f"X-Accel-{n}" for n in ("Expires", "Redirect", "Limit-Rate", "Buffering", "Charset")))
_NOT_OURS_TO_OBEY = (*(h for h in _APPLICATION_HEADERS if h.startswith("X-Accel-")), "Expires", "Cache-Control", "Set-Cookie", "Vary")
_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")


def render(dispatch: Dispatch, place: Place | None = None) -> str:
    """The whole configuration. place: where it runs, by default in a Pod.

    Raises Unquotable (a ValueError) for what nginx cannot hold: control characters, a quoted token above
    contract.MAX_TOKEN, a regex with a named group, an address that is no literal IP.
    """
    place = place or Place()
    listeners = sorted(dispatch.listeners, key=lambda each: (each.port, each.protocol))
    http = [each for each in listeners if each.routes or each.http]
    stream = [each for each in listeners if each not in http]
    return directive.render(
        [
            simple("user", "root", note="a root container stays root, as its application was; others ignore this"),
            simple("worker_processes", 1),
            simple("worker_shutdown_timeout", "1h", note="how long a reload lets open connections live"),
            simple("pid", "nginx.pid"),
            simple("error_log", "stderr", "warn"),
            simple("worker_rlimit_nofile", dispatch.connections + _FILES),
            block("events", of=[simple("worker_connections", dispatch.connections)]),
            *([block("http", of=_http(dispatch, http, place))] if http else []),
            *([block("stream", of=_stream(dispatch, stream, place))] if stream else []),
        ]
    )


def _http(dispatch: Dispatch, listeners: list[Listener], place: Place) -> Iterator[Directive]:
    variables, maps = fields(route for listener in listeners for route in listener.routes)
    users: list[Directive] = []
    cluster: set[upstreams.Upstream] = set()
    servers = []
    for listener in listeners:
        name = f"c2_{listener.port}"
        users += processes.blocks(dispatch, listener, place)
        cluster.update(upstreams.cluster(dispatch, listener.port))
        first, routing = router(name, listener.routes, variables)
        maps += [*routing, *decision(dispatch, listener, name, first)]
        servers.append(server(listener, name, _listen(dispatch, listener, place, "ssl" if listener.tls else "")))
    maps = [*shared(listeners), *maps, *accesslog.maps(listeners)]
    yield from _common()
    yield from _hash_sizes(maps)
    yield block("geo", DOLLAR, of=[simple("default", Quoted('"$"'))], note="a literal dollar")
    yield from maps
    yield from accesslog.formats(listeners)
    yield from users
    yield from upstreams.blocks(cluster, place, *upstreams.IDLE)
    yield from servers


def _common() -> Iterator[Directive]:
    """What holds for every HTTP port (ngx_http_core_module, ngx_http_proxy_module, ngx_http_grpc_module)."""
    yield from (simple(f"{name}_temp_path", name) for name in _TEMPORARY)
    yield simple("access_log", "off")
    yield simple("server_tokens", "off")
    yield simple("ignore_invalid_headers", "off", note="pass every request that the application would have taken")
    yield simple("client_max_body_size", 0)
    yield simple("large_client_header_buffers", 8, "64k")
    yield simple("max_headers", 10_000)
    yield from (simple(f"{name}_timeout", FOREVER) for name in ("client_header", "client_body", "send"))
    yield simple("keepalive_timeout", "1h", note="clients close idle connections, not the carrier; a reload loses no request")
    yield simple("keepalive_time", FOREVER)
    yield simple("keepalive_requests", 100_000_000)
    yield simple("keepalive_min_timeout", "3s")
    yield simple("proxy_http_version", "1.1", note="bytes pass as they come, never through a file")
    yield simple("proxy_request_buffering", "off")
    yield simple("proxy_buffering", "off")
    yield simple("proxy_max_temp_file_size", 0)
    yield simple("proxy_buffers", 8, "16k")
    yield simple("proxy_redirect", "off")
    yield simple("proxy_pass_trailers", "on")
    yield simple("early_hints", 1)
    for protocol in ("proxy", "grpc"):
        yield simple(f"{protocol}_buffer_size", "32k", note=f"{protocol}: room for an answer's head")
        yield simple(f"{protocol}_connect_timeout", CONNECT_TIMEOUT)
        yield simple(f"{protocol}_next_upstream", "error", "timeout")
        yield from (simple(f"{protocol}_{way}_timeout", FOREVER) for way in ("read", "send"))
        yield from (simple(f"{protocol}_pass_header", header) for header in _APPLICATION_HEADERS)
        yield simple(f"{protocol}_ignore_headers", *(h for h in _NOT_OURS_TO_OBEY if protocol == "proxy" or h.startswith("X-Accel-")))


def _stream(dispatch: Dispatch, listeners: list[Listener], place: Place) -> Iterator[Directive]:
    """Ports without routes (ngx_stream_core_module, ngx_stream_proxy_module)."""
    maps = [upstreams.own(dispatch, port, f"$c2_{port}_own") for port in sorted({each.port for each in listeners})]
    yield from _hash_sizes(maps)
    yield simple("proxy_connect_timeout", CONNECT_TIMEOUT)
    yield simple("proxy_half_close", "on")
    yield from maps
    groups = {group for each in listeners for group in upstreams.cluster(dispatch, each.port)}
    yield from upstreams.blocks(groups, place)
    for each in listeners:
        udp = each.protocol == "UDP"
        yield block(
            "server",
            of=[
                *_listen(dispatch, each, place, "udp" if udp else ""),
                simple("proxy_timeout", UDP_SESSION if udp else FOREVER),
                simple("proxy_pass", f"$c2_{each.port}_own"),
            ],
            note=f"port {each.port}, passed through",
        )


def _listen(dispatch: Dispatch, listener: Listener, place: Place, *options: str) -> Iterator[Directive]:
    """IPv4 always; IPv6 only in a cluster that has it, as `[::]` fails where the kernel does not."""
    options = tuple(filter(None, options))
    yield simple("listen", place.listen(listener.port), *options)
    if dispatch.ipv6 or any(":" in address.host for address in addresses(dispatch)):
        yield simple("listen", f"[::]:{listener.port}", *options, "ipv6only=on")


def _hash_sizes(maps: Iterable[Directive]) -> Iterator[Directive]:
    """What must stand before the first map: room for the largest map, and for the longest key.

    A power of two >= 4 x the keys keeps buckets short; a bucket holds a key with ngx_hash_elt_t around it, in whole
    cache lines (ngx_hash.c, NGX_HASH_ELT_SIZE).
    """
    blocks = [[entry.name for entry in each.block or () if not entry.name.startswith('"~')] for each in maps]
    most = max((len(keys) for keys in blocks), default=0)
    longest = max((len(key.encode()) for keys in blocks for key in keys), default=0)
    yield simple("map_hash_max_size", max(2048, 1 << (4 * most - 1).bit_length()))
    yield simple("map_hash_bucket_size", max(128, (longest + 18 + 63) // 64 * 64))
    yield simple("variables_hash_max_size", max(2048, 1 << (4 * len(list(maps)) - 1).bit_length()))
    yield simple("variables_hash_bucket_size", 128)
