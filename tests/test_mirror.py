"""The mirror of a real API server: it follows through cut watches, outages and 410, and knows how far proxies may be behind."""

from __future__ import annotations

import json
import signal
from collections.abc import Iterator
from contextlib import contextmanager

import pykube
import pytest

from generator.cluster.snapshot import Key, Obj
from generator.live import metrics
from generator.live.kube import Kube
from generator.live.mirror import Mirror
from tests.cluster.cluster import Cluster
from tests.live.faults import Request, by_token, compact, proxied
from tests.live.lab import until
from tests.overlay_lab import account

NOW = "2026-11-27T10:00:00Z"
MARK = Key("ConfigMap", "gefyra", "mark")


@pytest.fixture(scope="module")
def followed(server: Cluster) -> Iterator[tuple[Cluster, Mirror]]:
    """A mirror of the control namespace, which is told of each change by the server alone."""
    for crd in ("gefyrabridges", "gefyrabridgemounts", "gefyraclients"):
        server.kubectl("apply", "-f", f"overlays/base/crds/{crd}.yaml")
    server.kubectl("wait", "--for=condition=Established", "crd", "--all")
    with _following(account(server.kubeconfig)) as mirror:
        yield server, mirror


@contextmanager
def _following(kube: Kube) -> Iterator[Mirror]:
    mirror = Mirror(kube, lambda _key, _before, _after: None)
    mirror.follow([])
    until(lambda: not mirror.waits_for, "the first lists", lambda: str(mirror.waits_for))
    try:
        yield mirror
    finally:
        mirror.stop()


def _written(server: Cluster, value: str) -> None:
    body: Obj = {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": MARK.name, "namespace": MARK.namespace, "labels": {"v": value}},
    }
    server.kubectl("apply", "-f", "-", stdin=json.dumps(body))


def _seen(mirror: Mirror) -> str:
    return str(((mirror.get(MARK) or {}).get("metadata") or {}).get("labels", {}).get("v", ""))


def test_a_change_and_its_end_are_followed(followed: tuple[Cluster, Mirror]) -> None:
    """Made, changed, deleted and made again: no ghost, and no older version comes back."""
    server, mirror = followed
    for value in ("1", "2"):
        _written(server, value)
        until(lambda: _seen(mirror) == value, f"version {value}")  # noqa: B023
    old = mirror.get(MARK)
    server.kubectl("delete", "configmap", "-n", MARK.namespace, MARK.name)
    until(lambda: mirror.get(MARK) is None, "its end")
    mirror.saw(MARK, old)
    assert mirror.get(MARK) is None
    _written(server, "3")
    until(lambda: _seen(mirror) == "3", "the new one")


def test_a_watch_that_is_cut_goes_on_and_is_no_outage(followed: tuple[Cluster, Mirror]) -> None:
    """A load balancer that ends idle connections must not hold up anybody's swap."""
    server, _ = followed
    cuts: list[str] = []

    def cut(request: Request) -> bytes | None:
        if "watch=1" not in request.path or len(cuts) > 20:
            return None
        cuts.append(request.path)
        head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
        return f"{head}100\r\n".encode()

    server.kubectl("create", "serviceaccount", "-n", "gefyra", "reader")
    server.kubectl("create", "clusterrolebinding", "reader", "--clusterrole=cluster-admin", "--serviceaccount=gefyra:reader")
    token = server.kubectl("create", "token", "-n", "gefyra", "reader").strip()
    with proxied(server.kubeconfig, cut) as url, _following(Kube(pykube.KubeConfig(by_token(url, token)))) as mirror:
        until(lambda: len(cuts) > 20, "some cuts")
        _written(server, "cut")
        until(lambda: _seen(mirror) == "cut", "the change after them")
        assert mirror.proxies_behind == 0
        assert not mirror.snapshot(NOW).proxies_behind


def test_after_an_outage_all_is_followed_and_proxies_are_thought_to_be_behind(followed: tuple[Cluster, Mirror]) -> None:
    """The API server is killed, and etcd has forgotten what was before: the lists are read anew."""
    server, mirror = followed
    assert mirror.proxies_behind == 0
    relists = metrics.relists._value.get()
    server.stop("kube-apiserver", signal.SIGKILL)
    try:
        compact(server)
        until(lambda: mirror.proxies_behind, "the mirror to notice")
    finally:
        server.start("kube-apiserver")
    until(lambda: metrics.relists._value.get() > relists, "410 and a new list")
    _written(server, "after")
    until(lambda: _seen(mirror) == "after", "the change after it")
    assert mirror.snapshot(NOW).proxies_behind
