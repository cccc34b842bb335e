"""The API server's port-forward as a pump of bytes: what comes from one descriptor goes to a port of a Pod, and its answer to another.

The protocol is v4.channel.k8s.io (kubelet's pkg/kubelet/cri/streaming/portforward/websocket.go): the first byte of a message is the
channel, 0 for data and 1 for an error; the first message of each is the port as two bytes, little endian. It knows no half-close: where
one side ends, both do.

One thread reads and writes without blocking. What goes to the cluster is kept in one piece at most, for whatever waits before a slow
line makes all that follows wait; what comes from there up to _ROOM.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import socket
import ssl
import sys
from collections.abc import Callable, Mapping
from typing import Final

from websockets.client import ClientProtocol
from websockets.protocol import State

from generator.cluster.snapshot import Key
from generator.live.failures import Refused
from generator.live.kube import Kube, path
from generator.live.websocket import PIECE, Websocket, messages, opened

_DATA, _ERROR = 0, 1
_ROOM: Final = 256 * 1024
"""Bytes that are kept for a reader that does not take them yet; as many as the processor's caches hold."""
_PIPE: Final = 1024 * 1024
"""Bytes that the pipe to the reader holds, as many as Linux gives to anybody (pipe(7)); by default 64 KiB, with a turn for each."""
_UNSENT: Final = 128 * 1024
"""Bytes that the kernel takes before they can be sent (TCP_NOTSENT_LOWAT, tcp(7)); by default megabytes, and seconds on a slow line."""
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
        if sys.platform == "linux":
            websocket.connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, _UNSENT)
            with contextlib.suppress(OSError):  # no pipe, or its user has too many
                fcntl.fcntl(outward, fcntl.F_SETPIPE_SZ, _PIPE)
        if error := _pump(websocket, inward, outward, alive):
            raise Refused(f"{what}: {error}")


def _pump(websocket: Websocket, inward: int, outward: int, alive: Callable[[], bool]) -> str:
    """What the other side says went wrong, "" when it ended well."""
    connection, protocol = websocket.connection, websocket.protocol
    sending, writing = bytearray(), bytearray()
    message = memoryview(bytearray([_DATA]) + bytearray(PIECE))
    numbered = {_DATA, _ERROR}
    error = b""
    readable = True
    while alive():
        more = readable and _receive(connection, protocol, _ROOM - len(writing))
        for found in messages(websocket):
            channel, body = found[0], memoryview(found)[1:]
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
        ended = protocol.state is not State.OPEN or bool(error)
        if ended and not writing:
            break
        room = not ended and len(writing) < _ROOM
        ready = _ready(
            {
                connection.fileno(): (select.POLLIN if room else 0) | (select.POLLOUT if sending else 0),
                outward: select.POLLOUT if writing else 0,
                inward: select.POLLIN if not ended and not sending else 0,
            },
            0 if more and room else _LOOK,
        )
        readable = more or connection.fileno() in ready
        if inward in ready:
            count = os.readv(inward, [message[1:]])
            if not count:
                break
            protocol.send_binary(message[: 1 + count])
    return error.decode(errors="replace").strip()


def _ready(wanted: Mapping[int, int], seconds: float) -> set[int]:
    """Wait until one of the descriptors is ready for what is wanted of it (poll's events); those that are."""
    poll = select.poll()
    for descriptor, events in wanted.items():
        if events:
            poll.register(descriptor, events)
    return {descriptor for descriptor, _ in poll.poll(seconds * 1000)}


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
