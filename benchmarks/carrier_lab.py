"""One kind of rules on real nginx, all its sizes side by side: runs inside tests/enclosure.py, for benchmarks/carrier.py.

A carrier is one nginx worker on the first processor; wrk and the origin, one nginx that is every shadow and every user's
process, share the last. The origin answers 500 unless the address it was reached at is the one that the request wants,
so each request of the load is checked.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.carrier_cases import BY_BRIDGES, BY_KINDS, EXACT, HOSTNAME, MOVED_SHADOW, PORT, SHADOW, Case, case, passed_through
from benchmarks.carrier_server import Server, anew, ask, faults, memory, milliseconds, ran, running, until
from carrier2.nginx import render
from carrier2.relocate import Place
from tests.enclosure import furnish

SCRATCH = Path("/dev/shm")
PROXY_CORE, OTHER_CORE = (sorted(os.sched_getaffinity(0))[i] for i in (0, -1))
CONNECTIONS = 16
CHECKED = 400
DIRECT, STREAM = "direct", "no rules"

ORIGIN = """
user root; worker_processes 1; pid origin.pid; error_log stderr warn; worker_rlimit_nofile 20000;
events { worker_connections 16384; }
http {
  access_log off; keepalive_timeout 1h; keepalive_requests 100000000;
  server {
    listen 8080 backlog=4096; listen 3000 backlog=4096;
    if ($http_x_want != $server_addr) { return 500 "$server_addr\\n"; }
    return 200 "$server_addr\\n";
  }
}
"""
SCRIPT = """
local requests, at
function init(arguments) requests, at = dofile(arguments[1]), 0 end
function request() at = at % #requests + 1 return requests[at] end
function done(all)
  local e = all.errors
  io.write(string.format('\\n{"requests": %d, "seconds": %f, "errors": %d, "wrong": %d}', all.requests, all.duration / 1e6,
    e.connect + e.read + e.write + e.timeout, e.status))
