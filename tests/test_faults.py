"""What fails around bascule: it converges, nobody else's request is lost beyond the fault itself, and nothing is left.

On a whole cluster with bascule as it is deployed. The loss of a node is not here, as there is one: what it does to bascule is what
eviction and deletion of Pods do.
"""

from __future__ import annotations

import json
import re
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from itertools import zip_longest
from typing import Any
from urllib.parse import unquote, urlsplit

from carrier2.contract import EXECUTABLE
from generator import names
from generator.cluster.snapshot import Key, Obj, annotations_of, labels_of
from generator.live.deliver import run
from generator.live.failures import KubeError
from tests.cluster.machine import Broken
from tests.live.faults import Request, compact, leading, metric, operating, parked, proxied, response, strike
from tests.live.lab import CARRIER, Lab, Load, Namespace, header, until, workload
from tests.overlay_lab import account

Phase = Callable[..., None]
"""Begins something with targets in a namespace."""
ALICE = header("x-user", "alice")
AT_ONCE = 8
"""Workloads that are walked together: more than a kill finds one write of each, fewer than two cores can serve."""
_NOW_AND_THEN = ("events", names.WAITS_SINCE)
"""Writes that another walk may do without: an event is told once, an original waits only for a stand-in that is late."""
_AFTERWARDS = 2.0
"""Seconds of load on what has converged."""
_OUTAGE = 30.0
"""Seconds; longer than a Lease lasts."""


def test_an_operator_killed_before_any_write_loses_nothing(lab: Lab) -> None:
    """Kill -9 before each write of an install and of a restore, and before each delivery: the next operator goes on.

    An undisturbed run tells the writes. Each kill point has a workload of its own, on which it is met at its first occurrence; a few are
    walked at once, so that each also sees the kills of the others.
    """
    first = "k00"
    with ExitStack() as stack:
        walk = stack.enter_context(lab.namespace("walk", workload("walk", name=first, replicas=1)))
        stack.enter_context(parked(lab))
        killer = Killer()
        url = stack.enter_context(proxied(lab.cluster.kubeconfig, killer))
        points = {phase: _undisturbed(lab, walk, url, killer, phase, first) for phase in (_bridged, _freed)}
        every = {f"k{n:02}": dict(zip(points, deeds, strict=True)) for n, deeds in enumerate(zip_longest(*points.values()), 1)}
        for start in range(0, len(every), AT_ONCE):
            _walk_some(walk, url, killer, {name: every[name] for name in list(every)[start : start + AT_ONCE]})


def _walk_some(walk: Namespace, url: str, killer: Killer, targets: Mapping[str, Mapping[Phase, str | None]]) -> None:
    """Bridge and free some workloads, with a kill before a deed of each phase of each."""
    with _served(walk, targets), ExitStack() as stack:
        before = walk.owned()
        loads = [stack.enter_context(_loaded(walk, name)) for name in targets]
        for phase in (_bridged, _freed):
            killer.aim({name: deed for name, deeds in targets.items() if (deed := deeds[phase])})
            phase(walk, *targets)
            _walked(walk, url, killer, phase, list(targets))
            assert all(any(part in deed for part in _NOW_AND_THEN) for deed in killer.aims.values()), f"never came to {killer.aims}"
        walk.as_before(before)
    for load in loads:
        assert load.told["ok"], load
        assert not load.told["failed"], load


@contextmanager
def _served(space: Namespace, apps: Iterable[str]) -> Iterator[None]:
    """Workloads that last as long as the block."""
    text = "\n---\n".join(workload(space.name, name=name, replicas=1) for name in apps)
    space.lab.cluster.apply(text)
    space.lab.cluster.kubectl("wait", "-n", space.name, "--for=condition=Ready", "pod", "--all", "--timeout=180s")
    try:
        yield
    finally:
        space.lab.cluster.kubectl("delete", "-f", "-", stdin=text)
        until(lambda: not {labels_of(p).get("app") for p in space.objects("Pod")} & {*apps}, "their Pods to go")


def _walked(space: Namespace, url: str, killer: Killer, phase: Phase, targets: list[str]) -> None:
    """One operator after the other, until the phase is done."""

    def over() -> bool:
        return killer.process.poll() is not None or _done(space, phase, targets)

    while not _done(space, phase, targets):
        with operating(space.lab, url) as killer.process:
            until(over, f"{phase.__name__}, or a kill", lambda: str(space.traces()))


