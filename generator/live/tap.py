"""A loopback port that leads to the user's process, and tells of the requests that go through it.

Bytes pass as they come, both ways, in one thread for all connections; where one side ends its half, so does the other, and who reads
slowly is sent to slowly. What is told comes from a watcher, who cannot hold them up or change them, and is told by another thread.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from selectors import EVENT_READ, EVENT_WRITE
from typing import Final

from generator.live.process import RESET, Process, Turned
from generator.live.turns import Task, Wait, run
from generator.watching import Seen, Watcher

_PIECE: Final = 64 * 1024
_SECONDS: Final = 5.0
"""At the end, for what is still to be told."""
_PAUSE: Final = 0.05
"""Seconds until accept(2) is tried again, where the machine has no room."""
_UNTOLD: Final = 10_000
"""Requests that may wait to be told. Where a terminal stands still, those that come on top are not told."""

Look = Callable[[bytes], None]
Tell = Callable[[Seen], None]


def _heedless(_listens: bool) -> None:
    """For who need not know."""


@contextmanager
def tapped(port: int, tell: Tell, turned: Turned = _heedless) -> Iterator[int]:
    """The port that leads to `port` of this machine while the block runs.

    tell: is called from a thread of its own, once for each request that is answered, however long it takes. turned: is called with
    whether something listens on `port`, at the beginning and when that is seen to have changed; it must not wait. Whoever connects
    while nothing does is cut off.
    """
    stop, stopped = socket.socketpair()
    with _teller(tell) as later, socket.create_server(("127.0.0.1", 0), backlog=1024) as listener, stop, stopped, socket.socket() as clock:
        listener.setblocking(False)
        process = Process(port, turned, clock)
        tasks = _accept(listener, process, later), process.sought()
        thread = threading.Thread(target=run, args=(stopped.fileno(), *tasks), daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            stop.shutdown(socket.SHUT_RDWR)
            thread.join()


@contextmanager
def _teller(tell: Tell) -> Iterator[Tell]:
    """The same for a thread that must not wait."""
    queue: SimpleQueue[Seen | None] = SimpleQueue()

    def later(seen: Seen) -> None:
        if queue.qsize() < _UNTOLD:
            queue.put(seen)

    def all_() -> None:
        while seen := queue.get():
            tell(seen)

    thread = threading.Thread(target=all_, daemon=True)
    thread.start()
    try:
        yield later
    finally:
        queue.put(None)
        thread.join(_SECONDS)


def _accept(listener: socket.socket, process: Process, tell: Tell) -> Task:
    called, pause = Wait(listener.fileno(), EVENT_READ), Wait(listener.fileno(), 0, _PAUSE)
    while True:
        yield called
        with contextlib.ExitStack() as stack:
            try:
                made = stack.enter_context(socket.socket())  # first, so that whoever is taken can be served
                caller, _ = listener.accept()
            except BlockingIOError:
                continue
            except OSError:
                yield pause
                continue
            stack.pop_all()
        yield _serve(caller, made, process, tell)


def _serve(caller: socket.socket, made: socket.socket, process: Process, tell: Tell) -> Task:
    with contextlib.ExitStack() as stack:
        stack.enter_context(caller)
        try:
            made = stack.enter_context((yield from process.reached(made)))
            for each in (caller, made):
                each.setblocking(False)
                each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            with contextlib.suppress(OSError):
                caller.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            if isinstance(error, ConnectionRefusedError):
                yield from process.refused()
            return
        stack.pop_all()
    watcher, ended = Watcher(), list[socket.socket]()

    def watched(look: Callable[[bytes, float], tuple[Seen, ...]]) -> Look:
        def watch(data: bytes) -> None:
            for seen in look(data, time.monotonic()):
                tell(seen)

        return watch

    yield _pass(caller, made, watched(watcher.sent), ended)
    yield _pass(made, caller, watched(watcher.answered), ended)


def _pass(source: socket.socket, sink: socket.socket, look: Look, ended: list[socket.socket]) -> Task:
    """Everything of one direction, and its end; if the source breaks, both do. ended: the sources that are through."""
    readable, writable = Wait(source.fileno(), EVENT_READ), Wait(sink.fileno(), EVENT_WRITE)
    try:
        while True:
            yield readable
            try:
                data = source.recv(_PIECE)
            except BlockingIOError:
                continue
            if not data:
                break
            look(data)
            left = memoryview(data)
            try:
                while left:
                    try:
                        left = left[sink.send(left) :]
                    except BlockingIOError:
                        yield writable
            except OSError:  # who takes no more may have answered, and the answer still arrives
                source.shutdown(socket.SHUT_RD)
                return
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        for each in (source, sink):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
    finally:
        ended.append(source)
        if len(ended) == 2:
            for each in ended:
                each.close()