end
"""


def check(server: Server, subject: Case) -> dict[str, int]:
    """Requests by turns, each answered by whom it wants; and the origin refuses one that wants another."""
    seen = {"matched": 0, "unmatched": 0}
    with socket.create_connection(server.address) as connection:
        for request, host in subject.requests[:CHECKED]:
            assert (answer := ask(connection, request)) == (200, host), (request, answer)
            seen["unmatched" if host == SHADOW else "matched"] += 1
        request, host = subject.requests[0]
        assert ask(connection, request.replace(host, "127.9.9.9")) == (500, host), "the origin takes everything"
    return seen


def load(server: Server, seconds: int) -> dict[str, float]:
    """Requests a second with wrk, and the worker's processor µs and page faults per request."""
    host, port = server.address
    wrk = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(SCRATCH / "script.lua"), f"http://{host}:{port}"]
    _, worker = server.processes()
    before, faulted = ran(worker), faults(worker)
    said = subprocess.run(
        ["taskset", "-c", str(OTHER_CORE), *wrk, str(server.folder / "requests.lua")], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    found = json.loads(said.splitlines()[-1])
    assert (found["errors"], found["wrong"]) == (0, 0), (server.folder.name, said)
    each = {"cpu": (ran(worker) - before) / 1e3, "faults": faults(worker) - faulted}
    return {"rate": found["requests"] / found["seconds"], **{what: n / found["requests"] for what, n in each.items()}, **found}


def reload(server: Server, conf: str, request: str, meanwhile: Callable[[], Any] = lambda: time.sleep(0.001)) -> float:
    """Milliseconds from SIGHUP to the first answer that only the new configuration gives; then until the old worker is gone."""
    (server.folder / "nginx.conf").write_text(conf)

    def served() -> bool:
        meanwhile()
        return anew(server, request) == 200

    assert anew(server, request) == 500

    def change() -> None:
        os.kill(server.master, signal.SIGHUP)
        until(served)

    took = milliseconds(change)

    def alone() -> bool:
        meanwhile()
        return len(server.processes()) == 2

    until(alone)
    return took


def costs(server: Server, subject: Case, conf: str, moved: str) -> dict[str, float]:
    """What the configuration costs besides requests; to be asked after the load."""
    master, worker = (memory([p]) for p in server.processes())
    tested = [milliseconds(lambda: subprocess.run([*server.command, "-t"], check=True, stderr=subprocess.DEVNULL)) for _ in range(3)]
    there = subject.requests[1][0]
    again = there.replace(SHADOW, MOVED_SHADOW)
    took = [reload(server, moved, again), reload(server, conf, there)]
    peak = 0.0

    def sample() -> None:
        nonlocal peak
        peak = max(peak, memory(server.processes()))

    reload(server, moved, again, sample)
    return {"test": median(tested), "reload": median(took), "master": master, "worker": worker, "peak": peak}


def rendered(subject: Case, port: int) -> tuple[str, str, dict[str, float]]:
    """The configuration, the same with another shadow, and its size and time."""
    place = Place(listen=lambda _: f"127.0.0.1:{port}")
    took = [milliseconds(lambda: render(subject.dispatch, place)) for _ in range(3)]
    conf = render(subject.dispatch, place)
    return conf, render(subject.moved, place), {"bytes": len(conf.encode()), "render": median(took)}


def measure(nginx: str, cases: dict[str, Case], rounds: int, seconds: int) -> dict[str, Any]:
    """Case -> its figures. Each round goes through all cases, then back: `rates`, `cpus`, `faults` hold a figure of each round."""
    found: dict[str, Any] = {}
    (SCRATCH / "script.lua").write_text(SCRIPT)
    with ExitStack() as stack:

        def start(name: str, conf: str, core: int, address: tuple[str, int]) -> Server:
            folder = SCRATCH / name.replace(" ", "-")
            folder.mkdir(exist_ok=True)
            return stack.enter_context(running(nginx, folder, conf, core, address))

        servers = {DIRECT: start("origin", ORIGIN, OTHER_CORE, (SHADOW, PORT))}
        confs = {}
        for number, (name, subject) in enumerate(cases.items()):
            if name != DIRECT:
                port = 20_000 + number
                conf, moved, figures = rendered(subject, port)
                confs[name], found[name] = (conf, moved), figures
                servers[name] = start(name, conf, PROXY_CORE, ("127.0.0.1", port))
            found.setdefault(name, {}).update(check(servers[name], subject), rates=[], cpus=[], faults=[], requests=0)
            text = ",\n".join(json.dumps(request) for request, _ in subject.requests)
            (servers[name].folder / "requests.lua").write_text(f"return {{{text}}}")
        for _ in range(rounds):
            passes = [(name, load(servers[name], seconds)) for name in (*cases, *reversed(cases))]
            for name in cases:
                both = [figures for passed, figures in passes if passed == name]
                for each, what in (("rates", "rate"), ("cpus", "cpu"), ("faults", "faults")):
                    found[name][each].append(sum(f[what] for f in both) / 2)
                found[name]["requests"] += sum(f["requests"] for f in both)
        for name, (conf, moved) in confs.items():
            found[name] |= costs(servers[name], cases[name], conf, moved)
    return found


def main() -> None:
    """The job on standard input, its figures on standard output."""
    job = json.load(sys.stdin)
    furnish({})
    subprocess.run(["mount", "-t", "proc", "proc", "/proc"], check=True)  # process ids as they are here
    socket.sethostname(HOSTNAME)
    (kind,) = (each for each in (*BY_BRIDGES, *BY_KINDS) if each.name == job["kind"])
    cases = {str(size): case(kind, size) for size in kind.sizes if size in job["sizes"]}
    if kind is EXACT:
        cases |= {STREAM: passed_through(), DIRECT: case(EXACT, 0)}
    print(json.dumps(measure(job["nginx"], cases, job["rounds"], job["seconds"])))


if __name__ == "__main__" and __package__:  # not by `make bench`, which runs each file: this is nothing outside an enclosure
    main()
