"""`bascule bridge` and `bascule connect` as a person runs them: a real API server, a real sshd as the relay, and who plays the operator.

No node is here: carriers are not; that the relay's port leads to the user's process is what is looked at.
"""

from __future__ import annotations

import base64
import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest

from generator.cluster.snapshot import Key, Obj, key_of
from generator.live.client import certified
from generator.live.failures import NotFound
from generator.live.kube import Kube, connect
from tests import kube as build
from tests.cluster.cluster import Cluster
from tests.command_lab import Running, command
from tests.session_lab import PATIENCE, Sshd, free_port, hello, kubeconfig, listens, port_forward, serving, sshd, until

ROOT = Path(__file__).parents[1]
CRDS = [p.read_text() for p in sorted((ROOT / "overlays/base/crds").glob("gefyra*.yaml"))]
SCHEMA = json.loads((ROOT / "docs/schema/cli-v1.json").read_text())
PROGRAM = """
import os
from generator.cli import holding, main, tunnel
holding.command = lambda _: ["env", "KUBECONFIG=" + os.environ["RELAY"], *tunnel.command(None)]
main()
"""
"""bascule, but that the way to the relay leads to the test's own: an API server without nodes forwards to no Pod."""
ALICE = ("bridge", "deployment/web", "-n", "shop", "--client", "alice", "--header", "x-user=alice")


@pytest.fixture(scope="module")
def kube(server: Cluster) -> Kube:
    """The administrator's account, and Deployment shop/web."""
    server.apply("\n---\n".join(CRDS))
    server.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=120s")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(server.kubeconfig))
        found = connect()
    found.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}})
    deployment = build.deployment("web", {"app": "web"}, [container()], 1, 1)[0]
    found.create({**deployment, "metadata": {"name": "web", "namespace": "shop"}})
    found.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": "shop"}, "data": {"MODE": "fast"}})
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "login", "namespace": "shop"}}
    found.create({**secret, "data": {"password": base64.b64encode(b"it's $ecret").decode()}})
    relay = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "bascule-relay", "namespace": "gefyra"}}
    found.create({**relay, "data": {"address": "127.0.0.1"}})
    return found