class Killer:
    """Sees the requests of an operator, and kills it before those that it aims at. deeds: the writes, by target, in order."""

    process: subprocess.Popen[bytes]

    def __init__(self) -> None:
        self.deeds: list[tuple[str, str]] = []
        self.aims: dict[str, str] = {}
        self._lock = threading.Lock()

    def aim(self, points: dict[str, str]) -> None:
        """Kill before the deed of each target, once."""
        self.deeds, self.aims = [], points

    def __call__(self, request: Request) -> bytes | None:
        """For `proxied`."""
        if not request.writes or "/leases" in request.path:
            return leading(request)
        found = re.search(r"\bk\d\d\b", request.path + request.body)
        if not found:
            return None
        with self._lock:
            if self.process.poll() is not None:
                return b""
            target, deeds = found[0], _deeds(request)
            self.deeds += ((target, deed) for deed in deeds)
            if self.aims.get(target) not in deeds:
                return None
            del self.aims[target]
            self.process.kill()
            self.process.wait()
            return b""


_NOTES = (names.HELD, names.ORIGINAL_IMAGE, names.DRAINED_SINCE, names.CONFIRMED, names.WAITS_SINCE)
_ABOUT = ("/image", *_NOTES, "labels", "annotations", "state")
"""What a patch may be about."""


def _deeds(request: Request) -> list[str]:
    """What a write does, in words that are the same for each target: one patch may do several things."""
    _, kind, name, *sub = [*unquote(urlsplit(request.path).path).rpartition("/namespaces/")[2].split("/"), ""]
    body = json.loads(request.body or "{}")
    role = next((r for r in ("shadow", "stand-in") if f"-{r}-" in name), "")
    who = (request.method, kind, role, *sub)
    if not isinstance(body, list):
        return [" ".join(filter(None, (*who, labels_of(body).get(names.ROLE) if "metadata" in body else "")))]
    changes = [(o["op"], o["path"].replace("~1", "/")) for o in body if o["op"] != "test"]
    return [" ".join(filter(None, (*who, op, about))) for op, path in changes for about in _ABOUT if about in path] or [
        " ".join(filter(None, who))
    ]


def _bridged(space: Namespace, *targets: str) -> None:
    for target in targets:
        space.lab.kube.create(space.wanted(target, f"deployment/{target}", [ALICE], user="alice"))


def _freed(space: Namespace, *targets: str) -> None:
    for target in targets:
        space.remove(target)


def _done(space: Namespace, phase: Phase, targets: list[str]) -> bool:
    if phase is _freed:
        return not space.traces()
    return all(space.state(t) == "ACTIVE" for t in targets) and not space.objects("Pod", f"{names.ROLE}=stand-in")


def _undisturbed(lab: Lab, space: Namespace, url: str, killer: Killer, phase: Phase, target: str) -> list[str]:
    """The writes of a phase, each kind once, in order."""
    killer.aim({})
    with operating(lab, url) as process:
        killer.process = process
        phase(space, target)
        until(lambda: _done(space, phase, [target]), phase.__name__, lambda: str(space.traces()))
    return list(dict.fromkeys(deed for at, deed in killer.deeds if at == target))


def test_a_throttled_operator_waits_and_goes_on(lab: Lab) -> None:
    """Each request but the first of all meets 429 with Retry-After before it is let through: lists, writes and deliveries."""
    met: Counter[str] = Counter()

    def throttled(request: Request) -> bytes | None:
        where = f"{request.method} {urlsplit(request.path).path}"
        met[where] += 1
        if "/leases" in request.path or where.endswith("/gefyra/configmaps") or met[where] > 1:
            return leading(request)
        status = {"kind": "Status", "code": 429, "message": "too many requests", "reason": "TooManyRequests"}
        return response("429 Too Many Requests", status, "Retry-After: 1")

    with (
        lab.namespace("throttled", workload("throttled", replicas=1)) as space,
        parked(lab),
        proxied(lab.cluster.kubeconfig, throttled) as url,
    ):
        before = space.owned()
        with operating(lab, url), _loaded(space) as load:
            space.bridge("alice", "deployment/web", ALICE)
            assert space.ask("web", "-H", "x-user: alice") == "alice"
            space.remove("alice")
            space.restored()
        space.as_before(before)
    assert not load.told["failed"], load
    assert any("/exec" in where for where in met)


