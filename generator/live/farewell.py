"""Bridges of Gefyra's command line are seen to go: it waits for the server to tell of that, and reads the uid in the answer to its DELETE.

The server answers so where a finalizer keeps the object for a moment (Gefyra 2.5, client/gefyra/api/bridge.py: `wait_for_deletion`).
So a bridge with the label that only that command line gives gets one while it lives, and loses it when the command line has had time to
watch. Nothing hangs on it: with `deletionTimestamp` a bridge is none any more, and no other bridge gets one.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Final

from generator.cluster.snapshot import Obj, key_of, labels_of
from generator.cluster.times import seconds_between, written
from generator.live import metrics
from generator.live.failures import Conflict, Invalid, KubeError, NotFound
from generator.live.kube import Kube
from generator.live.mirror import Mirror

_log: Final = logging.getLogger(__name__)
FINALIZER: Final = "bascule.dev/farewell"
LABEL: Final = "gefyra.dev/client-container"
"""Of bridges that Gefyra's command line has made: the container on the laptop."""
STAYS: Final = 3.0
"""Seconds that one stays that is deleted; `deletionTimestamp` has whole seconds, so that at least two are left to begin to watch."""
ROUND: Final = 0.5
"""Seconds between two looks."""


def run(kube: Kube, mirror: Mirror, leads: Callable[[], bool], stop: threading.Event) -> None:
    """Give and take the finalizer while `leads()`, until `stop` is set."""
    while not stop.wait(ROUND):
        try:
            if leads():
                _look(kube, mirror)
        except Exception:  # noqa: BLE001  # nobody would notice a thread that has died
            _log.exception("farewell")
            metrics.failures.inc()


def _look(kube: Kube, mirror: Mirror) -> None:
    now = written(datetime.now(UTC), "milliseconds")
    for bridge, finalizers in due(mirror.snapshot(now).controls, now):
        guarded = {"metadata": {"finalizers": finalizers, "resourceVersion": bridge["metadata"]["resourceVersion"]}}
        try:
            kube.merge(key_of(bridge), guarded)
        except (Conflict, Invalid, NotFound):
            continue  # it has changed since it was read, and is looked at again
        except KubeError as error:
            _log.warning("farewell: %s: %s", key_of(bridge), error)


def due(controls: Iterable[Obj], now: str) -> list[tuple[Obj, list[str]]]:
    """The bridges whose finalizers should be others, and which. now: RFC 3339."""
    found = []
    for obj in controls:
        metadata = obj["metadata"]
        there = metadata.get("finalizers") or []
        leaving = metadata.get("deletionTimestamp")
        others = [each for each in there if each != FINALIZER]
        if leaving and len(others) < len(there) and seconds_between(leaving, now) >= STAYS:
            found.append((obj, others))
        elif not leaving and key_of(obj).kind == "GefyraBridge" and LABEL in labels_of(obj) and others == there:
            found.append((obj, [*there, FINALIZER]))
    return found
