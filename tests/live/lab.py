"""bascule as it is deployed, on a whole cluster: the images of this repository, the overlays, and workloads to bridge.

lab = furnished(node)                             images, overlays/base, relay, clients; the operator and the relay are ready
with lab.namespace("shop", SHOP) as shop:         a managed namespace with objects in it; nothing of it is left at the end
    shop.bridge("alice", header="x-user=alice")   a bridge to the stand-in of alice's laptop, waits until it is ACTIVE
    ...
"""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from generator.cluster.endpoints import is_listed
from generator.cluster.snapshot import Key, Obj, Snapshot, labels_of
from generator.cluster.workload import is_serving
from generator.live.kube import Kube
from tests.cluster import images
from tests.cluster.cluster import Cluster
from tests.live.base_image import PYTHON, SSH, python, ssh
from tests.overlay_lab import account, objects, with_components
from tests.workload.build import built

ROOT = Path(__file__).parents[2]
OPERATOR, CARRIER, RELAY = (f"localhost/bascule-{name}:0.1.0" for name in ("operator", "carrier2", "relay"))
APP = "localhost/bascule-test/app:1"
PATIENCE = 180.0
"""Seconds to wait for anything before it counts as broken; no speed is promised."""


@dataclass(frozen=True)
class Lab:
    """A cluster with bascule in it."""

    cluster: Cluster
    kube: Kube

    @contextmanager
    def namespace(self, name: str, *yaml: str) -> Iterator[Namespace]:
        """A namespace that bascule manages, with the objects and a Pod and Service for alice's and for bob's process."""
        self.cluster.apply(_managed(name))
        space = Namespace(self, name)
        try:
            self.manage(add=name)
            self.cluster.apply("\n---\n".join([*(user(name, who) for who in ("alice", "bob")), *(f"{y}" for y in yaml)]))
            self.cluster.kubectl("wait", "-n", name, "--for=condition=Ready", "pod", "--all", f"--timeout={PATIENCE:.0f}s")
            with ThreadPoolExecutor() as pool:
                list(pool.map(space.wait_for_proxy, space.objects("Service")))
            yield space
        finally:
            for kind in ("gefyrabridges", "gefyrabridgemounts"):
                self.cluster.kubectl("delete", "-n", "gefyra", kind, "-l", f"test={name}", "--ignore-not-found")
            until(lambda: not space.traces(), f"nothing of bascule in {name}")
            self.cluster.kubectl("delete", "namespace", name, "--wait=false")
            self.manage(remove=name)

    def manage(self, add: str = "", remove: str = "") -> None:
        """Change the namespaces in the settings."""
        settings = self.kube.get(Key("ConfigMap", "gefyra", "bascule"))
        found = {n for n in settings["data"]["namespaces"].split() if n != remove} | ({add} if add else set())
        self.kube.merge(Key("ConfigMap", "gefyra", "bascule"), {"data": {"namespaces": " ".join(sorted(found))}})

    def leader(self) -> str:
        """The Pod that leads."""
        holder = str(self.kube.get(Key("Lease", "gefyra", "bascule-operator"))["spec"]["holderIdentity"])
        return holder.rpartition("-")[0]

    def measured(self) -> str:
        """The metrics of the Pod that leads."""
        status = self.kube.get(Key("Pod", "gefyra", self.leader()))["status"]
        return self.cluster.run("curl", "-sS", "-m", "5", f"http://{status['podIP']}:8080/metrics")


