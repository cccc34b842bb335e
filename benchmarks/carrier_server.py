"""An nginx of benchmarks/carrier_lab.py: it runs on one processor, is asked one request at a time, and /proc says what it used."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

PATIENCE = 300.0


class Server(NamedTuple):
    """A running nginx. folder: of its files. address: where wrk connects to. master: process id."""

    command: list[str]
    folder: Path
    address: tuple[str, int]
    master: int

    def processes(self) -> list[int]:
        """The master and its workers."""
        return [self.master, *map(int, Path(f"/proc/{self.master}/task/{self.master}/children").read_text().split())]


@contextmanager
def running(nginx: str, folder: Path, conf: str, core: int, address: tuple[str, int]) -> Iterator[Server]:
    """An nginx on one processor, from when it listens."""
    (folder / "nginx.conf").write_text(conf)
    command = [nginx, "-p", str(folder), "-c", str(folder / "nginx.conf"), "-e", "stderr"]
    log = folder / "log"
    with log.open("wb") as errors:
        process = subprocess.Popen(["taskset", "-c", str(core), *command, "-g", "daemon off;"], stderr=errors)
    try:
        until(lambda: any(folder.glob("*.pid")) or process.poll() is not None)
        server = Server(command, folder, address, process.pid)
        assert process.poll() is None, log.read_text()
        until(lambda: len(server.processes()) == 2)
        yield server
        assert process.poll() is None, log.read_text()
    finally:
        process.terminate()
        process.wait(PATIENCE)


def until(holds: Callable[[], bool]) -> None:
    """Wait until `holds`."""
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.001)


def ask(connection: socket.socket, request: str) -> tuple[int, str]:
    """Status and body of the answer."""
    connection.sendall(request.encode())
    data = b""
    while not data.endswith(b"\n") or b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        assert part, data
        data += part
    head, _, body = data.decode().partition("\r\n\r\n")
    return int(head.split(" ")[1]), body.strip()


def anew(server: Server, request: str) -> int:
    """The status of the answer on a connection of its own."""
    with socket.create_connection(server.address) as connection:
        return ask(connection, request)[0]


def ran(process: int) -> int:
    """Nanoseconds it has run so far (proc(5), schedstat)."""
    return int(Path(f"/proc/{process}/schedstat").read_text().split()[0])


def faults(process: int) -> int:
    """Pages it has had to fetch without a disk: memory new from the kernel (proc(5), stat, minflt)."""
    return int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[7])


def memory(processes: Sequence[int]) -> float:
    """PSS in MiB: pages that several processes share count in part (proc(5), smaps_rollup)."""
    kib = 0
    for process in processes:
        try:
            lines = Path(f"/proc/{process}/smaps_rollup").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError):  # ended meanwhile
            continue
        kib += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return kib / 1024


def milliseconds(function: Callable[[], Any]) -> float:
    """How long a call takes."""
    start = time.perf_counter()
    function()
    return (time.perf_counter() - start) * 1e3
