"""The relay: certificates for clients, and ConfigMap gefyra/bascule-relay, which says who of them listens.

address     of the relay's Pod; users listen there
listening   the ports on which somebody does, "20032 20033"
away        port of a bridge on which nobody does -> since when, as JSON
"""

from __future__ import annotations

import http.client
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from math import inf
from typing import Final, NamedTuple

from generator.asked.client import decode_client
from generator.asked.controls import note_of
from generator.asked.values import port_number
from generator.cluster.quantity import whole
from generator.cluster.relay import BLOCK, BLOCKS, POD, REPORT, away_of, port_at
from generator.cluster.snapshot import Obj, key_of
from generator.cluster.times import written
from generator.live.failures import Conflict, Invalid, KubeError, NotFound
from generator.live.kube import Kube, guard
from generator.live.relaykeys import PRINCIPAL, Keys, certificate, good, keys, public_key
from generator.names import RELAY_FIRST, RELAY_LAST, RELAY_PORTS

_log: Final = logging.getLogger(__name__)
PATIENCE: Final = 5.0
"""Seconds without an answer after which nobody is taken to listen, and between two looks where the relay is."""
_TIMEOUT: Final = 2.0
_HTTP: Final = 8080
_LONGEST: Final = 1 << 19
"""Bytes of an answer: each port takes six."""


class Heard(NamedTuple):
    """Where the relay is, and the ports on which users listen there."""

    address: str
    ports: frozenset[int]


# ---- certificates


def renew(kube: Kube, clients: Iterable[Obj], now: datetime) -> None:
    """Give each client of the relay what it needs to connect: when it has nothing, has another key, or half of the time has gone.

    clients: whole, as the server has them. Without a key that can be certified a client loses what it has. Raises KubeError.
    """
    own = keys(kube)  # even for nobody: without its keys the relay does not start
    for client in clients:
        first = _block(client)
        if first is not None and (body := due(client, first, own, now)):
            version = {"resourceVersion": client["metadata"]["resourceVersion"]}
            try:
                kube.merge(key_of(client), {**body, "metadata": version})
            except (Conflict, NotFound):
                continue  # it has changed since it was read, and is asked about again
            except KubeError as error:  # nobody else waits for this one
                _log.warning("relay: %s: %s", key_of(client), error)


def due(obj: Obj, first: int, own: Keys, now: datetime) -> Obj:
    """The merge patch for a client whose block begins at `first`; nothing if it has what it needs. Its status says what is wrong."""
    client, config = decode_client(obj)[0], obj.get("providerConfig") or {}
    if client is None or not client.public_key:
        return {"providerConfig": None} if config else {}
    key, text = public_key(client.public_key), config.get("certificate")
    if not good(text, own.authority, key, client.name, first, now):
        text = certificate(own.authority, key, client.name, first, now)
    wanted = {"certificate": text, "hostKey": own.host, "user": PRINCIPAL, "ports": f"{first}-{first + BLOCK - 1}"}
    gone = dict.fromkeys(config.keys() - wanted.keys())
    return {} if wanted == config else {"providerConfig": {**wanted, **gone}}


def blocks(clients: Iterable[Obj]) -> set[int]:
    """Where the blocks of those begin who may connect."""
    return {first for client in clients if (first := _block(client)) is not None}


def _block(client: Obj) -> int | None:
    """The first port of a client that is to be certified; None for all others."""
    first = port_number(note_of(client, RELAY_PORTS))
    wanted = client.get("provider") == "relay" and not client["metadata"].get("deletionTimestamp")
    return first if wanted and first in BLOCKS else None


# ---- who listens


def address(kube: Kube) -> str:
    """Of the relay's Pod, "" while it has none. Raises KubeError."""
    try:
        return str((kube.get(POD).get("status") or {}).get("podIP") or "")
    except NotFound:
        return ""


