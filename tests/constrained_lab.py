"""A carrier container with nothing: 16 MiB, a read-only root with a shell and nginx, any user, no capability, a hostile environment."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from carrier2.contract import RUN_DIR
from tests.enclosure import CARRIER_IP, carrier, furnish
from tests.reload_clients import ask, echoes, upgraded
from tests.reload_pod import PATIENCE, SCRIPT, SHADOW, TOOLS, http_stub, pack

LIMIT = 16 << 20
BIG = bytes(range(256)) * (50 << 12)  # 50 MiB
ROOT = Path("/mnt")
UID, GID = 12345, 54321
HOSTILE = {
    **dict.fromkeys(("HOME", "PATH", "ENV", "LD_LIBRARY_PATH", "LD_PRELOAD", "OPENSSL_CONF", "CDPATH", "TMPDIR"), "/nonexistent"),
    "NGINX": "7;8;",
    "TZ": ":/nonexistent",
    "LC_ALL": "xx_XX.UTF-8",
    "IFS": "/",
    "POSIXLY_CORRECT": "1",
    "RUN": "/",
    "new": "/",
}
_ALONE = f"--reuid={UID} --regid={GID} --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs".split()
_ENTER = """
echo 0 >"$1/cgroup.procs"
shift
mount -t proc proc /mnt/proc
echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start
exec chroot /mnt "$@"
"""


def root_folder(nginx: str) -> None:
    """Make ROOT: what an image has, and setpriv. /dev/shm is this machine's, and all that can be written to."""
    _mount("-t", "tmpfs", "-o", "mode=755", "tmpfs", str(ROOT))
    bin_, lab = ROOT / "carrier2" / "bin", ROOT / "lab"
    for folder in (bin_, lab, ROOT / "dev" / "shm", ROOT / "proc"):
        folder.mkdir(parents=True)
    for program, to in (("busybox", bin_), ("setpriv", lab)):
        path = shutil.which(program)
        assert path, f"{program} is missing: apt-get install busybox util-linux"
        _copy(path, to / program)
        for library in re.findall(r"(/\S+) \(0x", subprocess.run(["ldd", path], capture_output=True, text=True, check=False).stdout):
            _copy(library, ROOT / library[1:])
    for tool in ("sh", *TOOLS):
        (bin_ / tool).symlink_to("busybox")
    _copy(nginx, bin_ / "nginx")
    _copy(SCRIPT, bin_ / "carrier2")
    (ROOT / "dev" / "null").touch()
    _mount("--bind", "/dev/null", str(ROOT / "dev" / "null"))
    _mount("-o", "remount,size=64m,mode=1777", "/dev/shm")
    _mount("--bind", "/dev/shm", str(ROOT / "dev" / "shm"))
    _mount("-o", "remount,ro", str(ROOT))


def _copy(path: str, to: Path) -> None:
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(path, to)


def _mount(*arguments: str) -> None:
    subprocess.run(["mount", *arguments], check=True)


@contextmanager
def memory_limit(limit: int) -> Iterator[Path]:
    """A control group with so many bytes of memory, of version 1 or 2. Raises AssertionError where none can be made."""
    mounts = [line.split()[1:4] for line in Path("/proc/mounts").read_text().splitlines()]
    first = next((Path(at) for at, kind, options in mounts if kind == "cgroup" and "memory" in options.split(",")), None)
    second = next((Path(at) for at, kind, _ in mounts if kind == "cgroup2"), None)
    name = f"carrier-{secrets.token_hex(4)}"
    try:
        if first:
            group = first / name
            group.mkdir()
            (group / "memory.limit_in_bytes").write_text(str(limit))
        else:
            assert second, "no cgroup file system is mounted"
            (second / "cgroup.subtree_control").write_text("+memory")
            group = second / name
            group.mkdir()
            (group / "memory.max").write_text(str(limit))
            if (group / "memory.swap.max").exists():
                (group / "memory.swap.max").write_text("0")
    except OSError as error:
        raise AssertionError(
            f"this test needs root and a writable memory control group (docker run --privileged --cgroupns=host): {error}"
        ) from error
    try:
        yield group
    finally:
        end = time.monotonic() + PATIENCE
        while (group / "cgroup.procs").read_text() and time.monotonic() < end:
            time.sleep(0.02)
        group.rmdir()