def test_a_standby_takes_over_from_a_killed_leader(lab: Lab) -> None:
    """Kill -9 of the leader's process in the middle of an install: another process leads, and the install goes on."""
    with lab.namespace("leaderless", workload("leaderless", replicas=2)) as space, _loaded(space) as load:
        before = space.owned()
        space.lab.kube.create(space.wanted("alice", "deployment/web", [ALICE]))
        _until_held(space)
        holder = _holder(lab)
        strike(lab, lab.kube.get(Key("Pod", "gefyra", lab.leader())), "gefyra")
        until(lambda: _holder(lab) not in ("", holder), f"another leader than {holder}")
        _until_active(space, "alice")
        assert space.ask("web", "-H", "x-user: alice") == "alice"
        space.remove("alice")
        space.restored()
        space.as_before(before)
    assert not load.told["failed"], load


def test_an_api_server_that_is_away_stops_no_traffic(lab: Lab) -> None:
    """It is killed while one workload is bridged and another on its way; after 30 s, with etcd compacted (410), all goes on.

    Nothing is promised to the one on its way: kube-proxy is back later than the operator, and nobody can see what it routes until then.
    """
    with lab.namespace("outage", workload("outage", replicas=2), workload("outage", name="late", replicas=2)) as space:
        before = space.owned()
        space.bridge("alice", "deployment/web", ALICE)
        with (
            _loaded(space) as others,
            _loaded(space, "web", "--header", "x-user=alice", "--expect-name", "alice") as hers,
        ):
            lab.kube.create(space.wanted("bob", "deployment/late", [header("x-user", "bob")]))
            _until_held(space)
            addresses = [f"http://{space.address(name)}" for name in ("web", "late")]
            lab.cluster.stop("kube-apiserver", signal.SIGKILL)
            try:
                compact(lab.cluster)
                time.sleep(_OUTAGE)
                assert _names(lab, addresses[0], "x-user: alice") == "alice"
            finally:
                lab.cluster.start("kube-apiserver")
            until(lambda: _answers(lab, space), "the API server, and kube-proxy")
            _until_active(space, "bob")
            until(lambda: space.ask("late", "-H", "x-user: bob") == "bob", "bob's requests to reach bob")
            assert space.state("alice") == "ACTIVE"
            until(lambda: sum(metric(lab, p["metadata"]["name"], "bascule_relists") for p in _replicas(lab)), "a list after 410")
        for name in ("alice", "bob"):
            space.remove(name)
        space.restored()
        space.as_before(before)
    for load in (others, hers):
        assert not load.told["failed"], load
    assert not hers.told["misrouted"], hers


def test_a_kubelet_that_is_killed_stops_nothing(lab: Lab) -> None:
    """Kill -9 and start again while one workload is bridged and another is swapped."""
    with lab.namespace("kubelet", workload("kubelet", replicas=2), workload("kubelet", name="late", replicas=2)) as space:
        before = space.owned()
        space.bridge("alice", "deployment/web", ALICE)
        with _loaded(space) as others, _loaded(space, "late") as late:
            lab.kube.create(space.wanted("bob", "deployment/late", [header("x-user", "bob")]))
            _until_held(space)
            lab.cluster.stop("kubelet", signal.SIGKILL)
            lab.cluster.start("kubelet")
            _until_active(space, "bob")
            assert space.ask("web", "-H", "x-user: alice") == "alice"
        for name in ("alice", "bob"):
            space.remove(name)
        space.restored()
        space.as_before(before)
    for load in (others, late):
        assert not load.told["failed"], load