@dataclass(frozen=True)
class Namespace:
    """A managed namespace."""

    lab: Lab
    name: str

    def objects(self, kind: str, selector: str = "") -> list[Obj]:
        """The objects of a kind."""
        return self.lab.kube.list_objects(kind, self.name, selector)[0]

    def address(self, service: str) -> str:
        """The cluster IP of a Service."""
        return str(self.lab.kube.get(Key("Service", self.name, service))["spec"]["clusterIP"])

    def wait_for_proxy(self, service: Obj) -> None:
        """Return once kube-proxy, which is up to a second behind, leads to the first port, or after five seconds."""
        address, port = service["spec"].get("clusterIP"), service["spec"]["ports"][0]
        refused = 7  # curl's exit code; one that is taken, and then silent, ends with 28
        command = self.lab.cluster.inside("curl", "-s", "-m", "0.3", f"telnet://{address}:{port['port']}")
        end = time.monotonic() + 5
        while address != "None" and port.get("protocol", "TCP") == "TCP" and time.monotonic() < end:
            if subprocess.run(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, check=False).returncode != refused:
                return
            time.sleep(0.05)

    def wanted(self, name: str, target: str, match: Sequence[Obj], user: str = "", **more: Any) -> Obj:
        """A bridge as a user writes it: the requests that meet all conditions go to the process of `user`, by default of its own name."""
        return {
            "apiVersion": "gefyra.dev/v1",
            "kind": "gefyrabridge",
            "metadata": {"name": name, "namespace": "gefyra", "labels": {"test": self.name}},
            "provider": "carrier2",
            "client": user or name,
            "target": target,
            "targetNamespace": self.name,
            "portMappings": ["3000:8080"],
            "clusterEndpoint": {"8080": f"{user or name}.{self.name}.svc.cluster.local:80"},
            "providerParameter": {"rules": [{"match": list(match)}]},
            **more,
        }

    def bridge(self, name: str, target: str, *match: Obj, **more: Any) -> None:
        """Create a bridge and wait until it is ACTIVE."""
        self.lab.kube.create(self.wanted(name, target, match, **more))
        until(lambda: self.state(name) == "ACTIVE", f"{name} to be ACTIVE", lambda: self.told(name))

    def remove(self, name: str) -> None:
        """Delete a bridge."""
        self.lab.kube.delete(Key("GefyraBridge", "gefyra", name))

    def state(self, name: str) -> str:
        """The state of a bridge."""
        return str(self.lab.kube.get(Key("GefyraBridge", "gefyra", name)).get("state"))

    def told(self, name: str) -> str:
        """What a bridge says of itself."""
        return json.dumps(self.lab.kube.get(Key("GefyraBridge", "gefyra", name)).get("status"))

    def restored(self) -> None:
        """Wait until nothing of bascule is in the namespace."""
        until(lambda: not self.traces(), f"nothing of bascule in {self.name}", lambda: str(self.traces()))

    def traces(self) -> list[str]:
        """What bears a mark of ours."""
        kinds = ("Pod", "Service", "ConfigMap", "NetworkPolicy")
        return [f"{kind} {o['metadata']['name']}" for kind in kinds for o in self.objects(kind) if "bascule.dev" in json.dumps(o)]

    def without_stand_ins(self) -> None:
        """Wait until the originals serve by themselves."""
        role = "bascule.dev/role=stand-in"
        until(lambda: not self.objects("Pod", role), f"stand-ins to leave {self.name}", lambda: str(self.traces()))

    def owned(self) -> dict[str, Obj]:
        """What the namespace's owners have written: metadata and spec of all that is not events, without what only the server counts.

        It waits until the EndpointSlices have followed the Pods, which their controller does a moment later.
        """
        until(lambda: not self._unfollowed(), f"the EndpointSlices of {self.name} to follow", lambda: str(self._unfollowed()))
        kinds = ("Deployment", "StatefulSet", "DaemonSet", "ReplicaSet", "Pod", "Service", "ConfigMap", "NetworkPolicy", "EndpointSlice")
        return {f"{kind} {o['metadata']['name']}": _owned(o) for kind in kinds for o in self.objects(kind)}

    def as_before(self, before: dict[str, Obj]) -> None:
        """Wait until `owned` says again what it said: Kubernetes' own controllers follow a moment later. Fails with what differs."""

        def differs() -> dict[str, tuple[Obj | None, Obj | None]]:
            after = self.owned()
            return {name: (before.get(name), after.get(name)) for name in {*before, *after} if before.get(name) != after.get(name)}

        until(lambda: not differs(), f"{self.name} to be as it was before", lambda: str(differs()))

    def _unfollowed(self) -> list[str]:
        """Pods that are ready and missing in a Service, endpoints without their Pod, and slices without their Service."""
        found = [o for kind in ("Pod", "Service", "EndpointSlice") for o in self.objects(kind)]
        space = Snapshot.of(found, "").space(self.name)
        pods = {o["metadata"]["name"]: o for o in found if o["kind"] == "Pod"}
        slices = [o for o in found if o["kind"] == "EndpointSlice"]
        listed = [e["targetRef"]["name"] for o in slices for e in o.get("endpoints") or () if "targetRef" in e]
        late = [n for n, pod in pods.items() if is_serving(pod) and not is_listed(space, pod, labels_of(pod))]
        orphans = [o["metadata"]["name"] for o in slices if not space.get("Service", labels_of(o)["kubernetes.io/service-name"])]
        return late + [n for n in listed if n not in pods] + orphans

    def ask(self, service: str, *arguments: str, port: int = 80, path: str = "/") -> str:
        """The name of the process that answers a request to a Service ("" if none does)."""
        url = f"http://{self.address(service)}:{port}{path}"
        command = self.lab.cluster.inside("curl", "-sS", "-m", "5", *arguments, url)
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        try:
            return str(json.loads(done.stdout)["name"])
        except (ValueError, KeyError):
            return ""

    @contextmanager
    def load(self, *arguments: str) -> Iterator[Load]:
        """The load (tests/workload) from within the cluster's network, for as long as the block lasts."""
        command = self.lab.cluster.inside(str(built() / "load"), *arguments)
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        found = Load()
        try:
            yield found
        finally:
            process.terminate()
            found.told = json.loads(process.communicate()[0])


