"""What every test shares. Warnings are errors (pyproject.toml)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from tests.cluster import images
from tests.cluster.cluster import Cluster, cluster
from tests.live.lab import Lab, furnished
from tests.overlay_lab import OPERATOR

# No deadline: the speed of a shared machine is no property of the code. With CI=true Hypothesis itself takes fixed examples.
settings.register_profile("bascule", settings.default, deadline=None)
settings.load_profile("bascule")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-golden`, as `make golden` says it."""
    parser.addoption("--update-golden", action="store_true", help="write golden/ from what is printed now; still fails if a file changed")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests that need a whole cluster."""
    for item in items:
        if isinstance(item, pytest.Function) and "node" in item.fixturenames:
            item.add_marker("node")


@pytest.fixture(scope="session")
def api(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """An API server, shared by all tests of a run: etcd and kube-apiserver. There nothing is scheduled, collected or given an account."""
    yield from _shared(request, api_only=True)


@pytest.fixture(scope="module")
def server() -> Iterator[Cluster]:
    """An API server of a module's own, with the control namespace."""
    with cluster(api_only=True) as own:
        own.kubectl("create", "namespace", "gefyra")
        yield own


@pytest.fixture(scope="session")
def node(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    """A whole cluster of one node, shared by all tests of a run, with the image images.BASE."""
    yield from _shared(request, api_only=False)


@pytest.fixture(scope="session")
def lab(node: Cluster) -> Lab:
    """Bascule as it is deployed, on the whole cluster."""
    return furnished(node)


def _shared(request: pytest.FixtureRequest, *, api_only: bool) -> Iterator[Cluster]:
    """That of BASCULE_KUBECONFIG, if it is set, else one of our own; when a test has failed, its logs stay."""
    if given := os.environ.get("BASCULE_KUBECONFIG"):
        yield Cluster(Path(given))
        return
    with cluster(api_only=api_only, audited=OPERATOR) as own:
        if not api_only:
            own.load_image(images.base())
        yield own
        if request.session.testsfailed:
            capture = request.config.pluginmanager.get_plugin("capturemanager")
            assert capture
            with capture.global_and_fixture_disabled():
                print(f"\nthe cluster's logs: {own.save_logs()}")  # noqa: T201
