"""Who of several replicas leads: one Lease, as client-go's leader election has it.

Nobody compares clocks. A candidate waits until the Lease has not changed for its duration *as seen by his own monotonic clock*; then he
writes his name, guarded by the resourceVersion, so that of two one fails. A leader counts from before he asked for a renewal and stops
after DEADLINE, a third of the duration before anybody may follow him. Source: client-go tools/leaderelection, its defaults (15, 10 and
2 seconds), and what it says of clock skew.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from concurrent.futures import TimeoutError as TooLate
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from generator.cluster.snapshot import Key, Obj
from generator.cluster.times import written
from generator.live import metrics
from generator.live.failures import Conflict, KubeError, NotFound
from generator.live.kube import Kube
from generator.names import CONTROL_NAMESPACE

_log: Final = logging.getLogger(__name__)
LEASE: Final = Key("Lease", CONTROL_NAMESPACE, "bascule-operator")
DURATION: Final = 15
"""Seconds without a renewal after which another may lead."""
DEADLINE: Final = 10
"""Seconds without a renewal after which the leader stops."""
RETRY: Final = 2
"""Seconds between two tries."""


class Seen(NamedTuple):
    """What a Lease said last, and since when it has said so, in seconds of the own monotonic clock."""

    spec: Obj
    since: float


def seen(before: Seen | None, lease: Obj, now: float) -> Seen:
    """What is seen now: the time is new only if the Lease has changed."""
    spec = lease.get("spec") or {}
    return before if before and before.spec == spec else Seen(spec, now)


def wait(lease: Seen, me: str, now: float) -> float:
    """Seconds until `me` may write his name; 0 if he may now, as it is his, nobody's, or has not changed for too long."""
    holder = lease.spec.get("holderIdentity")
    if not holder or holder == me:
        return 0.0
    return max(0.0, lease.since + float(lease.spec.get("leaseDurationSeconds") or DURATION) - now)


def claimed(lease: Obj | None, me: str, at: str) -> Obj:
    """The Lease with `me` as holder. at: the time of the wall clock, for people."""
    before = (lease or {}).get("spec") or {}
    spec: dict[str, Any] = {
        "holderIdentity": me,
        "leaseDurationSeconds": DURATION,
        "renewTime": at,
        "acquireTime": before.get("acquireTime"),
    }
    changes = before.get("leaseTransitions") or 0
    if before.get("holderIdentity") != me:
        spec |= {"acquireTime": at, "leaseTransitions": changes + bool(lease)}
    else:
        spec["leaseTransitions"] = changes
    if lease is None:
        metadata = {"name": LEASE.name, "namespace": LEASE.namespace}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
    return {**lease, "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": spec}


def released(lease: Obj, at: str) -> Obj:
    """The Lease without a holder: whoever looks next may lead at once."""
    spec = {**lease["spec"], "holderIdentity": "", "leaseDurationSeconds": 1, "renewTime": at}
    return {**lease, "apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "spec": spec}


class Candidate:
    """A replica that leads when it can: `run` in a thread of its own.

    started, stopped: called when it begins and when it must not lead any more; `stopped` has to return within
    DURATION - DEADLINE = 5 seconds. Between the two, ask `leads` before a write.
    """

    def __init__(
        self,
        kube: Kube,
        me: str,
        started: Callable[[], None] = lambda: None,
        stopped: Callable[[], None] = lambda: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """me: a name that no other process has. clock: seconds that only ever grow."""
        self._kube, self._me, self._started, self._stopped, self._clock = kube, me, started, stopped, clock
        self._seen: Seen | None = None
        self._until = -1.0

    def leads(self) -> bool:
        """Whether nobody else can lead at this moment."""
        return self._clock() < self._until

    def run(self, stop: threading.Event) -> None:
        """Lead whenever possible until `stop` is set; then hand over at once."""
        leading = False
        with ThreadPoolExecutor(1, thread_name_prefix="lease") as asking:  # an answer that does not come must not hold up the deadline
            while not stop.is_set():
                began = self._clock()
                request = asking.submit(self._round)
                pause = float(RETRY)
                try:
                    pause = request.result(self._until - began if leading else None)
                    self._until = -1.0 if pause else began + DEADLINE
                    pause = pause or RETRY
                except TooLate:
                    request.cancel()
                except KubeError as error:
                    _log.warning("lease: %s", error)
                except Exception:  # noqa: BLE001  # without this thread nobody leads any more
                    _log.exception("lease")
                    metrics.failures.inc()
                if not leading and self.leads():
                    leading = True
                    _log.info("%s leads", self._me)
                    self._started()
                elif leading and not self.leads():
                    leading = False
                    _log.warning("%s leads no more: its lease was not renewed in time, or another holds it", self._me)
                    self._stopped()
                stop.wait(min(pause, max(0.0, self._until - self._clock())) if leading else pause)
            self._until = -1.0
            if leading:
                self._stopped()
                asking.submit(self._release).result()

    def _round(self) -> float:
        """Seconds to wait for the next try; 0 if the Lease was written just now. Raises KubeError."""
        lease: Obj | None = None
        with contextlib.suppress(NotFound):
            lease = self._kube.get(LEASE)
        if lease is not None:
            self._seen = seen(self._seen, lease, self._clock())
            if left := wait(self._seen, self._me, self._clock()):
                return min(left, RETRY)
        wanted = claimed(lease, self._me, _now())
        written = self._kube.replace(wanted) if lease else self._kube.create(wanted)
        self._seen = Seen(written["spec"], self._clock())
        return 0.0

    def _release(self) -> None:
        try:
            lease = self._kube.get(LEASE)
            if lease["spec"].get("holderIdentity") == self._me:
                self._kube.replace(released(lease, _now()))
        except (Conflict, NotFound):
            pass
        except KubeError as error:
            _log.warning("lease not released, the next one waits %d s: %s", DURATION, error)


def _now() -> str:
    return written(datetime.now(UTC), "microseconds")
