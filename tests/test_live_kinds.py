"""The RFC from end to end on a whole cluster, for each kind of workload, container, Service and port."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from generator import names
from generator.cluster.snapshot import Key, Obj, Snapshot, key_of
from generator.cluster.workload import hostname_of
from generator.desired.generate import generate
from generator.live.apply import write
from generator.live.reading import read
from generator.live.reconcile import clock
from generator.plan import renewals
from tests.cluster import images
from tests.cluster.certificates import Authority
from tests.live.lab import APP, ROOT, Lab, Namespace, header, prefix, until, workload
from tests.workload.build import built

ALICE = header("x-user", "alice")
AS_ALICE = ("-H", "x-user: alice")
RESTRICTED = {
    "runAsNonRoot": True,
    "readOnlyRootFilesystem": True,
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "seccompProfile": {"type": "RuntimeDefault"},
}
"""Restricted (Pod Security Standards), and a root that nobody can write to. It leaves the user to the image."""


@pytest.fixture(scope="module", autouse=True)
def nothing_left(lab: Lab) -> Iterator[None]:
    """In the end `bascule clean --check` finds nothing of bascule in the whole cluster."""
    yield
    command = [sys.executable, "-m", "generator", "clean", "--check"]
    environment = {**os.environ, "KUBECONFIG": str(lab.cluster.kubeconfig)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "nothing of bascule is left\n"), done.stderr


def test_kinds_of_workloads(lab: Lab) -> None:
    """A StatefulSet, a DaemonSet, a Pod of nobody, and a Deployment that has no readiness probe.

    What people look at is right too: conditions, Events of bridge and workload, the columns of `kubectl get`.
    """
    kinds = {"set": "StatefulSet", "agent": "DaemonSet", "lone": "Pod", "mute": "Deployment"}
    yaml = [workload("kinds", kind, name, 2, **({"readinessProbe": None} if name == "mute" else {})) for name, kind in kinds.items()]
    with lab.namespace("kinds", *yaml) as space:
        bridges = [space.wanted(f"alice-{name}", f"{kind.lower()}/{name}", [ALICE], "alice") for name, kind in kinds.items()]
        with bridged(space, bridges):
            for name, kind in kinds.items():
                assert answer(space, name, *AS_ALICE)["name"] == "alice", name
                assert answer(space, name)["hostname"] in shadows(space, name)
                status = lab.kube.get(Key("GefyraBridge", "gefyra", f"alice-{name}"))["status"]
                assert [c["type"] for c in status["conditions"] if c["status"] == "True"] == ["Accepted", "ResolvedRefs", "Programmed"]
                assert columns(lab, "gefyrabridge", f"alice-{name}")[1:-1] == ["ACTIVE", f"{kind.lower()}/{name}", "alice"]
                told(lab, "gefyra", f"gefyrabridge/alice-{name}", "Ready")
                told(lab, "kinds", f"{kind}/{name}", "Bridged")
        for name, kind in kinds.items():
            told(lab, "kinds", f"{kind}/{name}", "Restored")


def test_containers_as_they_are_run(lab: Lab) -> None:
    """Under the application's user, limits, command and arguments the carrier serves; it answers each kind of probe, and hooks.

    `restricted` names no user, so it is the image's, as the carrier's is; to `low`, port 80 is free though it is not root.
    """
    hooks = {"postStart": {"exec": {"command": ["sh", "-c", "echo"]}}, "preStop": {"exec": {"command": ["sleep", "1"]}}}
    shell = {"command": ["/bin/sh", "-c"], "args": ["exec /app --name=by-shell"]}
    python = {"command": ["python3"], "args": ["--name=by-python"]}
    shapes: dict[str, dict[str, Any]] = {
        "restricted": {"securityContext": RESTRICTED, **probed({"tcpSocket": {"port": "tcp"}}), **python},
        "user": {"securityContext": RESTRICTED | {"runAsUser": 10001}, **probed({"exec": {"command": ["cat", "/app"]}}), **shell},
        "root": {"securityContext": {"runAsUser": 0}, **probed({"grpc": {"port": 9090}}), "lifecycle": hooks},
        "low": {"args": ["--http=:80"], "ports": [{"containerPort": 80, "name": "http"}]},
    }
    with lab.namespace("shapes", *(workload("shapes", name=name, replicas=1, **shape) for name, shape in shapes.items())) as space:
        bridges = {name: space.wanted(f"alice-{name}", f"deployment/{name}", [ALICE], "alice") for name in shapes}
        bridges["low"] |= {"portMappings": ["3000:80"], "clusterEndpoint": {"80": "alice.shapes.svc.cluster.local:80"}}
        with bridged(space, [*bridges.values()]):
            for name in shapes:
                assert answer(space, name, *AS_ALICE)["name"] == "alice", name
                assert answer(space, name)["hostname"] in shadows(space, name)
            assert [answer(space, name)["name"] for name in ("user", "restricted")] == ["by-shell", "by-python"]


def test_two_containers_and_two_services(lab: Lab) -> None:
    """Both containers of a Pod are bridged, each to a user; by its Service, and by its own address, which a headless Service gives."""
    deployment: Obj = json.loads(workload("pair", replicas=2).partition("\n---\n")[0])
    arguments = ["--http=:8181", "--grpc=:9191", "--tcp=:7171"]
    side = {"name": "side", "image": APP, "args": arguments, "ports": [{"containerPort": 8181}]}
    deployment["spec"]["template"]["spec"]["containers"].append(side)
    ports = [{"name": "http", "port": 80, "targetPort": "http"}, {"name": "side", "port": 8181}]
    yaml = [deployment, service("pair", "web", ports), service("pair", "peers", ports, select="web", clusterIP="None")]
    with lab.namespace("pair", *map(json.dumps, yaml)) as space:
        alice = space.wanted("alice", "deployment/web", [ALICE], targetContainer="app")
        bob = space.wanted("bob", "deployment/web", [prefix("/side")], targetContainer="side")
        bob |= {"portMappings": ["3000:8181"], "clusterEndpoint": {"8181": "bob.pair.svc.cluster.local:80"}}
        with bridged(space, [alice, bob]):
            until(lambda: len(peers(space)) == 2, "the stand-in to leave the headless Service", lambda: str(peers(space)))
            for host, http in ((space.address("web"), 80), *((peer, 8080) for peer in peers(space))):
                assert asked(lab, f"http://{host}:{http}/", *AS_ALICE)["name"] == "alice"
                assert asked(lab, f"http://{host}:{http}/side")["hostname"] in shadows(space, "web")
                assert asked(lab, f"http://{host}:8181/side/a", *AS_ALICE)["name"] == "bob"
                assert asked(lab, f"http://{host}:8181/", *AS_ALICE)["hostname"] in shadows(space, "web")


def test_kinds_of_ports(lab: Lab) -> None:
    """GRPC calls and WebSockets are led by their headers, a mirror's copies arrive while the cluster answers, raw TCP stays as it is."""
    sink = {"name": "app", "image": images.BASE, "command": ["busybox", "httpd", "-f", "-vv", "-p", "8080"]}
    metadata = {"name": "sink", "namespace": "ports", "labels": {"app": "sink"}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [sink]}}
    front = service("ports", "sink", [{"port": 80, "targetPort": 8080}])
    with lab.namespace("ports", workload("ports", replicas=1), json.dumps(pod), json.dumps(front)) as space:
        mirror = space.wanted("mirror", "deployment/web", [prefix("/copied")], "sink")
        mirror["providerParameter"]["mode"] = "mirror"
        alice = space.wanted("alice", "deployment/web", [ALICE])
        alice["portMappings"].append("3090:9090")
        alice["clusterEndpoint"]["9090"] = "alice.ports.svc.cluster.local:9090"
        with bridged(space, [mirror, alice]):
            host = space.address("web")
            (shadow,) = shadows(space, "web")
            for to in (("--grpc", f"{host}:9090"), ("--url", f"ws://{host}/ws"), ("--url", f"http://{host}/", "--keepalive")):
                assert answered(lab, *to, "--header", "x-user=alice") == {"alice"}
                assert answered(lab, *to) == {shadow}
            assert answered(lab, "--url", f"http://{host}/copied") == {shadow}
            until(lambda: "/copied" in lab.cluster.kubectl("logs", "-n", "ports", "sink"), "a copy to arrive")
            command = lab.cluster.inside(str(shutil.which("busybox")), "nc", host, "7000")
            line = subprocess.run(command, input="x-user: alice\n", capture_output=True, text=True, check=True)
            assert line.stdout == f"{shadow} x-user: alice\n"