class Listener:
    """Keeps the ConfigMap: one question to the relay, and a write when the answer is news."""

    def __init__(self, kube: Kube, where: Callable[[Kube], str] = address, clock: Callable[[], float] = time.monotonic) -> None:
        """where: finds the relay. clock: seconds that only ever grow."""
        self._kube, self._where, self._clock = kube, where, clock
        self.report: Obj | None = None
        """The ConfigMap as the server had it after the last question; None while that is not known."""
        self._address, self._found = "", -inf
        self._heard, self._at, self._answers = Heard("", frozenset()), -inf, True

    def listen(self, wanted: Iterable[int]) -> Heard:
        """What was heard last. wanted: the ports of bridges. Raises KubeError when the ConfigMap cannot be read or written."""
        now = self._clock()
        if now - self._found >= PATIENCE:
            self._address, self._found = self._where(self._kube), now
        try:
            self._heard, self._at, self._answers = ask(self._address), now, True
        except OSError as error:
            self._found = -inf  # it may be elsewhere by now
            if now - self._at < PATIENCE:
                return self._heard
            if self._answers:
                _log.warning("relay: %s does not answer, nobody is taken to listen: %s", POD, error)
            self._heard, self._answers = self._heard._replace(ports=frozenset()), False
        live, self.report = self.report or self._kube.get(REPORT), None
        data = told(live.get("data") or {}, self._heard, wanted if self._answers else (), written(datetime.now(UTC), "seconds"))
        if data != live.get("data"):
            try:
                live = self._kube.patch(REPORT, [guard(live), {"op": "add", "path": "/data", "value": data}])
            except (Conflict, Invalid):
                return self._heard  # somebody else has written; it is read in the next round
        self.report = live
        return self._heard


def ask(address: str) -> Heard:
    """What the relay answers. Raises OSError when it does not."""
    if not address:
        raise OSError("it has no address")
    ports = _get(address, "/cgi-bin/listening").split()
    return Heard(address, frozenset(n for each in ports if (n := whole(each, 5)) and RELAY_FIRST <= n <= RELAY_LAST))


def end(heard: Heard, known: Iterable[int]) -> None:
    """End the sessions of clients that are no more. known: where the blocks of those that are begin.

    Somebody whose certificate is still good can come back, and is sent away again.
    """
    begins = {port - (port - RELAY_FIRST) % BLOCK for port in heard.ports}
    for first in sorted(begins - set(known)):
        _log.info("relay: no client has the ports from %d, whoever listens there is disconnected", first)
        try:
            _get(heard.address, f"/cgi-bin/end?{first}")
        except OSError as error:
            _log.warning("relay: %s: %s", heard.address, error)


def _get(address: str, path: str) -> str:
    connection = http.client.HTTPConnection(address, _HTTP, timeout=_TIMEOUT)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        text = response.read(_LONGEST).decode("ascii", "replace")
    except http.client.HTTPException as error:
        raise OSError(f"no answer in HTTP: {error!r}") from error
    finally:
        connection.close()
    if response.status != 200:
        raise OSError(f"it answers {response.status}")
    return text


def told(before: Mapping[str, str], heard: Heard, wanted: Iterable[int], now: str) -> dict[str, str]:
    """The ConfigMap's data. A port that was away stays so since then; an address that is unknown stays as it was.

    wanted: ports of bridges, none while the relay does not answer: nobody knows who is away then, and no bridge goes for it.
    """
    since = away_of(before)
    away = {str(port): since.get(port, now) for port in sorted(set(wanted) - heard.ports)}
    return {
        "address": heard.address or before.get("address", ""),
        "listening": " ".join(map(str, sorted(heard.ports))),
        "away": json.dumps(away),
    }


def used(controls: Iterable[Obj]) -> set[int]:
    """The ports of the relay at which bridges are to end."""
    bridges = (o for o in controls if key_of(o).kind == "GefyraBridge")
    return {port_at(str(end)) for o in bridges for end in (o.get("clusterEndpoint") or {}).values()} - {0}
