"""What bridges and mounts point at -> a workload of the snapshot, its container, and that one's ports."""

from __future__ import annotations

from generator.asked.intent import Intent
from generator.asked.values import TargetRef
from generator.cluster.endpoints import services_of
from generator.cluster.ports import Port, container_ports
from generator.cluster.snapshot import WORKLOAD_KINDS, Key, Obj, Snapshot, key_of, labels_of
from generator.cluster.workload import pods_of
from generator.errors import Problem


def template_of(obj: Obj) -> Obj:
    """The Pod metadata and spec a workload makes; of a Pod, its own."""
    return obj if obj["kind"] == "Pod" else obj["spec"]["template"]


def resolve(snapshot: Snapshot, ref: TargetRef, asking: Obj, intent: Intent) -> tuple[Key, str] | None:
    """The workload and container a reference names, or a problem."""
    key, place = Key(ref.kind, ref.namespace, ref.name), str(key_of(asking))
    space = snapshot.space(ref.namespace)
    obj = space.get(ref.kind, ref.name) if snapshot.follows(ref.namespace) else None
    if obj is None:
        intent.blame(asking, _missing(snapshot, key, place, asking))
        return None
    containers = [c["name"] for c in (template_of(obj).get("spec") or {}).get("containers") or ()]
    if ref.container in containers:
        return key, ref.container
    listed = ", ".join(containers)
    if ref.container:
        message = f"{key} has no container {ref.container!r} (there: {listed})"
        intent.blame(asking, Problem("TargetUnknown", place, message, f"Set targetContainer: {containers[0] if containers else '...'}."))
    elif len(containers) == 1:
        return key, containers[0]
    else:
        cure = f"Set targetContainer to one of: {listed}."
        intent.blame(asking, Problem("ContainerAmbiguous", place, f"{key} has {len(containers)} containers and none is named", cure))
    return None


def _missing(snapshot: Snapshot, key: Key, place: str, asking: Obj) -> Problem:
    space = snapshot.space(key.namespace)
    managed = str(snapshot.settings.get("namespaces") or "").split()
    there = asking.get("state") or "uid" in asking["metadata"]
    unread = key.namespace not in managed and not space.objects and (managed or there)
    if unread or not snapshot.follows(key.namespace):
        return _not_managed(key, place, sorted(managed))
    if space.controlled.get((key.kind, key.name)):
        below = key_of(space.controlled[key.kind, key.name][0])
        return Problem(
            "SnapshotIncomplete", place, f"{below} is controlled by {key}, which is not in the stream", "Record the namespace whole."
        )
    if there:
        return Problem("TargetMissing", place, f"{key} is not in the cluster", "Create it again, or delete this object.")
    known = ", ".join(f"{kind.lower()}/{o['metadata']['name']}" for kind in WORKLOAD_KINDS[:3] for o in space.all(kind)[:4]) or "none"
    return Problem(
        "TargetUnknown", place, f"{key} is not in the stream (there in {key.namespace}: {known})", "Correct target or targetNamespace."
    )


def _not_managed(key: Key, place: str, managed: list[str]) -> Problem:
    """Nothing is known of its namespace: whether the workload is there least of all."""
    if key.namespace in managed:
        message = f"{key} is in a namespace that the operator has not listed: it may not, or does not yet"
        cure = f"Wait a moment; then ask an administrator whether the operator's role is bound in {key.namespace}."
    else:
        message = f"{key} is in a namespace that bascule does not manage (managed: {', '.join(managed) or 'none'})"
        cure = "Name a workload of a managed namespace, or ask an administrator to add this one."
    return Problem("NamespaceNotManaged", place, message, cure)


def ports_of(snapshot: Snapshot, workload: Key, container: str) -> tuple[Port, ...]:
    """The ports of a container, by its workload's template, its Pods and their Services."""
    space = snapshot.space(workload.namespace)
    obj = space.get(workload.kind, workload.name)
    template = template_of(obj) if obj else {"spec": {"containers": []}}
    specs = [template["spec"], *(p["spec"] for p in pods_of(space, workload.kind, workload.name))]
    return container_ports(specs, container, services_of(space, labels_of({"metadata": template.get("metadata") or {}})))