class Load:
    """What a load has counted, once it has ended."""

    told: dict[str, Any]

    def __repr__(self) -> str:
        return json.dumps({k: self.told.get(k) for k in ("sent", "ok", "failed", "misrouted", "names", "errors")})


def until(true: Callable[[], object], what: str, why: Callable[[], str] = str) -> None:
    """Return once `true` is. Fails after PATIENCE, with `what` and `why`."""
    end = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < end, f"waited {PATIENCE:.0f} s for {what}: {why()}"
        time.sleep(0.05)


def header(name: str, value: str) -> Obj:
    """A condition."""
    return {"matchHeader": {"name": name, "value": value}}


def prefix(path: str) -> Obj:
    """A condition."""
    return {"matchPath": {"path": path, "type": "prefix"}}


def furnished(cluster: Cluster) -> Lab:
    """Images and overlays, until the operator is ready and leads."""
    for archive in archives():
        cluster.load_image(archive)
    with tempfile.TemporaryDirectory(dir=ROOT / "tests") as folder:
        found = [adjusted(o) for o in objects(with_components(Path(folder), "relay", "clients"))]
    first = [o for o in found if o["kind"] in ("Namespace", "CustomResourceDefinition")]
    cluster.apply("\n---\n".join(map(json.dumps, first)))
    cluster.kubectl("wait", "--for=condition=Established", "crd", "--all", f"--timeout={PATIENCE:.0f}s")
    cluster.apply("\n---\n".join(json.dumps(o) for o in found if o not in first))
    lab = Lab(cluster, account(cluster.kubeconfig))
    for each in ("deployment/gefyra-operator", "statefulset/bascule-relay"):
        cluster.kubectl("rollout", "status", "-n", "gefyra", each, f"--timeout={PATIENCE:.0f}s")
    until(lambda: lab.kube.get(Key("Lease", "gefyra", "bascule-operator"))["spec"].get("holderIdentity"), "a leader")
    return lab


@cache
def archives() -> tuple[Path, ...]:
    """The images: base, and what is built at the same time: carrier, application, operator, relay."""
    base = images.base()
    with ThreadPoolExecutor(4) as pool:
        made = [pool.submit(each) for each in (_carrier, _app, _operator, _relay)]
        return base, *(each.result() for each in made)


def _carrier() -> Path:
    return images.build(ROOT / "carrier2" / "image", CARRIER, {"BASE": images.BASE, "TOOLS": images.BASE})


