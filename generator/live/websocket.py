"""A websocket to the API server, for subresources that speak in channels: exec and port-forward.

The protocol is sans I/O: whoever opens one reads and writes the socket himself, in one thread, for one SSL object bears no two
(python/cpython issue 151508; with two threads 4 of 240 requests got no answer for 32 s, with one none of 300: measured).
"""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection, HTTPException
from typing import NamedTuple
from urllib.parse import urlencode

from requests.adapters import HTTPAdapter
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.frames import Frame, Opcode
from websockets.protocol import Event
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from generator.live.failures import Unreachable, failure
from generator.live.kube import TIMEOUT, Kube, Way

PIECE = 64 * 1024
Message = bytes | bytearray | memoryview
_DATA = (Opcode.BINARY, Opcode.TEXT, Opcode.CONT)


class Websocket(NamedTuple):
    """A connection on which both sides agree, and the state of its protocol.

    early: what came with the agreement. begun: a message that has not come whole.
    """

    connection: socket.socket
    protocol: ClientProtocol
    early: list[Event]
    begun: bytearray


@contextmanager
def opened(kube: Kube, where: str, query: list[tuple[str, str]], subprotocol: str, what: str) -> Iterator[Websocket]:
    """The websocket of a path of the API server, closed at the end.

    what: the request, for messages. Raises a KubeError when the server does not agree, and when the connection breaks within the block.
    """
    uri = parse_uri(f"{kube.server.replace('http', 'ws', 1)}{where}?{urlencode(query)}")
    way = kube.dial()
    protocol = ClientProtocol(uri, subprotocols=[Subprotocol(subprotocol)], max_size=None)
    request = protocol.connect()
    request.headers.update(way.headers)
    protocol.send_request(request)
    try:
        with _connected(uri.host, uri.port, way) as connection:
            flush(connection, protocol)
            events: list[Event] = []
            while not events:
                receive(connection, protocol)
                if protocol.handshake_exc:
                    raise protocol.handshake_exc
                events = protocol.events_received()
            yield Websocket(connection, protocol, events, bytearray())
    except InvalidStatus as error:
        body = json_of(bytes(error.response.body or b""))
        raise failure(error.response.status_code, body, dict(error.response.headers), what) from error
    except (WebSocketException, OSError, EOFError) as error:
        raise Unreachable(f"{what}: {error}") from error


@contextmanager
def _connected(host: str, port: int, way: Way) -> Iterator[socket.socket]:
    with (
        _through(way.proxy, host, port) if way.proxy else socket.create_connection((host, port), TIMEOUT[0]) as plain,
        way.tls.wrap_socket(plain, server_hostname=way.name or host) if way.tls else plain as made,
    ):
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.settimeout(TIMEOUT[1])
        yield made


def _through(proxy: str, host: str, port: int) -> socket.socket:
    """A connection by CONNECT (RFC 9110, section 9.3.6). Raises Unreachable for a URL of another kind."""
    shown = re.sub("//.*@", "//", proxy)  # no password
    at = re.fullmatch(r"http://(?:[^@/]*@)?(\[[^\]]+\]|[^:/\[\]]+)(?::([0-9]{1,5}))?/?", proxy)
    if not at:
        raise Unreachable(f"exec and port-forward go through http:// proxies alone, as proxy-url http://proxy.example:3128, not {shown}")
    asking = HTTPConnection(at[1].strip("[]"), int(at[2] or 80), timeout=TIMEOUT[0])
    asking.set_tunnel(f"[{host}]" if ":" in host else host, port, HTTPAdapter().proxy_headers(proxy))
    try:
        asking.connect()
    except HTTPException as error:
        asking.close()
        raise Unreachable(f"the proxy {shown} does not speak HTTP: {error}") from error
    return asking.sock


def flush(connection: socket.socket, protocol: ClientProtocol) -> None:
    """Send what the protocol has to say; the socket blocks."""
    for data in protocol.data_to_send():
        connection.sendall(data)


def receive(connection: socket.socket, protocol: ClientProtocol) -> None:
    """Give the protocol what comes next; the socket blocks."""
    if data := connection.recv(PIECE):
        protocol.receive_data(data)
    else:
        protocol.receive_eof()


def messages(websocket: Websocket) -> Iterator[Message]:
    """The messages that have come whole and were not seen yet; not the empty ones, which name no channel."""
    events = [*websocket.early, *websocket.protocol.events_received()]
    websocket.early.clear()
    for event in events:
        if not isinstance(event, Frame) or event.opcode not in _DATA:
            continue
        message = event.data  # most have one frame, and are not copied
        if websocket.begun or not event.fin:
            websocket.begun.extend(message)
            message = bytes(websocket.begun) if event.fin else b""
        if event.fin:
            websocket.begun.clear()
        if message:
            yield message


def json_of(data: bytes) -> dict[str, object]:
    """A JSON object, empty if it is none."""
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
