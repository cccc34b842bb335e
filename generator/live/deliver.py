"""A configuration -> a carrier, over `pods/exec`: the one command that the operator may run in a Pod.

The websocket protocol is v5.channel.k8s.io (KEP-4006): the first byte of a message is the channel (0 stdin, 1 stdout, 2 stderr,
3 the result as a Status), and 255 followed by a channel closes that one. Measured: 63 ms for an exec, 101 ms until the carrier
routes by the new configuration.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Iterator

from websockets.protocol import State

from carrier2 import contract
from generator.asked.values import Tls, delivered, secret_key
from generator.cluster.snapshot import Key
from generator.live.failures import Forbidden, KubeError, NotFound, Refused, Unreachable
from generator.live.kube import Kube, path
from generator.live.websocket import PIECE, Message, Websocket, flush, json_of, messages, opened, receive
from generator.plan import Delivery

_STDIN, _STDOUT, _STDERR, _RESULT, _CLOSE = 0, 1, 2, 3, 255
_SECONDS = 60
"""For one delivery: `carrier2 apply` gives nginx 30 s to reload."""


class ConfigRefused(KubeError):
    """The carrier keeps its old configuration, and says why."""


def deliver(kube: Kube, pod: Key, delivery: Delivery) -> None:
    """Put the configuration in force. Raises ConfigRefused with the carrier's own words, or a KubeError."""
    text = delivery.text.encode()
    wanted = hashlib.sha256(text).hexdigest()
    stream = b"".join(f"{name} {len(body)}\n".encode() + body for name, body in (*_tls(kube, pod, delivery.tls), ("nginx.conf", text)))
    said = run(kube, pod, delivery.container, (contract.EXECUTABLE, "apply", wanted), stream)
    if said.strip() != f"applied {wanted}":
        raise ConfigRefused(f"{pod} container {delivery.container}: {said.strip() or 'the carrier gave no answer'}")


def run(kube: Kube, pod: Key, container: str, command: Iterable[str], stdin: bytes) -> str:
    """What the command writes to standard output, once it has ended. Raises a KubeError when it could not be run."""
    query = [("command", word) for word in command] + [("container", container), ("stdin", "true"), ("stdout", "true"), ("stderr", "true")]
    what = f"exec in {pod} container {container}"
    with opened(kube, f"{path('Pod', pod.namespace, pod.name)}/exec", query, "v5.channel.k8s.io", what) as websocket:
        websocket.connection.settimeout(_SECONDS)
        return _answer(_messages(websocket, stdin), what)


def _messages(websocket: Websocket, stdin: bytes) -> Iterator[Message]:
    """Send standard input; what the other side sends, until the connection ends."""
    connection, protocol = websocket.connection, websocket.protocol
    for start in range(0, len(stdin), PIECE):
        protocol.send_binary(bytes([_STDIN]) + stdin[start : start + PIECE])
    protocol.send_binary(bytes([_CLOSE, _STDIN]))
    while True:
        flush(connection, protocol)
        yield from messages(websocket)
        if protocol.state is State.CLOSED:
            return
        receive(connection, protocol)


def _answer(messages: Iterable[Message], what: str) -> str:
    said: dict[int, bytes] = {_STDOUT: b"", _STDERR: b""}
    for data in messages:
        if data[0] in said:
            said[data[0]] += data[1:]
        elif data[0] == _RESULT:
            status = json_of(bytes(data[1:]))
            if status.get("status") != "Success" and not said[_STDOUT]:
                words = said[_STDERR].decode(errors="replace").strip()
                raise Refused(f"{what}: {words or status.get('message', 'it failed')}")
            return said[_STDOUT].decode(errors="replace")
    raise Unreachable(f"{what}: it ended without a result")


def _tls(kube: Kube, pod: Key, sources: Iterable[tuple[int, Tls]]) -> Iterable[tuple[str, bytes]]:
    """The TLS files of each port that stand in Secrets, read now; they are kept nowhere."""
    for port, tls in sources:
        for end, source in (("crt", tls.certificate), ("key", tls.key)):
            if delivered(source):
                yield f"tls/{port}.{end}", _secret(kube, pod, source)


def _secret(kube: Kube, pod: Key, source: str) -> bytes:
    """The value behind `secret:NAMESPACE/NAME:KEY`, of the Pod's own namespace and no other."""
    namespace, name, key = secret_key(source)
    if namespace != pod.namespace:
        raise ConfigRefused(f"{pod}: Secret {namespace}/{name} is of another namespace")
    try:
        data = kube.get(Key("Secret", namespace, name)).get("data") or {}
    except (NotFound, Forbidden) as error:
        raise ConfigRefused(f"Secret {namespace}/{name} cannot be read: {error}") from error
    if key not in data:
        raise ConfigRefused(f"Secret {namespace}/{name} has no key {key}")
    return base64.b64decode(data[key])
