"""An API server with the fences in force, and what there is to try them on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from generator import names
from generator.cluster.snapshot import OUR_KINDS, Key, Obj
from generator.live.failures import KubeError
from generator.live.kube import Kube, path
from tests.cluster.cluster import Cluster, cluster
from tests.cluster.machine import wait
from tests.overlay_lab import OPERATOR, account, call, with_components

ORIGINAL: Obj = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"}, "annotations": {"team": "shop"}},
    "spec": {
        "initContainers": [{"name": "wait", "image": "localhost/wait:1"}],
        "containers": [{"name": "app", "image": "localhost/echo:1"}, {"name": "side", "image": "localhost/side:1"}],
    },
}
STATUS: Obj = {
    "phase": "Running",
    "conditions": [
        {"type": kind, "status": "True", "lastTransitionTime": "2026-11-24T20:00:00Z"}
        for kind in ("Initialized", "Ready", "ContainersReady")
    ],
}
OURS = {names.MANAGED_BY: names.MANAGER, names.TARGET: "deployment-web"}
OWNER = {"apiVersion": "v1", "kind": "Pod", "name": "web", "uid": "00000000-0000-0000-0000-000000000001", "controller": True}
IMAGE = names.ORIGINAL_IMAGE + "app"
CARRIER = "bascule-carrier2:0.1.0"
MORE = "localhost/carrier:2 localhost/carrier:3"
"""Further carrier images that the settings name."""
CLIENT = "system:serviceaccount:gefyra:gefyra-client-"
CLIENTS = """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: clients, namespace: gefyra}
rules: [{apiGroups: [gefyra.dev], resources: [gefyrabridges, gefyraclients], verbs: [create, patch, delete]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: clients, namespace: gefyra}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: clients}
subjects: [{kind: Group, apiGroup: rbac.authorization.k8s.io, name: "system:serviceaccounts:gefyra"}]
"""


def shadow(name: str, **labels: str) -> Obj:
    """A Pod of ours."""
    metadata = {"name": name, "namespace": "shop", "labels": {**OURS, names.ROLE: "shadow", **labels}, "ownerReferences": [OWNER]}
    return {**ORIGINAL, "metadata": metadata}


def other(kind: str, name: str, role: str = "") -> Obj:
    """A Service, ConfigMap or NetworkPolicy, of ours if it has a role."""
    bodies: dict[str, Obj] = {
        "Service": {"apiVersion": "v1", "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]}},
        "ConfigMap": {"apiVersion": "v1", "data": {"nginx.conf": "events {}"}},
        "NetworkPolicy": {"apiVersion": "networking.k8s.io/v1", "spec": {"podSelector": {}}},
    }
    labels = {**OURS, names.ROLE: role} if role else {"app": "web"}
    return {**bodies[kind], "kind": kind, "metadata": {"name": name, "namespace": "shop", "labels": labels}}


def bridge(name: str) -> Obj:
    """A bridge of the client of that name."""
    metadata = {"name": name, "namespace": "gefyra", "labels": {"gefyra.dev/client": name}}
    return {"apiVersion": "gefyra.dev/v1", "kind": "gefyrabridge", "metadata": metadata, "client": name, "target": "deployment/web"}


def ask(kube: Kube, obj: Obj) -> None:
    """Create a bridge or a client."""
    kube._call("POST", path(OUR_KINDS[obj["kind"]], "gefyra"), body=obj)


def pod(name: str) -> Key:
    """A Pod of the shop."""
    return Key("Pod", "shop", name)


@contextmanager
def fenced(folder: Path) -> Iterator[Cluster]:
    """An API server that has taken the base, with `shop` as a managed namespace, and Pods that nobody runs. Nobody judges bridges there.

    folder: an empty one, for the overlay.
    """
    with cluster(api_only=True) as own:
        for namespace in ("shop", "bank"):
            own.kubectl("create", "namespace", namespace)
            own.kubectl("create", "serviceaccount", "default", "--namespace", namespace)
        own.apply(with_components(folder, "target-namespace"))
        own.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=120s")
        own.kubectl("delete", "validatingwebhookconfiguration", "gefyra.dev")
        own.kubectl("patch", "configmap", "bascule", "--namespace=gefyra", "--patch", json.dumps({"data": {"carrierImages": MORE}}))
        own.apply(CLIENTS)
        admin = account(own.kubeconfig)
        swapped = {**ORIGINAL, "metadata": {**ORIGINAL["metadata"], "name": "swapped", "annotations": {IMAGE: "localhost/echo:1"}}}
        swapped["spec"] = {**ORIGINAL["spec"], "containers": [{"name": "app", "image": CARRIER}, ORIGINAL["spec"]["containers"][1]]}
        for obj in (ORIGINAL, swapped, shadow("ours"), *(other(kind, "theirs") for kind in ("Service", "ConfigMap", "NetworkPolicy"))):
            admin.create(obj)
        for name in ("web", "swapped"):
            admin.patch(pod(name), [{"op": "replace", "path": "/status", "value": STATUS}], "status")
        in_force(own)
        yield own


def in_force(own: Cluster) -> None:
    """Wait until the server has read every policy: each refuses, or holds, what it is there for."""
    admin, dry = account(own.kubeconfig), account(own.kubeconfig, OPERATOR, dry_run=True)
    client = account(own.kubeconfig, f"{CLIENT}alice", dry_run=True)
    held = {**ORIGINAL, "metadata": {"name": "probe", "namespace": "shop", "labels": {names.HELD: "true"}}}
    admin.create(held)
    probes: dict[str, Callable[[], object]] = {
        "fence-pods": lambda: dry.patch(pod("web"), op("/metadata/labels/x", "x")),
        "fence-pod-status": lambda: dry.patch(pod("web"), op("/status/message", "x"), "status"),
        "fence-objects": lambda: dry.create(other("ConfigMap", "probe")),
        "fence-exec": lambda: execute(dry, ["true"]),
        "fence-clients": lambda: ask(client, bridge("bob")),
    }

    def refused(policy: str) -> bool:
        try:
            probes[policy]()
        except KubeError as error:
            return f"bascule-{policy}" in str(error)
        return False

    def holds() -> bool:
        admin.patch(pod("probe"), [{"op": "replace", "path": "/status", "value": STATUS}], "status")
        return bool(ready(admin.get(pod("probe")))["status"] == "False")

    for policy in probes:
        wait(partial(refused, policy), policy)
    wait(holds, "the held policy")
    admin.delete(pod("probe"))


def op(path_: str, value: object = None) -> list[Obj]:
    """One JSON patch operation: `add`, or without a value `remove`."""
    return [{"op": "remove", "path": path_}] if value is None else [{"op": "add", "path": path_, "value": value}]


def ready(obj: Obj) -> Obj:
    """Its condition Ready."""
    return next(c for c in obj["status"]["conditions"] if c["type"] == "Ready")


def execute(kube: Kube, command: list[str], container: str = "app", flags: str = "&stdin=true&stdout=true", name: str = "web") -> None:
    """Ask for an exec as the operator does: a GET that becomes a websocket. Raises, at the latest since no node runs the Pod."""
    words = "".join(f"&command={word}" for word in command)
    upgrade = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    call(kube, "GET", f"{path('Pod', 'shop', name)}/exec?container={container}{flags}{words}", headers=upgrade)
