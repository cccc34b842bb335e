"""What the relay costs, on a real node with bascule as it is deployed (tests/live), by turns in one run.

    .venv/bin/python benchmarks/relay.py [--rounds 3] [--clients 50] [--bridges 5]

One laptop: requests and a download from the cluster's network to the laptop's process, through the relay as `bascule bridge` holds it
(the relay's port, sshd, kubelet, API server, ssh, bascule), the same with `kubectl port-forward` in bascule's place, through a bare
`ssh -R` (sshd at the cluster's end of the laptop's cable) and by that cable alone. Many clients: how long each takes to connect, alone
and all at once, and what the relay's Pod holds (PSS).
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path

import pykube

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))
os.environ["PYTHONPATH"] = str(ROOT)

from generator.cli.asking import relay_ports  # noqa: E402
from generator.cluster.relay import POD, REPORT  # noqa: E402
from generator.cluster.snapshot import Key  # noqa: E402
from generator.live import client as clients  # noqa: E402
from generator.live import session as sessions  # noqa: E402
from generator.names import RELAY_PORTS  # noqa: E402
from tests.cluster.build import binaries  # noqa: E402
from tests.cluster.cluster import cluster  # noqa: E402
from tests.live.lab import Lab, Namespace, furnished, header, until, workload  # noqa: E402
from tests.live.laptop import HTTP, Laptop, laptop  # noqa: E402
from tests.workload.build import built  # noqa: E402

Ways = dict[str, tuple[str, str]]
"""By name: the URLs of the application and of the file, from the cluster's network."""
MEGABYTES = 256
SSH, REMOTE, FILES = 2022, 30000, 3003
KUBECTL = "kubectl"
"""The client that comes by kubectl's port-forward."""
SECONDS = "5s"
HERE, THERE = "198.51.100.1", "198.51.100.2"
"""The two ends of the cable of laptop 0."""


