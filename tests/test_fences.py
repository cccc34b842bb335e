"""The fences on a real API server: what the operator's account may do beside what RBAC says, and that they concern nobody else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from generator import names
from generator.cluster.snapshot import Key, Obj
from generator.desired.patched import _with_ready
from generator.live.failures import Forbidden, KubeError
from generator.live.kube import Kube, path
from generator.patch import patch
from tests.cluster.cluster import Cluster
from tests.cluster.machine import wait
from tests.fence_lab import CARRIER, IMAGE, ORIGINAL, OURS, OWNER, execute, fenced, op, other, pod, shadow
from tests.overlay_lab import OPERATOR, account, call

HASH = "0123456789abcdef" * 4


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    """An API server with the fences in force."""
    with fenced(tmp_path_factory.mktemp("overlay")) as own:
        yield own


@pytest.fixture
def admin(server: Cluster) -> Kube:
    """Somebody whom no fence concerns; what he writes is not kept."""
    return account(server.kubeconfig, dry_run=True)


@pytest.fixture
def operator(server: Cluster) -> Kube:
    """The operator's account; what it writes is not kept."""
    return account(server.kubeconfig, OPERATOR, dry_run=True)


# ---- exec


def test_the_operator_may_apply_a_configuration(operator: Kube) -> None:
    """The fence lets it pass; it ends only because no node runs the Pod."""
    with pytest.raises(KubeError, match="does not have a host assigned"):
        execute(operator, ["/carrier2/bin/carrier2", "apply", HASH])


@pytest.mark.parametrize(
    ("command", "more"),
    [
        (["sh"], {}),
        (["/carrier2/bin/carrier2"], {}),
        (["/carrier2/bin/carrier2", "run", HASH], {}),
        (["carrier2", "apply", HASH], {}),
        (["/carrier2/bin/carrier2", "apply", HASH[:16]], {}),
        (["/carrier2/bin/carrier2", "apply", f"{HASH}0"], {}),
        (["/carrier2/bin/carrier2", "apply", HASH, "x"], {}),
        (["sh", "-c", f"/carrier2/bin/carrier2%20apply%20{HASH}"], {}),
        (["/carrier2/bin/carrier2", "apply", HASH], {"flags": "&stdin=true&tty=true"}),
        (["/carrier2/bin/carrier2", "apply", HASH], {"flags": "&stdout=true"}),
        (["/carrier2/bin/carrier2", "apply", HASH], {"container": ""}),
    ],
)
def test_the_operator_may_run_nothing_else(operator: Kube, admin: Kube, command: list[str], more: dict[str, str]) -> None:
    """Another command, another word, a terminal, no input, no container; anybody else may."""
    with pytest.raises(Forbidden, match=r"bascule-fence-exec.*the operator"):
        execute(operator, command, **more)
    with pytest.raises(KubeError, match="does not have a host assigned"):
        execute(admin, command, **{"container": "app"} | {k: v for k, v in more.items() if v})


@pytest.mark.parametrize("verbs", ["get", "create"])
def test_an_exec_needs_both_rights(server: Cluster, verbs: str) -> None:
    """A websocket begins with a GET and is a CREATE all the same; one right alone is not enough."""
    user = f"only-{verbs}"
    server.kubectl("create", "role", user, "-n", "shop", f"--verb={verbs}", "--resource=pods/exec")
    server.kubectl("create", "rolebinding", user, "-n", "shop", f"--role={user}", f"--user={user}")

    with pytest.raises(Forbidden, match="forbidden"):
        execute(account(server.kubeconfig, user), ["true"])


@pytest.mark.parametrize("subresource", ["attach", "portforward", "proxy"])
def test_rights_given_by_mistake_open_no_other_way_in(server: Cluster, subresource: str) -> None:
    """Not even when somebody binds the operator to an administrator's role."""
    with too_many_rights(server), pytest.raises(Forbidden, match=r"bascule-fence-exec.*may only exec"):
        call(account(server.kubeconfig, OPERATOR), "GET", f"{path('Pod', 'shop', 'web')}/{subresource}")


