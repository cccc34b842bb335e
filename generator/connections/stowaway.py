"""`stowaway`: Gefyra's WireGuard server. A line in its ConfigMap of routes and a Service for each address and port on a user's machine.

Gefyra 2.5's contract (operator/gefyra/connection/stowaway): a line is `CLIENT-xxxxxxxxxx: "IP:PORT,STOWAWAYPORT"`, the Service
`gefyra-stowaway-proxy-STOWAWAYPORT`. A destination keeps its port while any bridge needs it, whoever's that is. Peers are not
made here: their keys exist only inside Stowaway's Pod.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from generator import names
from generator.asked.bridge import Bridge
from generator.asked.client import Client
from generator.asked.values import NAME, port_number
from generator.cluster.snapshot import STOWAWAY_ROUTES, Obj, Snapshot, key_of
from generator.connections.part import Part, places
from generator.errors import Problem

PORTS: Final = range(10000, 60000)
"""Of which Gefyra gives the first that is free."""
_PROXY: Final = f"{names.STOWAWAY}-proxy-"
_SERVER: Final = {"gefyra.dev/app": "stowaway", "gefyra.dev/role": "connection", "gefyra.dev/provider": "stowaway"}
"""The labels of Stowaway's Pod."""

Destination = tuple[str, int]
"""Address and port on a user's machine."""


class _Line(NamedTuple):
    """A line of the routes: its name, whose it is by that name, and Stowaway's port."""

    name: str
    client: str
    port: int


def is_installed(snapshot: Snapshot) -> bool:
    """Whether Gefyra's Stowaway is there, by what it is configured with or by its StatefulSet where that is read."""
    space = snapshot.space(names.CONTROL_NAMESPACE)
    return bool(space.get("ConfigMap", f"{names.STOWAWAY}-config") or space.get("StatefulSet", names.STOWAWAY))


def provide(snapshot: Snapshot, clients: Iterable[Client], bridges: Iterable[Bridge]) -> Part:
    """The routes, their Services, and an endpoint for each port of a bridge. clients, bridges: oldest first."""
    if not is_installed(snapshot):
        return Part()
    space = snapshot.space(names.CONTROL_NAMESPACE)
    users = _users(bridges)
    live = space.get(STOWAWAY_ROUTES.kind, STOWAWAY_ROUTES.name)
    there = _lines((live or {}).get("data") or {})
    lines = {at: _chosen(there[at], users[at]) for at in users if at in there}
    theirs = {port_number(key_of(o).name.removeprefix(_PROXY)) for o in space.all("Service")} - {0}
    leaving = {line.port for found in there.values() for line in found}  # a carrier may still lead there: not given anew in the same write
    taken = (theirs | leaving) - {line.port for line in lines.values()}
    ports = places(((at, lines[at].port if at in lines else 0) for at in users), PORTS, taken)
    made = {at: _line(at, ports[at], users[at], lines.get(at)) for at in users if at in ports}
    services = ((_service(at, line), f"the way to {_shown(at)} of {line.client}") for at, line in made.items() if line.port not in theirs)
    data = {line.name: f"{_shown(at)},{line.port}" for at, line in sorted(made.items())}
    return Part(
        objects=((_config_map(data, live), "the routes of Gefyra's Stowaway"), *services),
        endpoints={
            (bridge.name, remote): f"{_PROXY}{made[at].port}.{names.CONTROL_NAMESPACE}.svc.cluster.local:{made[at].port}"
            for at, asking in users.items()
            if at in made
            for bridge in asking
            for remote, local in bridge.ports
            if local == at[1]
        },
        problems={c.name: (_no_peer(c),) for c in clients if c.provider == "stowaway" and c.subnet and not c.configured},
    )


def _users(bridges: Iterable[Bridge]) -> dict[Destination, list[Bridge]]:
    """The bridges by what they need, oldest first. A client's name has to fit into a label."""
    found: dict[Destination, list[Bridge]] = {}
    for bridge in bridges:
        if bridge.provider == "stowaway" and bridge.destination and NAME.fullmatch(bridge.client) and len(bridge.client) < 64:
            for local in sorted({local for _, local in bridge.ports}):
                found.setdefault((bridge.destination, local), []).append(bridge)
    return found


def _lines(data: Mapping[str, str]) -> dict[Destination, list[_Line]]:
    """The lines that are there. One that cannot be read is none."""
    found: dict[Destination, list[_Line]] = {}
    for name, value in data.items():
        written, _, own = value.strip().rpartition(",")
        address, _, port = written.rpartition(":")
        if port_number(own) in PORTS:
            found.setdefault((address, port_number(port)), []).append(_Line(name, name.rpartition("-")[0], port_number(own)))
    return found


def _chosen(lines: Iterable[_Line], users: Iterable[Bridge]) -> _Line:
    """Of several lines for one destination rather that of a client who uses it, then that of the lowest port."""
    clients = {bridge.client for bridge in users}
    return min(lines, key=lambda line: (line.client not in clients, line.port, line.name))


def _line(at: Destination, port: int, users: Iterable[Bridge], live: _Line | None) -> _Line:
    """The line of a destination; one that is there keeps its name while the client it names uses it."""
    clients = [bridge.client for bridge in users]
    client = live.client if live and live.client in clients else clients[0]
    return _Line(live.name if live and live.client == client else f"{client}-{_letters(_shown(at))}", client, port)


def _letters(text: str) -> str:
    """Ten letters, as Gefyra has at the end of a line's name; the same for the same text."""
    number = int(names.digest(text, 16), 16)
    return "".join(chr(ord("a") + number // 26**place % 26) for place in range(10))


def _shown(at: Destination) -> str:
    return f"{at[0]}:{at[1]}"


def _config_map(data: Mapping[str, str], live: Obj | None) -> Obj:
    """Not labelled as ours: Stowaway mounts it, so it stays while Stowaway does. The server keeps no empty `data`."""
    labels = {"gefyra.dev/app": "stowaway", "gefyra.dev/role": "proxyroute"}
    metadata = {"name": STOWAWAY_ROUTES.name, "namespace": STOWAWAY_ROUTES.namespace, "labels": labels}
    told: Obj = {"data": data} if data or (live or {}).get("data") else {}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, **told}


def _service(at: Destination, line: _Line) -> Obj:
    """The Service in front of a port of Stowaway, with Gefyra's labels and ours."""
    labels = {
        names.MANAGED_BY: names.MANAGER,
        names.ROLE: "connection",
        names.TARGET: names.STOWAWAY,
        "gefyra.dev/app": "stowaway",
        "gefyra.dev/role": "proxy",
        "gefyra.dev/proxy-port": str(line.port),
        "gefyra.dev/client-id": line.client,
        "gefyra.dev/destination": f"{at[0]}_{at[1]}",
    }
    metadata = {"name": f"{_PROXY}{line.port}", "namespace": names.CONTROL_NAMESPACE, "labels": labels}
    ports = [{"name": str(line.port), "port": line.port, "protocol": "TCP", "targetPort": line.port}]
    return {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"type": "ClusterIP", "selector": _SERVER, "ports": ports}}


def _no_peer(client: Client) -> Problem:
    message = f"it asks for a WireGuard peer of {client.subnet}, whose keys are made inside Stowaway's Pod"
    return Problem("PeersUnmanaged", str(key_of(client.obj)), message, "Use provider: relay, or let Gefyra's operator make the peer.")
