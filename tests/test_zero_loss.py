"""No request is lost when a bridge comes, changes or goes; a rollout, or more and fewer Pods, cost no more than without bridges.

The load opens a connection for each request, sends POSTs, repeats none and counts everything but the expected answer as lost; the
application ends at once on SIGTERM, as many do. Clients that keep connections are served without a loss by an application that ends
gracefully: whoever kills an application that does not, for whatever reason, kills the requests in it.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial

import pytest

from tests.live.lab import Lab, Load, Namespace, header, prefix, until, workload

RUNS = 5
MATCHING = ("--header", "x-user=alice", "--expect-name", "alice")
REST = 3.0
"""Seconds of load before and after, so that a loss shows that comes late."""


@contextmanager
def served(lab: Lab, name: str, yaml: str) -> Iterator[Namespace]:
    """A namespace with a workload to which kube-proxy leads by now."""
    with lab.namespace(name, yaml) as shop:
        until(lambda: shop.ask("web"), "web to answer")
        yield shop


def lost(load: Load) -> int:
    """Requests that were not answered as they should have been."""
    assert load.told["sent"] > 100, str(load)
    return int(load.told["failed"]) + int(load.told["misrouted"])


def rolled(shop: Namespace, name: str) -> None:
    """Roll the Deployment out anew, as its owner does."""
    shop.lab.cluster.kubectl("rollout", "restart", "-n", shop.name, f"deployment/{name}")
    shop.lab.cluster.kubectl("rollout", "status", "-n", shop.name, f"deployment/{name}", "--timeout=180s")


def scaled(shop: Namespace, name: str, replicas: int) -> None:
    """Have so many Pods, and wait until there are."""
    shop.lab.cluster.kubectl("scale", "-n", shop.name, f"deployment/{name}", f"--replicas={replicas}")
    until(lambda: len(shop.objects("Pod", f"app={name},!bascule.dev/role")) == replicas, f"{replicas} Pods of {name}")
    shop.lab.cluster.kubectl("rollout", "status", "-n", shop.name, f"deployment/{name}", "--timeout=180s")


def carried(shop: Namespace, name: str) -> bool:
    """Whether every Pod of the Deployment is bridged, and nothing moves."""
    pods = shop.objects("Pod", f"app={name},!bascule.dev/role")
    held = [p for p in pods if "bascule.dev/held" in p["metadata"]["labels"]]
    return shop.state("alice") == "ACTIVE" and all("bascule.dev/carrier" in p["metadata"]["labels"] for p in pods) and not held


def _elsewhere(shop: Namespace, path: str) -> bool:
    return shop.ask("web", path=path) != "bob"


@pytest.mark.parametrize("run", range(RUNS))
def test_first_bridge_rule_changes_and_last_bridge_lose_nothing(lab: Lab, run: int) -> None:
    """0 lost of thousands, from before the first bridge until after the last, ten rule changes between."""
    name = f"zero{run}"
    with served(lab, name, workload(name)) as shop:
        url = f"http://{shop.address('web')}/"
        with shop.load("--url", url) as anybody:
            time.sleep(REST)
            shop.bridge("alice", "deployment/web", header("x-user", "alice"))
            for change in range(5):
                shop.bridge("bob", "deployment/web", prefix(f"/api{change}"))
                assert shop.ask("web", path=f"/api{change}/x") == "bob"
                shop.remove("bob")
                until(partial(_elsewhere, shop, f"/api{change}/x"), "bob's rule to go")
            shop.remove("alice")
            shop.restored()
            time.sleep(REST)
        assert lost(anybody) == 0, str(anybody)


def test_clients_that_keep_connections_lose_no_more_than_in_a_rollout(lab: Lab) -> None:
    """HTTP keep-alive and gRPC, from before the first bridge until after the last, beside one rollout of the same Deployment.

    The application ends gracefully, and all the same an idle connection that it closes may cross a request.
    """
    with served(lab, "keep", workload("keep", args=["--graceful"])) as shop:
        address = shop.address("web")

        def loads() -> tuple[AbstractContextManager[Load], AbstractContextManager[Load]]:
            return shop.load("--url", f"http://{address}/", "--keepalive"), shop.load("--grpc", f"{address}:9090")

        http, grpc = loads()
        with http as before_http, grpc as before_grpc:
            time.sleep(REST)
            rolled(shop, "web")
            time.sleep(REST)
        http, grpc = loads()
        with http as bridged_http, grpc as bridged_grpc:
            time.sleep(REST)
            shop.bridge("alice", "deployment/web", header("x-user", "alice"))
            time.sleep(REST)
            shop.remove("alice")
            shop.restored()
            time.sleep(REST)
        assert lost(bridged_http) <= max(2, lost(before_http)), f"{before_http} {bridged_http}"
        assert lost(bridged_grpc) <= max(2, lost(before_grpc)), f"{before_grpc} {bridged_grpc}"


def test_clients_that_keep_connections_reach_the_user(lab: Lab) -> None:
    """Whoever was connected before the bridge, or to a stand-in, is routed like everybody else once it stands."""
    with served(lab, "reach", workload("reach", args=["--graceful"])) as shop:
        url = f"http://{shop.address('web')}/"
        with shop.load("--url", url, "--keepalive", "--header", "x-user=alice"):
            shop.bridge("alice", "deployment/web", header("x-user", "alice"))
            shop.without_stand_ins()
            with shop.load("--url", url, "--keepalive", *MATCHING) as later:
                time.sleep(REST)
        assert lost(later) == 0, str(later)


def test_a_rollout_costs_no_more_than_without_bridges(lab: Lab) -> None:
    """The same rollout of the same Deployment with and without a bridge, one after the other; no matching request meets the application
    in a new Pod.
    """
    with served(lab, "roll", workload("roll")) as shop:
        url = f"http://{shop.address('web')}/"
        with shop.load("--url", url) as alone:
            time.sleep(REST)
            rolled(shop, "web")
            time.sleep(REST)
        shop.bridge("alice", "deployment/web", header("x-user", "alice"))
        with shop.load("--url", url) as bridged, shop.load("--url", url, *MATCHING) as matching:
            time.sleep(REST)
            rolled(shop, "web")
            until(lambda: carried(shop, "web"), "the new Pods to be bridged", lambda: shop.told("alice"))
            time.sleep(REST)
        assert lost(bridged) <= lost(alone), f"{alone} {bridged}"
        assert matching.told["sent"] > 100
        assert matching.told["misrouted"] == 0, str(matching)


def test_more_and_fewer_pods_cost_no_more_than_without_bridges(lab: Lab) -> None:
    """Up loses nothing, and no matching request meets the application in a new Pod; down costs what it costs without a bridge."""
    with served(lab, "scale", workload("scale", replicas=2)) as shop:
        url = f"http://{shop.address('web')}/"
        with shop.load("--url", url) as alone:
            time.sleep(REST)
            scaled(shop, "web", 4)
            time.sleep(REST)
            scaled(shop, "web", 2)
            time.sleep(REST)
        shop.bridge("alice", "deployment/web", header("x-user", "alice"))
        with shop.load("--url", url) as up, shop.load("--url", url, *MATCHING) as matching:
            time.sleep(REST)
            scaled(shop, "web", 4)
            until(lambda: carried(shop, "web"), "the new Pods to be bridged", lambda: shop.told("alice"))
            time.sleep(REST)
        with shop.load("--url", url) as down:
            time.sleep(REST)
            scaled(shop, "web", 2)
            time.sleep(REST)
        assert lost(up) == 0, str(up)
        assert lost(matching) == 0, str(matching)
        assert lost(down) <= lost(alone), f"{alone} {down}"