@contextmanager
def too_many_rights(server: Cluster) -> Iterator[None]:
    """The operator as an administrator."""
    server.kubectl("create", "clusterrolebinding", "mistake", "--clusterrole=cluster-admin", "--serviceaccount=gefyra:gefyra-operator")
    try:
        wait(lambda: bool(account(server.kubeconfig, OPERATOR).list_objects("Node")), "the binding")
        yield
    finally:
        server.kubectl("delete", "clusterrolebinding", "mistake")


# ---- Pods


def changed(live: Obj, *, labels: Obj | None = None, notes: Obj | None = None, image: str = "", ready: bool | None = None) -> Obj:
    """The Pod with these of our labels and annotations and no others, an image for its first container, and Ready."""
    metadata = dict(live["metadata"])
    for part, own in (("labels", labels), ("annotations", notes)):
        if own is not None:
            metadata[part] = {k: v for k, v in metadata.get(part, {}).items() if not names.is_ours(k)} | own
    first, *rest = live["spec"]["containers"]
    spec = {**live["spec"], "containers": [{**first, "image": image or first["image"]}, *rest]}
    status = live["status"] if ready is None else _with_ready(live["status"], ready=ready, now="2026-11-24T22:30:00Z")
    return {**live, "metadata": metadata, "spec": spec, "status": status}


def test_the_walk_of_an_original_is_allowed(server: Cluster) -> None:
    """Hold, drain, swap, confirm, release, and all the way back, as patched.py writes them; then it is what it was."""
    operator, admin, key = account(server.kubeconfig, OPERATOR), account(server.kubeconfig), pod("web")
    before = admin.get(key)
    carried, held = {names.CARRIER: "deployment-web"}, {names.CARRIER: "deployment-web", names.HELD: "true"}
    shadow_, drained, replaced = (
        {names.SHADOW: "web-shadow"},
        {names.DRAINED_SINCE: "2026-11-24T22:30:00Z"},
        {names.REPLACED + "app": "containerd://a"},
    )
    original, confirmed = {IMAGE: "localhost/echo:1"}, {names.CONFIRMED + "app": f"{HASH[:16]}@containerd://b"}
    steps: list[Obj] = [
        {"labels": held, "notes": shadow_},
        {"ready": False},
        {"notes": shadow_ | drained},
        {"notes": shadow_ | drained | original | replaced, "image": CARRIER},
        {"notes": shadow_ | drained | original | replaced | confirmed},
        {"labels": carried, "notes": shadow_ | original | confirmed},
        {"ready": True},
        {"labels": held},
        {"ready": False},
        {"notes": shadow_ | drained | original | replaced, "image": "localhost/echo:1"},
        {"labels": carried, "notes": shadow_},
        {"ready": True},
        {"labels": {}, "notes": {}},
    ]

    for step in steps:
        live = admin.get(key)
        operations = patch(live, changed(live, **step))
        assert operations
        operator.patch(key, operations, "status" if "ready" in step else "")
    after = admin.get(key)

    assert {k: after["metadata"][k] for k in ("labels", "annotations")} == {k: before["metadata"][k] for k in ("labels", "annotations")}
    assert after["spec"] == before["spec"]


def escaped(key: str) -> str:
    """A key in a JSON Pointer."""
    return key.replace("/", "~1")


NOTE = f"/metadata/annotations/{escaped(IMAGE)}"
ROLE, TARGET = (f"/metadata/labels/{escaped(name)}" for name in (names.ROLE, names.TARGET))
TOLERATION = {"key": "x", "operator": "Exists"}


