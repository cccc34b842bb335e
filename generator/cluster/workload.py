"""A target's workload -> its Pods, and where each of them stands between application and carrier.

Everything is read off the snapshot: there is no memory of earlier steps. What an image patch replaced is written on the
Pod by the same patch (`names.REPLACED`), so that "the new container runs" is a fact, not a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from generator import names
from generator.cluster.snapshot import Obj, Space, annotations_of, controller_of, is_ours, labels_of
from generator.cluster.times import seconds_between


class Workload(NamedTuple):
    """Which workload. `obj` is None when it is gone and only traces of it are left."""

    namespace: str
    kind: str
    name: str
    obj: Obj | None

    @property
    def id(self) -> str:
        """Label value that marks everything of ours for this workload."""
        return names.target_id(self.kind, self.name)

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class Container:
    """One container of an original.

    image: in the spec now. application: the image it had before us.
    replaced: the container an image patch is still replacing, or "". confirmed: `<hash>@<containerID>` or "".
    refused: `<hash> <why>` of a configuration that the carrier has not taken, or "".
    """

    name: str
    index: int
    image: str
    application: str
    container_id: str
    running: bool
    ready: bool
    replaced: str
    confirmed: str
    refused: str

    @property
    def carried(self) -> bool:
        """Whether the spec names a carrier instead of the application."""
        return self.image != self.application

    def confirmation(self, config: str) -> str:
        """What `confirmed` is once the container that runs has taken the configuration of that hash."""
        return f"{config}@{self.container_id}"

    @property
    def settled(self) -> bool:
        """Whether the container that runs is the one the spec asks for."""
        return self.running and self.container_id != self.replaced


@dataclass(frozen=True, slots=True)
class Original:
    """One Pod of the workload. gone: why it is left alone ("" when it is not)."""

    pod: Obj
    containers: Mapping[str, Container]
    gone: str

    @property
    def name(self) -> str:
        """The Pod's name."""
        return str(self.pod["metadata"]["name"])

    @property
    def held(self) -> bool:
        """Whether it is kept out of its Services' endpoints."""
        return labels_of(self.pod).get(names.HELD) == "true"

    @property
    def ready(self) -> bool:
        """Its condition Ready, as Services see it."""
        return is_ready(self.pod)

    @property
    def kubelet_ready(self) -> bool:
        """Whether kubelet reports every container ready, whatever the condition says while the Pod is held."""
        return all(c.ready for c in self.containers.values())

    @property
    def held_back(self) -> bool:
        """Whether its condition Ready is False because of us: kubelet, or who finds its node lost, gives other reasons."""
        found = _condition(self.pod, "Ready")
        return found.get("status") == "False" and found.get("reason") == names.HELD_REASON

    @property
    def gates_open(self) -> bool:
        """Whether every readiness gate lets it be ready (KEP-580)."""
        gates = self.pod["spec"].get("readinessGates") or ()
        return all(_condition(self.pod, gate["conditionType"]).get("status") == "True" for gate in gates)

    @property
    def seems_lost(self) -> bool:
        """Whether it is not ready, against kubelet's last word on its containers and gates: so a Pod looks whose node is lost."""
        return self.kubelet_ready and self.gates_open and not self.ready and not self.held and not self.held_back

    @property
    def touched(self) -> bool:
        """Whether anything of ours is on it."""
        metadata = self.pod["metadata"]
        return any(names.is_ours(k) for part in ("labels", "annotations") for k in metadata.get(part) or ())

    @property
    def carried(self) -> bool:
        """Whether any container is a carrier."""
        return any(c.carried for c in self.containers.values())


def _condition(pod: Obj, kind: str) -> Obj:
    return next((c for c in pod.get("status", {}).get("conditions") or () if c["type"] == kind), {})


def is_ready(pod: Obj) -> bool:
    """Whether the Pod's condition Ready is True."""
    return _condition(pod, "Ready").get("status") == "True"


def is_serving(pod: Obj | None) -> bool:
    """Whether the Pod is there, ready and not on its way out."""
    return pod is not None and is_ready(pod) and not pod["metadata"].get("deletionTimestamp") and not has_ended(pod)


def has_ended(pod: Obj) -> bool:
    """Whether the Pod has finished for good; a bare Pod is never started again."""
    return pod.get("status", {}).get("phase") in ("Failed", "Succeeded")


SLOW_SECONDS = 120
"""How long a Pod may take to become ready before that is worth a word."""


def trouble(pod: Obj, now: str) -> str:
    """Why a Pod is not ready, when it looks as if it will not be; "" when it is, or is only starting."""
    if is_ready(pod):
        return ""
    status = pod.get("status", {})
    if status.get("phase") == "Failed" and status.get("reason"):
        return f"{status['reason']}: {status.get('message', '')}".rstrip(": ")
    for container in (*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())):
        state = container.get("state") or {}
        waiting, stopped = state.get("waiting") or {}, state.get("terminated") or {}
        if waiting.get("reason") not in (None, "ContainerCreating", "PodInitializing"):
            said = " ".join(waiting.get("message", "").split())
            return f"container {container['name']}: {waiting['reason']}{': ' if said else ''}{said[:120]}"
        if stopped.get("exitCode"):
            return f"container {container['name']}: {stopped.get('reason', 'Error')}, exit code {stopped['exitCode']}"
    for condition in status.get("conditions") or ():
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return f"{condition.get('reason', 'Unschedulable')}: {condition.get('message', '')}".rstrip(": ")
    age = seconds_between(pod["metadata"].get("creationTimestamp") or now, now)
    return f"not ready after {SLOW_SECONDS} s" if age >= SLOW_SECONDS else ""


