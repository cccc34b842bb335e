"""How the pure core grows with the cluster: N Pods in N/10 Deployments, each with a mount and ten bridges.

    python benchmarks/generate.py              the table of docs/benchmarks.md, in a quarter of an hour
    python benchmarks/generate.py --write      the same, written to the page and its picture
    python benchmarks/generate.py 10 1000      other sizes, in a minute

Each measurement of each size runs in a process of its own, so that the peak memory is its own, and all of them are gone
through ROUNDS times; the fastest counts. Seconds are of processor time: nothing here waits, and others may use the machine.
"""

from __future__ import annotations

import gc
import json
import re
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address
from itertools import count
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.curve import Figures, draw, table, write
from generator.asked.admission import read
from generator.cluster.snapshot import Obj, Snapshot, Space, key_of
from generator.desired.generate import generate
from generator.patch import patch
from generator.plan import Change, plan
from generator.simulate import fold, settle, world
from generator.text import reading as text
from generator.text import yamlreader
from tests import kube

ROOT = Path(__file__).parents[1]
SIZES = (10, 100, 1_000, 10_000)
PODS, BRIDGES, TARGETS = 10, 10, 50  # of a target, of a target, of a namespace
ROUNDS = 3
PURE_MOST = 1_000  # Pods up to which YAML is read without PyYAML's C parser: it takes milliseconds for each object


def target(number: int, pool: Iterator[str]) -> list[Obj]:
    """A Deployment of ten Pods with its Service, a mount and ten bridges by header and path. pool: free addresses."""
    namespace, name = f"team-{number // TARGETS}", f"web-{number}"
    labels = {"app": name}
    made = kube.deployment(name, labels, [kube.container()], PODS, 0, namespace)
    objects = [kube.running(o, next(pool)) if o["kind"] == "Pod" else o for o in made]
    address = next(pool)
    objects.append(kube.service(name, labels, namespace=namespace, clusterIP=address, clusterIPs=[address]))
    objects.append(kube.mount(name, f"deployment/{name}", namespace=namespace))
    for index in range(BRIDGES):
        rules = [kube.rule(kube.header("x-user", f"user-{index}"), kube.path(f"/api/{index}"))]
        objects.append(kube.bridge(f"{name}-{index}", name, rules, client=f"user-{index}", endpoint=f"{next(pool)}:10000"))
    return list(settle(world(objects), kube.NOW).values())


def installed(objects: list[Obj], pool: Iterator[str]) -> tuple[list[Obj], str]:
    """The same target when nothing changes any more, and the time then. What is created gets its address from the pool."""

    def addressed(change: Change) -> Change:
        if change.op != "create" or change.body is None or change.key.kind not in ("Pod", "Service"):
            return change
        ip = next(pool)
        if change.key.kind == "Pod":
            return replace(change, body={**change.body, "status": {"podIP": ip, "podIPs": [{"ip": ip}]}})
        return replace(change, body={**change.body, "spec": {**change.body["spec"], "clusterIP": ip, "clusterIPs": [ip]}})

    run = fold(objects, kube.NOW, writes=lambda _, changes: [addressed(c) for c in changes])
    assert run.converged, objects
    return list(run.end), run.now


