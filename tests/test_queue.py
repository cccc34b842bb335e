"""The operator's queue and its loop: nothing is lost, a busy server is not asked too early, and what is gone is forgotten."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generator.cluster.snapshot import Key, Obj, key_of
from generator.live.failures import Throttled
from generator.live.kube import Kube
from generator.live.mirror import Mirror
from generator.live.queue import Queue
from generator.live.reconcile import Reconciler
from tests import kube as build

WEB = Key("Deployment", "shop", "web")
STEPS = st.tuples(st.sampled_from(["add", "hold", "pass"]), st.sampled_from("ab"), st.integers(0, 5))


@given(st.lists(STEPS, max_size=20))
def test_what_is_added_is_taken_once_when_it_is_due_and_not_while_it_is_held(steps: list[tuple[str, str, int]]) -> None:
    """At the earliest time anybody asked for, or when the last hold ends; whoever adds it in between changes nothing."""
    with pytest.MonkeyPatch.context() as patch:
        now = [0.0]
        patch.setattr("generator.live.queue.time.monotonic", lambda: now[0])
        queue, due, held = Queue[str](), dict[str, float](), dict[str, float]()
        for what, item, seconds in [*steps, ("pass", "", 100)]:
            if what == "hold":
                queue.hold(item, seconds)
                due[item] = held[item] = max(now[0] + seconds, held.get(item, -inf))
            elif what == "add":
                queue.add(item, seconds)
                due[item] = max(min(now[0] + seconds, due.get(item, inf)), held.get(item, -inf))
            for _ in range(seconds if what == "pass" else 0):
                now[0] += 1
                assert queue.held() == {each for each, until in held.items() if now[0] < until}
                found = queue.take(0)
                assert found == {each for each, at in due.items() if at <= now[0]}
                assert not found & queue.held()
                due = {each: at for each, at in due.items() if each not in found}
        assert len(queue) == 0


class Busy(Kube):
    """An API server that asks for half a minute at each write."""

    def __init__(self) -> None:
        self.asked = 0

    def _any(self, *_: Any, **__: Any) -> Any:
        self.asked += 1
        raise Throttled("too many requests", 429, retry_after=30.0)

    create = patch = merge = delete = _any


class AtOnce(ThreadPoolExecutor):
    """A pool that is no other thread."""

    def submit(self, task: Callable[..., Any], /, *args: Any, **more: Any) -> Future[Any]:
        """Do it here."""
        done = Future[Any]()
        done.set_result(task(*args, **more))
        return done


class Listed(Mirror):
    """A mirror to which all of namespace shop has come."""

    @property
    def followed(self) -> frozenset[str]:
        """It alone."""
        return frozenset({"shop"})


class Loop:
    """A bridged Deployment on a server that is busy, looked at by a reconciler; its clock is `at`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at, self.kube, self.version = 1000.0, Busy(), 100
        monkeypatch.setattr("generator.live.reconcile.time.monotonic", lambda: self.at)
        self.mirror = Listed(self.kube, self.changed)
        self.reconciler = Reconciler(self.kube, self.mirror, _targets=AtOnce())
        web = build.deployment("web", {"app": "web"}, [build.container()], 2, 1)
        self.objects = [*web, build.service("web", {"app": "web"}), build.mount("web", "deployment/web"), build.bridge("alice", "web", [])]
        for obj in self.objects:
            self.mirror.saw(key_of(obj), obj)
        self.pod = next(o for o in self.objects if o["kind"] == "Pod")

    def changed(self, key: Key, before: Obj | None, after: Obj | None) -> None:
        """Tell the reconciler, once there is one."""
        self.reconciler.changed(key, before, after)

    def run(self, turns: int, each: Callable[[], object]) -> None:
        """Let it turn, with what happens before each turn."""
        left = iter(range(turns))

        def goes_on() -> bool:
            if next(left, None) is None:
                return False
            each()
            return True

        self.reconciler.run(goes_on)

    def event(self) -> None:
        """A Pod of the Deployment changes."""
        self.version += 1
        metadata: Obj = {**self.pod["metadata"], "resourceVersion": str(self.version), "annotations": {"n": str(self.version)}}
        self.mirror.saw(key_of(self.pod), {**self.pod, "metadata": metadata})


def test_a_busy_server_is_not_asked_before_its_time_whatever_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    """Events of the workload come all the time; after the half minute it is tried again, once."""
    loop = Loop(monkeypatch)
    loop.run(1, loop.event)
    first = loop.kube.asked
    assert WEB in loop.reconciler._failures
    asked = []
    for at in (1000.0, 1029.0, 1031.0, 1060.0, 1062.0):
        loop.at = at
        loop.run(5, loop.event)
        asked.append(loop.kube.asked / first)
    assert asked == [1, 1, 2, 2, 3]
    loop.reconciler.close()


def test_what_is_gone_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a workload that nobody bridges any more nothing is kept, so that a cluster in which many come and go fills no memory."""
    loop = Loop(monkeypatch)
    loop.run(2, loop.event)
    kept = (loop.reconciler._pods, loop.reconciler._renewed, loop.reconciler._failures)
    assert all(WEB in each for each in kept)
    for obj in loop.objects:
        loop.mirror.saw(key_of(obj), None)
    loop.run(2, loop.reconciler._queue.wake)
    assert not any(WEB in each for each in kept)
    loop.reconciler.close()
