"""How the pure core grows with the cluster: N Pods in N/10 Deployments, each with a mount and ten bridges.

    python benchmarks/generate.py              the tables of docs/benchmarks.md, in about twelve minutes
    python benchmarks/generate.py 10 1000      other sizes, in seconds

Each size and moment is measured in a process of its own, so that the peak memory is its own. `first` is the first moment of
an install: nothing of ours is there. `active` is the steady state: every target is installed, each Pod has its shadow, and
each carrier's nginx configuration is rendered. All of it is gone through ROUNDS times and the fastest run counts: on a busy
machine the others say how busy it was.
"""

from __future__ import annotations

import gc
import json
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

from generator.asked.admission import read
from generator.cluster.snapshot import Obj, Snapshot, Space, key_of
from generator.desired.generate import generate
from generator.patch import patch
from generator.plan import Change, plan
from generator.simulate import fold, settle, world
from generator.text import reading as text
from generator.text import yamlreader
from tests import kube

SIZES = (10, 100, 1_000, 10_000)
PODS, BRIDGES, TARGETS = 10, 10, 50  # of a target, of a target, of a namespace
ROUNDS = 3
PURE_MOST = 1_000  # Pods up to which YAML is read without PyYAML's C parser: it takes milliseconds for each object
MEMORY, STARTED = "memory", "memory of Python and the imports"

Figures = dict[str, float]


def addresses(number: int) -> Iterator[str]:
    """Addresses that only target `number` has: 64 are enough for its Pods, their shadows, two Services and its bridges."""
    return (str(IPv4Address("10.0.0.0") + number * 64 + n) for n in count())


def target(number: int, pool: Iterator[str]) -> list[Obj]:
    """A Deployment of ten Pods with its Service, a mount and ten bridges by header and path."""
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


