"""Builders of Kubernetes objects for tests: as small as the API server would accept, as whole as kubectl would print."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from generator.cluster.snapshot import Snapshot
from generator.cluster.times import after
from generator.desired.generate import generate
from generator.names import digest
from generator.plan import plan
from generator.simulate import STEP_SECONDS, World, apply, settle, world

Obj = dict[str, Any]
NOW = "2026-11-24T22:30:00Z"
BORN = "2026-11-24T20:00:00Z"


def meta(name: str, namespace: str = "shop", **more: Any) -> Obj:
    """Metadata with a uid made from the name, a resourceVersion and a time of birth."""
    uid = digest(f"{namespace}/{name}/{sorted(more.get('labels', {}).items())}", 32)
    return {"name": name, "namespace": namespace, "uid": uid, "resourceVersion": "7", "creationTimestamp": BORN, **more}


def asked(name: str, **more: Any) -> Obj:
    """Metadata of a bridge or mount as in a user's own file, but for a time of birth, so that ages are known."""
    return {k: v for k, v in meta(name, "gefyra", **more).items() if k != "uid"}


def owned(kind: str, owner: Obj) -> list[Obj]:
    """OwnerReferences to a controller."""
    reference = {"apiVersion": "apps/v1", "kind": kind, "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"]}
    return [{**reference, "controller": True, "blockOwnerDeletion": True}]


def container(name: str = "app", image: str = "localhost/echo:1", ports: tuple[int, ...] = (8080,), **more: Any) -> Obj:
    """A container with TCP ports."""
    return {"name": name, "image": image, "ports": [{"containerPort": p, "protocol": "TCP"} for p in ports], **more}


def running(pod: Obj, ip: str, ready: bool = True) -> Obj:
    """The Pod with the status of one that runs."""
    uid = pod["metadata"]["uid"]
    statuses = [
        {
            "name": c["name"],
            "image": c["image"],
            "imageID": f"sha256:{digest(c['image'], 64)}",
            "containerID": f"containerd://{digest(uid + c['name'], 64)}",
            "ready": ready,
            "started": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": BORN}},
        }
        for c in pod["spec"]["containers"]
    ]
    conditions = [{"type": "Ready", "status": "True" if ready else "False", "lastTransitionTime": BORN}]
    status = {"phase": "Running", "podIP": ip, "podIPs": [{"ip": ip}], "conditions": conditions, "containerStatuses": statuses}
    return {**pod, "status": status}


def pod(
    name: str, labels: dict[str, str], containers: list[Obj], ip: str, namespace: str = "shop", owners: list[Obj] | None = None, **spec: Any
) -> Obj:
    """A running Pod on node1."""
    metadata = meta(name, namespace, labels=dict(labels))
    if owners:
        metadata["ownerReferences"] = owners
    body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": containers, "nodeName": "node1", **spec}}
    return running(body, ip)


def deployment(
    name: str, labels: dict[str, str], containers: list[Obj], replicas: int, octet: int, namespace: str = "shop", revision: str = "1"
) -> list[Obj]:
    """A Deployment, its ReplicaSet and its running Pods (10.244.<octet>.<n>)."""
    selector = {"matchLabels": {"app": labels["app"]}}
    template = {"metadata": {"labels": dict(labels)}, "spec": {"containers": containers}}
    spec = {"replicas": replicas, "selector": selector, "template": template}
    top = {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta(name, namespace), "spec": spec, "status": {"replicas": replicas}}
    hashed = {**labels, "pod-template-hash": digest(name + revision, 10)}
    rs_name = f"{name}-{digest(name + revision, 10)}"
    rs = {
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": meta(rs_name, namespace, labels=hashed, ownerReferences=owned("Deployment", top)),
        "spec": {"replicas": replicas, "selector": {"matchLabels": hashed}, "template": template},
    }
    owners = owned("ReplicaSet", rs)
    pods = [pod(f"{rs_name}-{n}", hashed, containers, f"10.244.{octet}.{n + 1}", namespace, owners) for n in range(replicas)]
    return [top, rs, *pods]


def workload(
    kind: str, name: str, labels: dict[str, str], containers: list[Obj], replicas: int, octet: int, namespace: str = "shop"
) -> list[Obj]:
    """A StatefulSet, DaemonSet or ReplicaSet and its running Pods."""
    selector = {"matchLabels": {"app": labels["app"]}}
    template = {"metadata": {"labels": dict(labels)}, "spec": {"containers": containers}}
    spec: Obj = {"selector": selector, "template": template}
    if kind != "DaemonSet":
        spec["replicas"] = replicas
    top = {"apiVersion": "apps/v1", "kind": kind, "metadata": meta(name, namespace), "spec": spec}
    pods = []
    for n in range(replicas):
        more = {"hostname": f"{name}-{n}", "subdomain": name} if kind == "StatefulSet" else {}
        pods.append(pod(f"{name}-{n}", labels, containers, f"10.244.{octet}.{n + 1}", namespace, owned(kind, top), **more))
    return [top, *pods]