def usage(group: Path) -> dict[str, int]:
    """limit, peak (bytes), hits of the limit, processes killed for it."""

    def number(*names: str) -> int:
        return int(next((group / name).read_text() for name in names if (group / name).exists()))

    def counter(file: str, key: str) -> int:
        found = re.search(rf"^{key} (\d+)$", (group / file).read_text(), re.MULTILINE)
        assert found, f"{file} does not tell {key}"
        return int(found[1])

    old = (group / "memory.failcnt").exists()
    return {
        "limit": number("memory.limit_in_bytes", "memory.max"),
        "peak": number("memory.max_usage_in_bytes", "memory.peak"),
        "hits": number("memory.failcnt") if old else counter("memory.events", "max"),
        "killed": counter("memory.oom_control" if old else "memory.events", "oom_kill"),
    }


def many(_: int) -> int:
    """50 requests on one connection, every second of them alice's. The number of right answers."""
    connection = http.client.HTTPConnection(CARRIER_IP, 80, timeout=PATIENCE)
    answers = [ask(connection, 0, ("alice", "nobody")[turn % 2], b"x" * (turn % 3 * 5000)) for turn in range(50)]
    connection.close()
    return sum(who == SHADOW if route == "nobody" else who != SHADOW for _, _, route, who in answers)


def load() -> dict[str, Any]:
    """64 connections, then 50 MiB up and 50 MiB down."""
    with ThreadPoolExecutor(64) as pool:
        answers = sum(pool.map(many, range(64)))
    connection = http.client.HTTPConnection(CARRIER_IP, 80, timeout=PATIENCE)
    ask(connection, 0, "alice", BIG)
    connection.request("GET", "/", headers={"X-Size": str(len(BIG))})
    down = connection.getresponse().read()
    connection.close()
    return {"answers": answers, "down": hashlib.sha256(down).hexdigest() == hashlib.sha256(BIG).hexdigest()}


def job(nginx: str, confs: list[str], hosts: list[str]) -> dict[str, Any]:
    """Load; a reload; then three more, each after connections that stay open; load again."""
    for host in hosts:
        http_stub(host, 3000)
    http_stub(SHADOW, 80)
    root_folder(nginx)
    user = [
        "/lab/setpriv",
        *_ALONE,
        "/carrier2/bin/env",
        "-i",
        *(f"{name}={value}" for name, value in HOSTILE.items()),
        "/carrier2/bin/carrier2",
    ]
    with memory_limit(LIMIT) as group:
        alone = ["unshare", "--pid", "--fork", "--kill-child", "--mount", "sh", "-c", _ENTER, "sh", str(group)]
        with carrier([*alone, *user], Path("/dev/shm/log")) as process:
            first = int(_children(process.pid)[0])

            def apply(conf: str) -> str:
                stream, digest = pack(conf)
                inside = ["nsenter", f"--target={first}", "--mount", "--pid", "--net", "--root", "--wd", *user, "apply", digest]
                shell = ["sh", "-c", 'echo 0 >"$0/cgroup.procs"; exec "$@"', str(group), *inside]
                done = subprocess.run(shell, input=stream, capture_output=True, timeout=2 * PATIENCE, check=False)
                return done.stdout.decode() if done.returncode == 0 else f"{done.stdout.decode()}{done.stderr.decode()}"

            said = [apply(confs[0])]
            before = load()
            middle = usage(group)
            said.append(apply(confs[1]))
            open_ones = [upgraded(80) for _ in range(20)]
            for number in range(2, 6):
                said.append(apply(confs[number % 2]))
                open_ones.append(upgraded(80))
            status = Path(f"/proc/{first}/status").read_text()
            (master,) = map(int, _children(first))
            told = {
                "said": said,
                "before": before,
                "after": load(),
                "alive": sum(map(echoes, open_ones)),
                "status": {
                    key: re.findall(rf"^{key}:\s+(\S+)", status, re.MULTILINE)[0]
                    for key in ("Uid", "Gid", "CapEff", "CapBnd", "NoNewPrivs")
                },
                "root": [line.split()[5] for line in Path(f"/proc/{first}/mountinfo").read_text().splitlines() if line.split()[4] == "/"],
                "inside": sorted({str(first), str(master), *_children(master)} - set((group / "cgroup.procs").read_text().split())),
                "workers": len(_children(master)),
                "middle": middle,
                "memory": usage(group),
                "log": Path("/dev/shm/log").read_text()[-2000:],
            }
            os.kill(first, signal.SIGKILL)
            process.wait(PATIENCE)
    return told


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def _main() -> None:
    given = json.load(sys.stdin)
    furnish({}, [*given["hosts"], SHADOW])
    shutil.rmtree(RUN_DIR)
    _mount("-t", "proc", "proc", "/proc")
    socket.sethostname("web-0")
    print(json.dumps(job(given["nginx"], given["confs"], given["hosts"])))  # noqa: T201


if __name__ == "__main__":
    _main()
