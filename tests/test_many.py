"""How many requests a carrier holds at once, by the memory of its container."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import carrier2
from carrier2.contract import MOST_CONNECTIONS, WORKER_CONNECTIONS
from carrier2.dispatch import Dispatch, Listener
from carrier2.limits import connections
from generator.cluster.snapshot import Key, Snapshot
from generator.desired.generate import generate
from tests import kube
from tests.many_lab import wait_together

SERVICE, SHADOW = "10.96.0.9", "10.1.0.5"


def test_a_carrier_holds_as_many_requests_as_it_says() -> None:
    """A carrier of 256 Mi: 1,900 long polls wait at once, with the 1,024 open files that a container begins with, and each is answered."""
    model = Dispatch((Listener(8080, http=True),), SERVICE, {"web-0": (SHADOW,)}, connections=connections(256 << 20))
    reached, answers, log = wait_together(carrier2.render(model), [SERVICE, SHADOW], 1900)
    assert (reached, answers) == (1900, {"HTTP/1.1 200 OK": 1900}), log
    assert "[alert]" not in log


@given(st.none() | st.integers(0, 10**12), st.none() | st.integers(0, 10**12))
def test_more_memory_is_never_fewer_connections(one: int | None, other: int | None) -> None:
    """Between what nginx had for everybody and the most; no limit is as much memory as one likes."""
    less, more = sorted((one, other), key=lambda memory: 10**13 if memory is None else memory)
    assert WORKER_CONNECTIONS <= connections(less) <= connections(more) <= MOST_CONNECTIONS


@pytest.mark.parametrize(
    ("limits", "wanted"),
    [
        (["16Mi"], WORKER_CONNECTIONS),
        (["256Mi"], 4096),
        (["1Gi", "128Mi"], 2048),
        (["1Gi", None], MOST_CONNECTIONS),
        ([None], MOST_CONNECTIONS),
    ],
)
def test_the_least_memory_of_a_pod_counts(limits: list[str | None], wanted: int) -> None:
    """One configuration is for all originals, and no Pod is killed for the room that another one has."""
    cluster = kube.deployment("web", {"app": "web"}, [kube.container()], len(limits), 1)
    pods = [each for each in cluster if each["kind"] == "Pod"]
    for pod, limit in zip(pods, limits, strict=True):
        resources: dict[str, Any] = {"limits": {"memory": limit}} if limit else {}
        pod["spec"] = {**pod["spec"], "containers": [{**c, "resources": resources} for c in pod["spec"]["containers"]]}
    state, now = kube.rounds([*cluster, kube.service("web", {"app": "web"}), kube.mount("web", "deployment/web")], 6)
    outcome = generate(Snapshot.of(state.values(), now)).outcomes[Key("Deployment", "shop", "web")]
    assert outcome.dispatches["app"].connections == wanted
    assert f"worker_connections {wanted};" in outcome.texts["app"]