@pytest.mark.parametrize(
    ("name", "operations", "said"),
    [
        ("web", op("/metadata/labels/app", "other"), "may only change the labels"),
        ("web", op("/metadata/labels/app"), "may only change the labels"),
        ("web", op("/metadata/labels/new", "x"), "may only change the labels"),
        ("web", op(f"/metadata/labels/{escaped(names.MANAGED_BY)}", "bascule"), "may only change the labels"),
        ("web", op("/metadata/annotations/team", "other"), "may only change annotations"),
        ("web", op("/metadata/annotations"), "may only change annotations"),
        ("web", op("/metadata/annotations/xbascule.dev~1a", "x"), "may only change annotations"),
        ("web", op(ROLE, "shadow"), "may not change the role"),
        ("web", op(TARGET, "deployment-web"), "nor the target of one that is not its own"),
        ("web", op("/metadata/finalizers", ["a.example/b"]), "metadata beyond"),
        ("web", op("/metadata/ownerReferences", [OWNER]), "metadata beyond"),
        ("web", op("/spec/containers/0/image", "localhost/evil:1"), "may only put a carrier image"),
        ("web", op("/spec/initContainers/0/image", CARRIER), "spec beyond images"),
        ("web", op("/spec/tolerations/-", TOLERATION), "spec beyond images"),
        ("web", op("/spec/activeDeadlineSeconds", 1), "spec beyond images"),
        ("web", op(NOTE, "localhost/evil:1"), "it is written once"),
        ("web", op(f"{NOTE}x", "localhost/echo:1"), "it is written once"),
        ("web", op(NOTE, "localhost/evil:1") + op("/spec/containers/0/image", "localhost/evil:1"), "may only put a carrier image"),
        ("swapped", op(NOTE, "localhost/evil:1"), "it is written once"),
        ("swapped", op(NOTE), "it is written once"),
        ("swapped", op("/spec/containers/0/image", "localhost/other:1"), "may only put a carrier image"),
        ("swapped", op("/spec/containers/1/image", "localhost/echo:1"), "may only put a carrier image"),
        ("ours", op(ROLE, "stand-in"), "may not change the role"),
        ("ours", op(ROLE), "may not change the role"),
        ("ours", op("/spec/tolerations/-", TOLERATION), "spec beyond images"),
        ("ours", op("/metadata/finalizers", ["a.example/b"]), "metadata beyond"),
    ],
)
def test_the_operator_may_not(operator: Kube, admin: Kube, name: str, operations: list[Obj], said: str) -> None:
    """Each change is one that the server would take, and takes from anybody else."""
    with pytest.raises(Forbidden, match=f"bascule-fence-pods.*{said}"):
        operator.patch(pod(name), operations)
    admin.patch(pod(name), operations)


@pytest.mark.parametrize(
    ("name", "operations"),
    [
        ("web", op(NOTE, "localhost/echo:1") + op("/spec/containers/0/image", CARRIER)),
        ("web", op(NOTE, "localhost/echo:1") + op("/spec/containers/0/image", "localhost/carrier:3")),
        ("swapped", op("/spec/containers/0/image", "localhost/echo:1")),
        ("swapped", op("/spec/containers/0/image", "localhost/echo:1") + op(NOTE)),
        ("swapped", op("/spec/containers/0/image", "localhost/carrier:2")),
        ("ours", op("/metadata/labels/app", "web") + op("/metadata/annotations", {"a": "b"})),
        ("ours", op(TARGET, "deployment-other")),
        ("ours", op(TARGET)),
        (
            "ours",
            op(
                "/metadata/ownerReferences/-", {**OWNER, "controller": False, "name": "web2", "uid": "00000000-0000-0000-0000-000000000002"}
            ),
        ),
        ("ours", op("/spec/containers/0/image", "localhost/echo:2")),
    ],
)
def test_the_operator_may(operator: Kube, name: str, operations: list[Obj]) -> None:
    """A carrier in, another carrier, the application back; of a Pod of its own labels, notes, owners, and an image that was changed."""
    operator.patch(pod(name), operations)


@pytest.mark.parametrize(
    ("operations", "said"),
    [
        (op("/status/phase", "Failed"), "status beyond the condition Ready"),
        (op("/status/message", "x"), "status beyond the condition Ready"),
        (op("/status/conditions/0/status", "False"), "conditions beyond Ready"),
        (op("/status/conditions/2"), "conditions beyond Ready"),
        (op("/status/conditions/-", {"type": "x.example/y", "status": "True"}), "conditions beyond Ready"),
        (op("/metadata/labels/app", "other"), "metadata through its status"),
        (op("/metadata/annotations/x", "x"), "metadata through its status"),
    ],
)
def test_of_a_status_the_operator_writes_ready_alone(operator: Kube, admin: Kube, operations: list[Obj], said: str) -> None:
    """Not another field, not another condition, and no label by that way."""
    with pytest.raises(Forbidden, match=f"bascule-fence-pod-status.*{said}"):
        operator.patch(pod("web"), operations, "status")
    admin.patch(pod("web"), operations, "status")


