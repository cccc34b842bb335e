"""The cluster that tests run on (tests/cluster/) is a real one, and leaves nothing behind."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import build, cgroups, images, machine
from tests.cluster.certificates import Authority
from tests.cluster.cluster import Cluster, cluster, down
from tests.cluster.machine import Broken

HERE = "--namespace=cluster-test"
LIMIT = f"--timeout={machine.PATIENCE:.0f}s"

POLICY = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicy
metadata: {name: no-such-name}
spec:
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
  validations: [{expression: "!object.metadata.name.startsWith('forbidden')", message: not this name}]
---
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingAdmissionPolicyBinding
metadata: {name: no-such-name}
spec: {policyName: no-such-name, validationActions: [Deny]}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicy
metadata: {name: marks}
spec:
  failurePolicy: Fail
  reinvocationPolicy: Never
  matchConstraints:
    resourceRules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
  matchConditions: [{name: ours, expression: "object.metadata.name == 'marked'"}]
  mutations:
  - patchType: JSONPatch
    jsonPatch: {expression: "[JSONPatch{op: 'add', path: '/data', value: {'marked': 'yes'}}]"}
---
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: marks}
spec: {policyName: marks}
"""

OBJECTS = """
apiVersion: v1
kind: Namespace
metadata: {name: cluster-test}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: web, namespace: cluster-test}
data:
  nginx.conf: |
    daemon off;
    pid /tmp/nginx.pid;
    events {}
    http {
      access_log off;
      client_body_temp_path /tmp/body; proxy_temp_path /tmp/proxy; fastcgi_temp_path /tmp/fastcgi;
      uwsgi_temp_path /tmp/uwsgi; scgi_temp_path /tmp/scgi;
      server { listen 8080; return 200 "hello from $hostname\\n"; }
      server {
        listen 8443 ssl; ssl_certificate /tls/tls.crt; ssl_certificate_key /tls/tls.key;
        default_type application/json;
        return 200 '{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","response":{"uid":"of-the-pod","allowed":true}}';
      }
    }
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: cluster-test, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 1
  volumes: [{name: conf, configMap: {name: web}}, {name: tls, secret: {secretName: web}}]
  containers:
  - name: web
    image: IMAGE
    imagePullPolicy: IfNotPresent
    command: [nginx, -c, /conf/nginx.conf, -e, stderr]
    readinessProbe: {periodSeconds: 1, httpGet: {port: 8080}}
    volumeMounts: [{name: conf, mountPath: /conf}, {name: tls, mountPath: /tls}]
  - name: other
    image: IMAGE
    imagePullPolicy: IfNotPresent
    command: [sleep, "1000000"]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: cluster-test}
spec: {selector: {app: web}, ports: [{name: http, port: 80, targetPort: 8080}, {name: https, port: 443, targetPort: 8443}]}
"""

WEBHOOK = """
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: cluster-test}
webhooks:
- name: web.cluster-test.example
  admissionReviewVersions: [v1]
  sideEffects: None
  failurePolicy: Fail
  namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: cluster-test}}
  rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [configmaps]}]
  clientConfig: {caBundle: CA, service: {namespace: cluster-test, name: web}}
"""

SLEEPER = f"""
apiVersion: v1
kind: Pod
metadata: {{name: sleeper}}
spec:
  volumes: [{{name: memory, emptyDir: {{medium: Memory}}}}]
  containers:
  - {{name: sleep, image: "{images.BASE}", command: [sleep, "1000000"], volumeMounts: [{{name: memory, mountPath: /memory}}]}}
"""

PLACES = """/run/containerd /run/cni /run/xtables.lock /var/lib/cni /var/lib/kubelet /var/log/pods /var/log/containers
/etc/cni /opt/cni /opt/containerd /usr/libexec/kubernetes""".split()
"""Where programs of a node write unless they are told otherwise, or kept from it."""


def test_policies_judge_and_change_what_is_written(api: Cluster) -> None:
    """Validating and mutating admission policies are in force on the API server of our own."""
    api.apply(POLICY)

    def marked() -> bool:  # a policy comes into force a moment after it is written
        api.kubectl("delete", "configmap", "marked", "--ignore-not-found")
        api.kubectl("create", "configmap", "marked")
        return bool(json.loads(api.kubectl("get", "configmap", "marked", "-o", "json")).get("data") == {"marked": "yes"})

    machine.wait(marked, "the mutating policy")
    machine.wait(lambda: "not this name" in _refusal(api, "create", "configmap", "forbidden", "--dry-run=server"), "the validating policy")
    api.kubectl("delete", "-f", "-", stdin=POLICY)


