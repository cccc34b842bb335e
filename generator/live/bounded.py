"""What whoever reaches a port of ours may cost at most: connections, bodies in memory, and the time of a body.

Every Pod of a cluster reaches the webhook, and no NetworkPolicy can name the API server on every cluster. A connection with TLS takes
256 KiB before it has said anything (asyncio's SSLProtocol), and JSON up to 32 times its bytes once it is read (seen: 3 MiB of `[[]],`).
So connections are few, and of the bodies that are more than a usual review one is in memory at a time; a small one never waits.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from typing import Any, Final

Message = MutableMapping[str, Any]
MAX_BODY: Final = 3 * 1024 * 1024
"""Bytes; an object has at most 1.5 MiB in etcd (`--max-request-bytes`), and a review of an update holds two."""
SMALL: Final = 32 * 1024
"""Bytes of a body that needs no place of its own; a review of a bridge has some 5,000."""
BODY_SECONDS: Final = 10.0
"""For a body, with its wait for a place: as long as the API server waits for the answer (`timeoutSeconds` of the overlays)."""
AGE: Final = BODY_SECONDS
"""Seconds after which a connection may be ended for another: no review takes longer."""
CONNECTIONS: Final = 32
"""Open at once, and as many again while none of them is old; the API server has one for each review that is on its way."""
BUFFER: Final = 64 * 1024
"""Bytes that the system keeps of a connection until they are read: asyncio reads all of them at once."""


class Unread(Exception):
    """A body that is not read to its end. status: of the answer."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


@contextlib.asynccontextmanager
async def body(receive: Callable[[], Awaitable[Message]], large: asyncio.Semaphore) -> AsyncIterator[bytes]:
    """The body of an ASGI request; a large one keeps its place until the block ends. Raises Unread with 408, 413 or 503."""
    async with contextlib.AsyncExitStack() as place:
        found, waits = bytearray(), False
        try:
            async with asyncio.timeout(BODY_SECONDS):
                more, small = True, True
                while more:
                    message = await receive()
                    found += message.get("body", b"")
                    more = message.get("more_body", False)
                    if len(found) > MAX_BODY:
                        raise Unread(413, f"more than {MAX_BODY} bytes")
                    if small and len(found) > SMALL:
                        waits = True
                        await place.enter_async_context(large)
                        small = waits = False
        except TimeoutError:
            late = f"in {BODY_SECONDS:.0f} s"
            raise Unread(503, f"no place for a large body {late}") if waits else Unread(408, f"no whole body {late}") from None
        yield bytes(found)


class Listener(socket.socket):
    """A listening socket with few connections: one too many ends the oldest, if no review takes as long as that is open, so that the one
    that has just come is answered.
    """

    def __init__(self, listening: socket.socket) -> None:
        """listening: it is taken over."""
        super().__init__(fileno=listening.detach())
        self.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)
        self._open: tuple[tuple[socket.socket, float], ...] = ()

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection. Raises ConnectionAbortedError while there is no room for it."""
        made, address = super().accept()
        now = time.monotonic()
        self._open = tuple((each, since) for each, since in self._open if each.fileno() >= 0)
        if len(self._open) >= 2 * CONNECTIONS:
            made.close()
            raise ConnectionAbortedError
        for old, since in self._open[: max(0, len(self._open) + 1 - CONNECTIONS)]:
            if now - since >= AGE:
                with contextlib.suppress(OSError):  # it has gone by itself, or was ended before
                    old.shutdown(socket.SHUT_RDWR)
        self._open = (*self._open, (made, now))
        return made, address