# ---- connections


def test_the_operator_leads_to_stowaway(server: Cluster) -> None:
    """The Services in front of its ports are the operator's own; the ConfigMap of its routes is not, and it writes that one alone."""
    operator, admin = account(server.kubeconfig, OPERATOR), account(server.kubeconfig)
    service = {**other("Service", "gefyra-stowaway-proxy-10000", "connection")}
    service["metadata"] = {**service["metadata"], "namespace": "gefyra"}
    routes: Obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "gefyra-stowaway-proxyroutes", "namespace": "gefyra"}}
    key = Key("ConfigMap", "gefyra", "gefyra-stowaway-proxyroutes")

    operator.create(service)
    operator.patch(Key("Service", "gefyra", "gefyra-stowaway-proxy-10000"), op("/metadata/labels/gefyra.dev~1client-id", "alice"))
    operator.delete(Key("Service", "gefyra", "gefyra-stowaway-proxy-10000"))
    operator.create(routes)
    operator.patch(key, op("/data", {"alice-abcdefghij": "192.168.101.1:80,10000"}))
    attempts: list[Callable[[], object]] = [
        lambda: operator.patch(key, op("/metadata/labels", {**OURS, names.ROLE: "carrier-config"})),
        lambda: operator.create({**routes, "metadata": {**routes["metadata"], "name": "other"}}),
    ]
    for attempt in attempts:
        with pytest.raises(Forbidden, match=r"bascule-fence-objects.*the operator"):
            attempt()
    for name in ("gefyra-stowaway-proxyroutes", "bascule"):
        with pytest.raises(Forbidden, match="cannot delete"):
            operator.delete(Key("ConfigMap", "gefyra", name))
    with pytest.raises(Forbidden, match="cannot patch"):
        operator.patch(Key("ConfigMap", "gefyra", "bascule"), op("/data/carrierImage", "localhost/evil:1"))
    admin.delete(key)


# ---- objects of ours, and of others


@pytest.mark.parametrize(
    ("kind", "role"), [("Service", "service"), ("ConfigMap", "carrier-config"), ("NetworkPolicy", "policy"), ("Pod", "shadow")]
)
def test_the_operator_makes_changes_and_deletes_its_own(server: Cluster, kind: str, role: str) -> None:
    """From birth to death; a label of ours that somebody has taken off comes back."""
    operator, admin = account(server.kubeconfig, OPERATOR), account(server.kubeconfig)
    obj = shadow("made") if kind == "Pod" else other(kind, "made", role)
    key = Key(kind, "shop", "made")
    managed = f"/metadata/labels/{escaped(names.MANAGED_BY)}"

    operator.create(obj)
    operator.patch(key, op("/metadata/annotations", {names.WORKLOAD: "Deployment/web"}))
    admin.patch(key, op(managed))
    operator.patch(key, op(managed, "bascule"))
    operator.delete(key)


@pytest.mark.parametrize("kind", ["Service", "ConfigMap", "NetworkPolicy", "Pod"])
def test_the_operator_leaves_what_is_not_its_own(operator: Kube, admin: Kube, kind: str) -> None:
    """It neither makes it, nor deletes it, nor changes it, nor makes it its own."""
    key = Key(kind, "shop", "web" if kind == "Pod" else "theirs")
    born = {**ORIGINAL, "metadata": {"name": "new", "namespace": "shop"}} if kind == "Pod" else other(kind, "new")
    labels = {**OURS, names.ROLE: {"Service": "service", "ConfigMap": "carrier-config", "NetworkPolicy": "policy", "Pod": "shadow"}[kind]}

    attempts: list[Callable[[Kube], object]] = [
        lambda kube: kube.create(born),
        lambda kube: call(kube, "DELETE", path(*key)),
        lambda kube: kube.patch(key, op("/metadata/labels", labels)),
        lambda kube: kube.patch(key, op("/metadata/labels/x", "x")),
    ]
    for attempt in attempts:
        with pytest.raises(Forbidden, match=r"bascule-fence-(objects|pods).*the operator"):
            attempt(operator)
        attempt(admin)