SPARE_SECONDS = 10
"""How long an application that is ready may wait for its shadow before it serves by itself."""


def ready_since(pod: Obj) -> str:
    """Since when all containers are ready, as kubelet says; "" when they are not."""
    found = _condition(pod, "ContainersReady")
    return str(found.get("lastTransitionTime") or "") if found.get("status") == "True" else ""


def is_starting(item: Original, now: str) -> bool:
    """Whether an application starts for the first time on its node, and nothing looks as if it would not."""
    kinds = ("initContainerStatuses", "containerStatuses")
    status = [s for kind in kinds for s in item.pod.get("status", {}).get(kind) or ()]
    since = ready_since(item.pod)
    if since and seconds_between(since, now) >= SPARE_SECONDS:
        return False
    swapped = any(c.carried or c.replaced for c in item.containers.values())
    fresh = item.gone in ("", "not ready") and not swapped and not item.ready and not any(s.get("restartCount") for s in status)
    return fresh and bool(item.pod["spec"].get("nodeName")) and not trouble(item.pod, now)


def hostname_of(pod: Obj) -> str:
    """What `uname -n` prints in the Pod, lower case as nginx's $hostname (kubelet: spec.hostname or the name, 63 characters)."""
    spec, metadata = pod["spec"], pod["metadata"]
    short = (spec.get("hostname") or metadata["name"])[:63].rstrip("-.")
    if spec.get("setHostnameAsFQDN") and spec.get("subdomain"):
        return f"{short}.{spec['subdomain']}.{metadata['namespace']}.svc.cluster.local".lower()
    return str(short.lower())


def ips_of(pod: Obj) -> tuple[str, ...]:
    """The Pod's addresses, primary first."""
    status = pod.get("status", {})
    ips = tuple(entry["ip"] for entry in status.get("podIPs") or () if entry.get("ip"))
    return ips or ((status["podIP"],) if status.get("podIP") else ())


def original(pod: Obj) -> Original:
    """Read one Pod of a workload."""
    notes = annotations_of(pod)
    status = {s["name"]: s for s in pod.get("status", {}).get("containerStatuses") or ()}
    containers = {}
    for index, spec in enumerate(pod["spec"]["containers"]):
        name, seen = spec["name"], status.get(spec["name"], {})
        containers[name] = Container(
            name=name,
            index=index,
            image=spec.get("image", ""),
            application=notes.get(names.ORIGINAL_IMAGE + name, spec.get("image", "")),
            container_id=seen.get("containerID", ""),
            running="running" in (seen.get("state") or {}),
            ready=bool(seen.get("ready")),
            replaced=notes.get(names.REPLACED + name, ""),
            confirmed=notes.get(names.CONFIRMED + name, ""),
            refused=notes.get(names.REFUSED + name, ""),
        )
    return Original(pod, containers, _gone(pod, containers))


def _gone(pod: Obj, containers: Mapping[str, Container]) -> str:
    if pod["metadata"].get("deletionTimestamp"):
        return "terminating"
    if has_ended(pod):
        return "failed"
    touched = labels_of(pod).get(names.CARRIER) or any(c.carried or c.replaced for c in containers.values())
    return "" if touched or is_ready(pod) else "not ready"


def pods_of(space: Space, kind: str, name: str) -> list[Obj]:
    """The Pods of a workload, oldest first, by the chain of controllers and not by label."""
    if kind == "Pod":
        pod = space.get("Pod", name)
        return [pod] if pod and not is_ours(pod) else []
    owners = [(kind, name)]
    if kind == "Deployment":
        owners = [("ReplicaSet", rs["metadata"]["name"]) for rs in space.controlled.get((kind, name), ()) if rs["kind"] == "ReplicaSet"]
    pods = [p for owner in owners for p in space.controlled.get(owner, ()) if p["kind"] == "Pod"]
    return sorted(pods, key=lambda p: (p["metadata"].get("creationTimestamp") or "", p["metadata"]["name"]))


def workload_of(space: Space, pod: Obj) -> Workload:
    """The workload at the top of a Pod's chain of controllers, as far as it is in the snapshot."""
    obj = pod
    while ref := controller_of(obj):
        above = space.get(ref["kind"], ref["name"])
        if above is None or ref["kind"] not in ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet"):
            return Workload(space.name, ref["kind"], ref["name"], above)
        obj = above
    return Workload(space.name, obj["kind"], obj["metadata"]["name"], obj)


def claims_of(spec: Obj) -> list[tuple[str, bool]]:
    """(claim name, read only) of each PersistentVolumeClaim a Pod spec mounts."""
    found = []
    for volume in spec.get("volumes") or ():
        if claim := volume.get("persistentVolumeClaim"):
            mounts = [m for c in spec["containers"] for m in c.get("volumeMounts") or () if m["name"] == volume["name"]]
            found.append((claim["claimName"], bool(claim.get("readOnly")) or all(m.get("readOnly") for m in mounts)))
    return found
