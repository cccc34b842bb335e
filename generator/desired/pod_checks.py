"""Checks of the Pods themselves: what a shadow or a carrier could not bear. Each yields Problems."""

from __future__ import annotations

from collections.abc import Iterator

from carrier2 import contract
from generator.cluster import selectors
from generator.cluster.snapshot import annotations_of, labels_of
from generator.cluster.workload import claims_of, trouble
from generator.desired.case import Case
from generator.errors import Problem

MESH_PROXIES = ("istio-proxy", "linkerd-proxy", "consul-dataplane", "kuma-sidecar", "envoy-sidecar")


def rollout(case: Case) -> Iterator[Problem]:
    """Pods that come and go, and workloads that are paused or being deleted."""
    obj = case.workload.obj or {}
    if obj.get("metadata", {}).get("deletionTimestamp"):
        yield case.problem("WorkloadDeleting", "is being deleted", "Nothing to do; the mount waits for a new one.")
    if obj.get("spec", {}).get("paused"):
        yield case.problem(
            "WorkloadPaused", "its rollout is paused", "Nothing to do; Pods of the next revision are bridged when they come."
        )
    for o in case.every:
        at = f"Pod {o.name}"
        if o.gone == "terminating":
            yield case.problem("PodTerminating", "is being deleted and left alone", "Nothing to do.", at)
        elif o.gone == "failed":
            reason = o.pod["status"].get("reason") or o.pod["status"]["phase"]
            yield case.problem("PodFailed", f"has failed ({reason}) and is left alone", "Delete it when you have read why.", at)
        elif case.live and (why := o.gone and trouble(o.pod, case.snapshot.now)):
            yield case.problem("RolloutStuck", f"never became ready ({why})", "Mend the rollout; the Pod is bridged once it is ready.", at)


def node(case: Case) -> Iterator[Problem]:
    """What ties a Pod to its node or is not of our world: host namespaces and ports, Windows, static Pods, mesh proxies."""
    for r in case.revisions:
        spec = r.originals[0].pod["spec"]
        if spec.get("hostNetwork"):
            yield case.problem(
                "HostNetwork",
                "hostNetwork: true; a shadow on the node could not bind the same ports",
                "Bridge a workload without hostNetwork.",
            )
        if spec.get("hostIPC"):
            yield case.problem("HostIPC", "hostIPC: true; /dev/shm would be the node's", "Set hostIPC: false in the workload.")
        if (spec.get("os") or {}).get("name") == "windows" or (spec.get("nodeSelector") or {}).get("kubernetes.io/os") == "windows":
            yield case.problem("WindowsPod", "runs on Windows", "Bridge a Linux workload.")
        for c in spec["containers"]:
            for p in c.get("ports") or ():
                if p.get("hostPort"):
                    message = f"port {p['containerPort']} is hostPort {p['hostPort']} of the node; its shadows are made without it"
                    yield case.problem("HostPort", message, "Nothing to do.", f"container {c['name']}")
        if any(s in MESH_PROXIES for s in (c["name"] for c in (*spec["containers"], *(spec.get("initContainers") or ())))):
            yield case.problem(
                "MeshSidecar",
                "carries a service mesh proxy, which runs in original and shadow",
                "Watch the mesh's telemetry after bridging.",
            )
    for o in case.live:
        if "kubernetes.io/config.mirror" in annotations_of(o.pod):
            yield case.problem("StaticPod", "is the mirror of a static Pod", "Bridge a Pod that the API server owns.", f"Pod {o.name}")


