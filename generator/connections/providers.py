"""Every provider that is installed -> what their connections need, as one."""

from __future__ import annotations

from generator.asked.intent import Intent
from generator.cluster.snapshot import Snapshot
from generator.connections import relay, stowaway
from generator.connections.part import Part

PROVIDERS = (relay.provide, stowaway.provide)


def provide(snapshot: Snapshot, intent: Intent) -> Part:
    """What should exist for all bridges and clients, so that requests get to the users' machines."""
    parts = [each(snapshot, intent.clients, intent.bridges) for each in PROVIDERS]
    return Part(
        tuple(item for part in parts for item in part.objects),
        {client: notes for part in parts for client, notes in part.notes.items()},
        {at: endpoint for part in parts for at, endpoint in part.endpoints.items()},
        {client: problems for part in parts for client, problems in part.problems.items()},
    )
