"""A machine of its own for a test: private network, hostname, mounts and processes, so that nothing outlives the call.

    answer = enclosed("tests.my_lab", {"conf": conf})      # in the test: runs `python -m tests.my_lab` inside

and in tests/my_lab.py, below `if __name__ == "__main__":`

    job = json.load(sys.stdin)                             # {"nginx": path, "conf": conf}
    furnish({"nginx.conf": job["conf"]}, ["10.1.0.5"])     # files in the carrier's folder, addresses for stubs to listen on
    with carrier(nginx_command(job["nginx"]), log) as process:
        ...                                                # requests to CARRIER_IP
    print(json.dumps(answer))

nginx has a second network, as a Pod has, since it listens on the same ports as the stubs. A cable joins the two.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from carrier2.accesslog import STDOUT
from carrier2.contract import CONFIG, OUTSIDE, run_dir
from generator.cli.nginx import find_nginx

ROOT = Path(__file__).parent.parent
RUN = Path(run_dir(OUTSIDE))
CARRIER_IP, CARRIER_IP6 = "192.0.2.2", "2001:db8::2"
_PATIENCE = 20
_PLUG_IN = """
ip -batch - <<END
link set lo up
link set pod up
addr add 192.0.2.2/24 dev pod
addr add 2001:db8::2/64 dev pod nodad
route add default via 192.0.2.1
route add ::/0 via 2001:db8::1
END
exec "$@"
"""


def enclosed(module: str, job: Mapping[str, Any], seconds: float = 120) -> Any:
    """What `python -m module` prints as JSON, run inside with `job` and the path of an nginx on its standard input.

    Raises AssertionError with the end of what it said when it fails, subprocess.TimeoutExpired after `seconds`.
    """
    for tool, package in (("unshare", "util-linux"), ("ip", "iproute2")):
        if not shutil.which(tool):
            raise AssertionError(f"{tool} is missing: apt-get install {package}")
    nginx, _ = find_nginx()
    alone = ["unshare", "--net", "--uts", "--mount", "--pid", "--fork", "--kill-child", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    done = subprocess.run(
        [*alone, sys.executable, "-m", module],
        input=json.dumps({"nginx": str(nginx), **job}),
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        timeout=seconds,
        check=False,
    )
    if done.returncode:
        hint = " (needed: root, or sysctl kernel.unprivileged_userns_clone=1)" if done.stderr.startswith("unshare:") else ""
        raise AssertionError(f"{module} failed{hint}:\n{done.stderr[-3000:]}")
    return json.loads(done.stdout)


# ---- what follows runs inside


def furnish(files: Mapping[str, str], hosts: Iterable[str] = ()) -> None:
    """Give this machine an empty /dev/shm with `files` in RUN, the carrier's folder, and the addresses `hosts`."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/dev/shm"], check=True)
    RUN.mkdir(parents=True)
    (RUN / STDOUT).symlink_to("/dev/stdout")
    for path, content in files.items():
        file = RUN / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content, encoding="utf-8")
    own = sorted(set(hosts) - {"127.0.0.1", "::1"})
    _ip("link set lo up", *(f"addr add {host}/128 dev lo nodad" if ":" in host else f"addr add {host}/32 dev lo" for host in own))


def nginx_command(nginx: str) -> list[str]:
    """The command that runs what is in RUN, as the carrier starts it."""
    return [nginx, "-p", str(RUN), "-c", str(RUN / CONFIG), "-e", "stderr"]


@contextmanager
def carrier(command: Sequence[str], log: Path, folder: Path = RUN) -> Iterator[subprocess.Popen[bytes]]:
    """Run `command` in a network of its own at CARRIER_IP and CARRIER_IP6, from when nginx listens.

    log: what it says. folder: the carrier's. The caller ends it, and waits for it, or it is killed. Raises AssertionError when
    it does not start.
    """
    with log.open("wb") as errors:
        shell = ["unshare", "--net", "sh", "-c", f"echo; read _; {_PLUG_IN}", "sh", *command]
        process = subprocess.Popen(shell, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors)
        try:
            assert process.stdout is not None
            assert process.stdin is not None
            process.stdout.readline()
            _ip(
                f"link add lab type veth peer name pod netns {process.pid}",
                "link set lab up",
                "addr add 192.0.2.1/24 dev lab",
                "addr add 2001:db8::1/64 dev lab nodad",
            )
            process.stdin.close()
            end = time.monotonic() + _PATIENCE
            while not (folder / "nginx.pid").exists():  # nginx writes it when it listens
                if process.poll() is not None or time.monotonic() > end:
                    raise AssertionError(f"nginx did not start:\n{log.read_text(errors='replace')}")
                time.sleep(0.005)
            yield process
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def _ip(*commands: str) -> None:
    subprocess.run(["ip", "-batch", "-"], input="\n".join(commands) + "\n", text=True, check=True)
