"""What the operator does about a write that fails, a carrier that does not answer, and a mistake of its own: the rest goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pykube
import pytest

from generator.asked.admission import read
from generator.asked.values import Tls
from generator.cluster.snapshot import Key, Obj, Snapshot, labels_of
from generator.cluster.times import after
from generator.desired.generate import Desired, generate
from generator.live import apply, metrics, reconcile
from generator.live.deliver import ConfigRefused, deliver
from generator.live.failures import Conflict, Forbidden, KubeError, NotFound, Unreachable
from generator.live.kube import Kube, connect
from generator.live.mirror import Mirror
from generator.live.reconcile import Reconciler
from generator.names import ROLE
from generator.plan import Change, Delivery, plan
from generator.simulate import STEP_SECONDS, settle
from generator.simulate import apply as simulate
from tests import kube as build
from tests.cluster.cluster import Cluster
from tests.session_lab import until

BOB = Key("GefyraBridge", "gefyra", "bob")


class Yes:
    """An API server that takes each write. notes: of which Pod which annotations were merged."""

    def __init__(self) -> None:
        self.notes: dict[Key, dict[str, str]] = {}
        self.written: list[tuple[str, Key]] = []

    def create(self, obj: Obj) -> Obj:
        """Taken."""
        self.written.append(("create", Key(obj["kind"], obj["metadata"]["namespace"], obj["metadata"]["name"])))
        return obj

    def patch(self, key: Key, _operations: object, _subresource: str = "") -> Obj:
        """Taken."""
        self.written.append(("patch", key))
        return {"metadata": {"resourceVersion": "1"}}

    def merge(self, key: Key, body: Obj) -> Obj:
        """Taken."""
        self.notes[key] = body["metadata"]["annotations"]
        return {"metadata": {"resourceVersion": "1"}}

    def delete(self, key: Key, _uid: str | None = None, _version: str | None = None) -> None:
        """Taken."""
        self.written.append(("delete", key))


def written(changes: tuple[Change, ...], server: Yes | None = None, **more: Any) -> apply.Result:
    """What becomes of a plan."""
    with ThreadPoolExecutor(4) as pool:
        return apply.write(cast(Kube, server or Yes()), changes, pool, **more)


@pytest.mark.parametrize("error", [ConfigRefused("no room for it"), Unreachable("exec: timed out")])
def test_a_carrier_that_fails_is_reported(monkeypatch: pytest.MonkeyPatch, error: KubeError) -> None:
    """A bridge that comes meanwhile has a state, and the mount says what the carrier says; nothing that a carrier may need is deleted."""
    objects = [
        *build.deployment("web", {"app": "web"}, [build.container()], 2, 1),
        build.service("web", {"app": "web"}),
        build.mount("web", "deployment/web"),
        build.bridge("alice", "web", [build.rule(build.header("x-user", "alice"))]),
    ]
    state, now = build.rounds(objects, 20)
    bad = min(key for key, obj in state.items() if key.kind == "Pod" and ROLE not in labels_of(obj))
    state = {**state, BOB: build.bridge("bob", "web", [build.rule(build.header("x-user", "bob"))])}
    server = Yes()

    def delivered(_kube: Kube, key: Key, _delivery: Delivery) -> None:
        if key == bad:
            raise error

    monkeypatch.setattr(apply, "deliver", delivered)
    for _ in range(10):
        snapshot = Snapshot.of(state.values(), now)
        result = written(plan(snapshot, generate(snapshot)), server)
        assert not [c for c in result.written if c.op == "delete"]
        for change in result.written:
            state = simulate(state, change, now)
        for key, notes in server.notes.items():
            metadata = state[key]["metadata"]
            state = {**state, key: {**state[key], "metadata": {**metadata, "annotations": {**metadata["annotations"], **notes}}}}
        now = after(now, STEP_SECONDS)
        state = settle(state, now)
    assert state[BOB]["state"] == "INSTALLING"
    told = state[Key("GefyraBridgeMount", "gefyra", "web")]["status"].get("problems", [])
    assert told == (["ConfigRefused: no room for it"] if isinstance(error, ConfigRefused) else [])
    assert [c.key for c, _ in result.failed] == [bad]


@pytest.mark.parametrize("error", [NotFound("not found", 404), Forbidden("forbidden", 403)])
def test_a_secret_that_cannot_be_read_is_the_configurations_fault(error: KubeError) -> None:
    """It is said of the carrier, and tried less and less often: the Pod is the one that the plan was made for."""

    class Without:
        def get(self, key: Key) -> Obj:
            assert key == Key("Secret", "shop", "web-tls")
            raise error

    tls = Tls("secret:shop/web-tls:tls.crt", "secret:shop/web-tls:tls.key", "")
    with pytest.raises(ConfigRefused, match="Secret shop/web-tls cannot be read: "):
        deliver(cast(Kube, Without()), Key("Pod", "shop", "web-0"), Delivery("app", "", ((8080, tls),)))


def test_carriers_that_do_not_answer_hold_up_no_other_write(monkeypatch: pytest.MonkeyPatch) -> None:
    """More of them than there are threads for deliveries; a Pod elsewhere is released meanwhile."""
    free, waits = threading.Event(), threading.Semaphore(0)

    def hangs(*_: object) -> None:
        waits.release()
        assert free.wait(60)

    monkeypatch.setattr(apply, "deliver", hangs)
    reconciler = Reconciler(cast(Kube, Yes()), Mirror(NOBODY, lambda *_: None))
    late = tuple(Change("patch", Key("Pod", "lost", f"web-{n}"), "deliver", deliver=(Delivery("app", ""),)) for n in range(200))
    reconciler._targets.submit(reconciler._write, Key("Deployment", "lost", "web"), late)
    assert waits.acquire(timeout=60)
    release = (Change("patch", Key("Pod", "other", "web-0"), "release: the carrier is ready"),)
    reconciler._targets.submit(reconciler._write, Key("Deployment", "other", "web"), release).result(60)
    assert not free.is_set()
    free.set()
    reconciler.close()


@pytest.mark.parametrize(("error", "delivered"), [(None, True), (Conflict("it has changed", 409), False), (Forbidden("no", 403), True)])
def test_a_pod_is_held_before_carriers_are_delivered_to(monkeypatch: pytest.MonkeyPatch, error: KubeError | None, delivered: bool) -> None:
    """It serves until then. If it has changed, all is planned again at once; if it cannot be held, the others go on all the same."""
    new = Key("Pod", "shop", "new")

    class Server(Yes):
        def patch(self, key: Key, operations: object, subresource: str = "") -> Obj:
            """Not for the new Pod."""
            if key == new and error:
                raise error
            return super().patch(key, operations, subresource)

    server = Server()
    monkeypatch.setattr(apply, "deliver", lambda _kube, key, _delivery: server.written.append(("deliver", key)))
    carriers = [Key("Pod", "shop", name) for name in ("a", "z")]
    plan_ = (
        *(Change("patch", key, "deliver the configuration", deliver=(Delivery("app", ""),)) for key in carriers),
        Change("patch", new, "hold"),
        Change("patch", BOB, "state"),
        Change("delete", Key("Pod", "shop", "shadow"), "no original needs it any more"),
    )
    written(plan_, server)
    held = [] if error else [("patch", new)]
    assert server.written[: len(held)] == held
    assert [("deliver", key) in server.written for key in carriers] == [delivered] * 2
    assert (("patch", BOB) in server.written) == delivered
    assert any(op == "delete" for op, _ in server.written) == (not error)


NOBODY = Kube(pykube.KubeConfig(build.NOBODY))


@pytest.mark.parametrize("waves", range(4))
def test_nothing_begins_once_another_may_lead(waves: int) -> None:
    """Not the next wave of a plan that has begun, nor any of one that has not."""
    changes = (
        Change("create", Key("ConfigMap", "shop", "a"), "", body={"kind": "ConfigMap", "metadata": {"namespace": "shop", "name": "a"}}),
        Change("patch", Key("Pod", "shop", "a"), ""),
        Change("patch", BOB, ""),
        Change("delete", Key("Service", "shop", "a"), ""),
    )
    server, left = Yes(), iter([*[True] * waves, False])
    written(changes, server, goes_on=lambda: next(left))
    assert server.written == [(c.op, c.key) for c in changes[:waves]]


class Still:
    """A mirror of a cluster in which nothing happens."""

    waits_for = ()
    proxies_behind = 0.0

    def __init__(self, objects: list[Obj]) -> None:
        self._snapshot = Snapshot.of(objects, build.NOW)

    def snapshot(self, _now: str, *, unheard: bool) -> Snapshot:
        """Always the same."""
        assert not unheard
        return self._snapshot

    def get(self, _key: Key) -> None:
        """Nobody needs it here."""

    def saw(self, _key: Key, _obj: Obj | None) -> None:
        """It changes nothing."""


def looped(mistaken: Callable[[], Any]) -> tuple[list[tuple[str, Key]], float]:
    """Two mounted workloads, `api` and `web`, once the first is written to; what was written, and how many mistakes were told."""
    objects: list[Obj] = []
    for name in ("api", "web"):
        objects += build.deployment(name, {"app": name}, [build.container()], 1, 1)
        objects += [build.service(name, {"app": name}), build.mount(name, f"deployment/{name}")]
    server, over = Yes(), threading.Event()
    reconciler = Reconciler(cast(Kube, server), cast(Mirror, Still([*build.rounds(objects, 0)[0].values()])))
    before = metrics.failures._value.get()  # the library has no other way to read it
    mistaken()
    loop = threading.Thread(target=reconciler.run, args=(lambda: not over.is_set(),))
    loop.start()
    try:

        def there() -> bool:
            reconciler.changed(BOB, None, None)
            return any(key.name.startswith("deployment-api") for _, key in server.written)

        until(there, "the other workload")
    finally:
        over.set()
        loop.join()
        reconciler.close()
    return server.written, metrics.failures._value.get() - before


def test_a_mistake_about_one_workload_leaves_the_others_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is logged and counted, and the loop goes on."""

    def about_web(snapshot: Snapshot, scope: frozenset[Key] | None = None, *more: Any) -> Desired:
        if scope and next(iter(scope)).name == "web":
            raise RuntimeError("a mistake")
        return generate(snapshot, scope, *more)

    found, mistakes = looped(lambda: monkeypatch.setattr(reconcile, "generate", about_web))
    assert mistakes
    assert not [key for _, key in found if "web" in key.name and key.kind not in ("GefyraBridge", "GefyraBridgeMount")]


