"""Containers of the carrier image, started and entered as kubelet and runc do it, in an enclosure (tests/enclosure.py).

    app = Container("app", Path(job["root"]), 10001)
    with app.running(["python", "/srv/app.py"]) as process:      # is process 1
        app.exec(["sh", "-c", "sleep 5"])                        # enters

16 MiB, a read-only root, no capability, a hostile environment. All containers share one /dev/shm, as in a Pod.
"""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from carrier2.contract import EXECUTABLE, run_dir
from tests.constrained_lab import HOSTILE, LIMIT, memory_limit
from tests.enclosure import CARRIER_IP, carrier
from tests.reload_clients import ask, until
from tests.reload_pod import PATIENCE, pack

POD_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
ENVIRONMENT = {**HOSTILE, "PATH": POD_PATH, "BASH_ENV": "/nonexistent", "NGINX_VERSION": "0"}
OWN_PID = ("unshare", "--pid", "--fork", "--kill-child")
_PODS = Path("/mnt/pods/0c5f0b7e-6d1f-4c55-9b1a-6a0f4f0e5d3c")
_ENTER = """
import ctypes, os, sys, warnings
group, root, uid, gives, environment, *command = sys.argv[1:]
with open(f"{group}/cgroup.procs", "w") as members:
    members.write("0")
uid, environment, libc = int(uid), dict(each.split("=", 1) for each in environment.split("\\n")), ctypes.CDLL(None)
for fd in range(3 if gives == "True" else 0):  # as runc does (fixStdioPermissions)
    os.fchown(fd, uid, -1)
os.chroot(root)
os.chdir("/")
for capability in range(64):
    libc.prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
os.setgroups([])
os.setresgid(uid, uid, uid)
os.setresuid(uid, uid, uid)
libc.prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
os.execvpe(command[0], command, environment)
"""


class Container:
    """One container of the Pod. It may end and run again; `folder`, the carrier's, stays."""

    def __init__(self, name: str, image: Path, uid: int, *, message_path: str = "/dev/termination-log", gives: bool = True) -> None:
        """image: its files. message_path: the Pod's terminationMessagePath. gives: whether standard streams become the user's."""
        self.root, self.uid, self.gives, self.folder = Path("/mnt") / name, uid, gives, Path(run_dir(name))
        self.log, self.first = Path(f"/mnt/{name}.log"), 0
        self.group = Path()
        told = _PODS / "containers" / name / "0a1b2c3d"
        told.parent.mkdir(parents=True)
        told.touch()
        self.root.mkdir()
        _mount("--bind", str(image), str(self.root))
        _mount("-o", "remount,bind,ro", str(self.root))
        _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", str(self.root / "dev"))
        for path, source in (("/dev/null", "/dev/null"), (message_path, str(told))):
            (self.root / path[1:]).touch()
            _mount("--bind", source, str(self.root / path[1:]))
        (self.root / "dev" / "shm").mkdir()
        _mount("--bind", "/dev/shm", str(self.root / "dev" / "shm"))

    @contextmanager
    def running(self, command: Sequence[str], pid: Sequence[str] = OWN_PID) -> Iterator[subprocess.Popen[bytes]]:
        """The container's life, in a network that it makes. pid: into which PID namespace."""
        (self.folder / "nginx.pid").unlink(missing_ok=True)  # of the last life; `carrier` waits for a new one
        subprocess.run(["ip", "link", "delete", "lab"], capture_output=True, check=False)
        with memory_limit(LIMIT) as self.group, carrier(self._start(command, pid), self.log, self.folder) as process:
            self.first = child(process.pid)
            try:
                yield process
            finally:
                self._kill()
                process.wait(PATIENCE)

    @contextmanager
    def beside(self, other: Container, command: Sequence[str]) -> Iterator[None]:
        """The container's life, in the network of another."""
        network = ["nsenter", f"--target={other.first}", "--net"]
        with memory_limit(LIMIT) as self.group, self.log.open("wb") as log:
            process = subprocess.Popen([*network, *self._start(command, OWN_PID)], stderr=log)
            assert until((self.folder / "nginx.pid").exists), self.log.read_text()
            self.first = child(process.pid)
            try:
                yield
            finally:
                self._kill()
                process.wait(PATIENCE)

    def _start(self, command: Sequence[str], pid: Sequence[str]) -> list[str]:
        proc = ["unshare", "--mount", "sh", "-c", 'mount -t proc proc "$0/proc"; exec "$@"', str(self.root)]
        return [*pid, *proc, *self._enter(command)]

    def _enter(self, command: Sequence[str]) -> list[str]:
        lines = "\n".join(f"{name}={value}" for name, value in ENVIRONMENT.items())
        return [sys.executable, "-c", _ENTER, str(self.group), str(self.root), str(self.uid), str(self.gives), lines, *command]

    def _kill(self) -> None:
        for pid in (self.group / "cgroup.procs").read_text().split():
            with suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def entering(self, command: Sequence[str]) -> list[str]:
        """The command line that runs `command` in the container."""
        return ["nsenter", f"--target={self.first}", "--mount", "--pid", "--net", *self._enter(command)]

    def exec(self, command: Sequence[str], stdin: bytes = b"") -> tuple[int, str]:
        """As a probe or a hook does it: exit code, and what was said."""
        done = subprocess.run(
            self.entering(command), input=stdin, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=2 * PATIENCE, check=False
        )
        return done.returncode, done.stdout.decode()

    def apply(self, conf: str) -> bool:
        """Deliver a configuration."""
        stream, digest = pack(conf)
        code, said = self.exec([EXECUTABLE, "apply", digest], stream)
        assert (code, said) == (0, f"applied {digest}\n"), said
        return True


def who(route: str, port: int = 8080) -> str:
    """Who answers a request of alice or of nobody."""
    connection = http.client.HTTPConnection(CARRIER_IP, port, timeout=PATIENCE)
    answer = ask(connection, 0, route)
    connection.close()
    return answer[3]


def child(pid: int) -> int:
    """The first child of a process."""
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])


@contextmanager
def pause() -> Iterator[int]:
    """Process 1 of a PID namespace that containers share."""
    with subprocess.Popen([*OWN_PID, "sh", "-c", "echo; exec sleep infinity"], stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout
            process.stdout.readline()
            yield child(process.pid)
        finally:
            process.kill()


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)
