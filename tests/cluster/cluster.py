"""A real Kubernetes of one node, or only its API server, for tests and for trying things out. Linux, as root.

    with cluster() as c:                         # etcd, the control plane, and a node that is ready
        c.load_image(images.base())
        c.apply("kind: Pod ...")
        c.kubectl("wait", "--for=condition=Ready", "pod/web")
        c.run("curl", "http://10.96.3.7")    # in the cluster's network: Pods and Services answer
        c.stop("kubelet", signal.SIGKILL)
        c.start("kubelet")
    with cluster(api_only=True) as c: ...        # etcd and kube-apiserver: nothing is scheduled, collected or given an account
    with cluster(audited="alice") as c: ...      # c.logs / "audit.log" has each request of alice

At a terminal: `python -m tests.cluster` (__main__.py).

`c.kubeconfig` holds inside the cluster's network and outside it: at 127.0.0.1 and the port it names, the API server itself listens inside,
and outside a forwarder that leads to it. While the API server is down, inside a connection is refused, outside it is accepted and ends.
Everything else, such as Services and Pods, is reached from inside only, and nothing leads out.

All of the cluster is in its folder and in namespaces that die with its first process, which dies with whoever called `cluster` or `up`.
"""

from __future__ import annotations

import http.client
import shutil
import signal
import ssl
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from tests.cluster import control_plane, machine, node
from tests.cluster.build import binaries
from tests.cluster.machine import Broken


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs: `kubeconfig` is its administrator's. Without a `folder` it is somebody else's."""

    kubeconfig: Path
    folder: Path | None = None

    def run(self, *command: str) -> str:
        """What `command` prints when it runs in the cluster's network. Raises subprocess.CalledProcessError."""
        return subprocess.run(self.inside(*command), stdout=subprocess.PIPE, text=True, check=True).stdout

    def inside(self, *command: str) -> list[str]:
        """The command that runs `command` in the cluster's network, for subprocess.Popen; with somebody else's cluster, in ours."""
        return machine.inside(self.folder, command) if self.folder else list(command)

    def kubectl(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl prints. Raises Broken, with what it says."""
        program, cache = ("kubectl", []) if self.folder is None else (str(binaries() / "kubectl"), [f"--cache-dir={self.folder}/kubectl"])
        command = self.inside(program, f"--kubeconfig={self.kubeconfig}", *cache, *arguments)
        done = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Broken(f"kubectl {' '.join(arguments)}: {done.stderr}")
        return done.stdout

    def apply(self, yaml: str) -> None:
        """Apply objects by server-side apply. Raises Broken."""
        self.kubectl("apply", "--server-side", "-f", "-", stdin=yaml)

    def load_image(self, archive: Path) -> None:
        """Make the image of an OCI archive (images.py) one that Pods can have, by the name that it was built as. Raises Broken."""
        where = ["--address", f"{self._own}/containerd.sock", "--namespace", "k8s.io"]
        done = subprocess.run([binaries() / "ctr", *where, "images", "import", archive], capture_output=True, text=True, check=False)
        if done.returncode:
            raise Broken(f"cannot load {archive}: {done.stderr}")

    def stop(self, program: str, number: int = signal.SIGTERM) -> None:
        """Stop a program of the cluster, such as kubelet, by a signal, and wait until it has ended. Raises Broken."""
        machine.stop(self._own, program, number)

    def start(self, program: str) -> None:
        """Start it again; one that runs goes on."""
        machine.start(self._own, program)

    @property
    def logs(self) -> Path:
        """The folder with the logs of the programs, and in pods/ of all containers."""
        return self._own / "logs"

    def save_logs(self) -> Path:
        """A folder that stays when the cluster goes: the logs, and all Pods and Events."""
        saved = Path(tempfile.mkdtemp(prefix="bascule-logs-"))
        shutil.copytree(self.logs, saved, dirs_exist_ok=True)
        try:
            found = self.kubectl("get", "pods,events", "--all-namespaces", "--output=yaml", "--request-timeout=10s")
        except Broken as error:
            found = str(error)
        (saved / "objects.yaml").write_text(found)
        return saved

    @property
    def _own(self) -> Path:
        if self.folder is None:
            raise Broken("this can be done to our own cluster only, not to that of BASCULE_KUBECONFIG")
        return self.folder


@contextmanager
def cluster(*, api_only: bool = False, folder: Path | None = None, audited: str = "") -> Iterator[Cluster]:
    """A cluster that is ready, until the block ends; in `folder`, which is empty. Logs are kept when the block fails. Raises Broken.

    audited: the user whose requests are written down, in LOGS/audit.log.
    """
    bin_ = binaries()
    place = folder or Path(tempfile.mkdtemp(prefix="bascule-"))
    if any(place.iterdir()):
        raise Broken(f"{place} is not empty")  # what is there may be somebody's cluster, and is not ours to take down
    own = Cluster(place / "kubeconfig", place)
    try:
        with machine.booted(place) as port:
            try:
                _start(own, bin_, port, api_only=api_only, audited=audited)
                yield own
            except Exception as error:
                error.add_note(f"the cluster's logs: {own.save_logs()}")
                raise
    finally:
        down(place)


def down(folder: Path) -> None:
    """Take down the cluster in `folder`, and the folder; also what a crash has left of it. Without one, nothing happens."""
    machine.end(folder)
    if (folder / "logs" / "init.log").exists():
        shutil.rmtree(folder, ignore_errors=True)  # two may be at it, `up` and `down`


def _start(own: Cluster, bin_: Path, port: int, *, api_only: bool, audited: str) -> None:
    folder = own._own
    authority = control_plane.furnish(folder, port)
    control_plane.audit(folder, audited)
    machine.start(folder, "etcd", control_plane.etcd(bin_, folder))
    machine.start(folder, "kube-apiserver", control_plane.kube_apiserver(bin_, folder, port))
    if not api_only:
        node.furnish(bin_, folder, port, authority)
        machine.start(folder, "containerd", node.containerd(bin_, folder))
    context = ssl.create_default_context(cafile=folder / "pki" / "ca.crt")
    _wait(folder, lambda: _answers(port, context), "the API server")
    if not api_only:
        machine.start(folder, "kube-controller-manager", control_plane.kube_controller_manager(bin_, folder))
        machine.start(folder, "kube-scheduler", control_plane.kube_scheduler(bin_, folder))
        machine.start(folder, "kubelet", node.kubelet(bin_, folder))
        machine.start(folder, "kube-proxy", node.kube_proxy(bin_, folder))
        own.load_image(bin_.parent / "pause.tar")
        for what, state in (
            ("serviceaccount/default", "create"),
            (f"node/{node.NAME}", "create"),
            (f"node/{node.NAME}", "condition=Ready"),
        ):
            own.kubectl("wait", f"--for={state}", f"--timeout={machine.PATIENCE:.0f}s", what)


def _wait(folder: Path, until: Callable[[], bool], what: str) -> None:
    """As machine.wait, but a program that ends is the end of waiting."""

    def look() -> bool:
        for name, code in machine.ask(folder, {}).items():
            if code is not None:
                raise Broken(f"{name} ended with {code}:\n{machine.log_end(folder, name)}")
        return until()

    machine.wait(look, what)


def _answers(port: int, context: ssl.SSLContext) -> bool:
    connection = http.client.HTTPSConnection("127.0.0.1", port, context=context, timeout=10)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