@pytest.mark.parametrize(
    ("obj", "said"),
    [
        (
            {**shadow("new"), "metadata": {**shadow("new")["metadata"], "ownerReferences": [{**OWNER, "controller": False}]}},
            "belong to an original",
        ),
        (shadow("new", **{names.ROLE: "service"}), "say that it is its own"),
        (shadow("new", **{names.MANAGED_BY: "Helm"}), "say that it is its own"),
        (shadow("new", **{names.TARGET: ""}), "say that it is its own"),
        ({**shadow("new"), "spec": {**ORIGINAL["spec"], "hostNetwork": True}}, "no namespace of their node"),
        ({**shadow("new"), "spec": {**ORIGINAL["spec"], "hostIPC": True}}, "no namespace of their node"),
        (shadow("new", **{names.ROLE: "stand-in"}), "has a carrier image"),
        ({**other("Service", "new", "service"), "spec": {"type": "LoadBalancer", "ports": [{"port": 80}]}}, "no address outside"),
        ({**other("Service", "new", "service"), "spec": {"externalIPs": ["192.0.2.7"], "ports": [{"port": 80}]}}, "no address outside"),
        (other("Service", "new", "policy"), "say that it is its own"),
    ],
)
def test_what_is_its_own_has_bounds(operator: Kube, admin: Kube, obj: Obj, said: str) -> None:
    """A Pod of ours goes with its original and gets nothing of its node; a stand-in has a carrier; no Service is seen from outside."""
    with pytest.raises(Forbidden, match=f"bascule-fence-objects.*{said}"):
        operator.create(obj)
    admin.create(obj)


def test_a_stand_in_has_a_carrier(operator: Kube) -> None:
    """The default one and those that the settings name."""
    for image in (CARRIER, "localhost/carrier:2"):
        trial = shadow("trial", **{names.ROLE: "stand-in"})
        operator.create({**trial, "spec": {"containers": [{"name": "app", "image": image}]}})


def test_of_the_configmaps_beside_its_own_the_operator_writes_who_listens(server: Cluster) -> None:
    """Its data; it neither makes nor deletes it, and the settings stay the administrator's, whatever rights somebody has given."""
    listening, settings = Key("ConfigMap", "gefyra", names.RELAY), Key("ConfigMap", "gefyra", names.SETTINGS_CONFIGMAP)
    obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": names.RELAY, "namespace": "gefyra"}}
    with too_many_rights(server):
        operator = account(server.kubeconfig, OPERATOR)
        with pytest.raises(Forbidden, match="bascule-fence-objects"):
            operator.create(obj)
        account(server.kubeconfig).create(obj)
        operator.patch(listening, op("/data", {"listening": "20032"}))
        attempts: list[Callable[[], object]] = [
            lambda: operator.delete(listening),
            lambda: operator.patch(settings, op("/data/carrierImage", "x")),
            lambda: operator.patch(listening._replace(namespace="shop", name="theirs"), op("/data", {})),
        ]
        for attempt in attempts:
            with pytest.raises(Forbidden, match="bascule-fence-objects"):
                attempt()
    account(server.kubeconfig).delete(listening)


def test_rights_given_by_mistake_do_not_widen_the_fences(server: Cluster) -> None:
    """As an administrator by mistake, the operator still writes no Pod of others, in no namespace."""
    with too_many_rights(server):
        operator = account(server.kubeconfig, OPERATOR, dry_run=True)
        with pytest.raises(Forbidden, match="bascule-fence-objects"):
            operator.create({**ORIGINAL, "metadata": {"name": "new", "namespace": "bank"}})
        with pytest.raises(Forbidden, match="bascule-fence-pods"):
            operator.patch(pod("web"), op("/metadata/labels/app", "other"))
        with pytest.raises(Forbidden, match="bascule-fence-pod-status"):
            operator.patch(pod("web"), op("/spec/ephemeralContainers", [{"name": "x", "image": "x"}]), "ephemeralcontainers")


@pytest.mark.parametrize("kind", ["Pod", "Service", "ConfigMap", "NetworkPolicy", "Secret", "Deployment"])
def test_another_namespace_is_closed(operator: Kube, kind: str) -> None:
    """Without a RoleBinding there the operator does not even see what there is."""
    with pytest.raises(Forbidden, match="cannot list resource"):
        operator.list_objects(kind, "bank")
