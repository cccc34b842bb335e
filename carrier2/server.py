"""One HTTP port: who answers a request, who gets a copy of it, and the `server` block that does both.

    location /         HTTP/1.1, and HTTP/2 that is not gRPC
    location @grpc     HTTP/2 with a gRPC content type
    location @mirror   requests of which a user's process gets a copy

A copy needs the request's body twice, and nginx reads all of it before it makes one. So only requests whose body surely
fits in memory are copied: no gRPC, no upgrade, no chunked body, no Content-Length above six digits. Only they leave
`location /`, so that all others stream as ever. nginx keeps the client's connection until the copy is answered, so
it closes that connection after the answer: a copy that hangs never holds up the next request.
"""

from __future__ import annotations

from collections.abc import Iterator

from carrier2 import upstreams
from carrier2.contract import RUN_DIR, TLS_DIR
from carrier2.directive import COLUMN, Directive, Quoted, block, key, mapping, regex, simple, value
from carrier2.dispatch import Dispatch, Listener
from carrier2.relocate import Place

H1, H2 = "_h1", "_h2"
"""Ends of an upstream's name, by protocol."""

NOTHING = Quoted('""')

CLUSTER = "cluster"
"""Target of a route whose bridge has no destination yet: nobody else takes its requests, its own shadow answers them."""

MIRROR_BODY = "1m"
"""Memory for one copied body: more than six digits of Content-Length."""

MIRROR_TIMEOUT = "5s"
"""For the answer to a copy, which nobody reads. A client that reads until the connection ends waits as long."""

_COPIED = regex(r"^\t\t\t(?:[^\t]*\t[0-9]{1,6}|(?:GET|HEAD|OPTIONS|DELETE)\t)\t(mirror_.+)")
_IS_MIRROR = regex("^mirror_")


def mirrors(listener: Listener) -> bool:
    """Whether some request of this port is copied."""
    used = {route.bridge for route in listener.routes}
    return any(each.mode == "mirror" and each.bridge in used for each in listener.destinations)


def decision(dispatch: Dispatch, listener: Listener, name: str, first: str) -> Iterator[Directive]:
    """The maps `${name}_to`, who answers, and `${name}_copy`, who gets a copy. first: variable with the first route's target."""
    port, pick, own, to = listener.port, f"${name}_pick", f"${name}_own", f"${name}_to"
    probe = regex("^kube-probe/")
    yield mapping("$http_user_agent", pick, ("default", first), (probe, ""), note=f"port {port}: probes stay in the cluster")
    yield upstreams.own(dispatch, port, own)
    waiting = {route.bridge for route in listener.routes} - {each.bridge for each in listener.destinations}
    none = [(key(CLUSTER), own)] if waiting else []
    yield mapping(pick, to, ("default", pick), ("", own), *none, (_IS_MIRROR, own), note=f"port {port}: who answers")
    if mirrors(listener):
        facts = "$c2_grpc", "$http_upgrade", "$http_transfer_encoding", "$request_method", "$http_content_length", pick
        yield mapping(COLUMN.join(facts), f"${name}_copy", ("default", ""), (_COPIED, "$1"), note=f"port {port}: who gets a copy")


def server(listener: Listener, name: str, listen: Iterator[Directive], place: Place) -> Directive:
    """The `server` block of one port; `decision` has made its variables."""
    secure = "s" if listener.tls else ""
    proxy = [
        simple("proxy_set_header", "Host", "$http_host"),
        simple("proxy_set_header", "Upgrade", "$http_upgrade"),
        simple("proxy_set_header", "Connection", "$c2_connection"),
        simple("proxy_pass", f"http{secure}://${{{name}_to}}{H1}"),
    ]
    grpc = [
        simple("grpc_set_header", "Host", NOTHING, note="nginx would send the client's authority as a header `host`"),
        simple("grpc_set_header", ":authority", "$http_host"),
        simple("grpc_pass", f"grpc{secure}://${{{name}_to}}{H2}"),
    ]
    pages, switches, copies = [simple("error_page", 418, "=", "@grpc")], [_leave_if("$c2_grpc", 418)], []
    if mirrors(listener):
        pages.append(simple("error_page", 419, "=", "@mirror"))
        switches.append(_leave_if(f"${name}_copy", 419))
        copies = _copies(name, secure, proxy)
    return block(
        "server",
        of=[
            *listen,
            simple("http2", "on"),
            *(_tls(listener, place) if listener.tls else ()),
            *pages,
            block("location", "/", of=[*switches, *proxy]),
            block("location", "@grpc", of=grpc),
            *copies,
        ],
        note=f"port {listener.port}",
    )


def _leave_if(variable: str, code: int) -> Directive:
    """Go on in the named location that `error_page` has for `code`."""
    return block("if", f"({variable})", of=[simple("return", code)])


def _copies(name: str, secure: str, proxy: list[Directive]) -> list[Directive]:
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
        simple("proxy_set_header", "Host", "$http_host"),
        simple("proxy_set_header", "Connection", NOTHING),
        simple("proxy_pass", f"http{secure}://${{{name}_copy}}{H1}$request_uri"),
    ]
    return [block("location", "@mirror", of=[*make, *proxy]), block("location", "=", "copy", of=send)]


def _tls(listener: Listener, place: Place) -> Iterator[Directive]:
    """Both sides speak TLS. Nothing is verified: it is the application's certificate on both sides."""
    folder = f"{place.run_dir}{TLS_DIR.removeprefix(RUN_DIR)}"
    yield simple("ssl_certificate", f"{folder}/{listener.port}.crt")
    yield simple("ssl_certificate_key", f"{folder}/{listener.port}.key")
    for protocol in ("proxy", "grpc"):
        yield simple(f"{protocol}_ssl_server_name", "on")
        yield simple(f"{protocol}_ssl_name", value(listener.sni) if listener.sni else "$ssl_server_name")