def build(pods: int, folder: Path) -> Figures:
    """Write first.lines and active.lines, an object a line after the time, and active.json and active.yaml; no figures."""
    first: list[Obj] = []
    active: list[Obj] = []
    now = kube.NOW
    for number in range(pods // PODS):
        pool = addresses(number)
        objects = target(number, pool)
        end, now = installed(objects, pool)
        first += objects
        active += end
    for name, objects, moment in (("first", first, kube.NOW), ("active", active, now)):
        assert len({key_of(o) for o in objects}) == len(objects), "a name twice"
        ips = [o["status"]["podIP"] for o in objects if o["kind"] == "Pod"]
        ips += [o["spec"]["clusterIP"] for o in objects if o["kind"] == "Service"]
        assert len(set(ips)) == len(ips), "an address twice"
        (folder / f"{name}.lines").write_text("\n".join(json.dumps(o) for o in (moment, *objects)))
    snapshot = Snapshot.of(active, now)
    assert plan(snapshot, generate(snapshot)) == (), "the joined targets are not in their steady state"
    (folder / "active.json").write_text(text.write_json({"apiVersion": "v1", "kind": "List", "items": active}))
    (folder / "active.yaml").write_text(text.write_yaml(active))
    return {}


def load(path: Path) -> tuple[list[Obj], str]:
    """The objects of a file and its time, line by line and each key kept once: no text of all of it adds to the memory."""
    with path.open() as lines:
        now, *objects = (json.loads(s, object_pairs_hook=lambda pairs: {sys.intern(k): v for k, v in pairs}) for s in lines)
    return objects, now


def peak() -> float:
    """The most memory this process has had so far, in MiB (ru_maxrss: KiB on Linux, bytes on macOS)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def best(function: Callable[[], Any]) -> float:
    """Seconds of the fastest run: one, and more until half a second has gone by."""
    found: list[float] = []
    begin = time.perf_counter()
    while not found or time.perf_counter() - begin < 0.5:
        gc.collect()
        start = time.perf_counter()
        function()
        found.append(time.perf_counter() - start)
    return min(found)


def core(path: Path) -> Figures:
    """Every stage from objects to patches and YAML. Memory is that of the objects, their index and what should exist."""
    result = {STARTED: peak()}
    objects, now = load(path)
    snapshot = Snapshot.of(objects, now)
    desired = generate(snapshot)
    result[MEMORY] = peak()
    result["generate"] = best(lambda: generate(Snapshot.of(objects, now)))
    result["- index"] = best(lambda: Snapshot.of(objects, now))
    result["- read"] = best(lambda: read(snapshot))
    intent = desired.intent
    key = sorted(intent.claims)[len(intent.claims) // 2]
    space = snapshot.space(key.namespace)

    def touched() -> Any:
        """What an event in the namespace costs when that namespace alone is indexed again."""
        anew = Space(space.name, space.objects, space.by_kind)
        return generate(replace(snapshot, spaces={**snapshot.spaces, space.name: anew}), key, intent)

    result["recompute"] = best(lambda: generate(snapshot, key, intent))
    result["recompute, namespace touched"] = best(touched)
    live = {key_of(o): o for o in objects}
    pairs = [(live[key_of(o)], o) for o in desired.objects if key_of(o) in live]
    result["plan"] = best(lambda: plan(snapshot, desired))
    result["diff"] = best(lambda: [patch(a, b) for a, b in pairs])
    result["render"] = best(lambda: text.write_yaml(desired.objects))
    return result


def reading(path: Path) -> Figures:
    """Text into objects; memory is that of the text and the objects."""
    raw = path.read_bytes()
    objects, problems = text.read(raw, path.name)
    assert objects
    assert not problems
    memory = peak()
    del objects
    return {"time": best(lambda: text.read(raw, path.name)), MEMORY: memory, "size": len(raw) / 2**20}


def reading_pure(path: Path) -> Figures:
    """The same without PyYAML."""
    yamlreader.FAST_FROM = sys.maxsize
    return reading(path)


JOBS: dict[str, tuple[Callable[[Path], Figures], str]] = {
    "first": (core, "first.lines"),
    "active": (core, "active.lines"),
    "JSON": (reading, "active.json"),
    "YAML": (reading, "active.yaml"),
    "YAML, pure Python": (reading_pure, "active.yaml"),
}


def elsewhere(*arguments: str) -> Figures:
    """What this script says when called with the arguments: a process of its own, its memory not that of its neighbours."""
    found: Figures = json.loads(subprocess.run([sys.executable, __file__, *arguments], stdout=subprocess.PIPE, check=True).stdout)
    return found


def gather(sizes: Sequence[int], folder: Path) -> dict[str, dict[int, float]]:
    """Row of the table -> size -> the least of all rounds."""
    for size in sizes:
        (folder / str(size)).mkdir()
        elsewhere("--build", str(size), str(folder / str(size)))
    rows: dict[str, dict[int, float]] = {}
    for _ in range(ROUNDS):
        for job, size in ((job, size) for job in JOBS for size in sizes if size <= PURE_MOST or "pure" not in job):
            for name, value in elsewhere("--job", job, str(folder / str(size) / JOBS[job][1])).items():
                row = rows.setdefault(f"{name}, {job}", {})
                row[size] = min(value, row.get(size, value))
    return rows


def shown(value: float, name: str) -> str:
    """A figure with its unit."""
    if name.startswith((MEMORY, "size")):
        return f"{value:.3g} MiB" if value < 100 else f"{value:.0f} MiB"
    return f"{value * 1000:.3g} ms" if value < 0.9995 else f"{value:.3g} s"


def table(rows: dict[str, dict[int, float]], sizes: Sequence[int]) -> str:
    """Markdown: a line for each row, a column for each size, and what one Pod costs at the largest size against the smallest."""
    lines = [f"| | {' | '.join(f'{s:,}' for s in sizes)} | per Pod |", f"|---|{'--:|' * (len(sizes) + 1)}"]
    for name, row in rows.items():
        least, most = min(row), max(row)
        ratio = row[most] / most / (row[least] / least)
        cells = [shown(row[s], name) if s in row else "" for s in sizes]
        lines.append(f"| {name} | {' | '.join(cells)} | {ratio:.2g} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> None:
    """All sizes, or one job of one size."""
    if arguments[:1] == ["--build"]:
        print(json.dumps(build(int(arguments[1]), Path(arguments[2]))))
    elif arguments[:1] == ["--job"]:
        print(json.dumps(JOBS[arguments[1]][0](Path(arguments[2]))))
    else:
        sizes = [int(a) for a in arguments] or list(SIZES)
        with tempfile.TemporaryDirectory() as folder:
            print(table(gather(sizes, Path(folder)), sizes))


if __name__ == "__main__":
    main(sys.argv[1:])
