"""What tests/test_reload.py has done to a carrier container, in an enclosure.

`{"do": NAME, ...}` is a job; each is a function of that name. "hosts" are the addresses that the configurations lead to.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from carrier2.contract import CONFIG
from tests.enclosure import CARRIER_IP, RUN, furnish
from tests.reload_clients import BODY, Answer, Crowd, ask, echoes, http_client, stream_client, unary_client, until, upgraded
from tests.reload_pod import BIN, PATIENCE, SHADOW, SHELLS, TOOLS, Pod, grpc_stub, http_stub, pack


def load(pod: Pod, job: dict[str, Any]) -> dict[str, Any]:
    """Apply job["confs"] in turn, job["reloads"] times, each as soon as the last has answered, under all kinds of clients.

    wrong: answers from an address that no configuration led to between the answer's two times.
    """
    confs = [(*pack(conf), to) for conf, to in job["confs"]]
    for to in {to for _, _, to in confs} | {SHADOW}:
        http_stub(to, 3000 if to != SHADOW else 8080)
    servers = [grpc_stub(to, 3001 if to != SHADOW else 9090) for to in {to for _, _, to in confs} | {SHADOW}]
    with pod.running():
        applied = [pod.apply(*confs[0][:2])[1]]
        log = [(0.0, 0.0, confs[0][2])]  # start and end of each apply, and where it leads alice
        crowd = Crowd(
            {
                "reusing": http_client(b"", 10**9),
                "reusing too": http_client(b"", 10**9),
                "connecting": http_client(b"", 1),
                "posting": http_client(BODY, 50),
                "calling": unary_client(),
                "streaming": stream_client(),
            }
        )
        until(lambda: all(crowd.answers.values()) or bool(crowd.lost))
        workers: list[int] = []
        ended = threading.Event()

        def sample() -> None:
            while not ended.wait(0.02):
                workers.append(pod.workers())

        sampler = threading.Thread(target=sample, daemon=True)
        sampler.start()
        for number in range(1, job["reloads"] + 1):
            stream, digest, to = confs[number % len(confs)]
            start = time.monotonic()
            _, said, noise = pod.apply(stream, digest, SHELLS[number % 2])
            log.append((start, time.monotonic(), to))
            applied.append(said if said == f"applied {digest}\n" and not noise else f"bad: {said}{noise}")
        crowd.stop()
        ended.set()
        sampler.join()
        left = until(lambda: pod.workers() == 1)
    for server in servers:
        server.stop(None)
    return {
        "bad": [said for said in applied if not said.startswith("applied ")],
        "lost": crowd.lost,
        "answers": {name: len(answers) for name, answers in crowd.answers.items()},
        "wrong": [answer for answers in crowd.answers.values() for answer in answers if not right(answer, log)],
        "who": sorted({who for answers in crowd.answers.values() for *_, who in answers}),
        "workers": max(workers),
        "samples": len(workers),
        "old workers gone": left,
    }


def right(answer: Answer, log: Sequence[tuple[float, float, str]]) -> bool:
    """Whether a configuration that may have been in force led there."""
    since, then, route, who = answer
    if route == "nobody":
        return who == SHADOW
    ends = [end for _, end, _ in log[1:]] + [float("inf")]
    return any(who == to and start <= then and end >= since for (start, _, to), end in zip(log, ends, strict=True))


def seen() -> tuple[str, str]:
    """Who answers alice on port 8080 by a new connection, and the digest of the certificate of port 8443, or "" for a closed port."""
    connection = http.client.HTTPConnection(CARRIER_IP, 8080, timeout=PATIENCE)
    who = ask(connection, 0, "alice")[3]
    connection.close()
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection((CARRIER_IP, 8443), PATIENCE) as plain, context.wrap_socket(plain) as secure:
            return who, hashlib.sha256(secure.getpeercert(binary_form=True) or b"").hexdigest()
    except ConnectionRefusedError:
        return who, ""


def steps(pod: Pod, job: dict[str, Any]) -> list[dict[str, Any]]:
    """One after the other: `conf`, `files`, `hash` (of another), `cut` (bytes of the stream that arrive), `mounted` (files elsewhere).

    `lost`: requests of a client that asked all the while; `same`: whether the worker is still the one before.
    """
    for to in job["hosts"]:
        http_stub(to, 3000)
    http_stub(SHADOW, 8080)
    shell = SHELLS[job["shell"]]
    outcome: list[dict[str, Any]] = []
    for life in job["lives"]:
        with pod.running(shell):
            crowd = None
            outcome.append({"seen": seen() if outcome else None})
            for step in life:
                blocker = _occupy(pod, step["taken"]) if "taken" in step else None
                stream, digest = pack(step["conf"], step.get("files"))
                for path, text in step.get("mounted", {}).items():
                    Path(path).unlink(missing_ok=True)  # kubelet brings new files too; nginx takes one of the same second for the old
                    Path(path).write_text(text)
                until(lambda: len(pod.children()) == 1)  # those that a reload has retired take their time
                before = pod.children()
                code, said, noise = pod.apply(stream[: step.get("cut", len(stream))], step.get("hash", digest), shell)
                crowd = crowd or Crowd({"all the while": http_client(b"", 20)})
                told = {"code": code, "said": said, "seen": seen(), "stored": (RUN / CONFIG).read_text()}
                until(lambda: len(pod.children()) == 1)
                told["same"] = before == pod.children()
                outcome.append({**told, "noise": noise})
                if blocker:
                    blocker.terminate()
                    blocker.wait()
            if crowd:
                crowd.stop()
                outcome[-1]["lost"] = crowd.lost
                outcome[-1]["answers"] = len(crowd.answers["all the while"])
    return outcome


def _occupy(pod: Pod, port: int) -> subprocess.Popen[bytes]:
    """Another process that listens on the carrier's port."""
    listen = f"import socket; s = socket.create_server(('', {port})); print(flush=True); s.accept()"
    blocker = subprocess.Popen(["nsenter", f"--target={pod.first}", "--net", sys.executable, "-c", listen], stdout=subprocess.PIPE)
    assert blocker.stdout
    blocker.stdout.readline()
    return blocker


