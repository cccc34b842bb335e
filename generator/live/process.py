"""The user's process on this machine: how it is reached, and whether it listens."""

from __future__ import annotations

import contextlib
import errno
import socket
import struct
import time
from collections.abc import Callable, Generator, Iterator
from selectors import EVENT_WRITE
from typing import Final

from generator.live.turns import Task, Wait

_SECONDS: Final = 5.0
"""For a connection on the same machine."""
_HOSTS: Final = ("127.0.0.1", "::1")
"""Where a process listens that says `localhost`."""
_ON_ITS_WAY: Final = (errno.EINPROGRESS, errno.EALREADY)
_AGAIN: Final = 0.25
"""Seconds until a process that does not listen is tried again."""

RESET: Final = struct.pack("ii", 1, 0)
"""SO_LINGER of a socket that is gone as soon as it is closed: its port is free, and whoever is at the other end sees a reset."""

Turned = Callable[[bool], None]
"""turned(listens)"""


class Process:
    """It listens or it does not, as far as somebody has tried."""

    def __init__(self, port: int, turned: Turned, clock: socket.socket) -> None:
        """turned: told at the beginning and at each change; it must not wait. clock: a socket that nobody else waits for."""
        self._port, self._turned, self._again = port, turned, Wait(clock.fileno(), 0, _AGAIN)
        self._listens: bool | None = None

    def reached(self, made: socket.socket) -> Generator[Wait, None, socket.socket]:
        """A connection to it: `made`, or another socket where it listens on IPv6 alone. Raises ConnectionRefusedError, other OSErrors."""
        unsure = False
        for host in _HOSTS:
            if host == "::1":
                try:
                    made = socket.socket(socket.AF_INET6)
                except OSError as error:
                    if error.errno == errno.EAFNOSUPPORT:
                        break
                    raise
            with contextlib.ExitStack() as stack:
                stack.enter_context(made).setblocking(False)
                until = time.monotonic() + _SECONDS
                while (code := made.connect_ex((host, self._port))) in _ON_ITS_WAY and time.monotonic() < until:
                    yield Wait(made.fileno(), EVENT_WRITE, _SECONDS)
                if code in (0, errno.EISCONN):
                    if made.getsockname() != made.getpeername():
                        stack.pop_all()
                        return made
                    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)  # the kernel took the free port itself
                elif code in _ON_ITS_WAY or (host == _HOSTS[0] and code != errno.ECONNREFUSED):
                    unsure = True
        raise OSError("it takes nobody for now, or this machine has no room") if unsure else ConnectionRefusedError

    def sought(self) -> Task:
        """Try until it listens, as it is taken to if that cannot be known at the beginning."""
        while not self._listens:
            try:
                (yield from self.reached(socket.socket())).close()
                self._turn(listens=True)
            except ConnectionRefusedError:
                self._turn(listens=False)
                yield self._again
            except OSError:
                if self._listens is None:
                    self._turn(listens=True)
                else:
                    yield self._again

    def refused(self) -> Iterator[Task]:
        """Somebody was not let in: what has to run from now on, if it does not yet."""
        if self._listens:
            self._turn(listens=False)
            yield self.sought()

    def _turn(self, *, listens: bool) -> None:
        if self._listens is not listens:
            self._listens = listens
            self._turned(listens)
