"""A cluster in a few pure functions: what the API server, scheduler, kubelet, endpoint and garbage-collection controllers do.

Enough to fold `generate` until nothing changes and to show the steps in between; not a cluster. What it does, it does at
once and always well: images are there, probes succeed, containers start within one step.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import jsonpatch

from generator import names
from generator.cluster.quantity import whole
from generator.cluster.snapshot import Key, Obj, Snapshot, has_endpoints, is_read, key_of, labels_of
from generator.cluster.times import after
from generator.desired.generate import Desired, generate
from generator.desired.waking import next_look
from generator.errors import StalePlan
from generator.plan import Change, plan

STEP_SECONDS = 1.5
"""Time that passes in one step; longer than the settle time, as a working cluster needs about a second for each."""

World = dict[Key, Obj]


@dataclass(frozen=True)
class Step:
    """One round: the changes that were written, and the time at which."""

    now: str
    changes: tuple[Change, ...]


@dataclass(frozen=True)
class Run:
    """A fold. converged: a round came in which nothing changed. end: the objects then. desired: what was wanted last."""

    steps: tuple[Step, ...]
    converged: bool
    end: tuple[Obj, ...]
    desired: Desired
    now: str

    @property
    def changes(self) -> tuple[Change, ...]:
        """Every change of the run."""
        return tuple(c for step in self.steps for c in step.changes)


def world(objects: Iterable[Obj]) -> World:
    """The objects by Key."""
    return {key_of(o): o for o in objects if is_read(o)}


def fold(
    objects: Iterable[Obj], now: str, limit: int = 60, writes: Callable[[int, Sequence[Change]], Sequence[Change]] | None = None
) -> Run:
    """Generate, write, let the cluster move, until nothing changes any more, or `limit` rounds have passed.

    writes: which of a round's changes are written before the operator is killed (for tests); all by default.
    """
    state, steps = settle(world(objects), now), []
    for number in range(limit):
        snapshot = Snapshot.of(state.values(), now)
        desired = generate(snapshot)
        changes = plan(snapshot, desired)
        before = state
        for change in writes(number, changes) if writes else changes:
            state = apply(state, change, now)
        if changes:
            steps.append(Step(now, changes))
        later = after(now, STEP_SECONDS)
        state = settle(state, later)
        if not changes and state == before and next_look(desired, now) is None:
            return Run(tuple(steps), True, tuple(state.values()), desired, now)
        now = later
    return Run(tuple(steps), False, tuple(state.values()), desired, now)


def apply(state: World, change: Change, now: str) -> World:
    """One write to the API server. Raises StalePlan when a guard does not hold."""
    if change.op == "delete":
        if state[change.key]["metadata"].get("uid") != change.uid:
            raise StalePlan(f"{change.key}: it is another object of that name")
        return {k: v for k, v in state.items() if k != change.key}
    if change.op == "create":
        assert change.body is not None
        body = copy.deepcopy(change.body)
        uid = names.digest(f"{change.key} {now}", 32)
        body["metadata"] |= {"uid": uid, "creationTimestamp": after(now, 0), "resourceVersion": "1"}
        return {**state, change.key: body}
    live = state[change.key]
    try:
        result = jsonpatch.apply_patch(live, list(change.patch))
    except (jsonpatch.JsonPatchException, jsonpatch.JsonPointerException) as error:
        raise StalePlan(f"{change.key}: {error}") from error
    return {**state, change.key: _bumped(result)}


def _bumped(obj: Obj) -> Obj:
    version = whole(obj["metadata"].get("resourceVersion", ""), 20) or 0
    return {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version + 1)}}


def settle(state: World, now: str) -> World:
    """Let the controllers and kubelets do what they would: a new state, the same one when there is nothing to do."""
    state = dict(_collect(state))
    for key in sorted(state):
        obj = state[key]
        if key.kind == "Pod":
            moved = _kubelet(obj, state, now)
        elif key.kind == "Service" and "clusterIP" not in obj["spec"]:
            moved = {**obj, "spec": {**obj["spec"], "clusterIP": _address("10.96", str(key)), "clusterIPs": [_address("10.96", str(key))]}}
        else:
            continue
        if moved != obj:
            state[key] = _bumped(moved)
    return endpoints(state)


def _collect(state: World) -> World:
    """Garbage collection: an object whose owners are all gone goes too; so does a Pod that is being deleted."""
    while True:
        uids = {o["metadata"].get("uid") for o in state.values()}
        gone = [
            k
            for k, o in state.items()
            if (owners := o["metadata"].get("ownerReferences"))
            and (k.kind == "GefyraBridge" or (k.kind == "Pod" and labels_of(o).get(names.MANAGED_BY) == names.MANAGER))
            and not any(ref["uid"] in uids for ref in owners)
        ]
        if not gone:
            return state
        state = {k: v for k, v in state.items() if k not in gone}


def _address(prefix: str, seed: str) -> str:
    number = int(names.digest(seed, 6), 16)
    return f"{prefix}.{100 + number % 150}.{1 + number // 150 % 250}"


def _kubelet(pod: Obj, state: World, now: str) -> Obj:
    """Schedule the Pod, start what its spec asks for, and report. A held Pod's condition Ready is not touched (admission policy)."""
    if pod["metadata"].get("deletionTimestamp") or pod.get("status", {}).get("phase") in ("Failed", "Succeeded"):
        return pod
    spec, status = pod["spec"], pod.get("status") or {}
    node = spec.get("nodeName") or next((k.name for k in sorted(state) if k.kind == "Node"), "node1")
    running = {s["name"]: s for s in status.get("containerStatuses") or ()}
    if any("running" not in (s.get("state") or {}) for s in running.values()) and running:
        return pod
    statuses = [_started(c, running.get(c["name"]), pod, now) for c in spec["containers"]]
    ip = status.get("podIP") or _address("10.244", str(pod["metadata"].get("uid") or pod["metadata"]["name"]))
    result: Obj = {**pod, "spec": spec if spec.get("nodeName") else {**spec, "nodeName": node}}
    fields: dict[str, Any] = {
        **status,
        "phase": "Running",
        "podIP": ip,
        "podIPs": status.get("podIPs") or [{"ip": ip}],
        "containerStatuses": statuses,
    }
    ready, held = all(s.get("ready") for s in statuses), labels_of(pod).get(names.HELD) == "true"
    fields["conditions"] = _conditions(status.get("conditions") or (), "True" if ready and not held else "False", now)
    if ready and held:
        fields["conditions"] = [{**c, "reason": names.HELD_REASON} if c["type"] == "Ready" else c for c in fields["conditions"]]
    result["status"] = fields
    return result