def service(
    name: str, selector: dict[str, str], port: int = 80, target: int | str = 8080, namespace: str = "shop", octet: int = 1, **spec: Any
) -> Obj:
    """A ClusterIP Service."""
    ports = [{"name": "http", "port": port, "targetPort": target, "protocol": "TCP"}]
    ip = f"10.96.{octet}.{int(digest(name, 2), 16) % 250 + 1}"
    body = {"type": "ClusterIP", "clusterIP": ip, "clusterIPs": [ip], "selector": selector, "ports": ports, **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": meta(name, namespace), "spec": body}


def mount(name: str, target: str, container: str = "app", namespace: str = "shop", **more: Any) -> Obj:
    """A GefyraBridgeMount as Gefyra's command line makes it."""
    body = {"targetNamespace": namespace, "target": target, "targetContainer": container, "provider": "carrier2mount", **more}
    return {"apiVersion": "gefyra.dev/v1", "kind": "gefyrabridgemount", "metadata": asked(name), **body}


def bridge(
    name: str,
    target: str,
    rules: list[Any],
    ports: tuple[str, ...] = ("3000:8080",),
    client: str = "alice",
    endpoint: str = "10.200.0.1:10000",
    **more: Any,
) -> Obj:
    """A GefyraBridge as Gefyra's command line makes it, with its connection known."""
    body: Obj = {
        "provider": "carrier2",
        "connectionProvider": "stowaway",
        "client": client,
        "destinationIP": "172.21.0.3",
        "target": target,
        "targetNamespace": "",
        "targetContainer": "",
        "portMappings": list(ports),
        "providerParameter": {"rules": rules} if rules else {},
        "clusterEndpoint": {p.split(":")[1]: endpoint for p in ports} if endpoint else {},
    }
    return {
        "apiVersion": "gefyra.dev/v1",
        "kind": "gefyrabridge",
        "metadata": asked(name, labels={"gefyra.dev/client": client}),
        **body,
        **more,
    }


NOBODY: Obj = {
    "clusters": [{"name": "c", "cluster": {"server": "http://127.0.0.1:1"}}],
    "users": [{"name": "u", "user": {}}],
    "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
    "current-context": "x",
}
"""A kubeconfig for a cluster that is not there."""
PUBLIC_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIBMTExMTExMTExMTExMTExMTExMTExMTExMTExMTExMT alice@laptop"


def client(name: str, provider: str = "relay", **more: Any) -> Obj:
    """A GefyraClient."""
    metadata = meta(name, "gefyra", **more.pop("metadata", {}))
    return {"apiVersion": "gefyra.dev/v1", "kind": "gefyraclient", "metadata": metadata, "provider": provider, **more}


def relay(listening: str = "", away: str = "", address: str = "10.244.9.9") -> list[Obj]:
    """The relay's headless Service, and the ConfigMap that says where it is and who is connected."""
    data = {"address": address, "listening": listening, "away": away or "{}"} if address else {}
    selector = {"app.kubernetes.io/name": "bascule-relay"}
    spec = {"clusterIP": "None", "selector": selector, "ports": [{"name": "ssh", "port": 2222, "protocol": "TCP", "targetPort": 2222}]}
    return [
        {"apiVersion": "v1", "kind": "Service", "metadata": meta("bascule-relay", "gefyra"), "spec": spec},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("bascule-relay", "gefyra"), "data": data},
    ]


def stowaway(**routes: str) -> list[Obj]:
    """What tells that Gefyra's Stowaway is installed, and its routes."""
    return [
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("gefyra-stowaway-config", "gefyra")},
        {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta("gefyra-stowaway-proxyroutes", "gefyra"), "data": routes},
    ]


def header(name: str, value: str, match: str = "exact") -> Obj:
    """A header condition in Gefyra's form."""
    return {"matchHeader": {"name": name, "value": value, "type": match}}


def path(value: str, match: str = "prefix") -> Obj:
    """A path condition in Gefyra's form."""
    return {"matchPath": {"path": value, "type": match}}


def rule(*conditions: Obj) -> Obj:
    """Conditions that must all hold."""
    return {"match": list(conditions)}


def rounds(objects: Iterable[Obj], count: int, now: str = NOW) -> tuple[World, str]:
    """The cluster after some rounds of an operator, and the time then."""
    state = settle(world(objects), now)
    for _ in range(count):
        snapshot = Snapshot.of(state.values(), now)
        for change in plan(snapshot, generate(snapshot)):
            state = apply(state, change, now)
        now = after(now, STEP_SECONDS)
        state = settle(state, now)
    return state, now