def test_a_carrier_comes_back_with_its_configuration_and_no_operator(lab: Lab) -> None:
    """Kill -9 of its nginx; when the operator is there again, it confirms the new container."""
    with lab.namespace("alone", workload("alone", replicas=1)) as space:
        before = space.owned()
        space.bridge("alice", "deployment/web", ALICE)
        original = _original(space)
        with _no_operator(lab):
            strike(lab, original)
            until(lambda: _restarts(_original(space)) == 2 and _ready(_original(space)), "the carrier")
            until(lambda: space.ask("web").startswith("web-shadow-"), "the shadow to answer")
            assert space.ask("web", "-H", "x-user: alice") == "alice"
        until(lambda: _confirms(_original(space)), "the new container to be confirmed", lambda: space.told("alice"))
        _until_active(space, "alice")
        space.remove("alice")
        space.restored()
        space.as_before(before)


def test_pods_that_go_come_back(lab: Lab) -> None:
    """A shadow deleted, all shadows at once, an original deleted, an original evicted: each time all is bridged again."""
    with lab.namespace("going", workload("going", replicas=2)) as space:
        space.bridge("alice", "deployment/web", ALICE)
        for what, go in _GOING.items():
            with _loaded(space):
                gone = go(space)
                until(partial(_gone, space, gone), what)
                until(lambda: len(_originals(space)) == 2 and all(map(_confirms, _originals(space))), what, lambda: space.told("alice"))
                until(lambda: len([p for p in _shadows(space) if _ready(p)]) == 2, f"{what}: two shadows")
                _until_active(space, "alice")
                assert space.ask("web", "-H", "x-user: alice") == "alice"
            with _loaded(space) as load:
                time.sleep(_AFTERWARDS)
            assert not load.told["failed"], f"{what}: {load}"
        space.remove("alice")
        space.restored()


def _delete(space: Namespace, pods: list[Obj]) -> set[str]:
    for pod in pods:
        space.lab.kube.delete(Key("Pod", space.name, pod["metadata"]["name"]))
    return {p["metadata"]["uid"] for p in pods}


def _evict(space: Namespace) -> set[str]:
    pod = _original(space)
    name = pod["metadata"]["name"]
    body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": name, "namespace": space.name}}
    space.lab.cluster.kubectl("create", "--raw", f"/api/v1/namespaces/{space.name}/pods/{name}/eviction", "-f", "-", stdin=json.dumps(body))
    return {pod["metadata"]["uid"]}


_GOING: dict[str, Callable[[Namespace], set[str]]] = {
    "a shadow is deleted": lambda space: _delete(space, _shadows(space)[:1]),
    "all shadows are deleted": lambda space: _delete(space, _shadows(space)),
    "an original is deleted": lambda space: _delete(space, _originals(space)[:1]),
    "an original is evicted": _evict,
}


def test_what_others_edit_is_followed_or_put_right(lab: Lab) -> None:
    """Their Service is followed; ours, our configuration and the labels of our Pods are put right; lost marks are told."""
    with lab.namespace("edited", workload("edited", replicas=2)) as space:
        kube = lab.kube
        service = Key("Service", "edited", "web")
        mount = Key("GefyraBridgeMount", "gefyra", "shared")
        kube.create(_mount(space, "shared"))
        space.bridge("alice", "shared", ALICE)
        with _loaded(space) as load:
            hash_ = labels_of(_original(space))["pod-template-hash"]
            ports = kube.get(service)["spec"]["ports"]
            kube.merge(service, {"spec": {"selector": {"app": "web", "pod-template-hash": hash_}}})
            kube.merge(service, {"spec": {"ports": [*ports, {"name": "more", "port": 81, "targetPort": 8080}]}})
            until(lambda: space.ask("web", "-H", "x-user: alice", port=81) == "alice", "alice through the new port")
            mine = next(o for o in space.objects("Service") if labels_of(o).get(names.ROLE) == "service")
            at = Key("Service", "edited", mine["metadata"]["name"])
            kube.merge(at, {"spec": {"selector": {"app": "nobody"}}, "metadata": {"labels": {names.TARGET: "other"}}})
            until(partial(_is, lab, at, mine), "our Service")
            written = next(o for o in space.objects("ConfigMap") if labels_of(o).get(names.ROLE) == "carrier-config")
            at = Key("ConfigMap", "edited", written["metadata"]["name"])
            kube.merge(at, {"data": {"nginx.conf": "nothing"}})
            until(partial(_is, lab, at, written), "our ConfigMap")
            shadow = _shadows(space)[0]
            at = Key("Pod", "edited", shadow["metadata"]["name"])
            kube.merge(at, {"metadata": {"labels": {"app": "web", "pod-template-hash": hash_}}})
            until(lambda: labels_of(kube.get(at)) == labels_of(shadow), "a shadow's labels", lambda: str(labels_of(kube.get(at))))
            _until_active(space, "alice")
        assert not load.told["failed"], load
        lost = _original(space)
        at = Key("Pod", "edited", lost["metadata"]["name"])
        kube.merge(at, {"metadata": {"annotations": {f"{names.ORIGINAL_IMAGE}app": None}}})
        until(lambda: "MarksLost" in _told(lab, mount), "the lost marks to be told", lambda: _told(lab, mount))
        assert space.ask("web", "-H", "x-user: alice") == "alice"
        kube.merge(at, {"metadata": {"annotations": annotations_of(lost)}})
        until(lambda: "MarksLost" not in _told(lab, mount), "the marks to be seen", lambda: _told(lab, mount))
        _until_active(space, "alice")
        space.remove("alice")
        kube.delete(mount)
        space.restored()
        assert lost["metadata"]["uid"] in _uids(space)