def _started(container: Obj, status: Obj | None, pod: Obj, now: str) -> Obj:
    """The status of a container that runs the image of the spec. A runtime may report the image by its full name."""
    image = container.get("image", "")
    if status and (status.get("image") == image or str(status.get("image")).endswith(f"/{image}")):
        return status
    restarts = status.get("restartCount", 0) + 1 if status else 0
    seed = f"{pod['metadata'].get('uid')} {container['name']} {container.get('image')} {restarts}"
    return {
        "name": container["name"],
        "image": container.get("image"),
        "imageID": f"sha256:{names.digest(container.get('image', ''), 64)}",
        "containerID": f"containerd://{names.digest(seed, 64)}",
        "ready": True,
        "started": True,
        "restartCount": restarts,
        "state": {"running": {"startedAt": after(now, 0)}},
    }


def _conditions(conditions: Iterable[Obj], ready: str, now: str) -> list[Obj]:
    found = list(conditions)
    if not any(c["type"] == "Ready" for c in found):
        found.append({"type": "Ready", "status": ready, "lastTransitionTime": after(now, 0)})
    return [
        {"type": "Ready", "status": ready, "lastTransitionTime": after(now, 0)} if c["type"] == "Ready" and c["status"] != ready else c
        for c in found
    ]


def endpoints(state: World) -> World:
    """One EndpointSlice per Service whose slices Kubernetes keeps, in place of whatever slices it had."""
    pods: dict[str, list[Obj]] = {}
    slices: dict[tuple[str, str], list[Key]] = {}
    for key, obj in sorted(state.items()):
        if key.kind == "Pod" and obj.get("status", {}).get("podIP"):
            pods.setdefault(key.namespace, []).append(obj)
        elif key.kind == "EndpointSlice":
            slices.setdefault((key.namespace, labels_of(obj).get("kubernetes.io/service-name", "")), []).append(key)
    result = dict(state)
    for key, service in state.items():
        if key.kind != "Service" or not has_endpoints(service):
            continue
        items = service["spec"]["selector"].items()
        members = [p for p in pods.get(key.namespace, ()) if items <= labels_of(p).items()]
        endpoints = [_endpoint(p, bool(service["spec"].get("publishNotReadyAddresses"))) for p in members]
        there = slices.get((key.namespace, key.name), [])
        if len(there) == 1 and list(map(_known, state[there[0]].get("endpoints") or ())) == list(map(_known, endpoints)):
            continue
        for stale in there[1:]:
            del result[stale]
        name = there[0].name if there else f"{key.name}-{names.digest(str(key), 5)}"
        labels = {**labels_of(service), "kubernetes.io/service-name": key.name}
        metadata = {"name": name, "namespace": key.namespace, "labels": labels}
        made: Obj = {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata, "addressType": "IPv4"}
        result[Key("EndpointSlice", key.namespace, name)] = {**(state[there[0]] if there else made), "endpoints": endpoints}
    return result


def _known(endpoint: Obj) -> tuple[Any, ...]:
    return (tuple(endpoint.get("addresses") or ()), endpoint.get("conditions", {}).get("ready"), endpoint.get("targetRef", {}).get("name"))


def _endpoint(pod: Obj, always: bool) -> Obj:
    conditions = pod["status"].get("conditions") or ()
    ready = always or any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)
    reference = {
        "kind": "Pod",
        "name": pod["metadata"]["name"],
        "namespace": pod["metadata"]["namespace"],
        "uid": pod["metadata"].get("uid"),
    }
    return {"addresses": [pod["status"]["podIP"]], "conditions": {"ready": ready}, "targetRef": reference}