@contextmanager
def running(command: list[str], ready: Callable[[], object]) -> Iterator[None]:
    """A program, from when `ready`."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        until(ready, command[-1])
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def by_ssh(user: Laptop, folder: Path) -> Iterator[None]:
    """A plain sshd in the cluster's network, and the laptop's `ssh -R` to it: REMOTE and REMOTE + 1."""
    for name in ("host", "user"):
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
    (folder / "user.pub").rename(folder / "authorized")
    Path("/run/sshd").mkdir(exist_ok=True)
    own = ["StrictModes=no", "PermitRootLogin=yes", "PidFile=none", f"AuthorizedKeysFile={folder}/authorized", f"HostKey={folder}/host"]
    server = ["/usr/sbin/sshd", "-D", "-f", "none", "-o", f"ListenAddress={HERE}:{SSH}", *(w for o in own for w in ("-o", o))]
    forwards = ["-R", f"127.0.0.1:{REMOTE}:127.0.0.1:{HTTP}", "-R", f"127.0.0.1:{REMOTE + 1}:127.0.0.1:{FILES}"]
    words = ["ssh", "-F", "none", "-N", "-p", str(SSH), "-i", str(folder / "user"), "-o", "StrictHostKeyChecking=no"]
    words += ["-o", "UserKnownHostsFile=/dev/null", "-o", "LogLevel=ERROR", *forwards, f"root@{HERE}"]
    cluster_ = user.lab.cluster
    with (
        running(cluster_.inside(*server), lambda: answers(cluster_.inside, HERE, SSH)),
        running(user.inside(*words), lambda: answers(cluster_.inside, "127.0.0.1", REMOTE)),
    ):
        yield


@contextmanager
def by_kubectl(user: Laptop, folder: Path) -> Iterator[tuple[str, int]]:
    """The laptop's `ssh -R` to the relay by `kubectl port-forward`, for a client of its own: the relay's address, the first of two ports.

    kubectl has the administrator's account, for it asks after the Pod, which is not a user's right.
    """
    lab, home = user.lab, folder / KUBECTL
    home.mkdir()
    public = sessions.public_key(home)
    clients.put(lab.kube, KUBECTL, public, replace=True)
    try:
        until(lambda: _granted(lab, KUBECTL, public), "a certificate")
        access = clients.access(lab.kube, KUBECTL, public)
        first = int(lab.kube.get(clients.key_of_client(KUBECTL))["metadata"]["annotations"][RELAY_PORTS])
        (home / "certificate").write_text(f"{access.certificate.strip()}\n")
        (home / "known_hosts").write_text(f"{sessions.HOST} {access.host_key.strip()}\n")
        config = pykube.KubeConfig.from_file(str(lab.cluster.kubeconfig)).doc
        reached = pykube.KubeConfig.from_file(str(user.home / "kubeconfig")).cluster["server"]
        config["clusters"][0]["cluster"]["server"] = reached
        (home / "kubeconfig").write_text(json.dumps(config))
        leads = [str(binaries() / "kubectl"), f"--kubeconfig={home}/kubeconfig", f"--cache-dir={home}/cache", "port-forward"]
        leads += ["-n", POD.namespace, f"pod/{POD.name}", f"{SSH}:{clients.RELAY_PORT}"]
        words = ["ssh", *sessions.options(home / "id_ed25519", home, ["none"]), "-S", "none", "-N", "-p", str(SSH)]
        for port, local in enumerate((HTTP, FILES), first):
            words += ["-R", f"{access.address}:{port}:127.0.0.1:{local}"]
        with subprocess.Popen(user.inside(*leads), stdout=subprocess.PIPE, text=True) as kubectl:
            try:
                assert kubectl.stdout
                assert kubectl.stdout.readline().startswith("Forwarding from"), "kubectl said why"
                ready = partial(answers, lab.cluster.inside, access.address, first)
                with running(user.inside(*words, f"{access.user}@127.0.0.1"), ready):
                    yield access.address, first
            finally:
                kubectl.kill()
    finally:
        lab.kube.delete(clients.key_of_client(KUBECTL))


def answers(inside: Callable[..., list[str]], host: str, port: int) -> bool:
    """Whether somebody listens there, in the network in which `inside` lets commands run."""
    connect = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 2)"
    asking = inside(sys.executable, "-ISc", connect, host, str(port))
    return subprocess.run(asking, check=False, capture_output=True).returncode == 0


def one_laptop(lab: Lab, shop: Namespace, rounds: int, folder: Path) -> None:
    """Print what each way takes."""
    with laptop(lab, "alice", folder, 0) as alice, alice.process(), ExitStack() as stack:
        alice.may_see(shop.name)
        with (folder / "big").open("wb") as file:
            file.truncate(MEGABYTES << 20)
        app = [str(built() / "app"), "--name=alice", f"--http={THERE}:{HTTP}", f"--grpc={THERE}:3001", f"--tcp={THERE}:3002"]
        stack.enter_context(running(alice.inside(*app), lambda: answers(lab.cluster.inside, THERE, HTTP)))
        files = ["busybox", "httpd", "-f", "-h", str(folder), "-p"]
        stack.enter_context(running(alice.inside(*files, f"{THERE}:{FILES}"), lambda: answers(lab.cluster.inside, THERE, FILES)))
        stack.enter_context(running(alice.inside(*files, f"127.0.0.1:{FILES}"), lambda: True))
        stack.enter_context(by_ssh(alice, folder))
        forwarded, remote = stack.enter_context(by_kubectl(alice, folder))
        ports = ("--port", f"8080:{HTTP}", "--port", f"9090:{FILES}")
        made = stack.enter_context(alice.bridge("deployment/web", "-n", shop.name, *ports, "--header", "x-user=alice"))
        made.told("active")
        (bridge,) = lab.kube.list_objects("GefyraBridge", "gefyra", "gefyra.dev/client=alice")[0]
        address = lab.kube.get(REPORT)["data"]["address"]
        port = {local: remote for remote, local in relay_ports(bridge).items()}
        ways = {
            "relay": (f"http://{address}:{port[HTTP]}/", f"http://{address}:{port[FILES]}/big"),
            "`ssh -R` by `kubectl port-forward`": (f"http://{forwarded}:{remote}/", f"http://{forwarded}:{remote + 1}/big"),
            "`ssh -R`": (f"http://127.0.0.1:{REMOTE}/", f"http://127.0.0.1:{REMOTE + 1}/big"),
            "the cable": (f"http://{THERE}:{HTTP}/", f"http://{THERE}:{FILES}/big"),
        }
        show(ways, [{name: measured(lab, *urls) for name, urls in ways.items()} for _ in range(rounds + 1)][1:])
        made.end()


def measured(lab: Lab, url: str, file: str) -> list[float]:
    """p50 and p99 of one worker's requests and of 50 workers', in ms; new connections too; requests a second; MB a second."""
    common = ["--url", url, "--duration", SECONDS, "--expect-name", "alice"]
    runs = (
        ["--keepalive", "--workers", "1", "--interval", "5ms"],
        ["--workers", "1", "--interval", "5ms"],
        ["--keepalive", "--workers", "50", "--interval", "1us"],
    )
    found: list[float] = []
    for run in runs:
        told = json.loads(lab.cluster.run(str(built() / "load"), *common, *run))
        assert not told["failed"], told
        found += [told["latency_ms"]["p50"], told["latency_ms"]["p99"]]
    found.append(told["ok"] / told["seconds"])
    found.append(float(lab.cluster.run("curl", "-sS", "-o", "/dev/null", "-w", "%{speed_download}", file)) / 1e6)
    return found


def show(ways: Ways, rounds: list[dict[str, list[float]]]) -> None:
    """A table of the medians."""
    units = ("ms", "ms", "ms", "ms", "ms", "ms", "/s", "MB/s")
    print("| | kept connection p50 | p99 | new connection p50 | p99 | 50 at once p50 | p99 | requests | download |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|", flush=True)
    for name in ways:
        medians = [statistics.median(each[name][column] for each in rounds) for column in range(len(units))]
        shown = (f"{value:.2f} {unit}" if unit == "ms" else f"{value:.0f} {unit}" for value, unit in zip(medians, units, strict=True))
        print(f"| {name} | {' | '.join(shown)} |", flush=True)


# ---- many clients


def many(lab: Lab, shop: Namespace, number: int, bridges: int, folder: Path) -> None:
    """Print how long clients take to connect, and what the relay's Pod holds."""
    names = [f"user-{n}" for n in range(number)]
    keys = {}
    for name in names:
        (folder / name).mkdir()
        keys[name] = sessions.public_key(folder / name)
        clients.put(lab.kube, name, keys[name], replace=True)
        for n in range(bridges):
            asked = shop.wanted(f"{name}-{n}", "deployment/web", [header("x-user", f"{name}-{n}")], user=name)
            lab.kube.create({**{k: v for k, v in asked.items() if k != "clusterEndpoint"}, "connectionProvider": "relay"})
    wanted: dict[str, dict[int, int]] = {}

    def given() -> bool:
        wanted.clear()
        for obj in lab.kube.list_objects("GefyraBridge", "gefyra", f"test={shop.name}")[0]:
            wanted.setdefault(obj["client"], {}).update(relay_ports(obj))
        return all(len(wanted.get(name, ())) == bridges for name in names)

    until(given, "ports")
    for name in names:
        until(lambda name=name: _granted(lab, name, keys[name]), f"a certificate for {name}")  # type: ignore[misc]
    empty = memory(lab)
    tunnel = lab.cluster.inside(sys.executable, "-P", "-m", "generator", "tunnel", "--parent", str(os.getpid()))
    os.environ["KUBECONFIG"] = str(lab.cluster.kubeconfig)
    stop, threads = threading.Event(), []
    made: dict[str, sessions.Session] = {}
    for name in names:
        access = partial(clients.access, lab.kube, name, keys[name])
        made[name] = sessions.Session(folder / name, tunnel, access, lambda why: print(why, file=sys.stderr))
        made[name].want(wanted[name])
        threads.append(threading.Thread(target=made[name].run, args=(stop,), daemon=True))
    try:
        alone = _connected(made, threads[:1], names[:1], bridges)
        all_ = _connected(made, threads[1:], names[1:], bridges)
        time.sleep(3)
        full = memory(lab)
    finally:
        stop.set()
        for thread in threads:
            with suppress(RuntimeError):
                thread.join()
        for name in names:
            lab.kube.delete(Key("GefyraClient", "gefyra", name))
    print("\n| | |\n|---|--:|")
    print(f"| one client alone connects, with {bridges} ports | {alone[0]:.2f} s |")
    print(f"| {number - 1} more at once, median | {statistics.median(all_):.2f} s |")
    print(f"| the last of them | {max(all_):.2f} s |")
    print(f"| the relay's Pod without clients | {empty:.1f} MiB |")
    print(f"| with {number} clients of {bridges} ports | {full:.1f} MiB |", flush=True)


