"""What tests/test_image.py has done to containers of the carrier image, in an enclosure.

`{"do": NAME, "root": the image's files, ...}` is a job; each is a function of that name.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from carrier2.contract import EXECUTABLE, RUN_DIR
from tests.enclosure import CARRIER_IP, furnish
from tests.image_pod import Container, pause, who
from tests.reload_clients import until
from tests.reload_pod import PATIENCE, SHADOW, http_stub

PROBES = (["/bin/sh", "-c", "exec /server"], ["cat", "/tmp/ready"], ["curl", "-f", "localhost:8080/"], [EXECUTABLE, "apply"])


def one(job: dict[str, Any]) -> dict[str, Any]:
    """A container that runs job["command"] as job["uid"]: configured, killed, run again, and stopped while it answers."""
    app = Container("app", Path(job["root"]), job["uid"])
    told: dict[str, Any] = {}
    with app.running(job["command"]):
        told["before"] = [app.exec(probe) for probe in PROBES]
        app.apply(job["conf"])
        told["routed"] = [who("alice"), who("nobody")]
        told["probes"] = [app.exec(probe) for probe in PROBES]
        app.apply(job["other"])
        told["changed"] = [who("alice"), who("nobody")]
        status = Path(f"/proc/{app.first}/status").read_text()
        told["status"] = [re.findall(rf"^{key}:\s+(\S+)", status, re.MULTILINE)[0] for key in ("Uid", "Gid", "CapEff", "CapBnd")]
        mounts = Path(f"/proc/{app.first}/mountinfo").read_text().splitlines()
        told["root"] = [line.split()[5].split(",")[0] for line in mounts if line.split()[4] == "/"]
    with app.running(job["command"]) as process:
        told["restarted"] = [who("alice"), who("nobody")]
        gate = gated(SHADOW, 8081)
        slow = threading.Thread(target=lambda: told.update(slow=_get(8081)))
        slow.start()
        assert gate["came"].wait(PATIENCE)
        os.kill(app.first, signal.SIGQUIT)
        told["late"] = [who("alice") for _ in range(5)]
        told["no more"] = until(lambda: _refused(8080))
        told["waits"] = process.poll() is None
        gate["go"].set()
        slow.join()
        told["code"] = process.wait(PATIENCE)
    told["log"] = app.log.read_text()[-2000:]
    return told


def two(job: dict[str, Any]) -> dict[str, Any]:
    """Two containers of one Pod, of different users; the second's termination message is elsewhere."""
    app = Container("app", Path(job["root"]), 10001)
    side = Container("side-car", Path(job["root"]), 20002, message_path="/dev/message")
    told: dict[str, Any] = {}
    with app.running(["python"]), side.beside(app, ["/bin/sh", "-c", "exec /server"]):
        app.apply(job["conf"])
        side.apply(job["other"])
        told["routed"] = [who("alice", 8080), who("alice", 8081)]
        told["again"] = [app.apply(job["conf"]), who("alice", 8080), who("alice", 8081)]
        told["probes"] = [each.exec(["true"]) for each in (app, side)]
        folders = sorted(Path(RUN_DIR).iterdir())
        told["folders"] = [(each.name, each.stat().st_uid, oct(each.stat().st_mode)) for each in folders]
        told["above"] = oct(Path(RUN_DIR).stat().st_mode)
    return told


def together(job: dict[str, Any]) -> dict[str, Any]:
    """A container of a Pod with shareProcessNamespace."""
    told: dict[str, Any] = {}
    app = Container("app", Path(job["root"]), 10001)
    with pause() as first:
        shared = ["nsenter", f"--target={first}", "--pid"]
        for life in ("first", "second"):
            with app.running(["python", "/srv/app.py"], shared):
                status = Path(f"/proc/{app.first}/status").read_text()
                number = re.findall(r"^NSpid:.*\s(\d+)$", status, re.MULTILINE)[0]
                probe = app.exec(["python", "/srv/app.py"])
                if life == "first":
                    app.apply(job["conf"])
                told[life] = {"main": number != "1", "probe": probe, "routed": [who("alice"), who("nobody")]}
    return told