def test_an_image_that_cannot_be_pulled_touches_no_live_container(lab: Lab) -> None:
    """The stand-in fails, the status has kubelet's words; with an image that is there the install goes on."""
    with lab.namespace("pulling", workload("pulling", replicas=2)) as space, _allowed(lab, "localhost/none:1"), _loaded(space) as load:
        before = space.owned()
        lab.kube.create(_mount(space, "shared", providerParameter={"carrierImage": "localhost/none:1"}))
        mount = Key("GefyraBridgeMount", "gefyra", "shared")
        until(lambda: "StandInFailed" in _told(lab, mount), "the failure to be told", lambda: _told(lab, mount))
        until(lambda: "ImagePull" in _told(lab, mount), "kubelet's words", lambda: _told(lab, mount))
        assert lab.kube.get(mount)["state"] == "PREPARING"
        assert not [p for p in _originals(space) if "bascule.dev" in json.dumps(p)]
        lab.kube.merge(mount, {"providerParameter": {"carrierImage": CARRIER}})
        until(lambda: lab.kube.get(mount).get("state") == "ACTIVE", "the mount to be ACTIVE", lambda: _told(lab, mount))
        assert "StandInFailed" not in _told(lab, mount)
        space.bridge("alice", "shared", ALICE)
        assert space.ask("web", "-H", "x-user: alice") == "alice"
        space.remove("alice")
        lab.kube.delete(mount)
        space.restored()
        space.as_before(before)
    assert not load.told["failed"], load


def test_a_restore_goes_on_when_no_stand_in_can_come(lab: Lab) -> None:
    """An admission policy refuses Pods of ours: after a minute originals go back one by one, and none is missed."""
    with lab.namespace("refusing", workload("refusing", replicas=2)) as space:
        before = space.owned()
        space.bridge("alice", "deployment/web", ALICE)
        space.without_stand_ins()
        with _loaded(space) as load, _refused(lab, space):
            space.remove("alice")
            until(lambda: all(names.WAITS_SINCE in annotations_of(p) for p in _originals(space)), "originals that wait")
            space.restored()
        space.as_before(before)
    assert not load.told["failed"], load


def test_a_carrier_without_room_keeps_what_it_has(lab: Lab) -> None:
    """/dev/shm is full: the new configuration is refused, the old one serves, the state says so; with room it is taken."""
    with lab.namespace("full", workload("full", replicas=1)) as space:
        before = space.owned()
        space.bridge("alice", "deployment/web", ALICE)
        space.without_stand_ins()
        inside = ("exec", "-n", "full", _original(space)["metadata"]["name"], "--", "/carrier2/bin/sh", "-c")
        with _loaded(space) as load:
            lab.cluster.kubectl(*inside, "dd if=/dev/zero of=/dev/shm/filler bs=64k || :")
            lab.kube.create(space.wanted("bob", "deployment/web", [header("x-user", "bob")]))
            until(lambda: "cannot" in _said(lab), "the refusal to be told", lambda: space.told("bob"))
            assert space.state("bob") != "ACTIVE"
            assert space.ask("web", "-H", "x-user: alice") == "alice"
            assert space.ask("web", "-H", "x-user: bob").startswith("web-shadow-")
            lab.cluster.kubectl(*inside, "rm /dev/shm/filler")
            _until_active(space, "bob")
            assert space.ask("web", "-H", "x-user: bob") == "bob"
        assert not load.told["failed"], load
        for name in ("alice", "bob"):
            space.remove(name)
        space.restored()
        space.as_before(before)


