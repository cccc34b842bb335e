"""The operator's loop: what has changed -> the workloads to look at -> a plan for each -> writes, one plan per workload at a time.

There is no state that matters: a workload that is looked at once more than needed costs a moment, and all are looked at once in a
while. So a lost event, a killed operator and a second one are no special cases. A mistake of ours about one workload is told, and
tried again later; the others go on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime

from generator.asked.admission import read
from generator.asked.intent import Intent, Memory
from generator.cluster.snapshot import OUR_KINDS, Key, Obj, Snapshot, key_of
from generator.cluster.times import written
from generator.desired.generate import Desired, concerned, generate
from generator.desired.touched import touched_by
from generator.desired.waking import next_end, next_look
from generator.live import apply, metrics
from generator.live.failures import Throttled
from generator.live.kube import Kube
from generator.live.mirror import Mirror
from generator.live.queue import Queue
from generator.names import CONTROL_NAMESPACE
from generator.plan import Change, plan, renewals

RESYNC_SECONDS = 300.0
"""Between two looks at everything; only what time alone decides (a Pod that has been starting for long) may wait that long."""
RENEW_SECONDS = 3600.0
"""Between two deliveries to a carrier with TLS, at least. cert-manager renews when a third of a certificate's life is left."""
_LONGEST_BACKOFF = 30.0
_FIRST_BACKOFF = 0.05
_TARGETS_AT_ONCE = 64
_WRITES_AT_ONCE = 32
_DELIVERIES_AT_ONCE = 32
UNTARGETED = Key("", "", "")
"""In the queue: clients, connections, the bridges and mounts without a workload, and those that expire."""
log = logging.getLogger(__name__)

Event = tuple[Key, Obj | None, Obj | None]
Wrote = Callable[[Change, Obj | None, Obj | None], None]
Turned = Callable[[Obj, list[Obj], list[Obj]], None]


def clock() -> str:
    """Now, RFC 3339 with milliseconds."""
    return written(datetime.now(UTC), "milliseconds")


