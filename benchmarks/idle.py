"""What the operator costs beside an API server alone: memory, CPU and writes with 1,000 Pods and 1,000 bridges, and nothing changing.

    .venv/bin/python benchmarks/idle.py [--pods 1000] [--bridges 1000] [--seconds 60]

etcd and kube-apiserver (tests/cluster), 100 Deployments of 10 Pods in 10 namespaces, ten bridges on each; `bascule operate` as a process.
Nobody runs the Pods, so shadows are made and everything then waits for them: that is the idle state that is measured.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from generator.cluster.snapshot import Key, Obj  # noqa: E402
from generator.live.kube import Kube  # noqa: E402
from tests.cluster.cluster import cluster  # noqa: E402
from tests.overlay_lab import account, objects, with_components  # noqa: E402

SPACES, PER_TARGET = 10, 10


def deployment(number: int, pods: int) -> Iterable[Obj]:
    """A Deployment with its ReplicaSet, Service, Pods that are ready, and the EndpointSlice that lists them."""
    name, space = f"web{number}", f"shop{number % SPACES}"
    meta: Obj = {"name": name, "namespace": space, "labels": {"app": name}}
    app = {"name": "app", "image": "registry.example/web:1", "ports": [{"containerPort": 8080, "name": "http"}]}
    environment = [{"name": f"SETTING_{n}", "value": f"value of setting {n}"} for n in range(20)]
    template: Obj = {"metadata": {"labels": {"app": name}}, "spec": {"containers": [{**app, "env": environment}]}}
    spec = {"replicas": pods, "selector": {"matchLabels": {"app": name}}, "template": template}
    yield {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": meta, "spec": spec}
    yield {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": {**meta, "name": f"{name}-1"}, "spec": spec}
    port = [{"port": 80, "targetPort": "http"}]
    yield {"apiVersion": "v1", "kind": "Service", "metadata": meta, "spec": {"selector": {"app": name}, "ports": port}}
    for n in range(pods):
        yield {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {**meta, "name": f"{name}-1-{n}"},
            "spec": {**template["spec"], "nodeName": "node"},
        }


def bridge(number: int, target: int) -> Obj:
    """A bridge by one header."""
    return {
        "apiVersion": "gefyra.dev/v1",
        "kind": "gefyrabridge",
        "metadata": {"name": f"b{number}", "namespace": "gefyra"},
        "client": f"user{number}",
        "target": f"deployment/web{target}",
        "targetNamespace": f"shop{target % SPACES}",
        "portMappings": ["3000:8080"],
        "clusterEndpoint": {"8080": f"10.99.{number % 250}.{number // 250 + 1}:10000"},
        "providerParameter": {"rules": [{"match": [{"matchHeader": {"name": "x-user", "value": f"user{number}"}}]}]},
    }


def owned(kube: Kube, obj: Obj, owner: str, kind: str) -> Obj:
    """The object with its controller."""
    uid = kube.get(Key(kind, obj["metadata"]["namespace"], owner))["metadata"]["uid"]
    ref = {"apiVersion": "apps/v1", "kind": kind, "name": owner, "uid": uid, "controller": True}
    return {**obj, "metadata": {**obj["metadata"], "ownerReferences": [ref]}}


def fill(kube: Kube, number: int, pods: int) -> None:
    """One Deployment and all below it, as the controllers and kubelet would have made it."""
    addresses = []
    for obj in deployment(number, pods):
        name, space = obj["metadata"]["labels"]["app"], obj["metadata"]["namespace"]
        above = {"ReplicaSet": (name, "Deployment"), "Pod": (f"{name}-1", "ReplicaSet")}.get(obj["kind"])
        made = kube.create(owned(kube, obj, *above) if above else obj)
        if obj["kind"] == "Pod":
            n = int(obj["metadata"]["name"].rpartition("-")[2])
            ip = f"10.{number // 250}.{number % 250}.{n + 1}"
            addresses.append(ip)
            started = {"name": "app", "image": "registry.example/web:1", "imageID": "sha256:1", "containerID": f"containerd://{number}-{n}"}
            running = {**started, "ready": True, "started": True, "restartCount": 0, "state": {"running": {}}}
            conditions = [{"type": "Ready", "status": "True"}]
            address = {"podIP": ip, "podIPs": [{"ip": ip}]}
            status = {"phase": "Running", **address, "conditions": conditions, "containerStatuses": [running]}
            kube.patch(Key("Pod", space, made["metadata"]["name"]), [{"op": "add", "path": "/status", "value": status}], "status")
    listed = [{"addresses": [ip], "conditions": {"ready": True}} for ip in addresses]
    labels = {"kubernetes.io/service-name": f"web{number}"}
    meta = {"name": f"web{number}-1", "namespace": f"shop{number % SPACES}", "labels": labels}
    kube.create(
        {"apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": meta, "addressType": "IPv4", "endpoints": listed}
    )


def used(pid: int) -> tuple[float, float]:
    """CPU seconds and resident MB of a process."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK"), int(fields[21]) * os.sysconf("SC_PAGE_SIZE") / 1e6


def written(log: Path) -> int:
    """How many writes the operator has logged."""
    return sum('"op"' in line for line in log.read_text().splitlines())


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    for name, default in (("pods", 1000), ("bridges", 1000), ("seconds", 60)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    targets = max(1, given.pods // PER_TARGET)
    with cluster(api_only=True) as c, tempfile.TemporaryDirectory(dir=ROOT / "tests") as folder:
        found = objects(with_components(Path(folder)))
        c.apply(
            "\n---\n".join(json.dumps(o) for o in found if o["kind"] in ("Namespace", "CustomResourceDefinition", "ConfigMap", "Secret"))
        )
        c.kubectl("wait", "--for=condition=Established", "crd", "--all")
        kube = account(c.kubeconfig)
        for n in range(SPACES):
            kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"shop{n}"}})
            kube.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": f"shop{n}"}})
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda n: fill(kube, n, PER_TARGET), range(targets)))
            list(pool.map(lambda n: kube.create(bridge(n, n % targets)), range(given.bridges)))
        kube.merge(Key("ConfigMap", "gefyra", "bascule"), {"data": {"namespaces": " ".join(f"shop{n}" for n in range(SPACES))}})
        log = Path(folder, "operator.log")
        command = [sys.executable, "-m", "generator", "operate", "--port", "0", "--webhook-port", "0"]
        with log.open("wb") as out:
            process = subprocess.Popen(command, stderr=out, cwd=ROOT, env={**os.environ, "KUBECONFIG": str(c.kubeconfig)})
        try:
            began, last, since = time.monotonic(), -1, time.monotonic()
            while time.monotonic() - since < 20:  # until nothing has been written for a while
                time.sleep(1)
                if (now := written(log)) != last:
                    last, since = now, time.monotonic()
            settled, (cpu, _) = since - began, used(process.pid)
            time.sleep(given.seconds)
            after, memory = used(process.pid)
            print(f"{given.pods} Pods, {given.bridges} bridges, {targets} targets")
            print(f"start until nothing is written any more: {settled:.0f} s, {last} writes, {cpu:.1f} CPU seconds")
            share = (after - cpu) / given.seconds * 100
            print(f"idle for {given.seconds} s: {written(log) - last} writes, {share:.2f} % of a core, {memory:.0f} MB")
        finally:
            process.terminate()
            process.wait()


if __name__ == "__main__":
    main()
