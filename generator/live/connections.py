"""The leader's part in connections, in a thread of its own: accounts for clients, their certificates, and who listens.

Without overlays/components/clients there are no accounts, without overlays/components/relay no certificates and nobody who listens.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from math import inf
from typing import Final

from generator.cluster.snapshot import Key
from generator.live import clients, relay
from generator.live.failures import Forbidden, KubeError
from generator.live.kube import Kube
from generator.live.mirror import Mirror
from generator.names import CONTROL_NAMESPACE

_log: Final = logging.getLogger(__name__)
ROUND: Final = 1.0
"""Seconds between two questions to the relay."""
RENEWAL: Final = 60.0
"""Seconds between two looks at all clients; one that changes, or waits for its account, is looked at in the next round."""
_BARRED: Final = 600.0
"""Seconds until accounts are tried again where the operator may not make them."""


def run(
    kube: Kube,
    mirror: Mirror,
    leads: Callable[[], bool],
    asked: threading.Event,
    stop: threading.Event,
    where: Callable[[Kube], str] = relay.address,
) -> None:
    """Give clients what they need, and listen for them, while `leads()`, until `stop` is set.

    asked: set when a client has changed (`changed`). where: finds the relay.
    """
    listener, look, accounts, trouble = relay.Listener(kube, where), -inf, -inf, ""
    blocks: set[int] | None = None
    while not stop.is_set():
        new = asked.wait(ROUND)
        installed, now, said = mirror.get(relay.CONFIGMAP) is not None, time.monotonic(), ""
        if not leads() or not (installed or now >= accounts):
            stop.wait(ROUND if new else 0)
            continue
        try:
            if new or now >= look:
                asked.clear()
                look, blocks = -inf, None
                found = kube.list_objects("GefyraClient", CONTROL_NAMESPACE)[0]
                if installed:
                    relay.renew(kube, found, datetime.now(UTC))
                wait = RENEWAL
                if now >= accounts:
                    try:
                        wait = ROUND if clients.give_accounts(kube, found) else RENEWAL
                    except Forbidden:
                        accounts = now + _BARRED
                look, blocks = now + wait, relay.blocks(found)
            if installed:
                heard = listener.listen(relay.used(mirror.snapshot("").controls))
                if blocks is not None:
                    relay.end(heard, blocks)
        except KubeError as error:
            said = str(error)
        if said and said != trouble:
            _log.warning("connections: %s", said)
        trouble = said


def changed(key: Key, asked: threading.Event) -> None:
    """Tell `run` of a change in the cluster."""
    if key.kind == "GefyraClient":
        asked.set()
