"""A decision -> the original as it should be: image, our labels and annotations, and the condition Ready. Nothing else.

Of a running Pod's spec Kubernetes lets us change the image (and a few fields we never touch): ValidatePodUpdate in
k8s.io/kubernetes pkg/apis/core/validation. So that is all we do, and undo.
"""

from __future__ import annotations

from typing import Any

from generator import names
from generator.cluster.snapshot import Obj
from generator.cluster.workload import Original, Workload
from generator.desired.handover import Next


def patched(item: Original, step: Next, workload: Workload, shadow: str, now: str) -> Obj:
    """The Pod after `step`. With nothing left of ours it is the Pod that was there before us."""
    pod = item.pod
    metadata = dict(pod["metadata"])
    labels = {k: v for k, v in (metadata.get("labels") or {}).items() if not names.is_ours(k)}
    notes = {k: v for k, v in (metadata.get("annotations") or {}).items() if not names.is_ours(k)}
    if step.marked:
        labels[names.CARRIER] = workload.id
        notes[names.SHADOW] = shadow
    if step.held:
        labels[names.HELD] = "true"
    if step.drained_since:
        notes[names.DRAINED_SINCE] = step.drained_since
    if step.waits_since:
        notes[names.WAITS_SINCE] = step.waits_since
    for c in item.containers.values():
        if step.images[c.name] != c.application or c.name in step.replaced:
            notes[names.ORIGINAL_IMAGE + c.name] = c.application
    notes |= {names.REPLACED + name: value for name, value in step.replaced.items()}
    notes |= {names.CONFIRMED + name: value for name, value in step.confirmed.items()}
    _set(metadata, "labels", labels)
    _set(metadata, "annotations", notes)
    result: Obj = {**pod, "metadata": metadata, "spec": _with_images(pod["spec"], item, step)}
    if step.ready is not None:
        result["status"] = _with_ready(pod.get("status") or {}, step.ready, now)
    return result


def _set(metadata: dict[str, Any], part: str, values: dict[str, str]) -> None:
    if values:
        metadata[part] = values
    else:
        metadata.pop(part, None)


def _with_images(spec: Obj, item: Original, step: Next) -> Obj:
    if all(step.images[c.name] == c.image for c in item.containers.values()):
        return spec
    containers = [{**c, "image": step.images[c["name"]]} if c.get("image") != step.images[c["name"]] else c for c in spec["containers"]]
    return {**spec, "containers": containers}


def _with_ready(status: Obj, ready: bool, now: str) -> Obj:
    """The status with Ready set by us. On release we do not wait for kubelet's next 10 s tick (measured)."""
    wanted = "True" if ready else "False"
    conditions = []
    for condition in status.get("conditions") or ():
        if condition["type"] != "Ready" or condition["status"] == wanted:
            conditions.append(condition)
            continue
        changed = {k: v for k, v in condition.items() if k not in ("reason", "message")} | {"status": wanted, "lastTransitionTime": now}
        conditions.append(changed if ready else changed | {"reason": names.HELD_REASON, "message": "bascule swaps the image"})
    return {**status, "conditions": conditions} if conditions else status
