"""A user's laptop: a network of its own from which the API server is reached and no Pod, no Service, and a kubeconfig of one account.

with laptop(lab, "alice", folder) as alice:            GefyraClient alice, and the account that the operator makes for it
    alice.may_see("shop")
    with alice.process(), alice.bridge("deployment/web", "-n", "shop", "--port", "8080:3000") as bridge:
        bridge.told("active")
        alice.unplug()                                  it vanishes: no connection of it ends, none answers any more
        alice.plug()
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from base64 import b64decode
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import pykube

from generator.cluster.snapshot import Key, Obj
from generator.live.kube import Kube
from generator.live.session import options
from tests.cluster.init import ADDRESS
from tests.command_lab import Running, command
from tests.live.lab import PATIENCE, ROOT, Lab, until
from tests.workload.build import built

HTTP, GRPC = 3000, 3001
"""Ports of the user's process."""


@dataclass(frozen=True)
class Laptop:
    """One that runs.

    name: of its user and client. home: its files. network: the process whose network it has. wire: the cluster's end of its cable.
    """

    lab: Lab
    name: str
    home: Path
    network: int
    wire: str

    def inside(self, *words: str) -> list[str]:
        """The command that runs `words` there."""
        return ["nsenter", f"--net=/proc/{self.network}/ns/net", *words]

    @property
    def environment(self) -> dict[str, str]:
        """Of the commands of its user."""
        own = {"KUBECONFIG": self.home / "kubeconfig", "XDG_STATE_HOME": self.home, "HOME": self.home, "PYTHONPATH": ROOT, "COLUMNS": "80"}
        return {**os.environ, **{name: str(value) for name, value in own.items()}}

    @property
    def kube(self) -> Kube:
        """Its account, from this machine."""
        config = json.loads((self.home / "kubeconfig").read_text())
        config["clusters"][0]["cluster"]["server"] = _server(self.lab)
        return Kube(pykube.KubeConfig(config))

    def may_see(self, namespace: str) -> None:
        """Give its account what a developer has there: to read all but Secrets."""
        self.lab.cluster.apply(_seeing(namespace, self.name))

    def said(self, *arguments: str, code: int = 0) -> str:
        """What `bascule` prints there, on both streams; its exit code is as expected."""
        words = self.inside(sys.executable, "-m", "generator", *arguments)
        done = subprocess.run(
            words, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=self.environment, cwd=self.home, check=False
        )
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def bridge(self, *arguments: str) -> AbstractContextManager[Running]:
        """`bascule bridge` there."""
        words = self.inside(sys.executable, "-m", "generator", "bridge", *arguments)
        return command(words, env=self.environment, cwd=self.home)

    @contextmanager
    def process(self, first: int = HTTP) -> Iterator[None]:
        """The user's process: the application, which calls itself by the user's name. first: of its ports."""
        where = [f"--{protocol}=127.0.0.1:{first + number}" for number, protocol in enumerate(("http", "grpc", "tcp"))]
        process = subprocess.Popen(self.inside(str(built() / "app"), f"--name={self.name}", *where), stdout=subprocess.PIPE, text=True)
        assert process.stdout
        try:
            for _ in where:
                process.stdout.readline()  # a line for each port that it listens on
            yield
        finally:
            process.kill()
            process.communicate()

    def ssh(self, *words: str) -> list[str]:
        """The command by which its user asks the relay for something by hand, with the client's own key and certificate."""
        config = self.lab.kube.get(client(self.name))["providerConfig"]
        (self.home / "certificate").write_text(f"{config['certificate']}\n")
        (self.home / "known_hosts").write_text(f"bascule-relay {config['hostKey']}\n")
        (at,) = (self.home / "bascule").glob(f"*-{self.name}")
        tunnel = [sys.executable, "-P", "-m", "generator", "tunnel", "--parent", str(os.getpid())]
        settings = [*options(at / "id_ed25519", self.home, tunnel), "-S", "none"]
        return self.inside("ssh", *settings, f"{config['user']}@bascule-relay", *words)

    def refused(self, *words: str) -> str:
        """What `ssh` says when it ends; "" if it succeeds."""
        done = subprocess.run(
            self.ssh(*words), stdin=subprocess.DEVNULL, capture_output=True, text=True, env=self.environment, timeout=PATIENCE, check=False
        )
        return done.stderr.strip() or f"exit code {done.returncode}" if done.returncode else ""

    def unplug(self) -> None:
        """Let it vanish."""
        self.lab.cluster.run("ip", "link", "set", self.wire, "down")

    def plug(self) -> None:
        """Let it be there again."""
        self.lab.cluster.run("ip", "link", "set", self.wire, "up")