def test_a_target_that_goes_takes_everything_with_it_and_is_bridged_when_it_is_back(lab: Lab) -> None:
    """Nothing is left but the bridge, which says that its target is missing; a mount without patience goes too."""
    with lab.namespace("vanishing", workload("vanishing", replicas=1)) as space:
        lab.kube.create(_mount(space, "brief", missingGracePeriod=0))
        space.bridge("alice", "deployment/web", ALICE)
        lab.cluster.kubectl("delete", "deployment", "-n", "vanishing", "web")
        space.restored()
        until(lambda: "TargetMissing" in space.told("alice"), "the bridge to say so", lambda: space.told("alice"))
        assert space.state("alice") in ("ERROR", "MISSING")
        until(lambda: not lab.kube.list_objects("GefyraBridgeMount", "gefyra")[0], "the mount to go")
        lab.cluster.apply(workload("vanishing", replicas=1))
        _until_active(space, "alice")
        until(lambda: space.ask("web", "-H", "x-user: alice") == "alice", "alice")
        space.remove("alice")
        space.restored()


def test_every_delivery_arrives(lab: Lab) -> None:
    """A hundred execs, some at once: a request that is lost on its way would make its target wait for half a minute."""
    with lab.namespace("delivered", workload("delivered", replicas=1)) as space:
        space.bridge("alice", "deployment/web", ALICE)
        at = Key("Pod", "delivered", _original(space)["metadata"]["name"])

        def apply(_: int) -> str:
            return run(lab.kube, at, "app", (EXECUTABLE, "apply", "none"), b"nginx.conf 1\nx")

        with ThreadPoolExecutor(3) as pool:
            answers = set(pool.map(apply, range(100)))
        assert answers == {"refused: nginx.conf does not have the SHA-256 none, its stream may have been cut\n"}
        space.remove("alice")
        space.restored()


@contextmanager
def _loaded(space: Namespace, service: str = "web", *more: str) -> Iterator[Load]:
    until(lambda: space.ask(service), f"{service} to answer")
    with space.load("--url", f"http://{space.address(service)}/", "--workers", "2", "--interval", "40ms", *more) as load:
        yield load


def _until_held(space: Namespace) -> None:
    """A swap is on its way."""
    until(lambda: space.objects("Pod", f"{names.HELD}=true"), "an original to be held")


def _until_active(space: Namespace, name: str) -> None:
    until(lambda: space.state(name) == "ACTIVE", f"{name} to be ACTIVE", lambda: space.told(name))


def _originals(space: Namespace) -> list[Obj]:
    found = space.objects("Pod", f"app=web,!{names.ROLE}")
    return [p for p in found if not p["metadata"].get("deletionTimestamp")]


def _original(space: Namespace) -> Obj:
    return _originals(space)[0]


def _shadows(space: Namespace) -> list[Obj]:
    return [p for p in space.objects("Pod", f"{names.ROLE}=shadow") if not p["metadata"].get("deletionTimestamp")]


def _uids(space: Namespace) -> set[str]:
    return {p["metadata"]["uid"] for p in space.objects("Pod")}


def _gone(space: Namespace, uids: set[str]) -> bool:
    return not uids & _uids(space)


def _restarts(pod: Obj) -> int:
    return int(pod["status"]["containerStatuses"][0]["restartCount"])


def _ready(pod: Obj) -> bool:
    return any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"].get("conditions", ()))


def _confirms(pod: Obj) -> bool:
    """Whether it is ready, with a carrier that has confirmed its configuration."""
    said = annotations_of(pod).get(f"{names.CONFIRMED}app", "")
    return _ready(pod) and bool(said) and said.endswith(f"@{pod['status']['containerStatuses'][0]['containerID']}")


def _is(lab: Lab, key: Key, wanted: Obj) -> bool:
    """Whether an object has the labels and the content of another."""
    obj = lab.kube.get(key)
    return labels_of(obj) == labels_of(wanted) and all(obj.get(part) == wanted.get(part) for part in ("data", "spec"))