def test_a_mount_and_tls(lab: Lab, tmp_path: Path) -> None:
    """Gefyra's own way: a mount, and bridges that name it. It keeps the carriers when the last bridge goes.

    A port speaks TLS, and clients see the application's own certificate: from a Secret that the operator may read, or from a volume. The
    operator's next delivery brings the one that has come in its place.
    """
    authority = Authority(tmp_path)
    authority.issue("web", "web", hosts=["web.example"])
    parts = {"certificate": "crt", "key": "key"}
    data = {f"tls.{end}": (tmp_path / f"web.{end}").read_text() for end in parts.values()}
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "web-tls", "namespace": "secure"}, "stringData": data}
    role = (ROOT / "overlays" / "components" / "tls" / "role.yaml").read_text().replace("namespace: shop", "namespace: secure")
    forms: dict[str, Obj] = {
        "brought": {part: {"secret": {"namespace": "secure", "name": "web-tls", "key": f"tls.{end}"}} for part, end in parts.items()},
        "there": {part: f"/tls/tls.{end}" for part, end in parts.items()},
    }
    with lab.namespace("secure", json.dumps(secret), role, *(https("secure", name) for name in ("user", *forms))) as space:
        mounts = [mount(space, name, {"8443": {"tls": {**tls, "sni": "web.example"}}}) for name, tls in forms.items()]
        bridges = [space.wanted(f"alice-{name}", f"mount-{name}", [ALICE], "alice") for name in forms]
        for bridge in bridges:
            del bridge["targetNamespace"]
            bridge |= {"portMappings": ["3443:8443"], "clusterEndpoint": {"8443": "user.secure.svc.cluster.local:443"}}
        with bridged(space, mounts):
            space.without_stand_ins()  # a proxy that is late still leads to one, and that knows nothing of bridges to come
            for bridge in bridges:
                lab.kube.create(bridge)
            for name in forms:
                active(space, f"alice-{name}")
                trust = ("--cacert", f"{tmp_path}/ca.crt", "--connect-to", f"::{space.address(name)}:443")
                assert asked(lab, "https://web.example/", *trust, *AS_ALICE)["hostname"].startswith("user-"), name
                assert asked(lab, "https://web.example/", *trust)["hostname"] in shadows(space, name)
            (tmp_path / "next").mkdir()
            Authority(tmp_path / "next").issue("web", "web", hosts=["web.example"])
            renewed = {f"tls.{end}": (tmp_path / "next" / f"web.{end}").read_text() for end in parts.values()}
            lab.kube.merge(Key("Secret", "secure", "web-tls"), {"stringData": renewed})
            deliver_again(space)
            trust = ("--cacert", f"{tmp_path}/next/ca.crt", "--connect-to", f"::{space.address('brought')}:443")
            assert asked(lab, "https://web.example/", *trust, *AS_ALICE)["hostname"].startswith("user-")
            for name in forms:
                space.remove(f"alice-{name}")
                assert columns(lab, "gefyrabridgemount", f"mount-{name}")[1:-1] == ["ACTIVE", "secure", f"deployment/{name}", "1", "1"]