def test_a_mistake_about_all_does_not_end_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be read is read again."""
    left = [1, 1]

    def at_first(*words: Any) -> Any:
        if left:
            left.pop()
            raise OverflowError("date value out of range")
        return read(*words)

    def mistaken() -> None:
        monkeypatch.setattr(reconcile, "read", at_first)
        monkeypatch.setattr(reconcile, "_LONGEST_BACKOFF", 0.1)

    _, mistakes = looped(mistaken)
    assert mistakes == 2


def test_what_was_given_more_time_is_not_deleted(server: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bridge whose sunset was moved after the plan was made stays."""
    expired = build.bridge("bob", "deployment/web", [], sunset="2020-01-01T00:00:00Z")
    expired = {**expired, "metadata": {**expired["metadata"], "resourceVersion": "7"}}
    snapshot = Snapshot.of([expired], build.NOW)
    (delete,) = [c for c in plan(snapshot, generate(snapshot)) if c.op == "delete"]
    assert (delete.key, delete.version) == (BOB, "7")

    monkeypatch.setenv("KUBECONFIG", str(server.kubeconfig))
    kube = connect()
    made = kube.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "expired", "namespace": "default"}})
    key = Key("ConfigMap", "default", "expired")
    kube.merge(key, {"data": {"sunset": "2030"}})
    with pytest.raises(Conflict):
        kube.delete(key, made["metadata"]["uid"], made["metadata"]["resourceVersion"])
    assert kube.get(key)["data"] == {"sunset": "2030"}
    assert kube.delete(key, made["metadata"]["uid"], kube.get(key)["metadata"]["resourceVersion"]) is None
