"""A namespace that is not followed is unknown, not empty: nothing there is missing, left over or changed, whatever of it is seen."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from generator.asked.admission import read
from generator.cluster.snapshot import OUR_KINDS, Key, Snapshot, Space, key_of
from generator.cluster.times import after
from generator.desired.generate import concerned, generate
from generator.plan import plan
from tests import kube
from tests.kube import NOW
from tests.strategies import Cluster, clusters
from tests.watch_lab import configured, living

LAW = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
MANAGED = (None, "", "other", "shop", "other shop")
"""What stands in `namespaces` while `shop` is not followed; None: there is no ConfigMap."""


@LAW
@given(cluster=clusters(), rounds=st.integers(0, 12), managed=st.sampled_from(MANAGED), data=st.data())
def test_a_namespace_that_is_not_followed_is_left_alone(cluster: Cluster, rounds: int, managed: str | None, data: st.DataObject) -> None:
    """At any moment of a walk, with any part of the namespace in sight, and however long it lasts: only states are written."""
    state, now = kube.rounds([*cluster.objects, *map(living, cluster.controls), *configured(managed)], rounds)
    whole = Snapshot.of(state.values(), after(now, data.draw(st.sampled_from((0, 1_000_000)))))
    seen = data.draw(st.sets(st.sampled_from(sorted(whole.space("shop").objects))))
    part = Space.of("shop", {k: o for k, o in whole.space("shop").objects.items() if k in seen})
    snapshot = replace(whole, spaces={**whole.spaces, "shop": part}, followed=frozenset({"other"}))
    intent = read(snapshot)
    stale = concerned(whole, read(whole))
    changes = [*plan(snapshot, generate(snapshot)), *(c for key in stale for c in plan(snapshot, generate(snapshot, frozenset({key}))))]

    assert (intent.expired, intent.claims, concerned(snapshot, intent)) == ({}, {}, frozenset())
    assert {(c.op, c.key.kind in OUR_KINDS.values()) for c in changes} <= {("patch", True)}
    for obj in cluster.controls:
        if "/" in obj["target"]:
            assert [p.code for p in intent.problems[key_of(obj)] if p.severity != "warning"] == ["NamespaceNotManaged"]


@pytest.mark.parametrize("managed", [None, "", "other"])
def test_a_target_is_not_missing_in_a_namespace_of_which_nothing_is_known(managed: str | None) -> None:
    """The settings are deleted, emptied or name another: its mount and bridge, which would go at once or after a day, stay for good."""
    asked = [
        living(kube.mount("web", "deployment/web")),
        living(kube.bridge("alice", "web", [])),
        living(kube.bridge("bob", "deployment/web", [])),
    ]
    snapshot = Snapshot.of([*asked, *configured(managed)], NOW)
    for _ in range(2):
        found = generate(snapshot)
        reported = {key_of(o): o for o in found.objects}
        assert found.intent.expired == {}
        assert {p.code for p in found.problems} == {"NamespaceNotManaged"}
        snapshot = Snapshot.of([*(reported[key_of(o)] for o in asked), *configured(managed)], after(NOW, 1_000_000))


def test_what_is_missing_in_a_followed_namespace_still_goes() -> None:
    """Also where the last object of it has gone."""
    mounted = living(kube.mount("web", "deployment/web"))
    snapshot = replace(Snapshot.of([mounted, *configured("shop")], NOW), followed=frozenset({"shop"}))
    assert list(read(snapshot).expired) == [key_of(mounted)]


def test_a_managed_namespace_that_is_not_listed_says_so() -> None:
    """It is not the bridge's owner who can cure that."""
    snapshot = replace(Snapshot.of([living(kube.mount("web", "deployment/web")), *configured("shop")], NOW), followed=frozenset())
    (problem,) = read(snapshot).problems[Key("GefyraBridgeMount", "gefyra", "web")]
    assert problem.code == "NamespaceNotManaged"
    assert "has not listed" in problem.message
    assert "bound in shop" in problem.cure
