"""ConfigMap gefyra/bascule-relay -> where the relay is, and which of its ports somebody listens on. The operator's leader writes it."""

from __future__ import annotations

import ipaddress
import json
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from generator import names
from generator.cluster.quantity import whole
from generator.cluster.snapshot import Key, Obj, Snapshot, key_of
from generator.cluster.times import parse, written

REPORT: Final = Key("ConfigMap", names.CONTROL_NAMESPACE, names.RELAY)
"""It is there if, and only if, the relay is installed."""
POD: Final = Key("Pod", names.CONTROL_NAMESPACE, f"{names.RELAY}-0")
"""The only one of its StatefulSet."""
SERVICE: Final = Key("Service", names.CONTROL_NAMESPACE, names.RELAY)
"""Headless: its name stands in `clusterEndpoint`."""
HOST: Final = f"{names.RELAY_HOST}.cluster.local"
BLOCK: Final = names.RELAY_BLOCK
"""Ports of one client."""
BLOCKS: Final = range(names.RELAY_FIRST, names.RELAY_LAST + 1, BLOCK)
"""The first port of each block: below lie the relay's own, above (61984) what a kernel may be set to give to outgoing connections."""


class Relay(NamedTuple):
    """What is known of the relay.

    address: of its Pod, "" while there is none. listening: ports that a client listens on.
    away: since when nobody listens on a port that a bridge has, RFC 3339.
    """

    address: str
    listening: frozenset[int]
    away: Mapping[int, str]


def relay_of(snapshot: Snapshot) -> Relay | None:
    """The relay, or None where it is not installed. What cannot be read is as if it were not there."""
    report = snapshot.space(REPORT.namespace).get(REPORT.kind, REPORT.name)
    if report is None:
        return None
    data = report.get("data") or {}
    return Relay(_address(data.get("address", "")), frozenset(map(int, filter(_port, data.get("listening", "").split()))), away_of(data))


def unheard(objects: Iterable[Obj]) -> tuple[Obj, ...]:
    """The objects with nobody away for long by the report, as where nobody keeps it: whoever was away may be back."""
    return tuple({**o, "data": {**(o.get("data") or {}), "away": "{}"}} if key_of(o) == REPORT else o for o in objects)


def port_at(endpoint: str) -> int:
    """The port of the relay that an entry of `clusterEndpoint` names, 0 if it leads elsewhere."""
    host, _, port = endpoint.rpartition(":")
    return int(port) if host == HOST and _port(port) else 0


def _port(text: str) -> bool:
    return whole(text, 5) is not None and len(text) == 5


def _address(text: str) -> str:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""


def away_of(data: Mapping[str, str]) -> dict[int, str]:
    """By port, since when nobody listens on it, by the report's data; what cannot be read is left out."""
    try:
        found = json.loads(data.get("away", "{}"))
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    times = {port: parse(since) for port, since in found.items() if isinstance(since, str)}
    return {int(port): written(moment, "seconds") for port, moment in times.items() if moment and _port(port)}