def test_rights_are_checked(api: Cluster) -> None:
    """RBAC is on: an account without a role may do nothing, one with a role may do that."""
    api.kubectl("create", "serviceaccount", "reader")
    who = "--as=system:serviceaccount:default:reader"
    with pytest.raises(Broken, match="cannot list resource"):
        api.kubectl("get", "pods", who)

    api.kubectl("create", "role", "reader", "--verb=list", "--resource=pods")
    api.kubectl("create", "rolebinding", "reader", "--role=reader", "--serviceaccount=default:reader")

    machine.wait(lambda: not _refusal(api, "get", "pods", who), "the right")
    assert _refusal(api, "get", "secrets", who)
    api.kubectl("delete", "serviceaccount/reader", "role/reader", "rolebinding/reader")


def test_kubeconfig_holds_inside_and_outside(api: Cluster) -> None:
    """The same file leads to the same server in the cluster's network and out of it."""
    command = [str(build.binaries() / "kubectl"), f"--kubeconfig={api.kubeconfig}", "get", "namespace", "kube-system", "-o", "yaml"]

    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == api.run(*command)


def test_programs_stop_and_start(api: Cluster) -> None:
    """What was written is there after etcd and the API server were killed and started again."""
    api.kubectl("create", "configmap", "kept")
    for program in ("kube-apiserver", "etcd"):
        api.stop(program, signal.SIGKILL)
    with pytest.raises(Broken):
        api.kubectl("get", "configmap", "kept")
    for program in ("etcd", "kube-apiserver"):
        api.start(program)

    machine.wait(lambda: not _refusal(api, "get", "--raw", "/readyz"), "the API server")
    api.kubectl("delete", "configmap", "kept")


@pytest.fixture(scope="module")
def web(node: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """The cluster with a Pod of two containers, a Service, and the certificate for a webhook in the Pod."""
    authority = Authority(tmp_path_factory.mktemp("pki"))
    authority.issue("web", "web", hosts=["web.cluster-test.svc"])
    secret: dict[str, Any] = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "web", "namespace": "cluster-test"}}
    secret["data"] = {f"tls.{end}": b64encode((authority.folder / f"web.{end}").read_bytes()).decode() for end in ("crt", "key")}
    node.apply(OBJECTS.replace("IMAGE", images.BASE) + "---\n" + json.dumps(secret))
    node.kubectl("wait", "--for=condition=Ready", LIMIT, HERE, "pod/web")
    ca = b64encode((authority.folder / "ca.crt").read_bytes()).decode()
    node.apply(WEBHOOK.replace("CA", ca))
    yield node
    node.kubectl("delete", "-f", "-", stdin=WEBHOOK)
    node.kubectl("delete", "namespace", "cluster-test")


def test_exec_reaches_a_container(web: Cluster) -> None:
    """A command runs in the container that is named, with what is on its standard input."""
    assert web.kubectl("exec", "-i", HERE, "web", "-c", "other", "--", "cat", "/proc/1/cmdline", "-", stdin="!") == "sleep\x001000000\x00!"


def test_service_answers_at_its_address(web: Cluster) -> None:
    """From the node and from the Pod behind it."""
    address = web.kubectl("get", "service", "web", HERE, "-o", "jsonpath={.spec.clusterIP}")
    script = f"import urllib.request as r; print(r.build_opener(r.ProxyHandler({{}})).open('http://{address}').read().decode(), end='')"

    machine.wait(lambda: _quiet(web.inside(sys.executable, "-c", script)) == "hello from web\n", "the Service")
    assert web.kubectl("exec", HERE, "web", "-c", "other", "--", "sh", "-c", f"echo GET / | nc {address} 80") == "hello from web\n"


def test_api_server_calls_a_webhook_in_a_pod(web: Cluster) -> None:
    """Through its Service, with the certificate that the configuration asks for: the Pod's answer is of another request, and is seen."""
    machine.wait(lambda: "of-the-pod" in _refusal(web, "create", "configmap", "any", HERE, "--dry-run=server"), "the webhook")


def test_new_image_restarts_only_its_container(web: Cluster, tmp_path: Path) -> None:
    """The image of a running Pod's container is changed: the same Pod, at the same address, with the other container untouched."""
    (tmp_path / "Containerfile").write_text("ARG BASE\nFROM $BASE\nLABEL other=yes\n")
    other = "localhost/bascule-test/other:1"
    web.load_image(images.build(tmp_path, other, {"BASE": images.BASE}))
    before = _pod(web)

    web.kubectl("set", "image", HERE, "pod/web", f"web={other}")

    machine.wait(lambda: _statuses(_pod(web))["web"]["restartCount"] == 1 and _statuses(_pod(web))["web"]["ready"], "the new container")
    after = _pod(web)
    assert _statuses(after)["web"]["image"] == other
    assert _statuses(after)["other"] == _statuses(before)["other"]
    assert after["metadata"]["uid"] == before["metadata"]["uid"]
    assert after["status"]["podIP"] == before["status"]["podIP"]