def deliver_again(space: Namespace) -> None:
    """What the operator does every hour."""
    changes = renewals(generate(Snapshot.of(read(space.lab.kube, [space.name]), clock())))
    with ThreadPoolExecutor(1) as pool:
        done = write(space.lab.kube, changes, pool)
    assert done.complete
    assert done.written


def probed(handler: Obj) -> Obj:
    """All three probes of a container; they bear a carrier that has no configuration yet for as long as a busy machine takes."""
    probe = {**handler, "periodSeconds": 1, "timeoutSeconds": 9, "failureThreshold": 30}
    return dict.fromkeys(("startupProbe", "readinessProbe", "livenessProbe"), probe)


@contextmanager
def bridged(space: Namespace, asked_for: list[Obj]) -> Iterator[None]:
    """Bridges or mounts, all at once, until each is ACTIVE; without them the namespace is byte for byte as before."""
    before = settled(space)
    for obj in asked_for:
        space.lab.kube.create(obj)
    for obj in asked_for:
        active(space, obj["metadata"]["name"], obj["kind"])
    yield
    for obj in asked_for:
        space.lab.kube.delete(key_of(obj))
    space.restored()
    space.as_before(before)


def peers(space: Namespace) -> list[str]:
    """The addresses behind the Service `peers`."""
    slices = space.objects("EndpointSlice", "kubernetes.io/service-name=peers")
    return [address for each in slices for endpoint in each.get("endpoints") or () for address in endpoint["addresses"]]


