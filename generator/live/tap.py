"""A loopback port that leads to the user's process, and tells of the requests that go through it.

Bytes pass as they come, both ways; where one side ends its half, so does the other. What is told comes from a watcher, who cannot
hold them up or change them.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from generator.watching import Seen, Watcher

_PIECE: Final = 256 * 1024
_SECONDS: Final = 5.0
"""For a connection to the user's process, on the same machine."""
_HOSTS: Final = ("127.0.0.1", "::1")
"""Where a process listens that says `localhost`."""
_PASSING: Final = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.ECONNABORTED)
"""Of accept(2): it may be tried again."""
_PAUSE: Final = 0.05
"""Seconds until then."""
_RESET: Final = struct.pack("ii", 1, 0)


@contextmanager
def tapped(port: int, tell: Callable[[Seen], None]) -> Iterator[int]:
    """The port that leads to `port` of this machine while the block runs.

    tell: is called from several threads, once for each request that is answered. While nothing listens on `port`, whoever connects is
    cut off, and the carrier lets the cluster answer.
    """
    with socket.create_server(("127.0.0.1", 0), backlog=1024) as listener:
        threading.Thread(target=_accept, args=(listener, port, tell), daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)


def _accept(listener: socket.socket, port: int, tell: Callable[[Seen], None]) -> None:
    while True:
        try:
            caller, _ = listener.accept()
        except OSError as error:
            if error.errno not in _PASSING:
                return
            time.sleep(_PAUSE)
            continue
        try:
            threading.Thread(target=_serve, args=(caller, port, tell), daemon=True).start()
        except RuntimeError:  # no thread is to be had now
            caller.close()


def _serve(caller: socket.socket, port: int, tell: Callable[[Seen], None]) -> None:
    with caller:
        try:
            process = _process(port)
        except OSError:
            caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            return
        with process:
            for each in (caller, process):
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            watcher, lock = Watcher(), threading.Lock()

            def watched(look: Callable[[bytes, float], tuple[Seen, ...]]) -> Callable[[bytes], None]:
                def watch(data: bytes) -> None:
                    with lock:
                        found = look(data, time.monotonic())
                    for seen in found:
                        tell(seen)

                return watch

            back = threading.Thread(target=_pass, args=(process, caller, watched(watcher.answered)), daemon=True)
            back.start()
            _pass(caller, process, watched(watcher.sent))
            back.join()


def _process(port: int) -> socket.socket:
    for host in _HOSTS[:-1]:
        with contextlib.suppress(OSError):
            return socket.create_connection((host, port), _SECONDS)
    return socket.create_connection((_HOSTS[-1], port), _SECONDS)


def _pass(source: socket.socket, sink: socket.socket, watch: Callable[[bytes], None]) -> None:
    """Everything of one direction, and its end; if either breaks, both do."""
    try:
        source.settimeout(None)
        while data := source.recv(_PIECE):
            watch(data)
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