_DEADLY = """#!/bin/sh
n=$(($(/bin/cat /dev/shm/step) + 1))
echo "$n" >/dev/shm/step
[ "$n" != "$DIE_AT" ] || kill -9 0
PATH=${PATH#*:}
exec "${0##*/}" "$@"
"""


def killed(pod: Pod, job: dict[str, Any]) -> list[dict[str, Any]]:
    """Kill `apply` of the second configuration before its n-th command, for each n, while the first is in force.

    Its commands are wrapped, the n-th kills the process group. In dash: busybox's shell has most commands built in. After each
    even n the container starts again. Then the first is applied again.
    """
    for to in job["hosts"]:
        http_stub(to, 3000)
    http_stub(SHADOW, 8080)
    wrappers = BIN / "deadly"
    wrappers.mkdir()
    for tool in TOOLS:
        (wrappers / tool).write_text(_DEADLY)
        (wrappers / tool).chmod(0o755)
    first, second = (pack(*each) for each in job["confs"])
    path = f"{wrappers}:{BIN / 'dash'}:{os.environ['PATH']}"
    outcome: list[dict[str, Any]] = []
    with ExitStack() as life:
        life.enter_context(pod.running())
        pod.apply(*first)
        while not outcome or outcome[-1]["died"]:
            told: dict[str, Any] = {"step": len(outcome) + 1}
            Path("/dev/shm/step").write_text("0")
            told["died"] = pod.apply(*second, PATH=path, DIE_AT=str(told["step"]))[0] == -signal.SIGKILL
            told["after"] = seen()
            if told["step"] % 2 == 0:
                life.close()
                life.enter_context(pod.running())
                told["restarted"] = seen()
            told["again"], told["then"] = pod.apply(*first)[1], seen()
            told["left"] = sorted(each.name for each in RUN.iterdir() if each.name.startswith(("undo", "new")))
            outcome.append(told)
    return outcome


def bounded(pod: Pod, job: dict[str, Any]) -> dict[str, Any]:
    """One open upgraded connection before each apply, then which of them still echo."""
    for to in job["hosts"]:
        http_stub(to, 3000)
    http_stub(SHADOW, 8080)
    said = []
    with pod.running():
        open_ones: list[socket.socket] = []
        for conf in job["confs"]:
            stream, digest = pack(conf)
            code, _, noise = pod.apply(stream, digest)
            said.append((code, noise, pod.workers()))
            open_ones.append(upgraded())
        alive = [echoes(each) for each in open_ones]
        for each in open_ones:
            each.close()
        return {"said": said, "alive": alive, "old workers gone": until(lambda: pod.workers() == 1)}


def together(pod: Pod, job: dict[str, Any]) -> dict[str, Any]:
    """All of job["confs"] at the same time."""
    for to in job["hosts"]:
        http_stub(to, 3000)
    with pod.running(), ThreadPoolExecutor(len(job["confs"])) as pool:
        said = list(pool.map(lambda conf: pod.apply(*pack(conf))[1], job["confs"]))
        left = sorted(each.name for each in RUN.iterdir() if each.name.startswith(("undo", "new")))
        return {"said": said, "stored": (RUN / CONFIG).read_text(), "seen": seen()[0], "left": left}


def _main() -> None:
    job = json.load(sys.stdin)
    furnish({}, [*job["hosts"], SHADOW])
    subprocess.run(["mount", "-t", "proc", "proc", "/proc"], check=True)
    socket.sethostname("web-0")
    jobs = {"load": load, "steps": steps, "killed": killed, "bounded": bounded, "together": together}
    print(json.dumps(jobs[job["do"]](Pod(job["nginx"]), job)))  # noqa: T201


if __name__ == "__main__":
    _main()