def _holder(lab: Lab) -> str:
    return str(lab.kube.get(Key("Lease", "gefyra", "bascule-operator"))["spec"]["holderIdentity"])


def _replicas(lab: Lab) -> list[Obj]:
    return lab.kube.list_objects("Pod", "gefyra", "app.kubernetes.io/name=gefyra-operator")[0]


def _answers(lab: Lab, space: Namespace) -> bool:
    """Whether the API server answers, and by way of kube-proxy the webhook."""
    anna = space.wanted("anna", "deployment/web", [header("x-user", "anna")], user="alice")
    try:
        lab.cluster.kubectl("get", "--raw", "/readyz")
        return bool(account(lab.cluster.kubeconfig, dry_run=True).create(anna))
    except (Broken, KubeError):
        return False


def _names(lab: Lab, url: str, said: str) -> str:
    return str(json.loads(lab.cluster.run("curl", "-sS", "-m", "5", "-H", said, url))["name"])


@contextmanager
def _no_operator(lab: Lab) -> Iterator[None]:
    deployment = ("-n", "gefyra", "deployment/gefyra-operator")
    lab.cluster.kubectl("scale", *deployment, "--replicas=0")
    until(lambda: not _replicas(lab), "the operator to end")
    try:
        yield
    finally:
        lab.cluster.kubectl("scale", *deployment, "--replicas=2")
        lab.cluster.kubectl("rollout", "status", *deployment, "--timeout=180s")


@contextmanager
def _allowed(lab: Lab, *more: str) -> Iterator[None]:
    """Further carrier images in the settings."""
    settings = Key("ConfigMap", "gefyra", "bascule")
    lab.kube.merge(settings, {"data": {"carrierImages": " ".join(more)}})
    try:
        yield
    finally:
        lab.kube.merge(settings, {"data": {"carrierImages": ""}})


@contextmanager
def _refused(lab: Lab, space: Namespace) -> Iterator[None]:
    """No Pod that shows the role of a stand-in is admitted to the namespace."""
    group = "admissionregistration.k8s.io/v1"
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    selected = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": space.name}}, "resourceRules": [rule]}
    said = {"expression": f"object.metadata.?labels[?'{names.ROLE}'].orValue('') != 'stand-in'"}
    spec = {"failurePolicy": "Fail", "matchConstraints": selected, "validations": [said]}
    policy = {"apiVersion": group, "kind": "ValidatingAdmissionPolicy", "metadata": {"name": space.name}, "spec": spec}
    bound = {"policyName": space.name, "validationActions": ["Deny"]}
    binding = {"apiVersion": group, "kind": "ValidatingAdmissionPolicyBinding", "metadata": {"name": space.name}, "spec": bound}
    lab.cluster.apply(f"{json.dumps(policy)}\n---\n{json.dumps(binding)}")
    try:
        until(lambda: _refuses(lab, space), "the policy to hold")
        yield
    finally:
        lab.cluster.kubectl("delete", "validatingadmissionpolicy,validatingadmissionpolicybinding", space.name)


def _refuses(lab: Lab, space: Namespace) -> bool:
    pod = {"containers": [{"name": "app", "image": CARRIER}]}
    metadata = {"name": "probe", "namespace": space.name, "labels": {names.ROLE: "stand-in"}}
    dry = ("create", "--dry-run=server", "-f", "-")
    try:
        lab.cluster.kubectl(*dry, stdin=json.dumps({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": pod}))
    except Broken as error:
        return "denied" in str(error)
    return False


def _mount(space: Namespace, name: str, **more: Any) -> Obj:
    return {
        "apiVersion": "gefyra.dev/v1",
        "kind": "gefyrabridgemount",
        "metadata": {"name": name, "namespace": "gefyra", "labels": {"test": space.name}},
        "provider": "carrier2",
        "target": "deployment/web",
        "targetNamespace": space.name,
        **more,
    }


def _told(lab: Lab, key: Key) -> str:
    return json.dumps(lab.kube.get(key).get("status"))


def _said(lab: Lab) -> str:
    """The leader's log."""
    return lab.cluster.kubectl("logs", "-n", "gefyra", lab.leader())
