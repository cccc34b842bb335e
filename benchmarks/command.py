"""How long the user of `bascule bridge` waits, on a real node with bascule as it is deployed (tests/live): medians of one run.

    .venv/bin/python benchmarks/command.py [--rounds 10] [--pods 3]

On a target that somebody else has bridged already: the command started until the first request is answered by the laptop's process.
The laptop's link goes down without a word: until the cluster answers in its place, and until the bridge says so;
up again: until the laptop answers.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.live import Figures, reached, show  # noqa: E402
from tests.cluster.cluster import cluster  # noqa: E402
from tests.live.lab import Namespace, furnished, header, until, workload  # noqa: E402
from tests.live.laptop import HTTP, Laptop, laptop  # noqa: E402


def commanded(shop: Namespace, alice: Laptop, figures: Figures) -> None:
    """Alice's command, from its start to its end; while it is there, her laptop vanishes once."""
    with ExitStack() as stack:
        words = ("deployment/web", "-n", shop.name, "--port", f"8080:{HTTP}", "--header", "x-user=alice")
        took = reached(shop, "alice", "alice", lambda: stack.enter_context(alice.bridge(*words)))
        figures.setdefault("command started until the first request is on the laptop", []).append(took)
        vanished(shop, alice, figures)


def vanished(shop: Namespace, alice: Laptop, figures: Figures) -> None:
    """Her link goes down and up."""

    def passed(what: str, true: Callable[[], object]) -> None:
        until(true, what)
        figures.setdefault(what, []).append(time.monotonic() - began)

    (name,) = [b["metadata"]["name"] for b in shop.lab.kube.list_objects("GefyraBridge", "gefyra", "gefyra.dev/client=alice")[0]]
    began = time.monotonic()
    alice.unplug()
    passed("laptop vanished until the cluster answers", lambda: shop.ask("web", "-H", "x-user: alice").startswith("web-"))
    passed("... until the bridge says ClientAway", lambda: "ClientAway" in shop.told(name))
    began = time.monotonic()
    alice.plug()
    passed("laptop back until it answers", lambda: shop.ask("web", "-H", "x-user: alice") == "alice")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=10)
    parser.add_argument("--pods", type=int, default=3)
    asked = parser.parse_args()
    figures: Figures = {}
    with cluster() as own, tempfile.TemporaryDirectory() as scratch:
        lab = furnished(own)
        with (
            lab.namespace("commanded", workload("commanded", replicas=asked.pods)) as shop,
            laptop(lab, "alice", Path(scratch)) as alice,
            alice.process(),
        ):
            alice.may_see(shop.name)
            shop.bridge("bob", "deployment/web", header("x-user", "bob"))
            shop.without_stand_ins()
            for _ in range(asked.rounds):
                commanded(shop, alice, figures)
    show(figures)


if __name__ == "__main__":
    main()