def _granted(lab: Lab, name: str, key: str) -> bool:
    with suppress(clients.NotYet):
        return bool(clients.access(lab.kube, name, key))
    return False


def _connected(made: dict[str, sessions.Session], threads: list[threading.Thread], names: list[str], ports: int) -> list[float]:
    """Seconds until each holds all of its ports, when all begin at once."""
    began = time.monotonic()
    found: dict[str, float] = {}

    def look() -> bool:
        for name in set(names) - set(found):
            if len(made[name].held()) == ports:
                found[name] = time.monotonic() - began
        return len(found) == len(names)

    for thread in threads:
        thread.start()
    until(look, "all to be connected")
    return list(found.values())


def memory(lab: Lab) -> float:
    """MiB that the processes of the relay's Pod hold, shared pages by their share (proc_pid_smaps_rollup(5))."""
    uid = lab.kube.get(POD)["metadata"]["uid"]
    total = 0
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if f"pod{uid}" in (process / "cgroup").read_text():
                total += sum(int(row.split()[1]) for row in (process / "smaps_rollup").read_text().splitlines() if row.startswith("Pss:"))
    return total / 1024


def main() -> None:
    """Measure and print Markdown tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--bridges", type=int, default=5)
    asked = parser.parse_args()
    with cluster() as own, tempfile.TemporaryDirectory() as scratch:
        lab = furnished(own)
        for name in ("one", "many"):
            Path(scratch, name).mkdir()
        with lab.namespace("relayed", workload("relayed", replicas=1)) as shop:
            one_laptop(lab, shop, asked.rounds, Path(scratch, "one"))
            many(lab, shop, asked.clients, asked.bridges, Path(scratch, "many"))


if __name__ == "__main__":
    main()