def active(space: Namespace, name: str, kind: str = "gefyrabridge") -> None:
    """Wait until the bridge or mount is ACTIVE."""
    key = Key({"gefyrabridge": "GefyraBridge", "gefyrabridgemount": "GefyraBridgeMount"}[kind], "gefyra", name)
    until(lambda: space.lab.kube.get(key).get("state") == "ACTIVE", f"{name} to be ACTIVE", lambda: json.dumps(space.lab.kube.get(key)))


def settled(space: Namespace) -> dict[str, Obj]:
    """What the owners have written, once it stays the same for a second."""
    before: dict[str, Obj] = {}
    while (now := space.owned()) != before:
        before = now
        time.sleep(1)
    return now


def shadows(space: Namespace, workload_name: str) -> set[str]:
    """The hostnames of a workload's shadows."""
    pods = space.objects("Pod", f"{names.ROLE}=shadow")
    return {hostname_of(p) for p in pods if p["metadata"]["annotations"][names.WORKLOAD].endswith(f"/{workload_name}")}


def asked(lab: Lab, url: str, *arguments: str) -> Obj:
    """What the application answers. kube-proxy may be late; tests/test_zero_loss.py counts what is lost."""
    late = ("--retry", "5", "--retry-connrefused", "--retry-delay", "1")
    done = subprocess.run(
        lab.cluster.inside("curl", "-sS", "-m", "30", *late, *arguments, url), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    result: Obj = json.loads(done.stdout)
    return result


def answer(space: Namespace, service_name: str, *arguments: str) -> Obj:
    """What a Service answers."""
    return asked(space.lab, f"http://{space.address(service_name)}/", *arguments)


def answered(lab: Lab, *arguments: str) -> set[str]:
    """Who answers a worker of the load; none of its requests fails."""
    command = lab.cluster.inside(str(built() / "load"), "--workers", "1", "--duration", "300ms", "--timeout", "30s", *arguments)
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert (found["failed"], found["errors"]) == (0, [])
    return set(found["names"])


def told(lab: Lab, namespace: str, obj: str, reason: str) -> None:
    """Wait until `kubectl describe` shows the operator's Event."""
    line = re.compile(rf"^ +Normal +{reason} .* gefyra-operator ", re.MULTILINE)
    until(lambda: line.search(lab.cluster.kubectl("describe", "-n", namespace, obj)), f"an Event {reason} of {obj}")


def columns(lab: Lab, kind: str, name: str) -> list[str]:
    """What `kubectl get` shows."""
    return lab.cluster.kubectl("get", "-n", "gefyra", kind, name, "--no-headers").split()


def service(namespace: str, name: str, ports: list[Obj], select: str = "", **spec: str) -> Obj:
    """A Service before the Pods that are labelled so, by default by its own name."""
    found = {"selector": {"app": select or name}, "ports": ports, **spec}
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": namespace}, "spec": found}


def https(namespace: str, name: str) -> str:
    """A Deployment that speaks HTTPS, with the certificate of Secret web-tls, and its Service."""
    port, probe = {"containerPort": 8443, "name": "https"}, {"tcpSocket": {"port": 8443}, "periodSeconds": 1}
    mounts = [{"name": "tls", "mountPath": "/tls"}]
    text = workload(namespace, name=name, replicas=1, args=["--https=:8443"], ports=[port], readinessProbe=probe, volumeMounts=mounts)
    deployment: Obj = json.loads(text.partition("\n---\n")[0])
    deployment["spec"]["template"]["spec"]["volumes"] = [{"name": "tls", "secret": {"secretName": "web-tls"}}]
    return f"{json.dumps(deployment)}\n---\n{json.dumps(service(namespace, name, [{'port': 443, 'targetPort': 'https'}]))}"


def mount(space: Namespace, name: str, parameter: Obj) -> Obj:
    """The mount `mount-NAME` of deployment NAME, as a user writes it."""
    return {
        "apiVersion": "gefyra.dev/v1",
        "kind": "gefyrabridgemount",
        "metadata": {"name": f"mount-{name}", "namespace": "gefyra", "labels": {"test": space.name}},
        "provider": "carrier2mount",
        "target": f"deployment/{name}",
        "targetNamespace": space.name,
        "providerParameter": parameter,
    }
