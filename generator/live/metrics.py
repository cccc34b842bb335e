"""What the operator measures, for Prometheus: names and units as in its "Metric and label naming".

No label holds a name that a user gives: the number of series is bounded.
"""

from __future__ import annotations

from collections import Counter as Count
from collections.abc import Iterable
from typing import Final

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

STATES: Final = ("REQUESTED", "PREPARING", "INSTALLING", "ACTIVE", "RESTORING", "MISSING", "ERROR")
_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)

REGISTRY: Final = CollectorRegistry()
ProcessCollector(registry=REGISTRY)

reconcile_seconds = Histogram("bascule_reconcile_seconds", "One look at what has changed.", buckets=_SECONDS, registry=REGISTRY)
writes = Counter(
    "bascule_writes", "Writes by operation, kind and result: written, stale, failed.", ("op", "kind", "result"), registry=REGISTRY
)
queue_depth = Gauge("bascule_queue_depth", "Targets that wait to be looked at.", registry=REGISTRY)
targets = Gauge("bascule_targets", "Workloads that are bridged or on the way there or back.", registry=REGISTRY)
bridges = Gauge("bascule_bridges", "Bridges by state.", ("state",), registry=REGISTRY)
mounts = Gauge("bascule_mounts", "Mounts by state.", ("state",), registry=REGISTRY)
leader = Gauge("bascule_leader", "1 while this process leads.", registry=REGISTRY)
relists = Counter("bascule_relists", "Watches that had to begin with a new list.", registry=REGISTRY)
failures = Counter("bascule_failures", "What ended in a mistake of ours; the log has its traceback.", registry=REGISTRY)
verdicts = Counter(
    "bascule_admission_verdicts", "Reviews by kind and verdict: allowed, warned, refused.", ("kind", "verdict"), registry=REGISTRY
)


def count(gauge: Gauge, states: Iterable[str]) -> None:
    """Set a gauge by state; a state that no object has is 0, and one that we do not know is left out."""
    found = Count(states)
    for state in STATES:
        gauge.labels(state).set(found[state])


def exposition() -> tuple[bytes, str]:
    """All of it as Prometheus reads it, and the content type of that."""
    return generate_latest(REGISTRY), CONTENT_TYPE_LATEST
