"""`relay`: OpenSSH in the cluster. Each client has a block of its ports, each of its bridges' ports one of them, for as long as it lives.

What is given stands on the objects themselves: the block in an annotation of the client, the port in the bridge's `clusterEndpoint`.
The search for a block begins at a place of the client's own, so that one just freed, for which a certificate may still be good, is
hardly ever the next client's.
"""

from __future__ import annotations

from collections.abc import Iterable

from generator import names
from generator.asked.bridge import Bridge
from generator.asked.client import Client
from generator.asked.controls import note_of
from generator.asked.values import port_number
from generator.cluster.relay import BLOCK, BLOCKS, HOST, port_at, relay_of
from generator.cluster.snapshot import Snapshot, key_of
from generator.connections.part import Part, places
from generator.errors import Problem


def provide(snapshot: Snapshot, clients: Iterable[Client], bridges: Iterable[Bridge]) -> Part:
    """A block for each client, and an endpoint for each port of its bridges. clients, bridges: oldest first."""
    if relay_of(snapshot) is None:
        return Part()
    mine = [client for client in clients if client.provider == "relay"]
    known = {client.name for client in mine}
    others = [o for o in snapshot.controls if key_of(o).kind == "GefyraClient" and key_of(o).name not in known]
    taken = {port_number(note_of(o, names.RELAY_PORTS)) for o in others}
    own = {c.name: int(names.digest(str(c.obj["metadata"].get("uid") or c.name)), 16) for c in mine}
    blocks = places(((c.name, c.block) for c in mine), BLOCKS, taken, own.__getitem__)
    wishes: dict[str, list[tuple[tuple[str, int], int]]] = {}
    for bridge in bridges:
        if bridge.provider == "relay" and bridge.client in blocks:
            asked = [((bridge.name, remote), port_at(bridge.endpoints.get(remote, ""))) for remote, _ in bridge.ports]
            wishes.setdefault(bridge.client, []).extend(asked)
    ports = {client: places(asked, range(blocks[client], blocks[client] + BLOCK)) for client, asked in wishes.items()}
    return Part(
        notes={client: {names.RELAY_PORTS: str(first)} for client, first in blocks.items()},
        endpoints={at: f"{HOST}:{port}" for given in ports.values() for at, port in given.items()},
        problems={c.name: found for c in mine if (found := _short(c, c.name in blocks, wishes.get(c.name, ()), ports.get(c.name, {})))},
    )


def _short(
    client: Client, has_block: bool, asked: Iterable[tuple[tuple[str, int], int]], given: dict[tuple[str, int], int]
) -> tuple[Problem, ...]:
    """What of a client's wishes there is no port for."""
    place = str(key_of(client.obj))
    if not has_block:
        message = f"all {len(BLOCKS)} blocks of the relay's ports are given to other clients"
        return (Problem("PortsExhausted", place, message, "Remove clients that nobody needs."),)
    left = [f"{bridge} port {remote}" for (bridge, remote), _ in asked if (bridge, remote) not in given]
    message = f"all {BLOCK} ports of the client are given to older bridges; there is none for {', '.join(left)}"
    return (Problem("PortsExhausted", place, message, "Remove bridges, or use a second client."),) if left else ()
