"""The operator as one process: a mirror, whoever leads reconciles, and every replica answers the webhook.

mirror      what the cluster has                 every replica
candidate   who leads                            one at a time
reconciler  the loop                             the leader
connections who may connect, and who is          the leader
farewell    bridges of Gefyra's command line     the leader
servers     webhook, health, metrics             every replica
"""

from __future__ import annotations

import logging
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial

from generator.asked.review import Verdict, review
from generator.cluster.snapshot import OUR_KINDS, SETTINGS, Key, Obj, key_of
from generator.live import certificates, connections, events, farewell, metrics, serve
from generator.live.failures import KubeError
from generator.live.kube import Kube
from generator.live.lease import Candidate
from generator.live.mirror import Mirror
from generator.live.reading import settings
from generator.live.reconcile import Reconciler, clock
from generator.plan import Change

_LOOK = 60.0
"""Seconds between two looks at the certificates: for so long the API server may trust nobody, after its configuration is replaced."""
_RETRY = 5.0
_STUCK = 120.0
"""Seconds after which a loop that has not come round counts as dead: the longest write is shorter, and is done by others."""
log = logging.getLogger(__name__)


def operate(kube: Kube, stop: threading.Event, *, webhook: int, inside: int) -> None:
    """Run until `stop` is set, then hand over. webhook, inside: ports of the webhook (TLS), and of health and metrics.

    Raises KubeError when the API server cannot be reached at the start, OSError when a port is taken.
    """
    me = f"{socket.gethostname()}-{secrets.token_hex(4)}"
    told = ThreadPoolExecutor(2, "event")
    counts: dict[str, int] = {}

    def tell(found: Iterable[Obj]) -> None:
        for event in found:
            told.submit(events.post, kube, event, me, counts)

    def wrote(change: Change, before: Obj | None, after: Obj | None) -> None:
        if after is not None and change.key.kind in OUR_KINDS.values():
            tell(events.events_for(before, after, clock()))

    def turned(workload: Obj, before: list[Obj], after: list[Obj]) -> None:
        tell(events.events_of_workload(workload, before, after, clock()))

    def changed(key: Key, before: Obj | None, after: Obj | None) -> None:
        if key == SETTINGS:
            mirror.follow(settings([after] if after else []))
        connections.changed(key, asked)
        reconciler.changed(key, before, after)

    asked, heard = threading.Event(), threading.Event()
    mirror = Mirror(kube, changed)
    candidate = Candidate(kube, me, partial(metrics.leader.set, 1), partial(_resigned, heard))
    reconciler = Reconciler(kube, mirror, wrote, turned, heard.is_set, candidate.leads)
    control, _ = kube.list_objects(SETTINGS.kind, SETTINGS.namespace)
    if SETTINGS not in map(key_of, control):
        log.warning("there is no %s: no namespace is managed", SETTINGS)
    mirror.follow(settings(control))
    shown = _trusted(kube, stop)
    if shown is None:
        return
    tls = serve.context(shown.chain, shown.key)
    resign = threading.Event()
    beat = [time.monotonic()]
    servers = (
        serve.Server(serve.webhooks(partial(_judge, mirror)), webhook, tls),
        serve.Server(serve.insides(partial(_stuck, beat), partial(_unready, mirror), metrics.exposition), inside),
    )
    threads = [
        threading.Thread(target=candidate.run, args=(resign,), name="lease"),
        threading.Thread(target=_keep, args=(kube, tls, shown, stop), name="certificates", daemon=True),
        threading.Thread(target=connections.run, args=(kube, mirror, candidate.leads, asked, heard, stop), name="connections", daemon=True),
        threading.Thread(target=farewell.run, args=(kube, mirror, candidate.leads, stop), name="farewell", daemon=True),
    ]
    for thread in threads:
        thread.start()

    def goes_on() -> bool:
        beat[0] = time.monotonic()
        return candidate.leads() and not stop.is_set()

    log.info("bascule operates as %s", me)
    tell(events.begun(clock()))
    while not stop.is_set():
        if goes_on():
            reconciler.run(goes_on)
        stop.wait(0.2)
    reconciler.close()  # what has begun is written before another replica may lead
    resign.set()
    threads[0].join()
    for server in servers:
        server.stop()
    mirror.stop()
    told.shutdown()


def _resigned(heard: threading.Event) -> None:
    metrics.leader.set(0)
    heard.clear()


def _trusted(kube: Kube, stop: threading.Event) -> certificates.Kept | None:
    """What the webhook is to show, as soon as the API server trusts it; None when it is time to stop."""
    while not stop.is_set():
        try:
            return certificates.keep(kube, datetime.now(UTC))
        except KubeError as error:
            log.warning("certificates: %s", error)
            stop.wait(_RETRY)
    return None


def _keep(kube: Kube, tls: ssl.SSLContext, shown: certificates.Kept, stop: threading.Event) -> None:
    """Renew the certificates when it is time, and take over what another replica has renewed."""
    wait = _LOOK
    while not stop.wait(wait):
        try:
            kept = certificates.keep(kube, datetime.now(UTC), shown)
            if kept != shown:
                serve.load(tls, kept.chain, kept.key)
                shown = kept
            wait = _LOOK
        except KubeError as error:
            log.warning("certificates: %s", error)
            wait = _RETRY
        except Exception:  # nobody would notice a thread that has died
            log.exception("certificates")
            metrics.failures.inc()
            wait = _RETRY


def _judge(mirror: Mirror, request: Obj) -> Verdict:
    verdict = review(mirror.snapshot(clock()), request)
    obj = request.get("object") or request.get("oldObject")
    kind = key_of(obj).kind if obj else "?"
    metrics.verdicts.labels(kind, "refused" if not verdict.allowed else "warned" if verdict.warnings else "allowed").inc()
    if not verdict.allowed:
        log.info("refused: %s", verdict.message)
    return verdict


def _stuck(beat: list[float]) -> str:
    late = time.monotonic() - beat[0]
    return f"the loop has not come round for {late:.0f} s" if late > _STUCK else ""


def _unready(mirror: Mirror) -> str:
    return "; ".join(mirror.waits_for[:3])
