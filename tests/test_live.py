"""The RFC from end to end, on a whole cluster with bascule as it is deployed."""

from __future__ import annotations

from tests.live.lab import Lab, header, prefix, until, workload


def test_a_deployment_is_bridged_by_two_users_and_then_as_before(lab: Lab) -> None:
    """Alice by header, bob by path, everybody else by the shadows; each leaves alone, and in the end the namespace is as it was."""
    with lab.namespace("shop", workload("shop")) as shop:
        before = shop.owned()
        shop.bridge("alice", "deployment/web", header("x-user", "alice"))
        assert shop.ask("web", "-H", "x-user: alice") == "alice"
        assert shop.ask("web").startswith("web-shadow-")
        shop.bridge("bob", "deployment/web", prefix("/api"))
        assert shop.ask("web", path="/api/orders") == "bob"
        assert shop.ask("web", "-H", "x-user: alice", path="/api/orders") == "alice"
        until(lambda: 'bascule_bridges{state="ACTIVE"} 2.0' in lab.measured(), "the leader to count both")
        shop.remove("alice")
        until(lambda: shop.ask("web", "-H", "x-user: alice").startswith("web-shadow-"), "alice's requests to stay in the cluster")
        assert shop.ask("web", path="/api/orders") == "bob"
        shop.remove("bob")
        shop.restored()
        shop.as_before(before)
