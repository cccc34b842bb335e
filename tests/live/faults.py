"""Faults for a cluster with bascule in it: a proxy before the API server, an operator behind it, containers that are killed.

with parked(lab):                                 the deployed replicas answer the webhook, and none of them leads
    with proxied(kubeconfig, answer) as url:      `answer` sees each request first
        with operating(lab, url) as process:      `bascule operate` with the deployed account, through the proxy
            process.kill()
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import pykube

from generator.cluster.snapshot import Key, Obj
from generator.live.lease import LEASE
from tests.cluster.build import binaries
from tests.cluster.cluster import Cluster
from tests.live.lab import Lab, until

_PIECE = 65536
_ROUND = 1.0
"""Seconds: a loop that leads no more may still be in its last round."""


class Request(NamedTuple):
    """One request to the API server. body: "" if it has none."""

    method: str
    path: str
    body: str

    @property
    def writes(self) -> bool:
        """Whether it changes the cluster: an exec puts a configuration into a carrier."""
        return self.method != "GET" or "/exec?" in self.path


Answer = Callable[[Request], bytes | None]
"""None: the request goes on to the API server. Else what is sent back in its place; nothing (b"") cuts the connection."""


@contextmanager
def proxied(kubeconfig: Path, answer: Answer) -> Iterator[str]:
    """The URL of a proxy before the API server. It speaks plain HTTP, one request a connection, and passes websockets through."""
    config = pykube.KubeConfig.from_file(str(kubeconfig))
    server = urlsplit(config.cluster["server"])
    trust = ssl.create_default_context(cafile=config.cluster["certificate-authority"].filename())
    at = (str(server.hostname), int(server.port or 443))

    def serve(client: socket.socket) -> None:
        with closing(client), suppress(OSError):
            stream, request = _received(client)
            said = answer(request)
            if said is not None:
                client.sendall(said)
                return
            with socket.create_connection(at) as plain, trust.wrap_socket(plain, server_hostname=at[0]) as upstream:
                upstream.sendall(stream)
                threading.Thread(target=_pump, args=(client, upstream), daemon=True).start()
                _pump(upstream, client)

    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener:
        accepting = threading.Thread(target=_accept, args=(listener, serve), daemon=True)
        accepting.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)  # ends accept()
        accepting.join()


def _accept(listener: socket.socket, serve: Callable[[socket.socket], None]) -> None:
    with suppress(OSError):
        while True:
            threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()


def _received(client: socket.socket) -> tuple[bytes, Request]:
    """One request as it is sent on, without keep-alive, and as it is read. Raises OSError when it does not come whole."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += _some(client)
    head, _, body = data.partition(b"\r\n\r\n")
    found = re.search(rb"\r\ncontent-length: *(\d+)", head, re.IGNORECASE)
    while found and len(body) < int(found[1]):
        body += _some(client)
    method, path, _ = head.decode("latin-1").split(" ", 2)
    if b"upgrade: websocket" not in head.lower():
        head = re.sub(rb"\r\nconnection: [^\r]*", b"", head, flags=re.IGNORECASE) + b"\r\nConnection: close"
        return head + b"\r\n\r\n" + body, Request(method, path, body.decode())
    return head + b"\r\n\r\n" + body, Request(method, path, "")


def _some(source: socket.socket) -> bytes:
    data = source.recv(_PIECE)
    if not data:
        raise ConnectionResetError
    return data


def _pump(source: socket.socket, to: socket.socket) -> None:
    """Until one of the two ends; then the other does too."""
    with suppress(OSError, ValueError):
        while data := source.recv(_PIECE):
            to.sendall(data)
    for each in (source, to):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


def response(status: str, obj: Obj, *headers: str) -> bytes:
    """An answer of an API server. status: as `429 Too Many Requests`."""
    body = json.dumps(obj).encode()
    lines = (f"HTTP/1.1 {status}", "Content-Type: application/json", f"Content-Length: {len(body)}", "Connection: close", *headers)
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def leading(request: Request) -> bytes | None:
    """The answer to a request for the Lease: there is none, and whoever asks may make it."""
    if "/leases" not in request.path:
        return None
    return response("404 Not Found", {}) if request.method == "GET" else response("200 OK", json.loads(request.body))


@contextmanager
def parked(lab: Lab) -> Iterator[None]:
    """The deployed replicas answer the webhook, and none of them leads: the Lease is somebody else's for an hour."""
    leader = lab.leader()
    lab.kube.merge(LEASE, {"spec": {"holderIdentity": "test", "leaseDurationSeconds": 3600}})
    until(lambda: metric(lab, leader, "bascule_leader") == 0, f"{leader} to lead no more")
    time.sleep(_ROUND)
    try:
        yield
    finally:
        lab.kube.merge(LEASE, {"spec": {"holderIdentity": "", "leaseDurationSeconds": 1}})
        until(lab.leader, "a leader")


def compact(cluster: Cluster) -> None:
    """Let etcd forget all but the present (its JSON gateway, API v3)."""
    url = "http://127.0.0.1:2379/v3/kv"
    found = json.loads(cluster.run("curl", "-sS", "-d", '{"key": "AA=="}', f"{url}/range"))
    said = {"revision": found["header"]["revision"], "physical": True}
    assert "header" in json.loads(cluster.run("curl", "-sS", "-d", json.dumps(said), f"{url}/compaction"))


def metric(lab: Lab, pod: str, name: str) -> float:
    """The value of a metric of an operator's Pod."""
    address = lab.kube.get(Key("Pod", "gefyra", pod))["status"]["podIP"]
    text = lab.cluster.run("curl", "-sS", "-m", "5", f"http://{address}:8080/metrics")
    return sum(float(line.rpartition(" ")[2]) for line in text.splitlines() if re.match(rf"{name}(_total)?[ {{]", line))


def by_token(url: str, token: str) -> Obj:
    """A kubeconfig."""
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "it",
        "clusters": [{"name": "it", "cluster": {"server": url}}],
        "users": [{"name": "it", "user": {"token": token}}],
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
    }


@contextmanager
def operating(lab: Lab, url: str) -> Iterator[subprocess.Popen[bytes]]:
    """`bascule operate` as a process of this machine, with the account of the deployed one, that reaches the API server by `url`."""
    token = lab.cluster.kubectl("create", "token", "-n", "gefyra", "gefyra-operator").strip()
    with tempfile.TemporaryDirectory() as folder, _free() as webhook, _free() as inside:
        config = Path(folder, "kubeconfig")
        config.write_text(json.dumps(by_token(url, token)))
        ports = [f"--webhook-port={webhook}", f"--port={inside}"]
        command = [str(Path(sys.executable).with_name("bascule")), "operate", *ports]
        with Path(lab.cluster.logs, "operator.log").open("ab") as log:
            process = subprocess.Popen(command, env={**os.environ, "KUBECONFIG": str(config)}, stderr=log)
        try:
            yield process
        finally:
            process.terminate()
            process.wait()


@contextmanager
def _free() -> Iterator[int]:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = int(listener.getsockname()[1])
    yield port


def strike(lab: Lab, pod: Obj, container: str = "app", number: int = signal.SIGKILL) -> None:
    """Send the main process of a container a signal, by containerd: nobody of Kubernetes asks for it."""
    status = next(s for s in pod["status"]["containerStatuses"] if s["name"] == container)
    where = ["--address", f"{lab.cluster.folder}/containerd.sock", "--namespace", "k8s.io"]
    task = status["containerID"].partition("://")[2]
    subprocess.run([binaries() / "ctr", *where, "tasks", "kill", "-s", str(int(number)), task], check=True, capture_output=True)