def _app() -> Path:
    with tempfile.TemporaryDirectory() as scratch:
        context = Path(scratch, "app")
        shutil.copytree(built(), context, symlinks=True)
        (context / "bin" / "python3").symlink_to("/app")  # for workloads whose command is not the application's own
        shutil.copy(ROOT / "tests" / "workload" / "Containerfile", context)
        return images.build(context, APP)


def _operator() -> Path:
    python()
    return images.build(ROOT, OPERATOR, {"BASE": PYTHON})


def _relay() -> Path:
    ssh()
    return images.build(ROOT / "relay" / "image", RELAY, {"BASE": SSH})


def adjusted(obj: Obj) -> Obj:
    """The object with the images of this machine."""
    text = json.dumps(obj)
    for local in (OPERATOR, CARRIER, RELAY):
        text = text.replace(f'"{local.removeprefix("localhost/")}"', f'"{local}"')
    result: Obj = json.loads(text)
    if result["kind"] in ("Deployment", "StatefulSet"):
        for container in result["spec"]["template"]["spec"]["containers"]:
            container["imagePullPolicy"] = "IfNotPresent"
    return result


def _managed(name: str) -> str:
    return f"""
apiVersion: v1
kind: Namespace
metadata: {{name: {name}}}
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {{name: bascule-target, namespace: {name}}}
roleRef: {{apiGroup: rbac.authorization.k8s.io, kind: ClusterRole, name: bascule-target}}
subjects: [{{kind: ServiceAccount, name: gefyra-operator, namespace: gefyra}}]
"""


def user(namespace: str, name: str) -> str:
    """What stands for a user's process: a Pod that answers with the user's name, and its Service."""
    return f"""
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {namespace}, labels: {{user: {name}}}}}
spec:
  containers:
  - {{name: app, image: {APP}, imagePullPolicy: IfNotPresent, args: ["--name={name}"], ports: [{{containerPort: 8080}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec: {{selector: {{user: {name}}}, ports: [{{name: http, port: 80, targetPort: 8080}}, {{name: grpc, port: 9090}}]}}
"""


def workload(namespace: str, kind: str = "Deployment", name: str = "web", replicas: int = 3, **container: Any) -> str:
    """A workload of the application, or a Pod of nobody, and its Service."""
    probe = {"httpGet": {"path": "/healthz", "port": "http"}, "periodSeconds": 1}
    ports = [{"containerPort": 8080, "name": "http"}, {"containerPort": 9090, "name": "grpc"}, {"containerPort": 7000, "name": "tcp"}]
    app = {"name": "app", "image": APP, "imagePullPolicy": "IfNotPresent", "ports": ports, "readinessProbe": probe, **container}
    template = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [app]}}
    spec: Obj = {"selector": {"matchLabels": {"app": name}}, "template": template}
    if kind != "DaemonSet":
        spec["replicas"] = replicas
    if kind == "StatefulSet":
        spec["serviceName"] = name
    metadata = {"name": name, "namespace": namespace}
    made: Obj = {"apiVersion": "apps/v1", "kind": kind, "metadata": metadata, "spec": spec}
    if kind == "Pod":
        made = {"apiVersion": "v1", "kind": kind, "metadata": {**metadata, "labels": {"app": name}}, "spec": template["spec"]}
    service = [{"name": "http", "port": 80, "targetPort": "http"}, {"name": "grpc", "port": 9090}, {"name": "tcp", "port": 7000}]
    front = {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"selector": {"app": name}, "ports": service}}
    return f"{json.dumps(made)}\n---\n{json.dumps(front)}"


def _owned(obj: Obj) -> Obj:
    kept = {k: v for k, v in obj["metadata"].items() if k not in ("resourceVersion", "managedFields", "generation")}
    result = {k: v for k, v in obj.items() if k != "status"} | {"metadata": kept}
    if obj["kind"] == "EndpointSlice":
        result["endpoints"] = sorted(map(json.dumps, obj.get("endpoints") or ()))
        trigger = "endpoints.kubernetes.io/last-change-trigger-time"
        kept["annotations"] = {k: v for k, v in kept.get("annotations", {}).items() if k != trigger}
    return result