def client(name: str) -> Key:
    """Where a client is."""
    return Key("GefyraClient", "gefyra", name)


@contextmanager
def laptop(lab: Lab, name: str, home: Path, number: int = 0) -> Iterator[Laptop]:
    """The laptop of a new user. home: an empty folder. number: another one for each laptop."""
    metadata = {"name": name, "namespace": "gefyra"}
    lab.kube.create({"apiVersion": "gefyra.dev/v1", "kind": "gefyraclient", "metadata": metadata, "provider": "relay"})
    process = subprocess.Popen(["unshare", "--net", "sh", "-c", "echo; read _"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdout
    try:
        process.stdout.readline()
        found = Laptop(lab, name, home, process.pid, f"laptop{number}")
        _plug_in(found, number)
        until(lambda: lab.kube.get(client(name)).get("serviceAccountData"), f"an account for {name}")
        (home / "kubeconfig").write_text(json.dumps(_kubeconfig(lab, name)))
        yield found
    finally:
        process.communicate()
        lab.kube.delete(client(name))


def _plug_in(made: Laptop, number: int) -> None:
    """A cable from the cluster's node, by which only the node's own address is reached (TEST-NET-2, RFC 5737)."""
    here, there = f"198.51.100.{4 * number + 1}", f"198.51.100.{4 * number + 2}"
    cable = f"link add {made.wire} type veth peer name eth0 netns {made.network}"
    _ip(made.lab.cluster.inside(), cable, f"addr add {here}/30 dev {made.wire}", f"link set {made.wire} up")
    _ip(made.inside(), "link set lo up", f"addr add {there}/30 dev eth0", "link set eth0 up", f"route add {ADDRESS} via {here}")


def _ip(where: Sequence[str], *lines: str) -> None:
    subprocess.run([*where, "ip", "-batch", "-"], input="\n".join(lines) + "\n", text=True, check=True)


def _kubeconfig(lab: Lab, name: str) -> Obj:
    """As an administrator hands it out: the account's token, and the API server as it is reached from the laptop."""
    data = lab.kube.get(client(name))["serviceAccountData"]
    port = urlsplit(_server(lab)).port
    cluster = {"server": f"https://{ADDRESS}:{port}", "certificate-authority-data": data["ca.crt"]}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "shared", "cluster": cluster}],
        "users": [{"name": name, "user": {"token": b64decode(data["token"]).decode()}}],
        "contexts": [{"name": "shared", "context": {"cluster": "shared", "user": name}}],
        "current-context": "shared",
    }


def _server(lab: Lab) -> str:
    """The API server's URL on this machine."""
    return str(pykube.KubeConfig.from_file(str(lab.cluster.kubeconfig)).cluster["server"])


def _seeing(namespace: str, name: str) -> str:
    kinds = {
        "": "namespaces pods services configmaps persistentvolumeclaims resourcequotas replicationcontrollers endpoints events",
        "apps": "deployments replicasets statefulsets daemonsets",
        "batch": "jobs",
        "autoscaling": "horizontalpodautoscalers",
        "discovery.k8s.io": "endpointslices",
        "networking.k8s.io": "networkpolicies",
        "policy": "poddisruptionbudgets",
    }
    rules = [{"apiGroups": [group], "resources": each.split(), "verbs": ["get", "list", "watch"]} for group, each in kinds.items()]
    metadata = {"name": f"view-{name}", "namespace": namespace}
    group = "rbac.authorization.k8s.io"
    role: Obj = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": metadata, "rules": rules}
    reference = {"apiGroup": group, "kind": "Role", "name": f"view-{name}"}
    subjects = [{"kind": "ServiceAccount", "namespace": "gefyra", "name": f"gefyra-client-{name}"}]
    binding: Obj = {"apiVersion": f"{group}/v1", "kind": "RoleBinding", "metadata": metadata, "roleRef": reference, "subjects": subjects}
    return "\n---\n".join(map(json.dumps, (role, binding)))
