"""What ends a command that goes on: Ctrl-C, SIGTERM, and a terminal that is closed."""

from __future__ import annotations

import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Final

_ENDS: Final = ("SIGINT", "SIGTERM", "SIGHUP")


def newline() -> None:
    """On a terminal, leave the line on which it shows ^C, as click does where it ends a command."""
    for stream in (sys.stderr, sys.stdout):
        if stream is not None and stream.isatty():
            with contextlib.suppress(OSError):
                stream.write("\n")
                stream.flush()
            return


@contextmanager
def ends() -> Iterator[threading.Event]:
    """Set by the first of them; the next one ends the process at once (KeyboardInterrupt).

    A handler may run while the main thread holds the lock of that event, in `wait`. So it does what may be done then, which is to put
    into a SimpleQueue (its documentation: `put` is reentrant), and a thread sets the event.
    """
    stop, came = threading.Event(), SimpleQueue[int]()
    asked: list[int] = []

    def end(number: int, _frame: object) -> None:
        if asked or stop.is_set():
            raise KeyboardInterrupt
        asked.append(number)
        came.put(number)

    def wait() -> None:
        if came.get() == signal.SIGINT:
            newline()
        stop.set()

    threading.Thread(target=wait, name="signals", daemon=True).start()
    before = {number: signal.signal(number, end) for name in _ENDS if (number := getattr(signal, name, None))}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        came.put(0)