def commands(case: Case) -> Iterator[Problem]:
    """Commands, probes and hooks that the carrier image has to answer in the place of the application."""
    for r in case.revisions:
        for c in r.spec["containers"]:
            claim = case.claims.get(c["name"])
            if claim is None:
                continue
            at, own_image = f"container {c['name']}", bool(claim.mount and claim.mount.carrier_image)
            started = [("command", c["command"][0])] if c.get("command") else []
            probes = [(kind, c[kind]["exec"]["command"][0]) for kind in _EXEC_PLACES if (c.get(kind) or {}).get("exec", {}).get("command")]
            hooks = [
                (f"lifecycle.{hook}", body["exec"]["command"][0])
                for hook in ("postStart", "preStop")
                if (body := (c.get("lifecycle") or {}).get(hook) or {}) and (body.get("exec") or {}).get("command")
            ]
            for field, name in (*started, *probes, *hooks):
                if not own_image and not known_command(name):
                    link = name if name.startswith("/") else f"/usr/local/bin/{name}"
                    image = case.images[c["name"]]
                    message = f"{field} {name!r} is no name of {image}"
                    build = f'Build `FROM {image}` + `USER 0` + `RUN ["{contract.STAND_IN}", "{link}"]` + `USER {contract.USER}`'
                    cure = f"{build}, and name it in the mount's providerParameter.carrierImage."
                    yield case.problem("CommandUnknown", message, cure, at)
            for kind, _ in probes:
                yield case.problem(
                    "ExecProbe",
                    f"{kind} runs a command; while bridged it says how the carrier is",
                    "Prefer httpGet, tcpSocket or grpc.",
                    at,
                )
            if c.get("imagePullPolicy") == "Never":
                yield case.problem(
                    "ImagePolicy",
                    "imagePullPolicy: Never; the carrier image must be on the node already",
                    f"Load {case.images[c['name']]} on the nodes.",
                    at,
                )


_EXEC_PLACES = ("startupProbe", "readinessProbe", "livenessProbe")


def known_command(name: str) -> bool:
    """Whether the carrier image has a link of that name: one of its own names, bare or in a folder of its PATH."""
    folder, _, base = name.rpartition("/")
    return base in contract.COMMANDS and (not folder or folder in contract.COMMAND_DIRS) and not (name.startswith("/") and not folder)


def volumes(case: Case) -> Iterator[Problem]:
    """Volumes that a second Pod must not or cannot mount."""
    for r in case.revisions:
        allowed = any(claim.allow_shared_volumes for claim in case.claims.values())
        for claim, read_only in claims_of(r.originals[0].pod["spec"]):
            pvc = case.space.get("PersistentVolumeClaim", claim)
            if pvc is None:
                yield case.problem(
                    "SnapshotIncomplete",
                    f"PersistentVolumeClaim {claim} is not in the stream",
                    "Record PersistentVolumeClaims with the rest.",
                )
                continue
            modes = pvc["spec"].get("accessModes") or ()
            if "ReadWriteOncePod" in modes:
                yield case.problem(
                    "ReadWriteOncePod",
                    f"claim {claim} is ReadWriteOncePod: no second Pod can mount it",
                    "Use ReadWriteOnce with allowSharedVolumes.",
                )
            elif allowed or read_only:
                continue
            elif case.workload.kind == "StatefulSet" and _templated(case, claim):
                message = f"claim {claim} belongs to one Pod of the StatefulSet; its shadow would be a second {r.originals[0].name}"
                yield case.problem("SharedIdentity", message, "If it bears two writers: providerParameter.allowSharedVolumes: true.")
            elif "ReadWriteOnce" in modes:
                message = f"claim {claim} is ReadWriteOnce and a shadow would write to it too"
                yield case.problem("SharedVolume", message, "If it bears two writers: providerParameter.allowSharedVolumes: true.")


def _templated(case: Case, claim: str) -> bool:
    templates = (case.workload.obj or {}).get("spec", {}).get("volumeClaimTemplates") or ()
    return any(claim.startswith(f"{t['metadata']['name']}-{case.workload.name}-") for t in templates)


def apart(case: Case) -> Iterator[Problem]:
    """Required anti-affinity that keeps a Pod away from its own siblings keeps its shadow away from all of them."""
    for r in case.revisions:
        labels = labels_of(r.originals[0].pod)
        rules = ((r.spec.get("affinity") or {}).get("podAntiAffinity") or {}).get("requiredDuringSchedulingIgnoredDuringExecution") or ()
        if any(selectors.matches(rule.get("labelSelector"), labels) for rule in rules):
            message = "required podAntiAffinity: each shadow needs a node without a Pod of the target"
            yield case.problem("AntiAffinity", message, "Have enough nodes, or make it preferred.")


def marks(case: Case) -> Iterator[Problem]:
    """Pods that run a carrier of ours without the note of what they ran before."""
    ours = {case.snapshot.carrier_image, *case.images.values()}
    for o in case.every:
        for c in o.containers.values():
            if c.image in ours and not c.carried:
                note = f"annotation original-image.bascule.dev/{c.name}: IMAGE"
                yield case.problem(
                    "MarksLost", f"runs {c.image} and its {note} is gone", f"Put back the {note}, or delete the Pod.", f"Pod {o.name}"
                )
