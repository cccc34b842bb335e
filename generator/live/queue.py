"""Work that is due at a time: each item once, at the earliest time anybody asked for, but not while it is held."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from math import inf
from typing import Generic, TypeVar

Item = TypeVar("Item")


@dataclass
class Queue(Generic[Item]):
    """Any thread may add; one takes."""

    _due: dict[Item, float] = field(default_factory=dict)
    _held: dict[Item, float] = field(default_factory=dict)
    _woken: bool = False
    _condition: threading.Condition = field(default_factory=threading.Condition)

    def add(self, item: Item, seconds: float = 0.0) -> None:
        """Let `item` be due in so many seconds, or earlier if it is already; if it is held, then at last."""
        with self._condition:
            due = min(time.monotonic() + seconds, self._due.get(item, inf))
            self._due[item] = max(due, self._held.get(item, -inf))
            self._condition.notify()

    def hold(self, item: Item, seconds: float) -> None:
        """Let `item` be due in so many seconds, and not earlier whoever adds it."""
        with self._condition:
            self._due[item] = self._held[item] = max(time.monotonic() + seconds, self._held.get(item, -inf))
            self._condition.notify()

    def held(self) -> set[Item]:
        """What is held now."""
        with self._condition:
            now = time.monotonic()
            self._held = {item: until for item, until in self._held.items() if now < until}
            return set(self._held)

    def wake(self) -> None:
        """Let the next `take` come back at once, or the one that waits."""
        with self._condition:
            self._woken = True
            self._condition.notify()

    def take(self, timeout: float) -> set[Item]:
        """What is due, as soon as anything is or `wake` is called; nothing after `timeout` seconds."""
        end = time.monotonic() + timeout
        with self._condition:
            while True:
                now = time.monotonic()
                found = {item for item, due in self._due.items() if due <= now}
                if found or self._woken or now >= end:
                    self._woken = False
                    for item in found:
                        del self._due[item]
                    return found
                self._condition.wait(min([end, *self._due.values()]) - now)

    def __len__(self) -> int:
        return len(self._due)