def build(pods: int, folder: Path) -> None:
    """Write the clusters of one size, one target's after the other's. *.lines: the time, then an object a line."""
    first: list[Obj] = []
    active: list[Obj] = []
    now = kube.NOW
    for number in range(pods // PODS):
        pool = (str(IPv4Address("10.0.0.0") + number * 64 + n) for n in count())  # 42 are used
        objects = target(number, pool)
        end, now = installed(objects, pool)
        first += objects
        active += end
    crowded = json.loads(re.sub(r'"team-\d+"', '"team"', json.dumps(active)))
    for name, objects, moment in (("first", first, kube.NOW), ("active", active, now), ("crowded", crowded, now)):
        assert len({key_of(o) for o in objects}) == len(objects), "a name twice"
        ips = [o["status"]["podIP"] for o in objects if o["kind"] == "Pod"] + [
            o["spec"]["clusterIP"] for o in objects if o["kind"] == "Service"
        ]
        assert len(set(ips)) == len(ips), "an address twice"
        snapshot = Snapshot.of(objects, moment)
        assert bool(plan(snapshot, generate(snapshot))) == (name == "first"), f"{name}: not the state that it should be"
        (folder / f"{name}.lines").write_text("\n".join(json.dumps(o) for o in (moment, *objects)))
    (folder / "active.json").write_text(text.write_json({"apiVersion": "v1", "kind": "List", "items": active}))
    (folder / "active.yaml").write_text(text.write_yaml(active))


def load(path: Path) -> tuple[list[Obj], str]:
    """The objects of a file and its time, line by line and each key kept once: no text of all of it adds to the memory."""
    with path.open() as lines:
        now, *objects = (json.loads(s, object_pairs_hook=lambda pairs: {sys.intern(k): v for k, v in pairs}) for s in lines)
    return objects, now


def peak(who: int = resource.RUSAGE_SELF) -> float:
    """The most memory this process, or the largest of its children, has had so far, in MiB (macOS counts bytes, Linux KiB)."""
    return resource.getrusage(who).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def best(function: Callable[[], Any], collector: bool = True) -> float:
    """Processor seconds of the fastest run: one, and more until half a second has gone by. collector: with Python's garbage collector."""
    (gc.enable if collector else gc.disable)()
    found: list[float] = []
    begin = time.monotonic()
    while not found or time.monotonic() - begin < 0.5:
        gc.collect()
        start = time.process_time()
        function()
        found.append(time.process_time() - start)
    return min(found)


def core(path: Path) -> dict[str, float]:
    """Every stage from objects to patches and YAML. Memory is that of the objects, their index and what should exist."""
    objects, now = load(path)
    snapshot = Snapshot.of(objects, now)
    desired = generate(snapshot)
    memory = peak()
    intent = desired.intent
    key = sorted(intent.claims)[len(intent.claims) // 2]
    space = snapshot.space(key.namespace)

    def touched() -> Any:
        """What an event in the namespace costs when that namespace alone is indexed again."""
        anew = Space(space.name, space.objects, space.by_kind)
        return generate(replace(snapshot, spaces={**snapshot.spaces, space.name: anew}), frozenset({key}), intent)

    live = {key_of(o): o for o in objects}
    pairs = [(live[key_of(o)], o) for o in desired.objects if key_of(o) in live]
    return {
        "generate": best(lambda: generate(Snapshot.of(objects, now))),
        "the same, garbage collector off": best(lambda: generate(Snapshot.of(objects, now)), collector=False),
        "of this: index": best(lambda: Snapshot.of(objects, now)),
        "of this: read bridges and mounts": best(lambda: read(snapshot)),
        "recompute one target": best(lambda: generate(snapshot, frozenset({key}), intent)),
        "the same, its namespace indexed anew": best(touched),
        "plan": best(lambda: plan(snapshot, desired)),
        "diff": best(lambda: [patch(a, b) for a, b in pairs]),
        "render": best(lambda: text.write_yaml(desired.objects)),
        "memory": memory,
    }


def reading(path: Path) -> dict[str, float]:
    """Text into objects; memory is that of the text and the objects."""
    raw = path.read_bytes()
    objects, problems = text.read(raw, path.name)
    assert objects
    assert not problems
    memory = peak()
    del objects
    return {"time": best(lambda: text.read(raw, path.name)), "memory": memory, "text": len(raw) / 2**20}


def reading_pure(path: Path) -> dict[str, float]:
    """The same without PyYAML."""
    yamlreader.FAST_FROM = sys.maxsize
    return reading(path)


def command(path: Path) -> dict[str, float]:
    """`bascule render` with its start and its input, once."""
    with path.with_suffix(".lines").open() as lines:
        now = json.loads(lines.readline())
    subprocess.run([sys.executable, "-m", "generator", "render", "-f", path, "--now", now], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {"time": used.ru_utime + used.ru_stime, "memory": peak(resource.RUSAGE_CHILDREN)}


JOBS: dict[str, tuple[Callable[[Path], dict[str, float]], str]] = {
    "First moment of an install": (core, "first.lines"),
    "Steady state": (core, "active.lines"),
    "Steady state, all in one namespace": (core, "crowded.lines"),
    "Reading JSON": (reading, "active.json"),
    "Reading YAML": (reading, "active.yaml"),
    "Reading YAML, pure Python": (reading_pure, "active.yaml"),
    "`bascule render`, JSON to YAML": (command, "active.json"),
}


def elsewhere(*arguments: str) -> Any:
    """What this script says when called with the arguments: in a process of its own, whose memory is not its neighbours'."""
    return json.loads(subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, check=True).stdout or "null")


def gather(sizes: Sequence[int], folder: Path) -> Figures:
    """Job -> row -> size -> a figure of each round."""
    for size in sizes:
        (folder / str(size)).mkdir()
        elsewhere("--build", str(size), str(folder / str(size)))
    found: Figures = {}
    for job, size in [(job, size) for _ in range(ROUNDS) for job in JOBS for size in sizes if size <= PURE_MOST or "pure" not in job]:
        for row, value in elsewhere("--job", job, str(folder / str(size) / JOBS[job][1])).items():
            found.setdefault(job, {}).setdefault(row, {}).setdefault(size, []).append(value)
    return found


def main(arguments: list[str]) -> None:
    """All sizes, or one job of one size."""
    if arguments[:1] == ["--build"]:
        build(int(arguments[1]), Path(arguments[2]))
    elif arguments[:1] == ["--job"]:
        print(json.dumps(JOBS[arguments[1]][0](Path(arguments[2]))))
    else:
        sizes = [int(a) for a in arguments if a.isdigit()] or list(SIZES)
        with tempfile.TemporaryDirectory() as folder:
            lines = table(gather(sizes, Path(folder)), sizes)
        print(lines)
        if "--write" in arguments:
            write(lines)
            draw()


if __name__ == "__main__":
    main(sys.argv[1:])
