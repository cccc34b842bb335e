"""How namespaces come and go: who may not be listed keeps nobody out but itself, what is not listed is in no snapshot, no watch dies."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import settings as settings_of
from hypothesis import strategies as st

from generator import names
from generator.cluster.snapshot import SETTINGS, Key, Obj, key_of
from generator.live.failures import Cut, Gone, KubeError
from generator.live.mirror import Mirror
from generator.live.reading import CONTROL, NEEDED, OPTIONAL, settings
from generator.live.reconcile import Reconciler
from tests import kube
from tests.kube import NOW
from tests.live.lab import until
from tests.watch_lab import Gate, Server, configured, living, mirrored

WEB = kube.deployment("web", {"app": "web"}, [kube.container()], 1, 1)


@pytest.mark.parametrize("refused", NEEDED)
def test_a_namespace_that_may_not_be_listed_is_left_out_alone(refused: str) -> None:
    """One list that is refused is enough; nothing waits for it, and the namespace joins as soon as it comes."""
    server = Server([*WEB, *kube.deployment("api", {"app": "api"}, [kube.container()], 1, 2, "typo")])
    server.refused.add((refused, "typo"))
    with mirrored(server) as mirror:
        mirror.follow({"shop", "typo"})
        until(lambda: not mirror.waits_for, "all lists that may come", lambda: str(mirror.waits_for))
        snapshot = mirror.snapshot(NOW)
        assert snapshot.followed == frozenset({"shop"})
        assert set(snapshot.spaces) == {"shop"}
        server.refused.clear()
        until(lambda: mirror.followed == {"shop", "typo"}, "the namespace to join")
        assert set(mirror.snapshot(NOW).spaces) == {"shop", "typo"}


def test_what_is_only_warned_of_may_be_refused() -> None:
    """A namespace without them is whole."""
    server = Server(WEB)
    server.refused.update((kind, "shop") for kind in OPTIONAL)
    with mirrored(server) as mirror:
        mirror.follow({"shop"})
        until(lambda: mirror.followed == {"shop"}, "the namespace")
        until(lambda: not mirror.waits_for, "all lists", lambda: str(mirror.waits_for))


@pytest.mark.parametrize("refused", CONTROL)
def test_nothing_begins_without_the_control_namespace(refused: str) -> None:
    """Without one of its lists nobody knows what is asked; also where it is managed itself."""
    server = Server(WEB)
    server.refused.add((refused, names.CONTROL_NAMESPACE))
    with mirrored(server) as mirror:
        mirror.follow({"shop", names.CONTROL_NAMESPACE})
        why = f"{refused} in gefyra: {refused} is forbidden in gefyra"
        until(lambda: mirror.waits_for == (why,), "all other lists", lambda: str(mirror.waits_for))
        server.refused.clear()
        until(lambda: not mirror.waits_for, "the last list")


def test_the_control_namespace_is_read_where_its_workloads_may_not_be() -> None:
    """Settings and bridges count; workloads there are those of a namespace that is not managed."""
    server = Server([*WEB, *configured("shop gefyra"), *kube.relay()])
    server.refused.add(("Pod", names.CONTROL_NAMESPACE))
    with mirrored(server) as mirror:
        mirror.follow({"shop", names.CONTROL_NAMESPACE})
        until(lambda: not mirror.waits_for, "all lists that may come", lambda: str(mirror.waits_for))
        snapshot = mirror.snapshot(NOW)
        assert snapshot.followed == frozenset({"shop"})
        assert snapshot.settings == {"namespaces": "shop gefyra"}


def test_a_namespace_that_is_added_joins_with_its_last_list() -> None:
    """Until then it does not look empty, and nobody waits for it."""
    server = Server([*WEB, *configured("shop")])
    gate = server.held["Pod", "shop"] = Gate()
    with mirrored(server) as mirror:
        mirror.follow(())
        until(lambda: not mirror.waits_for, "the control namespace")
        assert mirror.snapshot(NOW).settings == {"namespaces": "shop"}
        assert not mirror.snapshot(NOW).follows("shop")
        mirror.follow({"shop"})
        gate.reached.wait()
        until(lambda: mirror.get(key_of(WEB[0])), "the other lists")
        assert not mirror.waits_for
        assert not mirror.snapshot(NOW).follows("shop")
        assert "shop" not in mirror.snapshot(NOW).spaces
        gate.opened.set()
        until(lambda: mirror.snapshot(NOW).follows("shop"), "the last list")
        assert len(mirror.snapshot(NOW).space("shop").objects) == len(WEB)


def _listing(server: Server, mirror: Mirror, kind: str) -> tuple[Gate, threading.Thread]:
    """`shop` is followed, and a list of it is on its way."""
    gate = server.held[kind, "shop"] = Gate()
    before = set(threading.enumerate())
    mirror.follow({"shop"})
    gate.reached.wait()
    return gate, next(t for t in threading.enumerate() if t.name == f"watch {kind} shop" and t not in before)


def test_what_comes_of_a_namespace_that_is_left_counts_for_nothing() -> None:
    """A list that is on its way when the namespace is taken off `namespaces`, and events after it."""
    server = Server(WEB)
    told: list[Key] = []
    with mirrored(server, lambda key, _before, _after: told.append(key)) as mirror:
        gate, thread = _listing(server, mirror, "Deployment")
        mirror.follow(())
        told.clear()
        gate.opened.set()
        server.news["Deployment", "shop"].put(("MODIFIED", WEB[0]))
        until(lambda: not thread.is_alive(), "the end of the watch")
        assert mirror.get(key_of(WEB[0])) is None
        assert [key for key in told if key.namespace == "shop"] == []
        assert "shop" not in mirror.snapshot(NOW).spaces


def test_an_old_list_does_not_stand_against_a_newer_one() -> None:
    """A namespace is taken off and put back while its list is on the way: what went meanwhile is gone, what came is there."""
    api = kube.deployment("api", {"app": "api"}, [kube.container()], 1, 2)
    server = Server(WEB)
    with mirrored(server) as mirror:
        gate, thread = _listing(server, mirror, "Deployment")
        mirror.follow(())
        server.objects = {key_of(o): o for o in api}
        mirror.follow({"shop"})
        until(lambda: mirror.followed == {"shop"}, "the newer list")
        gate.opened.set()
        until(lambda: not thread.is_alive(), "the end of the watch")
        assert mirror.get(key_of(WEB[0])) is None
        assert mirror.get(key_of(api[0])) == api[0]


def test_settings_are_followed_in_their_order() -> None:
    """Each change is followed as it comes, by the thread that brings it: the last one holds, and none comes later than it."""
    server = Server([*WEB, *configured("shop")])
    told: list[set[tuple[str, str]]] = []

    def changed(key: Key, _before: Obj | None, after: Obj | None) -> None:
        if key == SETTINGS:
            mirror.follow(settings([after] if after else []))
            told.append(set(mirror._stops))

    with mirrored(server, changed) as mirror:
        mirror.follow(())
        until(lambda: mirror.followed == {"shop"}, "the first settings")
        orders = ["a b", "b shop", "", "shop b a", "b"]
        for version, order in enumerate(orders, 8):
            (news,) = configured(order)
            server.news["ConfigMap", "gefyra"].put(("BOOKMARK", {"kind": "ConfigMap", "metadata": {"resourceVersion": str(version - 1)}}))
            server.news["ConfigMap", "gefyra"].put(
                ("MODIFIED", {**news, "metadata": {**news["metadata"], "resourceVersion": str(version)}})
            )
        until(lambda: mirror.followed == {"b"}, "the last settings", lambda: str(mirror.followed))
        assert [{space for kind, space in stops if kind == "Pod"} for stops in told] == [set(o.split()) for o in ("shop", *orders)]


def test_the_operator_goes_on_without_a_namespace_that_may_not_be_listed() -> None:
    """A typo in `namespaces`: the others are bridged; there nothing expires or is deleted, until the namespace can be listed."""
    left = {"name": "left", "namespace": "typo", "uid": "left", "resourceVersion": "7", "annotations": {names.WORKLOAD: "Deployment/gone"}}
    left["labels"] = {names.MANAGED_BY: names.MANAGER, names.ROLE: "config", names.TARGET: names.target_id("Deployment", "gone")}
    ours: Obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": left, "data": {}}
    asked = [living(kube.mount("web", "deployment/web")), living(kube.mount("far", "deployment/gone", namespace="typo"))]
    server = Server([*WEB, ours, *asked, *configured("shop typo")])
    server.refused.add(("Pod", "typo"))
    over = threading.Event()

    def changed(key: Key, before: Obj | None, after: Obj | None) -> None:
        reconciler.changed(key, before, after)

    with mirrored(server, changed) as mirror:
        reconciler = Reconciler(server, mirror)
        loop = threading.Thread(target=reconciler.run, args=(lambda: not over.is_set(),))
        loop.start()
        try:
            mirror.follow({"shop", "typo"})
            until(lambda: _reason(server, "far") == "NamespaceNotManaged", "its mount's state", lambda: str(server.written))
            until(lambda: any(op == "create" and key.namespace == "shop" for op, key in server.written), "the other namespace's walk")
            assert [key for op, key in server.written if op == "delete" or key.namespace == "typo"] == []
            server.refused.clear()
            until(lambda: ("delete", key_of(ours)) in server.written, "what is left over there", lambda: str(server.written))
            until(lambda: ("delete", key_of(asked[1])) in server.written, "the mount whose target is missing")
        finally:
            over.set()
            loop.join()
            reconciler.close()


def _reason(server: Server, mount: str) -> str:
    status = server.objects[Key("GefyraBridgeMount", SETTINGS.namespace, mount)].get("status") or {}
    return str(next((c["reason"] for c in status.get("conditions", ()) if c["type"] == "Accepted"), ""))


OUTCOMES: dict[str, list[object]] = {"ended": [], "event": [("MODIFIED", WEB[0])], "gone": [Gone("too old", 410)], "cut": [Cut("cut")]}
ODD = [
    ("MODIFIED", {"kind": "Deployment", "metadata": {"name": "web"}}),
    ("ADDED", {"kind": "Deployment", "metadata": {"namespace": "shop", "resourceVersion": "8"}}),
    ("MODIFIED", {"kind": "Deployment"}),
    ("DELETED", None),
]


@settings_of(max_examples=100, deadline=None)
@given(script=st.lists(st.tuples(st.sampled_from([*OUTCOMES, *range(len(ODD))]), st.sampled_from((0.0, 0.001, 0.7, 300.0))), min_size=1))
def test_no_watch_ends_for_good_or_is_begun_without_a_pause(script: list[tuple[str | int, float]]) -> None:
    """However its rounds end, by an event that nobody understands too: the next is begun, and not at once. After such an event, 410 and at
    first there is a list; a round that has ended by itself takes a second, and after a failure there is a pause.
    """
    clock, left = [0.0], list(script)
    begun: list[float] = []
    lists: list[int] = []

    class Scripted(Server):
        def list_objects(self, kind: str, namespace: str = "", _selector: str = "") -> tuple[list[Obj], str]:
            lists.append(len(begun))
            return super().list_objects(kind, namespace)

        def watch(self, _kind: str, _namespace: str, _version: str, _seconds: int) -> Iterator[tuple[str, Obj]]:
            begun.append(clock[0])
            what, seconds = left.pop(0)
            clock[0] += seconds
            for found in [ODD[what]] if isinstance(what, int) else OUTCOMES[what]:
                if isinstance(found, KubeError):
                    raise found
                yield cast("tuple[str, Obj]", found)

    class Stop(threading.Event):
        def is_set(self) -> bool:
            return not left

        def wait(self, timeout: float | None = None) -> bool:
            clock[0] += max(0.0, timeout or 0.0)
            return not left

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("generator.live.mirror.time", SimpleNamespace(monotonic=lambda: clock[0]))
        Mirror(Scripted(WEB), lambda *_: None)._run("Deployment", "shop", True, Stop())

    assert len(begun) == len(script)
    assert lists == [0, *(n for n, (what, _) in enumerate(script[:-1], 1) if what == "gone" or isinstance(what, int))]
    for (what, seconds), one, other in zip(script, begun, begun[1:], strict=False):
        assert other - one > (max(1.0, seconds) if what in ("ended", "event", "gone") else seconds + 0.1) - 1e-6