def hook(job: dict[str, Any]) -> dict[str, Any]:
    """A postStart hook comes before nginx runs; one in a carrier whose nginx never does."""
    app = Container("app", Path(job["root"]), 10001)
    with app.running(["python"]):
        file, aside = app.folder / "nginx.pid", app.folder / "aside"
        file.rename(aside)
        process = subprocess.Popen(app.entering(["/bin/sh", "-c", "echo started"]), stdout=subprocess.PIPE)
        looking = until(lambda: _sleepers(app.first) != {})
        aside.rename(file)
        early = (process.wait(PATIENCE), process.stdout.read().decode() if process.stdout else "")
        file.rename(aside)
        return {"looking": looking, "early": early, "never": app.exec(["/bin/sh", "-c", "echo started"])}


def sleeping(job: dict[str, Any]) -> dict[str, Any]:
    """For each of job["hooks"]: how long it sleeps, by what it has started, until it is woken; nothing if it answers at once."""
    app = Container("app", Path(job["root"]), 10001)
    told = []
    with app.running(["python"]):
        app.apply(job["conf"])
        for hook in job["hooks"]:
            process = subprocess.Popen(app.entering(hook))
            until(partial(_sleeps_or_ends, process, app.first))
            told.append([*_sleepers(app.first).values()])
            for number in _sleepers(app.first):
                os.kill(number, signal.SIGKILL)
            process.wait(PATIENCE)
    return {"asleep": told}


def logged(job: dict[str, Any]) -> dict[str, Any]:
    """Two requests of a bridge with an access log. job["gives"]: whether the runtime gives the user its standard output."""
    app = Container("app", Path(job["root"]), 10001, gives=job["gives"])
    with app.running(["python"]) as process:
        app.apply(job["conf"])
        app.apply(job["other"])
        answers = [who("alice"), who("alice")]
        os.kill(app.first, signal.SIGQUIT)
        output = process.stdout.read().decode() if process.stdout else ""
    return {"answers": answers, "lines": output.splitlines(), "log": app.log.read_text()}


class _Gated(BaseHTTPRequestHandler):
    came: threading.Event
    go: threading.Event

    def do_GET(self) -> None:
        self.came.set()
        self.go.wait(PATIENCE)
        self.send_response(200)
        self.send_header("Content-Length", "4")
        self.end_headers()
        self.wfile.write(b"slow")

    def log_message(self, *_: object) -> None:
        """Nothing."""


def gated(host: str, port: int) -> dict[str, threading.Event]:
    """A stub that says that a request came, and answers when it may go."""
    events = {"came": threading.Event(), "go": threading.Event()}
    server = ThreadingHTTPServer((host, port), type("Gated", (_Gated,), events))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return events


def _get(port: int) -> tuple[int, str]:
    connection = http.client.HTTPConnection(CARRIER_IP, port, timeout=PATIENCE)
    connection.request("GET", "/")
    answer = connection.getresponse()
    return answer.status, answer.read().decode()


def _refused(port: int) -> bool:
    try:
        socket.create_connection((CARRIER_IP, port), PATIENCE).close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # it came while the port was closed
        return False
    return False


def _sleepers(first: int) -> dict[int, str]:
    """PID and time of each `sleep` that sees the same PID namespace."""
    space, found = Path(f"/proc/{first}/ns/pid").readlink(), {}
    for process in Path("/proc").glob("[0-9]*"):
        try:
            words = (process / "cmdline").read_text().split("\0")
            if words[0] == "sleep" and (process / "ns" / "pid").readlink() == space:
                found[int(process.name)] = words[1]
        except OSError:
            continue
    return found


def _sleeps_or_ends(process: subprocess.Popen[bytes], first: int) -> bool:
    return process.poll() is not None or _sleepers(first) != {}


def _main() -> None:
    job = json.load(sys.stdin)
    furnish({}, [*job["hosts"], SHADOW])
    shutil.rmtree(RUN_DIR)
    subprocess.run(["mount", "-o", "remount,size=64m,mode=1777", "/dev/shm"], check=True)
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/mnt"], check=True)
    subprocess.run(["mount", "-t", "proc", "proc", "/proc"], check=True)
    socket.sethostname("web-0")
    for host in job["hosts"]:
        http_stub(host, 3000)
    http_stub(SHADOW, 8080)
    jobs = {"one": one, "two": two, "together": together, "hook": hook, "sleeping": sleeping, "logged": logged}
    print(json.dumps(jobs[job["do"]](job)))  # noqa: T201


if __name__ == "__main__":
    _main()
