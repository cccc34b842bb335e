"""The machine of a cluster, seen from outside: start it, start and stop its programs, enter its network, end it.

All that is known of it is its folder. Who reaches FOLDER/control has reached a cluster that lives, and the kernel says which process
answers there: no number is written down that could come to mean another process.
"""

from __future__ import annotations

import json
import signal
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tests.cluster import cgroups

ROOT = Path(__file__).parents[2]
PATIENCE = 120.0
"""Seconds to wait for anything before it counts as broken: this is about a busy machine, no speed is promised."""

_LONGEST = 60  # the kernel's limit for a socket's path is 107 bytes, and kubelet's are the longest


class Broken(Exception):
    """Something of the cluster does not work; the text says what, and where its log is."""


@contextmanager
def booted(folder: Path) -> Iterator[int]:
    """A machine in an empty `folder`, until the block ends, or this process: our end of its standard input is its life line.

    Gives a port: at 127.0.0.1 outside, it leads to the same port inside. Raises Broken.
    """
    if len(bytes(folder)) > _LONGEST:
        raise Broken(f"the path of the cluster's folder is too long, by {len(bytes(folder)) - _LONGEST} bytes: {folder}")
    (folder / "logs").mkdir()
    unshared = ["unshare", "--net", "--mount", "--pid", "--uts", "--fork", "--mount-proc"]
    with socket.create_server(("127.0.0.1", 0), backlog=256) as listener, (folder / "logs" / "init.log").open("wb") as log:
        port, number = listener.getsockname()[1], listener.fileno()
        process = subprocess.Popen(
            [*unshared, sys.executable, "-m", "tests.cluster.init", str(folder), str(port), str(number)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            cwd=ROOT,
            pass_fds=[number],
            start_new_session=True,  # Ctrl-C is for who started us
        )
    try:
        wait(lambda: alive(folder) or process.poll() is not None, "namespaces of its own")
        if process.returncode is not None:
            raise Broken(f"no namespaces for a cluster:\n{log_end(folder, 'init')}")
        yield port
    finally:
        process.communicate()  # cuts the life line, and waits


def wait(until: Callable[[], object], what: str) -> None:
    """Return once `until` is true. Raises Broken, which names `what`, after PATIENCE."""
    end = time.monotonic() + PATIENCE
    while not until():
        if time.monotonic() > end:
            raise Broken(f"waited {PATIENCE:.0f} s for {what}")
        time.sleep(0.02)


def ask(folder: Path, request: Mapping[str, Any]) -> dict[str, int | None]:
    """What the cluster's first process (init.py) answers: the exit code of each program, None while it runs. Raises Broken."""
    try:
        with _connected(folder) as connection, connection.makefile("r") as lines:
            connection.sendall(json.dumps(request).encode() + b"\n")
            answer: dict[str, int | None] = json.loads(lines.readline())
            return answer
    except (OSError, ValueError) as error:
        raise Broken(f"there is no cluster in {folder}") from error


def alive(folder: Path) -> bool:
    """Whether there is a cluster in `folder`."""
    try:
        return bool(process_id(folder))
    except OSError:
        return False


def process_id(folder: Path) -> int:
    """The number of the cluster's first process, as this process sees it. Raises OSError if there is none."""
    with _connected(folder) as connection:
        credentials = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
        pid: int = struct.unpack("3i", credentials)[0]
        return pid


def start(folder: Path, name: str, argv: list[str] | None = None) -> None:
    """Run a program of the cluster, without `argv` as it ran the last time; if it runs, it goes on."""
    if ask(folder, {}).get(name, 0) is not None:
        ask(folder, {"start": name, "argv": argv})


def stop(folder: Path, name: str, number: int = signal.SIGTERM) -> None:
    """Send a program a signal and wait until it has ended. Raises Broken."""
    ask(folder, {"signal": number, "to": name})
    wait(lambda: ask(folder, {})[name] is not None, f"{name} to stop")


def inside(folder: Path, command: Sequence[str]) -> list[str]:
    """The command that runs `command` in the cluster's network, and outside it in all else. Raises Broken."""
    try:
        return ["nsenter", f"--net=/proc/{process_id(folder)}/ns/net", *command]
    except OSError as error:
        raise Broken(f"there is no cluster in {folder}") from error


def end(folder: Path) -> None:
    """Take down all of the cluster but its folder; also what is left of one that died. Without one, nothing happens."""
    with suppress(OSError), _connected(folder) as connection:
        connection.settimeout(PATIENCE)
        connection.sendall(b'{"end": true}\n')
        connection.recv(1)
    cgroups.remove(cgroups.name_for(folder))


def log_end(folder: Path, name: str) -> str:
    """The last words of a program."""
    return (folder / "logs" / f"{name}.log").read_text(errors="replace")[-3000:]


def _connected(folder: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    try:
        connection.connect(str(folder / "control"))
    except OSError:
        connection.close()
        raise
    return connection
