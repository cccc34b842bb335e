"""What connections need, as objects: those of providers, clients, and on each bridge where its requests leave the cluster.

They belong to no workload. A bridge belongs to its client, so that the server removes it with the client (ownerReferences).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from generator.asked.client import Client
from generator.asked.intent import Intent
from generator.cluster.snapshot import Key, Obj, Snapshot, is_ours, key_of
from generator.connections.part import Part
from generator.connections.providers import provide
from generator.desired.adopt import adopt
from generator.desired.clients import with_state
from generator.errors import Problem
from generator.names import API_VERSION, ROLE

Reasoned = tuple[Obj, str]


def connected(snapshot: Snapshot, intent: Intent, objects: Mapping[Key, Reasoned]) -> tuple[dict[Key, Reasoned], tuple[Problem, ...]]:
    """The objects that are added or changed, and what providers say. objects: desired otherwise, bridges among them."""
    part = provide(snapshot, intent)
    problems = [problem for found in part.problems.values() for problem in found]
    result: dict[Key, Reasoned] = {}
    for template, reason in part.objects:
        key = key_of(template)
        live = snapshot.space(key.namespace).get(key.kind, key.name)
        if live is not None and is_ours(template) and not is_ours(live):
            message = f"it is not ours (it lacks the label {ROLE}) and has the name we need"
            problems.append(Problem("NameClash", str(key), message, "Rename or delete it."))
        else:
            result[key] = (adopt(template, live), reason)
    result |= {key_of(obj): (obj, reason) for obj, reason in with_state(snapshot, intent, part)}
    result |= {key_of(obj): (obj, reason) for obj, reason in _bridges(intent, part, objects)}
    return result, tuple(problems)


def _bridges(intent: Intent, part: Part, objects: Mapping[Key, Reasoned]) -> Iterator[Reasoned]:
    """The bridges whose requests a provider takes out of the cluster."""
    clients = {client.name: client for client in intent.clients}
    for bridge in intent.bridges:
        told = {str(remote): part.endpoints[bridge.name, remote] for remote, _ in bridge.ports if (bridge.name, remote) in part.endpoints}
        if told:
            obj, reason = objects.get(key_of(bridge.obj), (bridge.obj, "its requests leave the cluster at another place"))
            yield _led(obj, told, clients.get(bridge.client)), reason


def _led(obj: Obj, told: Mapping[str, str], client: Client | None) -> Obj:
    metadata = obj["metadata"]
    uid = client.obj["metadata"].get("uid") if client else None
    if client and uid and all(ref.get("uid") != uid for ref in metadata.get("ownerReferences") or ()):
        owner = {"apiVersion": API_VERSION, "kind": "gefyraclient", "name": client.name, "uid": uid}
        metadata = {**metadata, "ownerReferences": [*(metadata.get("ownerReferences") or ()), owner]}
    led = {} if obj.get("clusterEndpoint") == told else {"clusterEndpoint": told}
    return {**obj, "metadata": metadata, **led} if led or metadata is not obj["metadata"] else obj