@dataclass
class Reconciler:
    """The loop.

    wrote: is told each write with the object before and after it. turned: is told a workload, with its Pods before and after some of
    them have changed. heard: whether it is known who listens at the relay. leads: asked before each wave of writes.
    """

    kube: Kube
    mirror: Mirror
    wrote: Wrote = lambda _change, _before, _after: None
    turned: Turned = lambda _workload, _before, _after: None
    heard: Callable[[], bool] = lambda: True
    leads: Callable[[], bool] = lambda: True
    _pods: dict[Key, list[Obj]] = field(default_factory=dict)
    _queue: Queue[Key] = field(default_factory=Queue)
    _events: list[Event] = field(default_factory=list)
    _running: bool = False
    _resync: float = 0.0
    _followed: frozenset[str] | None = None
    _busy: set[Key] = field(default_factory=set)
    _known: frozenset[Key] = frozenset()
    _failures: dict[Key, int] = field(default_factory=dict)
    _renewed: dict[Key, float] = field(default_factory=dict)
    _renewing: set[Key] = field(default_factory=set)
    _intent: Intent = field(default_factory=Intent)
    _memory: Memory = field(default_factory=Memory)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _targets: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_TARGETS_AT_ONCE, "target"))
    _writes: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_WRITES_AT_ONCE, "write"))
    _deliveries: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(_DELIVERIES_AT_ONCE, "deliver"))

    def changed(self, key: Key, before: Obj | None, after: Obj | None) -> None:
        """Take note of a change; for Mirror.changed. While nobody reconciles, there is no need: all is looked at first."""
        if self._running:
            with self._lock:
                self._events.append((key, before, after))
            self._queue.wake()

    def run(self, goes_on: Callable[[], bool]) -> None:
        """Reconcile while `goes_on()`. Everything is looked at first, as after any pause."""
        self._failures.clear()
        self._renewed.clear()
        self._renewing.clear()
        self._running, self._resync = True, 0.0
        while goes_on():
            due = self._queue.take(timeout=0.5)
            with self._lock:
                events, self._events = self._events, []
            if self.mirror.waits_for:
                self._resync = 0.0
            elif events or due or time.monotonic() >= self._resync:
                try:
                    self._look(due, events)
                except Exception:
                    log.exception("looking at what has changed")
                    metrics.failures.inc()
                    self._resync = time.monotonic() + _LONGEST_BACKOFF
        self._running = False
        with self._lock:
            self._events.clear()

    def close(self) -> None:
        """End once the writes that have begun are done."""
        for pool in (self._targets, self._writes, self._deliveries):
            pool.shutdown()

    def _look(self, due: set[Key], events: list[Event]) -> None:
        """Plan what is due and what the events touch."""
        snapshot = self.mirror.snapshot(clock(), unheard=not self.heard())
        if snapshot.proxies_behind:
            self._resync = min(self._resync, time.monotonic() + self.mirror.proxies_behind)
        if snapshot.followed != self._followed:
            self._followed, self._resync = snapshot.followed, 0.0
        intent = read(snapshot, self._memory)
        due |= self._touched(snapshot, intent, events) | ({UNTARGETED} if intent.expired else set())
        if (wait := next_end(intent, snapshot.now)) is not None:
            self._queue.add(UNTARGETED, wait + 0.001)
        if time.monotonic() >= self._resync:
            self._resync = time.monotonic() + RESYNC_SECONDS
            self._known = concerned(snapshot, intent)
            self._forget({*self._known, *intent.claims, *self._busy, UNTARGETED})
            due |= {*self._known, UNTARGETED}
        self._known |= intent.claims.keys()
        self._intent = intent
        with metrics.reconcile_seconds.time():
            for key in sorted(due - self._busy - self._queue.held()):
                try:
                    self._reconcile(snapshot, intent, key)
                except Exception:
                    log.exception("planning for %s", key, extra={"target": str(key)})
                    metrics.failures.inc()
                    self._queue.add(key, _LONGEST_BACKOFF)
        metrics.queue_depth.set(len(self._queue))
        metrics.targets.set(len(self._known))
        for kind, gauge in (("GefyraBridge", metrics.bridges), ("GefyraBridgeMount", metrics.mounts)):
            metrics.count(gauge, (str(o.get("state")) for o in snapshot.controls if key_of(o).kind == kind))

    def _forget(self, known: set[Key]) -> None:
        for kept in (self._pods, self._renewed, self._failures):
            for key in kept.keys() - known:
                del kept[key]

    def _touched(self, snapshot: Snapshot, intent: Intent, events: Iterable[Event]) -> set[Key]:
        """The workloads for which the events may matter, of those that we have to do with."""
        found: set[Key] = set()
        for key, before, after in events:
            if key.kind in OUR_KINDS.values():
                at = (self._intent.targets.get(key), intent.targets.get(key))
                found |= {UNTARGETED, *(each[0] for each in at if each)}
                continue
            if key.namespace == CONTROL_NAMESPACE:
                found |= {UNTARGETED, *self._known}
            space = snapshot.space(key.namespace)
            for obj in filter(None, (before, after)):
                some = touched_by(space, obj)
                found |= {k for k in self._known if k.namespace == key.namespace} if some is None else some
        old, new = self._intent.claims, intent.claims
        return {k for k in found if k in self._known or k in new or k == UNTARGETED} | {k for k in {*old, *new} if old.get(k) != new.get(k)}

    def _reconcile(self, snapshot: Snapshot, intent: Intent, key: Key) -> None:
        desired = generate(snapshot, frozenset(() if key == UNTARGETED else {key}), intent)
        changes = self._renewals(key, desired) or plan(snapshot, desired)
        for outcome in desired.outcomes.values():
            pods = [o.pod for o in outcome.originals]
            if outcome.workload.obj is not None:
                self.turned(outcome.workload.obj, self._pods.get(key, pods), pods)
            self._pods[key] = pods
        if changes:
            self._busy.add(key)
            self._targets.submit(self._write, key, changes)
            return
        self._failures.pop(key, None)
        wait = next_look(desired, snapshot.now)
        if wait is not None:
            self._queue.add(key, min(wait, RESYNC_SECONDS) + 0.001)

    def _renewals(self, key: Key, desired: Desired) -> tuple[Change, ...]:
        """Now and then, also after a change of leaders, and whatever else cannot be written: what carriers with TLS have, once more."""
        now = time.monotonic()
        if now < self._renewed.setdefault(key, now - RENEW_SECONDS + RESYNC_SECONDS) + RENEW_SECONDS:
            return ()
        self._renewed[key] = now
        if found := renewals(desired):
            self._renewing.add(key)
        return found

    def _write(self, key: Key, changes: tuple[Change, ...]) -> None:
        wait = 0.0
        try:
            before = {c.key: self.mirror.get(c.key) for c in changes}
            result = apply.write(self.kube, changes, self._writes, self.mirror.saw, self._deliveries, self.leads)
            for change in result.written:
                self.wrote(change, before[change.key], self.mirror.get(change.key))
                log.info("%s %s: %s", change.op, change.key, change.reason, extra={"target": str(key), "op": change.op})
                metrics.writes.labels(change.op, change.key.kind, "written").inc()
            for change in result.stale:
                log.info("%s %s: it has changed meanwhile; planned again", change.op, change.key, extra={"target": str(key)})
                metrics.writes.labels(change.op, change.key.kind, "stale").inc()
            for change, error in result.failed:
                log.warning("%s %s: %s", change.op, change.key, error, extra={"target": str(key), "status": error.status})
                metrics.writes.labels(change.op, change.key.kind, "failed").inc()
            wait = self._backoff(key, result)
        except Exception:
            log.exception("writing for %s", key, extra={"target": str(key)})
            metrics.failures.inc()
            wait = _LONGEST_BACKOFF
        finally:
            self._busy.discard(key)
            self._queue.add(key, wait)

    def _backoff(self, key: Key, result: apply.Result) -> float:
        if key in self._renewing and not result.complete:
            self._renewed[key] += RESYNC_SECONDS - RENEW_SECONDS
        self._renewing.discard(key)
        if result.complete:
            self._failures.pop(key, None)
            return 0.0
        count = self._failures[key] = self._failures.get(key, 0) + 1
        asked: float = max((error.retry_after for _, error in result.failed), default=0.0)
        if any(isinstance(error, Throttled) for _, error in result.failed):  # no event makes such a server ready sooner
            self._queue.hold(key, min(asked, RESYNC_SECONDS))
        return max(asked, min(_FIRST_BACKOFF * 2.0 ** (count - 1), _LONGEST_BACKOFF if result.failed else 1.0))