def test_killed_kubelet_finds_its_pods_again(web: Cluster) -> None:
    """The kubelet is killed and comes back: containers ran on, and it goes on with them."""
    before, address = _ids(_pod(web)), _pod(web)["status"]["podIP"]
    web.stop("kubelet", signal.SIGKILL)
    web.run(sys.executable, "-c", f"import socket; socket.create_connection(('{address}', 8080))")
    web.start("kubelet")

    web.apply(SLEEPER)
    web.kubectl("wait", "--for=condition=Ready", LIMIT, "pod/sleeper")
    assert _ids(_pod(web)) == before
    web.kubectl("delete", "pod", "sleeper", "--now")


@pytest.mark.parametrize("how", ["down", "crash"])
def test_nothing_is_left(how: str) -> None:
    """After `down`, and after `up` was killed: no process, mount, control group or file of a node with Pods."""
    places = [place for place in PLACES if Path(place).exists()]
    folder = Path(f"/tmp/bascule-{how}-{os.getpid()}")
    with subprocess.Popen([sys.executable, "-m", "tests.cluster", "up", str(folder)], stdout=subprocess.PIPE, cwd=machine.ROOT) as up:
        try:
            assert up.stdout
            assert b"ready" in up.stdout.readline()
            own = Cluster(folder / "kubeconfig", folder)
            own.load_image(images.base())
            own.apply(SLEEPER)
            own.kubectl("wait", "--for=condition=Ready", LIMIT, "pod/sleeper")
            first = machine.process_id(folder)
            spaces = {str(Path(f"/proc/{first}/ns/{kind}").readlink()) for kind in ("net", "mnt", "pid")}
            assert {"sleep", "kubelet", "pause", "containerd-shim", "group", "folder"} <= set(_left(folder, spaces))
            if how == "crash":
                ended = os.pidfd_open(first)
                up.kill()
                assert select.select([ended], [], [], machine.PATIENCE)[0]
                os.close(ended)
        finally:
            down(folder)

    assert up.returncode == (0 if how == "down" else -signal.SIGKILL)
    assert _left(folder, spaces) == []
    assert [place for place in PLACES if Path(place).exists()] == places
    down(folder)


def test_half_a_build_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that fails half-way is done again, from the start; a finished one is taken as it is."""
    builds: list[Path] = []

    def fails_first(into: Path) -> None:
        into.mkdir(parents=True)
        (into / f"program-{len(builds)}").touch()
        builds.append(into)
        if len(builds) == 1:
            raise subprocess.CalledProcessError(1, "go")

    monkeypatch.setattr(build, "CACHE", tmp_path)
    monkeypatch.setattr(build, "_build", fails_first)
    with pytest.raises(subprocess.CalledProcessError):
        build.binaries()

    assert [path.name for path in build.binaries().iterdir()] == ["program-1"]
    assert build.binaries().is_dir()
    assert len(builds) == 2


def _refusal(own: Cluster, *arguments: str) -> str:
    """What kubectl says against it; nothing if it works."""
    try:
        own.kubectl(*arguments)
    except Broken as error:
        return str(error)
    return ""


def _quiet(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout


def _pod(own: Cluster) -> dict[str, Any]:
    pod: dict[str, Any] = json.loads(own.kubectl("get", "pod", "web", HERE, "-o", "json"))
    return pod


def _statuses(pod: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in pod["status"]["containerStatuses"]}


def _ids(pod: dict[str, Any]) -> dict[str, str]:
    return {name: status["containerID"] for name, status in _statuses(pod).items()}


def test_a_folder_that_is_taken_stays_as_it_is(tmp_path: Path) -> None:
    """A second start there is refused, and takes down nothing."""
    log = tmp_path / "logs" / "init.log"
    log.parent.mkdir()
    log.write_text("another cluster's")

    with pytest.raises(machine.Broken, match="not empty"), cluster(folder=tmp_path):
        raise AssertionError("it has started")

    assert log.read_text() == "another cluster's"


def _left(folder: Path, spaces: set[str]) -> list[str]:
    """What there is of a cluster: names of processes in its namespaces and groups, and what else it could leave on the machine."""
    group = cgroups.name_for(folder)
    found = ["mount" for line in Path("/proc/self/mounts").read_text().splitlines() if str(folder) in line]
    found += ["group" for _ in Path("/sys/fs/cgroup").glob(f"**/{group}")]
    found += ["folder"] * folder.exists()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it may end while we look
            own = {str((process / "ns" / kind).readlink()) for kind in ("net", "mnt", "pid")}
            if own & spaces or group in (process / "cgroup").read_text():
                found.append((process / "comm").read_text().strip())
    return found
