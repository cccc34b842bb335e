"""Many sockets in one thread: tasks take turns, and each goes on when what it waits for is there.

A task is a generator that yields what it waits for, or another task, which runs beside it as soon as this one waits or ends. It may be
woken for nothing: then it tries what would have blocked, and waits again.
"""

from __future__ import annotations

import time
from collections.abc import Generator
from heapq import heappop, heappush
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector, DefaultSelector
from typing import NamedTuple


class Wait(NamedTuple):
    """Until a file descriptor is ready for EVENT_READ or EVENT_WRITE of `selectors`; no two tasks wait for the same.

    event 0: for the seconds alone. seconds: after which the task goes on in any case, 0 for never.
    """

    descriptor: int
    event: int
    seconds: float = 0.0


Task = Generator["Wait | Task", None, None]


def run(stop: int, *tasks: Task) -> None:
    """Let them run until the file descriptor `stop` can be read; then they are closed, and all that they have begun."""
    with DefaultSelector() as selector:
        selector.register(stop, EVENT_READ)
        turns = _Turns(selector)
        try:
            for each in tasks:
                turns.go_on(each)
            while (stop, EVENT_READ) not in (ready := turns.ready()):
                turns.wake(ready)
        finally:
            turns.close()


class _Turns:
    """Who waits for what: by descriptor and event."""

    def __init__(self, selector: BaseSelector) -> None:
        self._selector = selector
        self._waiting: dict[int, dict[int, tuple[Wait, Task]]] = {}
        self._alarms: list[tuple[float, Wait]] = []

    def go_on(self, task: Task, before: Wait | None = None) -> None:
        """Let a task run until it waits again. before: what it has waited for."""
        begun, wanted = list[Task](), next(task, None)
        while wanted is not None and not isinstance(wanted, Wait):
            begun.append(wanted)
            wanted = next(task, None)
        if wanted and wanted.seconds:
            heappush(self._alarms, (time.monotonic() + wanted.seconds, wanted))
        if wanted is not before:
            self._change(task, before, wanted)
        for each in begun:  # whose descriptor may be one that this task has closed
            self.go_on(each)

    def _change(self, task: Task, before: Wait | None, wanted: Wait | None) -> None:
        if before:
            del self._waiting[before.descriptor][before.event]
            self._heed(before.descriptor)
        if wanted:
            self._waiting.setdefault(wanted.descriptor, {})[wanted.event] = wanted, task
            self._heed(wanted.descriptor)

    def _heed(self, descriptor: int) -> None:
        """Look after the descriptor for those who wait for it now."""
        tasks = self._waiting[descriptor]
        if descriptor in self._selector.get_map():
            self._selector.unregister(descriptor)  # it may have been closed, and be another one by now
        if events := sum(tasks):
            self._selector.register(descriptor, events)
        if not tasks:
            del self._waiting[descriptor]

    def ready(self) -> list[tuple[int, int]]:
        """The descriptors and events that somebody need not wait for any more, once there is one."""
        pause = max(0.0, self._alarms[0][0] - time.monotonic()) if self._alarms else None
        found = [(key.fd, event) for key, events in self._selector.select(pause) for event in (EVENT_READ, EVENT_WRITE) if events & event]
        while self._alarms and self._alarms[0][0] <= time.monotonic():
            found.append(heappop(self._alarms)[1][:2])
        return found

    def wake(self, ready: list[tuple[int, int]]) -> None:
        """Let those go on who wait for these."""
        for descriptor, event in ready:
            if found := self._waiting.get(descriptor, {}).get(event):
                self.go_on(found[1], found[0])

    def close(self) -> None:
        """End all that are left."""
        for tasks in list(self._waiting.values()):
            for _, task in tasks.values():
                task.close()
