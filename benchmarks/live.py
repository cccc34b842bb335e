"""How long a user waits, on a real node with bascule as it is deployed (tests/live): medians over several rounds of one run.

    .venv/bin/python benchmarks/live.py [--rounds 10]

On a target of 1 and of 3 Pods that is bridged already: a bridge created until its first request reaches the user; removed until none
does. On a fresh target of 3 and of 10 Pods, the images on the node: the first bridge created until its first request reaches the user,
and until it is ACTIVE; the last one removed until every Pod runs its own image again and is ready, and until nothing is left. A rollout
of a bridged target: how long matching requests miss the user's process.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.cluster.cluster import cluster  # noqa: E402
from tests.live.lab import Lab, Namespace, furnished, header, until, workload  # noqa: E402
from tests.workload.build import built  # noqa: E402

Figures = dict[str, list[float]]


def reached(shop: Namespace, name: str, who: str, act: Callable[[], object]) -> float:
    """Seconds from `act` until a request with x-user=NAME is answered by `who`, a regex; the requests are sent from before it on."""
    url = f"http://{shop.address('web')}/"
    command = [str(built() / "load"), "first", "--url", url, "--header", f"x-user={name}", "--expect-name", who, "--timeout", "2m"]
    told: list[float] = []
    process = subprocess.Popen(shop.lab.cluster.inside(*command), stdout=subprocess.PIPE, text=True)

    def wait() -> None:
        process.communicate()
        told.append(time.monotonic())

    thread = threading.Thread(target=wait)
    thread.start()
    time.sleep(0.2)
    began = time.monotonic()
    act()
    thread.join()
    assert process.returncode == 0, f"{who} was never reached"
    return told[0] - began


def active_target(lab: Lab, pods: int, rounds: int, figures: Figures) -> None:
    """Bridges come and go on a target that stays bridged."""
    name = f"active{pods}"
    with lab.namespace(name, workload(name, replicas=pods)) as shop:
        shop.bridge("bob", "deployment/web", header("x-user", "bob"))
        shop.without_stand_ins()
        for _ in range(rounds):
            wanted = shop.wanted("alice", "deployment/web", [header("x-user", "alice")])
            came = reached(shop, "alice", "alice", partial(lab.kube.create, wanted))
            figures.setdefault(f"bridge created until routed, active target, {pods} Pods", []).append(came)
            until(lambda: shop.state("alice") == "ACTIVE", "alice to be ACTIVE")
            figures.setdefault(f"bridge removed until not routed, {pods} Pods", []).append(
                reached(shop, "alice", "web-.*", partial(shop.remove, "alice"))
            )
            time.sleep(0.5)


def fresh_target(lab: Lab, pods: int, number: int, figures: Figures) -> None:
    """The first bridge and the last one on a target that nobody has bridged."""
    name = f"fresh{pods}-{number}"
    with lab.namespace(name, workload(name, replicas=pods)) as shop:
        time.sleep(1)
        wanted = shop.wanted("alice", "deployment/web", [header("x-user", "alice")])
        began = time.monotonic()
        came = reached(shop, "alice", "alice", partial(lab.kube.create, wanted))
        figures.setdefault(f"first bridge until routed, {pods} Pods", []).append(came)
        until(lambda: shop.state("alice") == "ACTIVE", "alice to be ACTIVE")
        figures.setdefault(f"first bridge until ACTIVE, {pods} Pods", []).append(time.monotonic() - began)
        time.sleep(3)
        began = time.monotonic()
        shop.remove("alice")
        until(lambda: not shop.objects("Pod", "bascule.dev/carrier,!bascule.dev/role"), "the originals to be back")
        figures.setdefault(f"last bridge until restored, {pods} Pods", []).append(time.monotonic() - began)
        shop.restored()
        figures.setdefault(f"last bridge until nothing is left, {pods} Pods", []).append(time.monotonic() - began)


def rolled_out(lab: Lab, number: int, figures: Figures) -> None:
    """A rollout of a bridged target of 3 Pods: for how long requests that match reach somebody else, as new Pods are no carriers yet."""
    name = f"rolled-{number}"
    with lab.namespace(name, workload(name)) as shop:
        shop.bridge("alice", "deployment/web", header("x-user", "alice"))
        shop.without_stand_ins()
        old = {o["metadata"]["uid"] for o in shop.objects("Pod", "app=web,!bascule.dev/role")}

        def new_carriers() -> bool:
            pods = shop.objects("Pod", "app=web,!bascule.dev/role")
            marks = [o["metadata"]["labels"] for o in pods if o["metadata"]["uid"] not in old]
            return len(pods) == len(marks) and all("bascule.dev/carrier" in m and "bascule.dev/held" not in m for m in marks)

        who = ("--header", "x-user=alice", "--expect-name", "alice")
        began = time.monotonic()
        with shop.load("--url", f"http://{shop.address('web')}/", *who) as load:
            lab.cluster.kubectl("rollout", "restart", "-n", name, "deployment/web")
            lab.cluster.kubectl("rollout", "status", "-n", name, "deployment/web", "--timeout=180s")
            until(new_carriers, "the new Pods to be bridged")
        took = time.monotonic() - began
        figures.setdefault("rollout of 3 bridged Pods, until all are bridged again", []).append(took)
        missed = load.told["misrouted"] / load.told["sent"]
        figures.setdefault("... of it, as if so long no matching request had reached the user", []).append(missed * took)


def show(figures: Figures) -> None:
    """A table of the medians."""
    print("| | p50 | min | max |\n|---|---|---|---|")
    for what, seconds in figures.items():
        print(f"| {what} | {statistics.median(seconds):.2f} s | {min(seconds):.2f} s | {max(seconds):.2f} s |")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=10)
    rounds = parser.parse_args().rounds
    figures: Figures = {}
    with cluster() as own:
        lab = furnished(own)
        for pods in (1, 3):
            active_target(lab, pods, rounds, figures)
        for number in range(rounds):
            for pods in (3, 10):
                fresh_target(lab, pods, number, figures)
            rolled_out(lab, number, figures)
    show(figures)


if __name__ == "__main__":
    main()