def container() -> Obj:
    """The container of Deployment shop/web."""
    password = {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "login", "key": "password"}}}
    address = {"name": "ADDRESS", "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}
    return build.container(ports=(8080, 9090), envFrom=[{"configMapRef": {"name": "settings"}}], env=[password, address])


class Relay:
    """Who plays the operator: certifies keys, gives ports, and says ACTIVE while somebody listens."""

    def __init__(self, kube: Kube, server: Sshd) -> None:
        self.kube, self.server, self.stop = kube, server, threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        while not self.stop.wait(0.1):
            with suppress(NotFound):
                self._round()

    def _round(self) -> None:
        for obj in self.kube.list_objects("GefyraClient", "gefyra")[0]:
            public = (obj.get("providerParameter") or {}).get("publicKey")
            config = obj.get("providerConfig") or {}
            if public and certified(config.get("certificate", "")) != certified(self.server.sign(public)):
                access = self.server.access(public)
                granted = {"certificate": access.certificate, "hostKey": access.host_key, "user": access.user}
                self.kube.merge(key_of(obj), {"providerConfig": granted})
        for obj in self.kube.list_objects("GefyraBridge", "gefyra")[0]:
            if not obj.get("clusterEndpoint") and obj.get("connectionProvider") == "relay":
                given = {p.split(":")[1]: f"bascule-relay.gefyra.svc.cluster.local:{free_port()}" for p in obj["portMappings"]}
                self.kube.merge(key_of(obj), {"clusterEndpoint": given})
            elif ports(obj):
                state = "ACTIVE" if all(map(listens, ports(obj))) else "REQUESTED"
                if obj.get("state") != state:
                    self.kube.merge(key_of(obj), {"state": state})


def ports(obj: Obj) -> list[int]:
    """The relay's ports of a bridge."""
    return [int(v.rpartition(":")[2]) for v in (obj.get("clusterEndpoint") or {}).values()]


@pytest.fixture
def relay(kube: Kube, server: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """The relay runs and is empty; commands of this test find the way to it."""
    monkeypatch.chdir(tmp_path)
    for name, value in {
        "KUBECONFIG": server.kubeconfig,
        "PYTHONPATH": ROOT,
        "RELAY": tmp_path / "relay",
        "XDG_STATE_HOME": tmp_path,
    }.items():
        monkeypatch.setenv(name, str(value))
    with sshd(tmp_path / "sshd") as found, port_forward(found.port) as api:
        (tmp_path / "relay").write_text(kubeconfig(api))
        made = Relay(kube, found)
        made.thread.start()
        yield made
        made.stop.set()
        made.thread.join()
    for kind in ("GefyraBridge", "GefyraClient"):
        for obj in kube.list_objects(kind, "gefyra")[0]:
            with suppress(NotFound):
                kube.delete(key_of(obj))


@pytest.fixture
def process() -> Iterator[int]:
    """The user's process."""
    with serving(hello) as port:
        yield port


def running(*arguments: str) -> AbstractContextManager[Running]:
    """A command."""
    return command([sys.executable, "-c", PROGRAM, *arguments])


def bascule(*arguments: str, code: int = 0) -> str:
    """What a command prints on both streams; its exit code is as expected."""
    words = [sys.executable, "-c", PROGRAM, *arguments]
    done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def ask(port: int, path: str) -> bytes:
    """What a request gets at a port of the relay."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as made:
        made.sendall(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode())
        return made.recv(1000)


def bridges(kube: Kube) -> list[Obj]:
    """Those there are."""
    return kube.list_objects("GefyraBridge", "gefyra")[0]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_from_a_laptop_in_one_command(kube: Kube, relay: Relay, process: int, number: int) -> None:
    """It says what it will do, bridges, shows each request, and whatever ends it takes all down."""
    with running(*ALICE, "--port", f"8080:{process}") as made:
        made.told("planned")
        made.told("active")
        (bridge,) = bridges(kube)
        (port,) = ports(bridge)
        assert bridge["metadata"]["annotations"] == {"bascule.dev/away-grace": "60"}
        assert ask(port, "/a?b").endswith(b"hello")
        made.told("request", method="GET", path="/a?b", status=200, bridge=bridge["metadata"]["name"])

        assert made.end(number) == 0
        made.told("removed")
    assert bridges(kube) == []
    until(lambda: not listens(port), "the end of the port")


def test_the_laptop_comes_back(kube: Kube, relay: Relay, process: int) -> None:
    """The connection breaks and is there again, without a new command."""
    with running(*ALICE, "--port", f"8080:{process}") as made:
        made.told("active")
        relay.server.stop()
        made.told("waiting", message="the connection to the relay")
        relay.server.start()
        until(lambda: sum(e["event"] == "active" for e in made.events) == 2, "the connection")
        assert ask(ports(bridges(kube)[0])[0], "/").endswith(b"hello")
        assert made.end() == 0


@pytest.mark.parametrize("soon", ["", "from generator.cli import bridging; bridging._SILENT = 0.5"])
def test_the_process_comes_and_goes(kube: Kube, relay: Relay, soon: str) -> None:
    """While it does not listen, that is said and the relay refuses; the bridge waits for it longer than for a laptop, but not at once."""
    local = free_port()

    def grace() -> str:
        return str(bridges(kube)[0]["metadata"]["annotations"]["bascule.dev/away-grace"])

    def told(event: str, count: int) -> None:
        until(lambda: sum(e["event"] == event for e in made.events) == count, f"{count} times {event}, after {made.events}")

    with command([sys.executable, "-c", f"{soon}\n{PROGRAM}", *ALICE, "--port", f"8080:{local}"]) as made:
        silence = f"a process that listens on port {local}; the cluster answers in its place"
        made.told("waiting", message=silence)
        (port,) = ports(bridges(kube)[0])
        for turn in (1, 2):
            assert not listens(port)
            until(lambda: not soon or grace() == "86400", "more patience")
            with serving(hello, local):
                told("active", turn)
                assert ask(port, "/").endswith(b"hello")
                until(lambda: grace() == "60", "less patience")
            with suppress(ConnectionError):
                assert ask(port, "/") == b""
            told("waiting", turn + 1)
        assert {e["message"] for e in made.events if e["event"] == "waiting"} == {silence}
        assert made.end() == 0
        made.told("removed")


def test_one_of_two_ports_has_nobody(kube: Kube, relay: Relay, process: int) -> None:
    """It is said which; the other is led here, and shows whether the laptop is there, so that the bridge goes as soon as it does."""
    local = free_port()
    soon = "from generator.cli import bridging; bridging._SILENT = 0.1"
    with command([sys.executable, "-c", f"{soon}\n{PROGRAM}", *ALICE, "--port", f"8080:{process}", "--port", f"9090:{local}"]) as made:
        made.told("waiting", message=f"a process that listens on port {local}; the cluster answers in its place")
        (bridge,) = bridges(kube)
        there = {inside: int(end.rpartition(":")[2]) for inside, end in bridge["clusterEndpoint"].items()}
        assert ask(there["8080"], "/").endswith(b"hello")
        made.told("request", status=200)
        assert not listens(there["9090"])
        time.sleep(1)  # ten looks
        assert bridges(kube)[0]["metadata"]["annotations"] == {"bascule.dev/away-grace": "60"}
        assert made.end() == 0


def test_a_second_signal_leaves_at_once(kube: Kube, relay: Relay, process: int) -> None:
    """And says what stays; here somebody's finalizer keeps the bridge."""
    with running(*ALICE, "--port", f"8080:{process}") as made:
        made.told("active")
        (bridge,) = bridges(kube)
        kube.merge(key_of(bridge), {"metadata": {"finalizers": ["test.example/kept"]}})
        made.process.send_signal(signal.SIGINT)
        until(lambda: bridges(kube)[0]["metadata"].get("deletionTimestamp"), "the deletion")
        assert made.end() == 130
        made.told("left")
    kube.merge(key_of(bridge), {"metadata": {"finalizers": None}})


def test_a_closed_terminal_takes_it_down(kube: Kube, relay: Relay, process: int) -> None:
    """Also when nothing can be written any more."""
    leader, follower = pty.openpty()
    words = [sys.executable, "-c", PROGRAM, *ALICE, "--port", f"8080:{process}"]
    with subprocess.Popen(words, stdin=follower, stdout=follower, stderr=follower, start_new_session=True) as made:
        os.close(follower)
        until(lambda: any(o.get("state") == "ACTIVE" for o in bridges(kube)), "the bridge")
        os.close(leader)
        os.kill(made.pid, signal.SIGHUP)
        assert made.wait(PATIENCE) == 0
    assert bridges(kube) == []


def test_nobody_reads_what_is_told(kube: Kube, relay: Relay, process: int) -> None:
    """`bascule bridge | head -1`: with its reader gone, it takes the bridge down."""
    words = [sys.executable, "-c", PROGRAM, *ALICE, "--port", f"8080:{process}"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as made:
        assert made.stdout
        made.stdout.readline()
        made.stdout.close()
        assert made.wait(PATIENCE) == 0
    assert bridges(kube) == []


def test_dry_run_writes_nothing(kube: Kube, relay: Relay) -> None:
    """Neither a bridge nor a client; it says the same as without."""
    said = bascule(*ALICE, "--port", "8080:3000", "--dry-run")

    assert "header x-user is 'alice' -> port 3000 of this machine, from port 8080 of shop/deployment/web/app" in " ".join(said.split())
    assert "nothing was written" in said
    assert bridges(kube) == kube.list_objects("GefyraClient", "gefyra")[0] == []


def test_a_clash_is_refused(kube: Kube, relay: Relay) -> None:
    """As `bascule check` says it, with the other bridge; exit code 1, nothing written."""
    bob = build.bridge("bob", "deployment/web", [build.rule(build.header("x-user", "alice"))], client="bob")
    kube.create({**bob, "metadata": {"name": "bob", "namespace": "gefyra"}, "targetNamespace": "shop"})
    said = bascule(*ALICE, "--port", "8080:3000", code=1)

    assert "refused RuleIdentical" in said
    assert "bob" in said
    assert [o["metadata"]["name"] for o in bridges(kube)] == ["bob"]
    assert kube.list_objects("GefyraClient", "gefyra")[0] == []


def test_a_bridge_that_is_deleted_by_another(kube: Kube, relay: Relay, process: int) -> None:
    """It says so and ends with 1."""
    with running(*ALICE, "--port", f"8080:{process}") as made:
        made.told("active")
        kube.delete(key_of(bridges(kube)[0]))
        made.told("lost")
        assert made.end() == 1


def a_path(name: str, process: int) -> tuple[str, ...]:
    """Alice bridges one path."""
    where = ("bridge", "deployment/web", "-n", "shop", "--client", "alice")
    return (*where, "--path", f"/{name}", "--port", f"8080:{process}", "--name", name)


def test_one_connection_for_detached_bridges(kube: Kube, relay: Relay, process: int) -> None:
    """`connect` leads to each as it comes, gives back what goes, leaves alone what another command holds, and its end leaves all."""
    bascule(*ALICE, "--port", f"8080:{process}", "--name", "one", "--detach")
    with running("connect", "--client", "alice") as made:
        made.told("bridge", bridge="one", state="ACTIVE")
        bascule(*a_path("two", process), "--detach")
        made.told("bridge", bridge="two", state="ACTIVE")
        bascule(*a_path("down", free_port()), "--detach")
        made.told("bridge", bridge="down", state="REQUESTED")
        kube.delete(Key("GefyraBridge", "gefyra", "down"))
        at = {o["metadata"]["name"]: ports(o)[0] for o in bridges(kube)}
        assert ask(at["two"], "/two").endswith(b"hello")
        made.told("request", bridge="two", path="/two")
        with running(*a_path("three", process)) as held:
            held.told("active")
            assert held.end() == 0
        kube.delete(Key("GefyraBridge", "gefyra", "one"))
        made.told("removed", bridge="one")
        until(lambda: not listens(at["one"]), "the end of the port")
        assert made.end() == 0
    assert not any(e.get("bridge") == "three" for e in made.events)
    assert [o["metadata"]["name"] for o in bridges(kube)] == ["two"]


def test_a_client_of_gefyra(kube: Kube, relay: Relay) -> None:
    """It is connected in another way; another name is asked for."""
    metadata = {"name": "alice", "namespace": "gefyra"}
    kube.create({"apiVersion": "gefyra.dev/v1", "kind": "gefyraclient", "metadata": metadata, "provider": "stowaway"})
    said = bascule("connect", "--client", "alice", code=2)

    assert said == "error ClientUnusable: GefyraClient alice: it is connected by stowaway\n  Give another one with --client.\n"


def test_no_ssh(kube: Kube, relay: Relay, monkeypatch: pytest.MonkeyPatch) -> None:
    """How to get it, and nothing is written."""
    monkeypatch.setenv("PATH", "")
    said = bascule(*ALICE, "--port", "8080:3000", code=2)

    assert "error SshMissing: PATH: there is no ssh on this machine" in said
    assert "apt-get install openssh-client" in said
    assert bridges(kube) == []


def test_the_environment_of_a_container(kube: Kube, relay: Relay) -> None:
    """From the spec, ConfigMaps and Secrets; what only a Pod knows is said to be left out where none runs."""
    said = bascule("env", "deployment/web", "-n", "shop")
    assert said == 'MODE=fast\nPASSWORD="it\'s \\$ecret"\nleft out: ADDRESS: no Pod says status.podIP\n'
    assert json.loads(bascule("env", "deployment/web", "-n", "shop", "-o", "json").partition("left out")[0])["PASSWORD"] == "it's $ecret"


def test_a_program_with_the_environment_of_a_container(kube: Kube, relay: Relay) -> None:
    """Beside that of this machine; its exit code is the command's."""
    script = 'echo "$MODE $PASSWORD" "$@"; exit 7'
    said = bascule("run", "deployment/web", "-n", "shop", "--", "sh", "-c", script, "sh", "--flag", code=7)
    assert "fast it's $ecret --flag" in said


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("env", "deployment/none", "-n", "shop"), "TargetUnknown"),
        (("env", "deployment/web", "-n", "shop", "-c", "none"), "TargetUnknown"),
        (("env", "web"), "OptionInvalid"),
        (("run", "deployment/web", "-n", "shop", "--", "no-such-program"), "OptionInvalid"),
    ],
)
def test_no_such_container_or_program(kube: Kube, relay: Relay, words: tuple[str, ...], code: str) -> None:
    """Code, place and what there is."""
    assert bascule(*words, code=2).startswith(f"error {code}: ") or f"error {code}: " in bascule(*words, code=2)
