"""Originals -> rehearsals: Pods of ours that start the carrier once, beside the original, before a live container is touched.

A missing pull secret, an admission policy, a UID, a command that cannot start: all show here, and the workload never notices.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from generator import names
from generator.cluster.snapshot import Key, Obj
from generator.cluster.workload import Original, Workload, trouble
from generator.desired.revisions import Revision
from generator.desired.shadow import our_labels, owned_by
from generator.errors import Problem


def rehearsal_name(workload: Workload, revision: str, node: str, images: Mapping[str, str]) -> str:
    """`web-rehearsal-3f2a91bc-9d01`: one for each revision, node and set of carrier images by container."""
    tail = f"-rehearsal-{revision}-{names.digest(f'{node} {sorted(images.items())}', 4)}"
    return names.fit(workload.name.replace(".", "-"), 63 - len(tail)) + tail


def rehearsal(workload: Workload, revision: str, spec: Obj, originals: list[Original], images: Mapping[str, str]) -> Obj:
    """A Pod that starts the carrier once on the originals' node, as each targeted container would be started.

    images: carrier image by container. Probes are dropped (nothing is served yet) and requests are 0, so that a full
    node does not refuse it. It never restarts: one failure is the answer.
    """
    node = originals[0].pod["spec"]["nodeName"]
    claims = {v["name"] for v in spec.get("volumes") or () if "persistentVolumeClaim" in v or "ephemeral" in v}
    containers = [_try_out(c, images[c["name"]], claims) for c in spec["containers"] if c["name"] in images]
    kept = {k: v for k, v in spec.items() if k not in ("initContainers", "affinity", "topologySpreadConstraints", "hostname", "subdomain")}
    kept["volumes"] = [v for v in spec.get("volumes") or () if v["name"] not in claims]
    if not kept["volumes"]:
        del kept["volumes"]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            "name": rehearsal_name(workload, revision, node, images),
            "namespace": workload.namespace,
            "labels": our_labels(workload, "rehearsal"),
            "annotations": {names.WORKLOAD: f"{workload.kind}/{workload.name}", names.SPEC_HASH: revision},
            "ownerReferences": owned_by(sorted(originals, key=lambda o: o.name)),
        },
        "spec": {**kept, "containers": containers, "nodeName": node, "restartPolicy": "Never", "terminationGracePeriodSeconds": 1},
    }


def _try_out(container: Obj, image: str, claims: set[str]) -> Obj:
    dropped = ("livenessProbe", "readinessProbe", "startupProbe", "lifecycle", "volumeMounts")
    result = {**{k: v for k, v in container.items() if k not in dropped}, "image": image}
    mounts = [m for m in container.get("volumeMounts") or () if m["name"] not in claims]
    if mounts:
        result["volumeMounts"] = mounts
    resources = container.get("resources") or {}
    asked = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
    if free := {k: "0" for k in sorted(asked) if k in ("cpu", "memory", "ephemeral-storage")}:
        result["resources"] = {**resources, "requests": {**asked, **free}}
    return result


def rehearsals(workload: Workload, groups: Iterable[Revision], images: Mapping[str, str]) -> dict[str, Obj]:
    """One rehearsal for each revision and node that has originals."""
    found: dict[str, Obj] = {}
    for r in groups:
        by_node: dict[str, list[Original]] = {}
        for o in r.originals:
            if node := o.pod["spec"].get("nodeName"):
                by_node.setdefault(node, []).append(o)
        for node, here in sorted(by_node.items()):
            if images:
                found[rehearsal_name(workload, r.hash, node, images)] = rehearsal(workload, r.hash, r.spec, here, images)
    return found


def rehearsed(workload: Workload, r: Revision, item: Original, images: Mapping[str, str], ours: Mapping[Key, Obj]) -> bool:
    """Whether the carrier runs in the rehearsal on the original's node."""
    name = rehearsal_name(workload, r.hash, item.pod["spec"].get("nodeName", ""), images)
    pod = ours.get(Key("Pod", workload.namespace, name))
    statuses = (pod or {}).get("status", {}).get("containerStatuses") or ()
    return bool(statuses) and all("running" in (s.get("state") or {}) for s in statuses)


def failures(workload: Workload, pod: Obj | None, now: str) -> list[Problem]:
    """Why the carrier could not start in a rehearsal: what kubelet says, as one problem."""
    why = trouble(pod, now) if pod else ""
    cure = "Mend the reason; delete the rehearsal Pod to try again."
    return [Problem("RehearsalFailed", f"{workload} Pod {pod['metadata']['name']}", why, cure)] if why and pod else []
