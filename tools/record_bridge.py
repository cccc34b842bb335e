"""Records `bascule bridge` as docs/bridge.svg: a user's laptop and a whole cluster of their own, as the tests have them (tests/live).

    tools/record_bridge.py docs/bridge.svg

What the recording shows is what happened: the command runs on a terminal of the laptop, requests come from within the cluster, and after
some of them Ctrl-C ends it.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.cluster.cluster import cluster  # noqa: E402
from tests.live.lab import Namespace, furnished, header, until, workload  # noqa: E402
from tests.live.laptop import HTTP, laptop  # noqa: E402
from tools import record  # noqa: E402

COMMAND = ["bascule", "bridge", "deployment/web", "-n", "shop", "--port", f"8080:{HTTP}", "--header", "x-user=alice"]
PATHS = ("/", "/api/orders", "/api/orders/7", "/basket", "/api/orders?page=2", "/healthz")


def visit(shop: Namespace) -> None:
    """Alice's requests, among those of others, once they reach her laptop; then her Ctrl-C."""
    until(lambda: shop.ask("web", "-H", "x-user: alice") == "alice", "alice")
    for path in PATHS:
        shop.ask("web", path=path)
        shop.ask("web", "-H", "x-user: alice", path=path)
        time.sleep(0.6)
    os.kill(os.getpid(), signal.SIGINT)


def main(output: str) -> int:
    """Record, and write what was seen; the exit code is the command's."""
    with cluster() as own, tempfile.TemporaryDirectory() as scratch:
        lab = furnished(own)
        with lab.namespace("shop", workload("shop")) as shop, laptop(lab, "alice", Path(scratch)) as alice, alice.process():
            alice.may_see("shop")
            shop.bridge("bob", "deployment/web", header("x-user", "bob"))
            until(lambda: not [t for t in shop.traces() if "stand-in" in t], "the stand-in to have left")
            visits = threading.Thread(target=visit, args=(shop,))
            visits.start()
            own_words = [f"{name}={value}" for name, value in alice.environment.items() if os.environ.get(name) != value]
            bascule = str(Path(sys.executable).with_name("bascule"))
            pieces, code = record.run(alice.inside("env", *own_words, bascule, *COMMAND[1:]))
            visits.join()
            Path(output).write_text(record.svg(" ".join(COMMAND), list(record.frames(COMMAND, pieces))), encoding="utf-8")
            return code


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: tools/record_bridge.py FILE.svg")
    sys.exit(main(sys.argv[1]))
