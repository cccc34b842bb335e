"""Which bridges get the finalizer of Gefyra's command line, and when they lose it. test_gefyra_cli.py sees the command line wait for it."""

from __future__ import annotations

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator.cluster.snapshot import Key, Obj, key_of
from generator.cluster.times import after
from generator.live import metrics
from generator.live.farewell import FINALIZER, LABEL, STAYS, due, run
from generator.live.kube import Kube
from generator.live.mirror import Mirror
from tests import kube as build


def bridge(labels: dict[str, str], finalizers: list[str], deleted: float | None) -> Obj:
    """A bridge that was deleted some seconds ago, or was not."""
    made = build.bridge("alice", "web", [])
    leaving = {} if deleted is None else {"deletionTimestamp": after(build.NOW, -deleted)}
    return {**made, "metadata": {**made["metadata"], "labels": labels, "finalizers": finalizers, **leaving}}


others = st.lists(st.sampled_from(["a.example/b", "c.example/d"]), unique=True)


@given(others, others, st.booleans(), st.none() | st.floats(0, 100))
def test_it_is_given_to_gefyras_and_always_taken_again(
    before: list[str], behind: list[str], made_there: bool, deleted: float | None
) -> None:
    """To living bridges with the command line's label alone; taken a while after the deletion; what is of others stays in its order."""
    labels = {LABEL: "app"} if made_there else {}
    theirs = [*before, *(each for each in behind if each not in before)]
    without, having = bridge(labels, theirs, deleted), bridge(labels, [*before, FINALIZER, *theirs[len(before) :]], deleted)

    assert [made for _, made in due([without], build.NOW)] == ([[*theirs, FINALIZER]] if made_there and deleted is None else [])
    gone = deleted is not None and deleted >= STAYS
    assert [made for _, made in due([having], build.NOW)] == ([theirs] if gone else [])


def test_a_mount_is_never_held() -> None:
    """Whatever its labels are: its deletion is not watched."""
    mount = build.mount("web", "deployment/web")
    assert due([{**mount, "metadata": {**mount["metadata"], "labels": {LABEL: "app"}}}], build.NOW) == []


def test_nothing_unexpected_ends_it(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """It is in the log, and the bridge is seen to in the next round."""
    monkeypatch.setattr("generator.live.farewell.ROUND", 0.0)
    stop, merged, rounds = threading.Event(), list[Obj](), iter([True])

    class Server(Kube):
        def __init__(self) -> None:
            pass

        def merge(self, key: Key, body: Obj) -> Obj:
            stop.set()
            merged.append(body)
            return {"kind": key.kind}

    def leads() -> bool:
        if next(rounds, False):
            raise KeyError("something of ours")
        return True

    mirror = Mirror(Server(), lambda *_: None)
    made = bridge({LABEL: "app"}, [], None)
    mirror.saw(key_of(made), made)
    before = metrics.REGISTRY.get_sample_value("bascule_failures_total") or 0.0
    run(Server(), mirror, leads, stop)
    assert [each["metadata"]["finalizers"] for each in merged] == [[FINALIZER]]
    assert "something of ours" in caplog.text
    assert metrics.REGISTRY.get_sample_value("bascule_failures_total") == before + 1
