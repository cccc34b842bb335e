"""The API server's port-forward as a pump of bytes: what comes from one descriptor goes to a port of a Pod, and its answer to another.

The protocol is v4.channel.k8s.io (kubelet's pkg/kubelet/cri/streaming/portforward/websocket.go): the first byte of a message is the
channel, 0 for data and 1 for an error; the first message of each is the port as two bytes, little endian. It knows no half-close: where
one side ends, both do.

One thread reads and writes without blocking, up to _ROOM ahead of whoever is slower.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import socket
import ssl
from collections.abc import Callable
from typing import Final

from websockets.client import ClientProtocol
from websockets.protocol import State

from generator.cluster.snapshot import Key
from generator.live.failures import Refused
from generator.live.kube import Kube, path
from generator.live.websocket import PIECE, Websocket, messages, opened

_DATA, _ERROR = 0, 1
_ROOM: Final = 1024 * 1024
"""Bytes that are kept for a side that does not take them yet."""
_LOOK: Final = 1.0
"""Seconds between two looks at `alive`."""


def forward(kube: Kube, pod: Key, port: int, inward: int, outward: int, alive: Callable[[], bool] = lambda: True) -> None:
    """Pump bytes until one side ends, or `alive` is no longer true.

    inward, outward: descriptors that are read from and written to; they are made non-blocking.
    Raises a KubeError when the port cannot be reached, or the connection breaks.
    """
    what = f"port-forward to {pod} port {port}"
    where = f"{path('Pod', pod.namespace, pod.name)}/portforward"
    with opened(kube, where, [("ports", str(port))], "v4.channel.k8s.io", what) as websocket:
        websocket.connection.setblocking(False)
        for descriptor in (inward, outward):
            os.set_blocking(descriptor, False)
        if error := _pump(websocket, inward, outward, alive):
            raise Refused(f"{what}: {error}")


def _pump(websocket: Websocket, inward: int, outward: int, alive: Callable[[], bool]) -> str:
    """What the other side says went wrong, "" when it ended well."""
    connection, protocol = websocket.connection, websocket.protocol
    sending, writing = bytearray(), bytearray()
    numbered = {_DATA, _ERROR}
    error = b""
    with selectors.DefaultSelector() as selector:
        while alive():
            more = _receive(connection, protocol, _ROOM - len(writing))
            for message in messages(websocket):
                channel, body = message[0], message[1:]
                if channel in numbered:
                    numbered.remove(channel)
                    body = body[2:]
                if channel == _DATA:
                    writing += body
                elif channel == _ERROR:
                    error += body
            sending += b"".join(protocol.data_to_send())
            _send(connection, sending)
            _write(outward, writing)
            ended = protocol.state is State.CLOSED or bool(error)
            if ended and not writing:
                break
            ready = _ready(
                selector,
                {
                    connection.fileno(): (not ended and len(writing) < _ROOM, bool(sending)),
                    outward: (False, bool(writing)),
                    inward: (not ended and len(sending) < _ROOM, False),
                },
                0 if more and len(writing) < _ROOM else _LOOK,
            )
            if inward in ready:
                data = os.read(inward, PIECE)
                if not data:
                    break
                protocol.send_binary(bytes([_DATA]) + data)
    return error.decode(errors="replace").strip()


def _ready(selector: selectors.BaseSelector, wanted: dict[int, tuple[bool, bool]], seconds: float) -> set[int]:
    """Wait until one of the descriptors can be (read, written) as wanted; those that can."""
    for descriptor, (reads, writes) in wanted.items():
        events = (selectors.EVENT_READ if reads else 0) | (selectors.EVENT_WRITE if writes else 0)
        registered = selector.get_map().get(descriptor)
        if registered is None and events:
            selector.register(descriptor, events)
        elif registered is not None and not events:
            selector.unregister(descriptor)
        elif registered is not None and registered.events != events:
            selector.modify(descriptor, events)
    return {key.fd for key, _ in selector.select(seconds)}


def _receive(connection: socket.socket, protocol: ClientProtocol, room: int) -> bool:
    """Give the protocol what has come, at most about `room` bytes; whether there may be more, which an SSL object hides from selectors."""
    with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
        while room > 0 and protocol.state is not State.CLOSED:
            data = connection.recv(PIECE)
            if not data:
                protocol.receive_eof()
                return False
            protocol.receive_data(data)
            room -= len(data)
        return protocol.state is not State.CLOSED
    return False


def _send(connection: socket.socket, data: bytearray) -> None:
    """Take from the front of `data` what the connection takes."""
    with contextlib.suppress(ssl.SSLWantReadError, ssl.SSLWantWriteError, BlockingIOError):
        while data:
            del data[: connection.send(data)]


def _write(descriptor: int, data: bytearray) -> None:
    """Take from the front of `data` what the descriptor takes."""
    with contextlib.suppress(BlockingIOError):
        while data:
            del data[: os.write(descriptor, data)]
