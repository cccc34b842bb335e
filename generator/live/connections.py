"""The leader's part in connections, in a thread of its own: accounts for clients, their certificates, and who listens.

Without overlays/components/clients there are no accounts, without overlays/components/relay no certificates and nobody who listens.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from math import inf
from typing import Final

from generator.cluster.relay import REPORT
from generator.cluster.snapshot import Key
from generator.live import accounts, metrics, relay
from generator.live.failures import KubeError
from generator.live.kube import Kube
from generator.live.mirror import Mirror
from generator.names import CONTROL_NAMESPACE

_log: Final = logging.getLogger(__name__)
ROUND: Final = 1.0
"""Seconds between two questions to the relay."""
RENEWAL: Final = 60.0
"""Seconds between two looks at all clients; one that changes, or waits for its account, is looked at in the next round."""
_BARRED: Final = 600.0
"""Seconds until an account is tried again that the operator may not make."""


def run(
    kube: Kube,
    mirror: Mirror,
    leads: Callable[[], bool],
    asked: threading.Event,
    heard: threading.Event,
    stop: threading.Event,
    where: Callable[[Kube], str] = relay.address,
) -> None:
    """Give clients what they need, and listen for them, while `leads()`, until `stop` is set.

    asked: set when a client has changed (`changed`). heard: set once it is known who listens, until it is cleared as another may lead.
    where: finds the relay.
    """
    listener, seen, trouble = relay.Listener(kube, where), _Seen(), ""
    while not stop.is_set():
        new = asked.wait(ROUND)
        installed, said = mirror.get(REPORT) is not None, ""
        if not leads():
            stop.wait(ROUND if new else 0)
            continue
        if new:
            asked.clear()
        if not heard.is_set():
            listener = relay.Listener(kube, where)  # what the last one knew is from before another led
        steps = [partial(_serve, kube, seen, installed, new), *([partial(_listen, listener, mirror, seen, heard)] if installed else [])]
        for step in steps:
            try:
                step()
            except KubeError as error:  # the other step goes on
                said = str(error)
            except Exception:  # noqa: BLE001  # nobody would notice a thread that has died
                _log.exception("connections")
                metrics.failures.inc()
        if said and said != trouble:
            _log.warning("connections: %s", said)
        trouble = said


@dataclass
class _Seen:
    """Since the last look at all clients. look: when to look again. barred: by uid of a client, until when. blocks: who may connect."""

    look: float = -inf
    barred: dict[str, float] = field(default_factory=dict)
    blocks: set[int] | None = None


def _serve(kube: Kube, seen: _Seen, installed: bool, new: bool) -> None:
    now = time.monotonic()
    if not new and now < seen.look:
        return
    seen.look, seen.blocks = -inf, None
    found = kube.list_objects("GefyraClient", CONTROL_NAMESPACE)[0]
    if installed:
        relay.renew(kube, found, datetime.now(UTC))
    seen.barred = {uid: until for uid, until in seen.barred.items() if now < until}
    waits, barred = accounts.give_accounts(kube, [c for c in found if c["metadata"]["uid"] not in seen.barred])
    seen.barred |= dict.fromkeys(barred, now + _BARRED)
    seen.look, seen.blocks = now + (ROUND if waits else RENEWAL), relay.blocks(found)


def _listen(listener: relay.Listener, mirror: Mirror, seen: _Seen, heard: threading.Event) -> None:
    found = listener.listen(relay.used(mirror.snapshot("").controls))
    if listener.report:
        mirror.saw(REPORT, listener.report)  # nobody is judged by what a watch has not brought yet
        if not heard.is_set():
            heard.set()
            mirror.changed(REPORT, listener.report, listener.report)  # whose time was over may go now
    if seen.blocks is not None:
        relay.end(found, seen.blocks)


def changed(key: Key, asked: threading.Event) -> None:
    """Tell `run` of a change in the cluster."""
    if key.kind == "GefyraClient":
        asked.set()
