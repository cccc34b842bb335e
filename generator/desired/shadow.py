"""An original -> its shadow: a Pod of ours that runs the application and serves all unmatched traffic.

A shadow keeps everything of its original but what the server or a node put there for that one Pod. Its name holds the
hash of the result, so that equal Pods share a name stem and a rollout makes new ones.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from generator import names
from generator.cluster import tracking
from generator.cluster.snapshot import Obj, annotations_of
from generator.cluster.workload import Original, Workload

_DROPPED = ("nodeName", "ephemeralContainers", "serviceAccount", "priority", "preemptionPolicy", "schedulingGates", "readinessGates")
"""Set by the API server or the scheduler for one Pod (Priority admission computes priority from the class again), and gates that
an outside controller opens for Pods it knows: it knows nothing of shadows (KEP-580)."""


def application_spec(original: Original, pinned: bool) -> dict[str, Any]:
    """The Pod spec the application had, free of what belongs to one Pod.

    pinned: a ReadWriteOnce volume is mounted, so the spec is bound to the original's node.
    """
    spec = original.pod["spec"]
    tokens = {v["name"] for v in spec.get("volumes") or () if _is_token(v)}
    result = {k: v for k, v in spec.items() if k not in _DROPPED}
    for part in ("initContainers", "containers"):
        if spec.get(part):
            result[part] = [_container(c, tokens, original) for c in spec[part]]
    volumes = [v for v in spec.get("volumes") or () if v["name"] not in tokens]
    result.pop("volumes", None)
    if volumes:
        result["volumes"] = volumes
    return pin(result, spec["nodeName"]) if pinned and spec.get("nodeName") else result


def _is_token(volume: Mapping[str, Any]) -> bool:
    """Whether ServiceAccount admission made the volume; it makes another one for the shadow."""
    return str(volume["name"]).startswith("kube-api-access-") and "projected" in volume


def _container(container: Obj, tokens: set[str], original: Original) -> Obj:
    result = dict(container)
    if container["name"] in original.containers:
        result["image"] = original.containers[container["name"]].application
    mounts = [m for m in container.get("volumeMounts") or () if m["name"] not in tokens]
    result.pop("volumeMounts", None)
    if mounts:
        result["volumeMounts"] = mounts
    if any("hostPort" in p for p in container.get("ports") or ()):
        result["ports"] = [{k: v for k, v in p.items() if k not in ("hostPort", "hostIP")} for p in container["ports"]]
    return result


def pin(spec: dict[str, Any], node: str) -> dict[str, Any]:
    """The spec with node affinity for one node, beside whatever affinity it has."""
    only = {"matchFields": [{"key": "metadata.name", "operator": "In", "values": [node]}]}
    affinity = spec.get("affinity") or {}
    node_affinity = affinity.get("nodeAffinity") or {}
    required = node_affinity.get("requiredDuringSchedulingIgnoredDuringExecution") or {}
    terms = [{**t, "matchFields": only["matchFields"]} for t in required.get("nodeSelectorTerms") or ()] or [only]
    required = {**required, "nodeSelectorTerms": terms}
    return {**spec, "affinity": {**affinity, "nodeAffinity": {**node_affinity, "requiredDuringSchedulingIgnoredDuringExecution": required}}}


def spec_hash(workload: Workload, spec: Mapping[str, Any]) -> str:
    """8 hex digits that name a revision of a workload's Pods."""
    return names.digest(f"{workload.kind}/{workload.name}\n{json.dumps(spec, sort_keys=True, separators=(',', ':'))}")


def shadow_name(workload: Workload, revision: str, ordinal: int) -> str:
    """`web-shadow-3f2a91bc-0`, at most 63 characters."""
    tail = f"-shadow-{revision}-{ordinal}"
    return names.fit(workload.name.replace(".", "-"), 63 - len(tail)) + tail


def our_labels(workload: Workload, role: str) -> dict[str, str]:
    """The labels on every object of ours."""
    return {names.MANAGED_BY: names.MANAGER, names.ROLE: role, names.TARGET: workload.id}


def shadow_labels(workload: Workload) -> dict[str, str]:
    """Ours, and the one by which Service Y' selects it."""
    return {**our_labels(workload, "shadow"), names.SERVES: "true"}


def shadow(workload: Workload, name: str, revision: str, spec: Obj, originals: Iterable[Original], labels: Mapping[str, str]) -> Obj:
    """A shadow Pod. originals: all of that revision, they own it. labels: those of the application it may show."""
    first, *_ = owners = sorted(originals, key=lambda o: (o.pod["metadata"].get("creationTimestamp") or "", o.name))
    notes = tracking.strip_annotations(annotations_of(first.pod))
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": name,
            "namespace": workload.namespace,
            "labels": {**labels, **shadow_labels(workload)},
            "annotations": {
                **{k: v for k, v in notes.items() if not names.is_ours(k)},
                names.WORKLOAD: f"{workload.kind}/{workload.name}",
                names.SPEC_HASH: revision,
            },
            "ownerReferences": owned_by(owners),
        },
        "spec": spec,
    }


def owned_by(owners: list[Original]) -> list[Obj]:
    """The first is the controller, so that no ReplicaSet, StatefulSet or DaemonSet adopts the Pod by its labels."""
    references = []
    for position, owner in enumerate(owners):
        metadata = owner.pod["metadata"]
        reference: Obj = {"apiVersion": "v1", "kind": "Pod", "name": owner.name, "uid": metadata.get("uid", "")}
        references.append({**reference, "controller": True} if position == 0 else reference)
    return references
