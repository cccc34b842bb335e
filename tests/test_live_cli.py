"""The command line against a real API server: what it reads, says and writes, as a person at a terminal sees it.

etcd and kube-apiserver only: no kubelet runs here. What it would do, `kubelet` does, with the same pure functions as `bascule plan`.
"""

from __future__ import annotations

import json
import os
import pty
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any
from urllib.request import urlopen

import jsonschema
import pytest
import yaml

from generator.cli import ui
from generator.cli.stream import Source
from generator.cluster.relay import BLOCKS, HOST, REPORT
from generator.cluster.snapshot import Key, Obj, Snapshot, key_of
from generator.desired.generate import generate
from generator.desired.waking import next_look
from generator.live import apply as live_apply
from generator.live import reading
from generator.live.kube import Kube, connect, path
from generator.names import AWAY_GRACE, digest
from generator.plan import plan
from generator.simulate import fold, settle, world
from generator.text import reading as text
from tests import kube as build
from tests.cluster.cluster import Cluster, cluster

ROOT = Path(__file__).parents[1]
SCHEMA = json.loads((ROOT / "docs/schema/cli-v1.json").read_text())
CRDS = [p.read_text() for p in sorted((ROOT / "overlays/base/crds").glob("gefyrabridge*.yaml"))]
PROGRAM = [sys.executable, "-m", "generator"]


@pytest.fixture(scope="module")
def api() -> Iterator[Cluster]:
    """An API server with our definitions and the namespace gefyra."""
    with cluster(api_only=True) as found:
        found.apply("\n---\n".join(CRDS))
        for each in ("gefyrabridges", "gefyrabridgemounts"):
            found.kubectl("wait", "--for=condition=Established", f"crd/{each}.gefyra.dev")
        found.apply("{apiVersion: v1, kind: Namespace, metadata: {name: gefyra}}")
        yield found


@pytest.fixture
def kube(api: Cluster, monkeypatch: pytest.MonkeyPatch) -> Kube:
    """The administrator's account; commands of this test use it too."""
    monkeypatch.setenv("KUBECONFIG", str(api.kubeconfig))
    return connect()


def environment() -> dict[str, str]:
    """80 columns, and this source."""
    return {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}


def bascule(*arguments: str, code: int = 0) -> str:
    """What a command prints on both streams, in a process of its own; its exit code is as expected."""
    done = subprocess.run([*PROGRAM, *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


# --- a cluster without nodes -----------------------------------------------------------------------------------------


def create(kube: Kube, namespace: str, objects: list[Obj]) -> None:
    """The namespace with these objects, as if their controllers had made them; owners are found by the uids they were built with."""
    kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    kube.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default", "namespace": namespace}})
    uids: dict[str, str] = {}
    for obj in objects:
        metadata = {k: v for k, v in obj["metadata"].items() if k not in ("uid", "resourceVersion", "creationTimestamp")}
        owners = [{**ref, "uid": uids[ref["uid"]]} for ref in metadata.get("ownerReferences", ())]
        made = kube.create({**obj, "metadata": {**metadata, "namespace": namespace, "ownerReferences": owners}})
        uids[obj["metadata"]["uid"]] = made["metadata"]["uid"]
        if obj["kind"] == "Pod":
            kube.patch(key_of(made), [{"op": "replace", "path": "/status", "value": obj["status"]}], "status")
    kubelet(kube, namespace)


def shop(namespace: str = "shop", replicas: int = 3) -> list[Obj]:
    """Deployment web with its Pods behind a Service."""
    deployment, owned, *pods = build.deployment("web", {"app": "web"}, [build.container()], replicas, 1, namespace)
    template = {**owned["spec"]["template"], "metadata": {"labels": owned["metadata"]["labels"]}}
    service = build.service("web", {"app": "web"}, namespace=namespace)
    plain = {k: v for k, v in service["spec"].items() if not k.startswith("clusterIP")}
    return [deployment, {**owned, "spec": {**owned["spec"], "template": template}}, *pods, {**service, "spec": plain}]


def kubelet(kube: Kube, namespace: str) -> None:
    """What scheduler, kubelet and the endpoints' controller would do now."""
    for pod in kube.list_objects("Pod", namespace)[0]:
        if pod["metadata"].get("deletionTimestamp"):
            kube._call("DELETE", path("Pod", namespace, pod["metadata"]["name"]), body={"gracePeriodSeconds": 0})
    live = world(o for kind in ("Pod", "Service", "EndpointSlice") for o in kube.list_objects(kind, namespace)[0])
    for key, obj in settle(live, clock()).items():
        before = live.get(key)
        if key.kind == "Pod" and before is not None and obj["spec"].get("nodeName") != before["spec"].get("nodeName"):
            target = {"apiVersion": "v1", "kind": "Node", "name": obj["spec"]["nodeName"]}
            binding = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": key.name}, "target": target}
            kube._call("POST", path("Pod", namespace, key.name) + "/binding", body=binding)
        if key.kind == "Pod" and before != obj:
            kube.patch(key, [{"op": "replace", "path": "/status", "value": obj["status"]}], "status")
        if key.kind == "EndpointSlice" and before is None:
            kube.create(obj)
        elif key.kind == "EndpointSlice" and before != obj:
            kube.merge(key, {"endpoints": obj["endpoints"]})


def operator(kube: Kube, namespace: str, rounds: int = 40) -> None:
    """What the operator would do until nothing changes, with carriers that take every configuration."""
    with ThreadPoolExecutor(4) as pool:
        for _ in range(rounds):
            objects = reading.read(kube, (namespace,))
            snapshot = Snapshot.of(objects, clock())
            desired = generate(snapshot)
            changes = plan(snapshot, desired)
            if not changes and next_look(desired, snapshot.now) is None and not fold(objects, snapshot.now).changes:
                return
            result = live_apply.write(kube, [replace(c, deliver=()) for c in changes], pool)
            assert not result.failed, result.failed
            kubelet(kube, namespace)
            time.sleep(0.2)
    raise AssertionError("no end")


def clock() -> str:
    """Now."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def bridge(name: str, namespace: str, endpoint: str = "10.200.0.1:10000", rule: Obj | None = None, **more: Any) -> Obj:
    """A bridge to Deployment web as in a user's file; by header x-user of alice, unless a condition is given."""
    rules = [build.rule(rule or build.header("x-user", "alice"))]
    made = build.bridge(name, "deployment/web", rules, endpoint=endpoint, **more)
    metadata = {"name": name, "labels": made["metadata"]["labels"]}
    return {**made, "kind": "GefyraBridge", "metadata": metadata, "targetNamespace": namespace}


def ask(kube: Kube, obj: Obj, **more: Any) -> None:
    """What `kubectl apply` would write of a bridge in a file."""
    kube.create({**obj, "kind": "gefyrabridge", "metadata": {**obj["metadata"], "namespace": "gefyra"}, **more})


@pytest.fixture
def space(kube: Kube, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of the test's own with Deployment web; nothing is asked of it, before and after."""
    name = f"shop-{digest(request.node.name, 6)}"
    create(kube, name, shop(name))
    yield name
    for kind in reading.ASKED:
        for obj in kube.list_objects(kind, "gefyra")[0]:
            kube.delete(key_of(obj))
    operator(kube, name)


def save(*objects: Obj) -> str:
    """A file with the objects."""
    Path("asked.yaml").write_text(text.write_yaml(objects))
    return "asked.yaml"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder of its own."""
    monkeypatch.chdir(tmp_path)


@contextmanager
def meanwhile(work: Callable[[], None]) -> Iterator[None]:
    """Do the work again and again while the block runs."""
    ended = threading.Event()

    def loop() -> None:
        while not ended.is_set():
            work()
            ended.wait(0.2)

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(loop)
        try:
            yield
        finally:
            ended.set()
            done.result()


def shown(output: str) -> Any:
    """The JSON of a command, as the schema has it."""
    value = json.loads(output)
    jsonschema.Draft202012Validator(SCHEMA, format_checker=jsonschema.FormatChecker()).validate(value)
    return value


# --- reading ---------------------------------------------------------------------------------------------------------


def test_a_snapshot_says_later_what_the_cluster_says_now(kube: Kube, space: str) -> None:
    """`plan` and `status` print the same bytes for a snapshot as for the cluster it was taken of."""
    ask(kube, bridge("alice", space))
    Path("snapshot.yaml").write_text(bascule("snapshot"))
    first, _, rest = Path("snapshot.yaml").read_text().partition("\n")
    now = first.removeprefix("# now: ")

    assert {o["kind"] for o in yaml.safe_load_all(rest)} >= {"Pod", "ReplicaSet", "EndpointSlice", "Namespace", "gefyrabridge"}
    for command in ("plan", "diff"):
        code = int(command == "diff")
        assert bascule(command, "-f", "snapshot.yaml", code=code) == bascule(command, "--now", now, code=code)


def test_a_snapshot_holds_no_secrets(kube: Kube, space: str) -> None:
    """Secrets, the tokens of GefyraClients and the data of somebody's ConfigMaps are not read; nor are managedFields."""
    for kind, more in (("Secret", {"stringData": {"key": "hidden-1"}}), ("ConfigMap", {"data": {"key": "hidden-2"}})):
        metadata = {"name": "mine", "namespace": space, "annotations": {"note": "hidden-3"}}
        kube.create({"apiVersion": "v1", "kind": kind, "metadata": metadata, **more})
    found = bascule("snapshot", "-n", space)

    assert "name: mine" in found
    assert "hidden" not in found
    assert "managedFields" not in found


def test_what_would_happen_if_a_file_were_applied(kube: Kube, space: str) -> None:
    """With --live and -f the files stand among what the cluster has, and the namespaces they name are read; nothing is written."""
    plan_ = bascule("plan", "--live", "-f", save(bridge("alice", space)))

    assert re.match(r"\d+ create, \d+ patch, \d+ delete; 3 containers restart; 0 objects of yours edited\n", plan_)
    assert plan_.endswith("bridge alice ACTIVE\n")
    assert kube.list_objects("GefyraBridge", "gefyra")[0] == []
    assert bascule("clean", "--check") == "nothing of bascule is left\n"


def test_a_file_stands_in_the_place_of_what_is_there(kube: Kube, space: str) -> None:
    """A bridge of a file replaces the one of that name, and keeps what the connection has reported of it."""
    ask(kube, bridge("alice", space))
    new = bridge("alice", space, endpoint="", rule=build.path("/new"))
    question = ("explain", "GET", "/new", "--target", f"{space}/deployment/web", "--port", "8080")

    assert bascule(*question).startswith("the cluster answers\n")
    found = shown(bascule(*question, "-o", "json", "--live", "-f", save(new)))
    assert (found["winner"], found["answeredBy"]) == ("alice", "bridge")


def test_a_mistake_in_a_file_is_an_error_also_where_the_cluster_has_that_bridge(kube: Kube, space: str) -> None:
    """What is wrong in a file of one's own ends the command; that a bridge of that name is there makes it no lesser mistake."""
    ask(kube, bridge("alice", space))

    assert "UnknownField: GefyraBridge gefyra/alice: targt" in bascule(
        "plan", "--live", "-f", save(bridge("alice", space, targt="x")), code=2
    )


def test_other_namespaces_are_not_missing(kube: Kube, space: str) -> None:
    """With -n the bridges of other namespaces are left out, and not taken for bridges without a target."""
    ask(kube, bridge("alice", space))

    assert bascule("check", "-n", "kube-public") == "nothing is wrong; 0 bridges, 0 mounts with a target\n"
    assert bascule("check", "-n", space) == "nothing is wrong; 1 bridge, 0 mounts with a target\n"
    assert bascule("check") == "nothing is wrong; 1 bridge, 0 mounts with a target\n"


def test_a_namespace_that_is_not_there_is_said(kube: Kube) -> None:
    """A mistyped -n is not silently an empty namespace."""
    assert "namespaces of shpo are left out: there is none of that name" in bascule("plan", "-n", "shpo")


def test_a_name_that_is_none_reaches_no_path(kube: Kube, space: str) -> None:
    """A bridge may name any text as its namespace; it is asked for only if it is a name."""
    ask(kube, bridge("alice", space), targetNamespace="../../nodes?x=")

    assert "NamespaceNotManaged" in bascule("check", "-o", "json", code=1)


# --- an account with less rights -------------------------------------------------------------------------------------


@pytest.fixture
def guest(api: Cluster, kube: Kube, space: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """An account without any rights, whose kubeconfig the commands use; its user name."""
    token = api.kubectl("create", "token", "default", "-n", space).strip()
    config = yaml.safe_load(api.kubeconfig.read_text())
    config["users"] = [{"name": u["name"], "user": {"token": token}} for u in config["users"]]
    Path("guest.yaml").write_text(yaml.safe_dump(config))
    monkeypatch.setenv("KUBECONFIG", "guest.yaml")
    return f"system:serviceaccount:{space}:default"


def allow(api: Cluster, user: str, namespace: str, rules: list[Obj]) -> None:
    """A Role in the namespace, bound to the user."""
    metadata = {"name": f"guest-{digest(str(rules), 6)}", "namespace": namespace}
    role = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": metadata, "rules": rules}
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": metadata["name"]}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
    binding = {"apiVersion": role["apiVersion"], "kind": "RoleBinding", "metadata": metadata, "roleRef": ref, "subjects": [subject]}
    api.apply(text.write_yaml([role, binding]))


def test_the_error_names_the_rules_that_are_missing(api: Cluster, guest: str, space: str) -> None:
    """What may not be listed is said with the verb, resources and namespace; a Role with exactly the rules that are named is enough.

    Without the optional kinds a line says what is left out.
    """
    for namespace in ("gefyra", space):
        message, cure = bascule("check", "-n", space, "-o", "json", code=2).splitlines()
        first = "gefyrabridges" if namespace == "gefyra" else "pods"
        assert message.startswith(f"error ClusterForbidden: namespace {namespace}: the account may not list {first}, ")
        rules = yaml.safe_load(f"[{cure.partition(': ')[2].rstrip('.').replace(';', ',')}]")
        assert {verb for rule in rules for verb in rule["verbs"]} == {"list"}
        allow(api, guest, namespace, rules)
    found = bascule("check", "-n", space)

    assert found.startswith("nothing is wrong; 0 bridges, 0 mounts with a target\n")
    assert f"horizontalpodautoscalers of {space} are left out: the account may not read them" in found
    assert f"namespaces of {space} are left out" in found


def test_clean_looks_where_it_may(api: Cluster, guest: str, space: str) -> None:
    """Without the right to list Pods of the whole cluster `clean --check` says where it has not looked."""
    read_ = [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["list"]}]
    allow(api, guest, "gefyra", read_)

    assert "not looked at: other namespaces than gefyra" in bascule("clean", "--check")
    assert "may not list pods" in bascule("clean", "--check", "-n", space, code=2)


def test_a_token_that_is_not_known(guest: str) -> None:
    """An account that the server does not know is told to log in; it is no missing right."""
    Path("guest.yaml").write_text(re.sub("token: .*", "token: x", Path("guest.yaml").read_text()))
    found = bascule("plan", code=2)

    assert found.startswith("error ClusterForbidden: https://127.0.0.1:")
    assert "Log in again" in found


@pytest.mark.parametrize("command", [("plan",), ("snapshot",), ("status", "--wait"), ("apply",), ("clean", "--check")])
def test_no_answer_is_one_line_and_what_to_do(command: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    """A server that does not answer is an error of the input, not a traceback of a library."""
    server = {"cluster": {"server": "http://127.0.0.1:1"}, "name": "c"}
    context = {"context": {"cluster": "c", "user": "u"}, "name": "dev"}
    config = {"apiVersion": "v1", "kind": "Config", "current-context": "dev", "clusters": [server], "contexts": [context]}
    Path("config").write_text(yaml.safe_dump(config | {"users": [{"name": "u", "user": {}}]}))
    monkeypatch.setenv("KUBECONFIG", "config")
    found = bascule(*command, code=2).splitlines()

    assert found[0] == "error ClusterUnreachable: http://127.0.0.1:1: Connection refused"
    assert found[1].startswith("  Check the address") and len(found) == 2  # noqa: PT018  # one thought
    assert "the kubeconfig config has no context 'prod'; of contexts it has dev" in bascule(*command, "--context", "prod", code=2)


LEASES = [{"apiGroups": ["coordination.k8s.io"], "resources": ["leases"], "resourceNames": ["bascule-operator"], "verbs": ["get"]}]
"""With which an account sees whether an operator runs."""


# --- status ----------------------------------------------------------------------------------------------------------


def test_status_from_first_to_last(kube: Kube, space: str) -> None:
    """One table of targets and one of bridges, at 80 columns: with the reason and the next step until all is ACTIVE, and after."""
    ask(kube, bridge("alice", space))
    ask(kube, bridge("bob", space, endpoint="", rule=build.path("/bob")))
    before = bascule("status")
    operator(kube, space)
    after = bascule("status")

    assert max(map(len, (before + after).splitlines())) <= 80
    assert re.search(rf"^{space}/deployment/web/app  0/3       0/0      PREPARING$", before, re.MULTILINE)
    assert re.search(rf"^{space}/deployment/web/app  3/3       3/3      ACTIVE$", after, re.MULTILINE)
    assert re.search(
        r"^alice   alice  INSTALLING  \d+s\n    shop-\S+ port 8080\n    header x-user is 'alice'\n  \. 0 of 3 ", before, re.MULTILINE
    )
    assert re.search(r"^alice   alice  ACTIVE     \d+s\n(?:    .*\n)+bob     alice  REQUESTED  \d+s\n", after, re.MULTILINE)
    assert re.search(r"^  ! EndpointUnresolved: port 8080: .*\n(?:    .*\n)*  > Wait for the provider", after, re.MULTILINE)
    assert "no operator runs" in after
    found = shown(bascule("status", "-o", "json"))
    assert [(t["state"], t["originals"], t["shadows"]) for t in found["targets"]] == [
        ("ACTIVE", {"total": 3, "carried": 3}, {"total": 3, "serving": 3})
    ]
    assert [(b["name"], b["state"], b["problem"] and b["problem"]["code"]) for b in found["bridges"]] == [
        ("alice", "ACTIVE", None),
        ("bob", "REQUESTED", "EndpointUnresolved"),
    ]
    for obj in kube.list_objects("GefyraBridge", "gefyra")[0]:
        kube.delete(key_of(obj))
    assert re.search(rf"^{space}/deployment/web/app  3/3       3/3      RESTORING$", bascule("status", "-n", space), re.MULTILINE)


def test_wait_says_what_it_waits_for(kube: Kube, space: str) -> None:
    """At the deadline: exit code 1, each thing that is missing with its reason; in time: 0, for all or for those that are named."""
    ask(kube, bridge("alice", space))
    late = bascule("status", "--wait", "--timeout", "2s", code=1)
    assert "error: after 2 s still waiting for\n" in late
    assert re.search(r"^  bridge alice INSTALLING: 0 of 3 carriers confirm it$", late, re.MULTILINE)

    ask(kube, bridge("bob", space, endpoint="", rule=build.path("/bob")))
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(operator, kube, space)
        found = bascule("status", "--wait", "alice", "gone", "--timeout", "5m")
        working.result()
    assert re.search(r"^alice +alice +ACTIVE", found, re.MULTILINE)
    assert "bob" not in found
    assert found.count("no bridge or mount is called 'gone'; ") == 1
    assert "TargetUnknown: NAME: no bridge or mount is called 'alcie'\n  Did you mean alice?\n" in bascule("status", "alcie", code=2)


def test_watch_shows_what_changes(kube: Kube, space: str) -> None:
    """Not on a terminal, --watch appends the table at each change and only then; Ctrl-C ends it."""
    ask(kube, bridge("alice", space, endpoint=""))
    with subprocess.Popen(
        [*PROGRAM, "status", "-w", "-o", "json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as running:
        assert running.stdout
        seen = [json_document(running.stdout)]
        kube.merge(Key("GefyraBridge", "gefyra", "alice"), {"clusterEndpoint": {"8080": "10.200.0.1:10000"}})
        seen.append(json_document(running.stdout))
        running.send_signal(signal.SIGINT)
        rest, err = running.communicate()

    assert [s["bridges"][0]["state"] for s in seen] == ["REQUESTED", "INSTALLING"]
    assert (running.returncode, rest, err) == (130, "", "")


def test_the_page_shows_what_is_there_now(api: Cluster, kube: Kube, guest: str, space: str) -> None:
    """`bascule ui` reads the cluster again: a bridge that comes is on it; once it may read no more, a banner says so over the last."""
    for namespace in ("gefyra", space):
        allow(api, guest, namespace, [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["list"]}])
    source = Source((), None, False, None, (space,))
    with ui.serving(ui.kept(source), "the cluster", 0) as url:
        ask(kube, bridge("late", space))
        page = again(url, "late")
        assert "; this account may not see whether an operator runs</p>" in page
        allow(api, guest, "gefyra", LEASES)
        again(url, "; no operator runs</p>")
        api.kubectl("delete", "rolebindings", "--all", "-n", "gefyra")
        banner = again(url, "What is shown is not of now")

    assert f"{space}/deployment/web/app" in page
    assert re.search("ClusterForbidden: namespace gefyra.*late", banner)


def again(url: str, wanted: str) -> str:
    """The page, as soon as it has what is wanted."""
    deadline = time.monotonic() + 60
    while wanted not in (page := urlopen(url, timeout=30).read().decode()):
        assert time.monotonic() < deadline, page
        time.sleep(0.2)
    return str(page)


def json_document(stream: IO[str]) -> Any:
    """The next JSON document that is printed."""
    lines: list[str] = []
    while not lines or lines[-1] != "}\n":
        lines.append(stream.readline())
    return json.loads("".join(lines))


# --- apply -----------------------------------------------------------------------------------------------------------


def lease(kube: Kube, renewed: str) -> Key:
    """The operator's Lease, held by one of its Pods."""
    key = Key("Lease", "gefyra", "bascule-operator")
    spec = {"holderIdentity": "gefyra-operator-7c9-x2k", "leaseDurationSeconds": 15, "renewTime": renewed}
    kube.create(
        {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": key.name, "namespace": "gefyra"}, "spec": spec}
    )
    return key


def test_where_an_operator_runs_only_bridges_are_written(kube: Kube, space: str) -> None:
    """Two who write would only get in each other's way: with a Lease that is held the rest is the operator's, and is waited for."""
    held = lease(kube, datetime.now(UTC).isoformat(timespec="microseconds"))
    try:
        refused = bascule("apply", code=2)
        assert refused.startswith("error: an operator is running (gefyra-operator-7c9-x2k) and does this; ")
        late = bascule("apply", "-f", save(bridge("alice", space)), "--timeout", "1s", code=1)
        assert "+ GefyraBridge gefyra/alice\n" in late
        assert "still waiting for" in late
        assert kube.get(Key("GefyraBridge", "gefyra", "alice"))["client"] == "alice"
        assert {p["metadata"]["name"].rpartition("-")[0] for p in kube.list_objects("Pod", space)[0]} == {f"web-{digest('web1', 10)}"}
        with ThreadPoolExecutor(1) as pool:
            working = pool.submit(operator, kube, space)
            bascule("apply", "-f", "asked.yaml", "--timeout", "5m")
            assert "alice   alice  ACTIVE" in bascule("status")
            working.result()
        assert re.search(r"^operator gefyra-operator-7c9-x2k, heard of \d+s ago$", bascule("status"), re.MULTILINE)
    finally:
        kube.delete(held)


def test_who_may_not_see_the_lease_is_told_so(api: Cluster, kube: Kube, guest: str, space: str) -> None:
    """It may be held: `status` claims nothing, and `apply` writes what is asked, waits, and does nothing of what an operator does."""
    asked = {"apiGroups": ["gefyra.dev"], "resources": ["gefyrabridges"], "verbs": ["create"]}
    for namespace in ("gefyra", space):
        allow(api, guest, namespace, [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["list"]}])
    allow(api, guest, "gefyra", [asked])
    allow(api, guest, space, [{"apiGroups": [""], "resources": ["pods", "services"], "verbs": ["create", "patch"]}])
    pods = [p["metadata"]["name"] for p in kube.list_objects("Pod", space)[0]]

    late = bascule("apply", "-n", space, "-f", save(bridge("alice", space)), "--timeout", "1s", code=1)
    assert "this account may not see whether an operator runs; one is waited for\n" in late
    assert kube.get(Key("GefyraBridge", "gefyra", "alice"))["client"] == "alice"
    assert [p["metadata"]["name"] for p in kube.list_objects("Pod", space)[0]] == pods
    assert "\nthis account may not see whether an operator runs\n" in bascule("status", "-n", space)
    assert '"operatorRuns": "Unknown"' in bascule("status", "-n", space, "-o", "json")
    assert "error: this account may not see whether an operator runs, and " in bascule("apply", "-n", space, code=2)
    allow(api, guest, "gefyra", LEASES)
    assert "\nno operator runs: nothing moves " in bascule("status", "-n", space)
    assert '"operatorRuns": "False"' in bascule("status", "-n", space, "-o", "json")


def test_an_old_lease_is_nobodys(kube: Kube) -> None:
    """A Lease that was not renewed for long does not keep anybody from applying."""
    held = lease(kube, "2026-01-01T00:00:00.000000Z")
    try:
        assert bascule("apply") == "nothing to do\n"
    finally:
        kube.delete(held)


def test_nobody_goes_for_what_an_operator_has_written_down(kube: Kube, space: str) -> None:
    """Without an operator the relay's report is an old one: who was away by it may be back, and `apply` keeps the bridge."""
    away = {**bridge("alice", space), "connectionProvider": "relay", "clusterEndpoint": {"8080": f"{HOST}:{BLOCKS[0]}"}}
    away["metadata"]["annotations"] = {AWAY_GRACE: "60"}
    ask(kube, away)
    said = build.relay("", f'{{"{BLOCKS[0]}": "2026-01-01T00:00:00Z"}}')[1]
    report = kube.create({**said, "metadata": {"name": REPORT.name, "namespace": REPORT.namespace}})
    try:
        would = bascule("plan", "-n", space)
        late = bascule("apply", "-n", space, "--timeout", "2s", code=1)
    finally:
        kube.delete(key_of(report))

    assert re.search(r"- GefyraBridge gefyra/alice\n +its client has been away for 60 s", would)
    assert "+ 3 Pods " in late
    assert kube.get(Key("GefyraBridge", "gefyra", "alice"))["client"] == "alice"


def test_apply_writes_and_says_each_step(kube: Kube, space: str) -> None:
    """Without an operator `apply` writes the steps of the plan itself; here to where a carrier has to be told, for no carrier runs.

    It ends at the deadline with what it waits for, and --delete goes all the way back from there.
    """
    with meanwhile(lambda: kubelet(kube, space)):
        late = bascule("apply", "-f", save(bridge("alice", space)), "--timeout", "10s", code=1)
        back = bascule("apply", "-f", "asked.yaml", "--delete", "--timeout", "5m")

    assert re.match(r"\+ GefyraBridge gefyra/alice\n\d+ create, \d+ patch, \d+ delete; 3 containers restart; ", late)
    assert re.search(rf"^  1\. \+ Service {space}/deployment-web-shadow\n         the shadows' Service", late, re.MULTILINE)
    assert f"ConfigMap {space}/deployment-web-carrier-app\n         configuration of carrier app\n" in late
    assert re.search(r"^error: after 10 s still waiting for\n(?:  .*\n)*  bridge alice INSTALLING: 0 of 3 carriers", late, re.MULTILINE)
    assert back.startswith("- GefyraBridge gefyra/alice\n")
    assert bascule("clean", "--check") == "nothing of bascule is left\n"
    assert bascule("apply", "-n", space) == "nothing to do\n"


def test_a_change_keeps_what_others_have_written(kube: Kube, space: str) -> None:
    """Applying a bridge again replaces what the file says, and leaves the connection's report, the state and foreign labels alone."""
    ask(kube, bridge("alice", space), state="ACTIVE")
    key = Key("GefyraBridge", "gefyra", "alice")
    kube.merge(key, {"metadata": {"labels": {"team": "shop"}}})
    new = bridge("alice", space, endpoint="", rule=build.path("/new"))
    new.pop("clusterEndpoint")
    assert bascule("apply", "-f", save(new), "--timeout", "0s", code=1).startswith("~ GefyraBridge gefyra/alice\n")
    found = kube.get(key)

    assert found["providerParameter"] == new["providerParameter"]
    assert (found["clusterEndpoint"], found["metadata"]["labels"]) == (
        {"8080": "10.200.0.1:10000"},
        {"team": "shop", "gefyra.dev/client": "alice"},
    )


def test_what_is_refused_is_not_written(kube: Kube, space: str) -> None:
    """A bridge that would not be admitted stops `apply` before its first write, with the reason."""
    ask(kube, bridge("alice", space))
    found = bascule("apply", "-f", save(bridge("bob", space)), code=1)

    assert "refused RuleIdentical: GefyraBridge gefyra/bob: " in found
    assert found.endswith("error: nothing was written\n")
    assert [o["metadata"]["name"] for o in kube.list_objects("GefyraBridge", "gefyra")[0]] == ["alice"]


def test_dry_run_writes_nothing(kube: Kube, space: str) -> None:
    """The server judges what would be written first, and keeps none of it."""
    assert bascule("apply", "-f", save(bridge("alice", space)), "--dry-run", "server").endswith(
        "the server would take the first step; nothing was written\n"
    )
    assert kube.list_objects("GefyraBridge", "gefyra")[0] == []
    assert bascule("clean", "--check") == "nothing of bascule is left\n"


def test_on_a_terminal_it_asks(kube: Kube, space: str) -> None:
    """At a terminal nothing is written without a yes."""
    save(bridge("alice", space))
    above, below = pty.openpty()
    with subprocess.Popen(
        [*PROGRAM, "apply", "-f", "asked.yaml"], stdin=below, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment()
    ) as running:
        os.write(above, b"n\n")
        out, err = running.communicate()
    os.close(above)
    os.close(below)

    assert running.returncode == 1
    assert out.startswith("+ GefyraBridge gefyra/alice\n")
    assert "Go on? [y/N]: " in err and err.endswith("nothing was written\n")  # noqa: PT018  # one thought
    assert kube.list_objects("GefyraBridge", "gefyra")[0] == []


def test_only_bridges_and_mounts_are_applied(kube: Kube) -> None:
    """A Deployment in the file is an error before anything is written."""
    assert "NotAnObject: Deployment shop/web: only bridges and mounts are applied" in bascule("apply", "-f", save(shop()[0]), code=2)


# --- env, run --------------------------------------------------------------------------------------------------------


def test_a_program_here_has_what_the_container_has(kube: Kube, space: str, tmp_path: Path) -> None:
    """`run` and `env --files` bring variables and mounted files, and say what stays; a Secret is on no stream; nothing is left."""
    made = {"apiVersion": "v1", "metadata": {"namespace": space}}
    kube.create({**made, "kind": "ConfigMap", "metadata": {"name": "settings", "namespace": space}, "data": {"config.yaml": "a: 1\n"}})
    kube.create({**made, "kind": "Secret", "metadata": {"name": "login", "namespace": space}, "stringData": {"password": "hush"}})
    volumes = [
        {"name": "settings", "configMap": {"name": "settings"}},
        {"name": "login", "secret": {"secretName": "login", "defaultMode": 0o440}},
        {"name": "data", "emptyDir": {}},
        {"name": "none", "secret": {"secretName": "none"}},
    ]
    mounts = [{"name": v["name"], "mountPath": f"/etc/{v['name']}"} for v in volumes]
    app = {"name": "app", "image": "app", "env": [{"name": "MODE", "value": "fast"}], "volumeMounts": mounts}
    pod = {"containers": [app], "volumes": volumes, "automountServiceAccountToken": False}
    kube.create({**made, "kind": "Pod", "metadata": {"name": "lone", "namespace": space}, "spec": pod})
    left = [
        "left out: /etc/data: emptyDir is not brought: it begins empty; make a folder where the program wants one",
        "left out: /etc/none: Secret none: it is not there",
    ]
    folder = tmp_path / "files"
    asked = ("pod/lone", "-n", space)
    told = bascule("env", *asked, "--files", str(folder))
    assert told.splitlines() == ["MODE=fast", f"BASCULE_ROOT={folder}", *left]
    found = {p.relative_to(folder).as_posix(): (p.read_text(), p.stat().st_mode & 0o777) for p in folder.rglob("*") if p.is_file()}
    assert found == {"etc/settings/config.yaml": ("a: 1\n", 0o600), "etc/login/password": ("hush", 0o400)}
    assert f"FileNotWritable: {folder}: is there and is no empty folder" in bascule("env", *asked, "--files", str(folder), code=2)

    temporary = tmp_path / "temporary"
    temporary.mkdir()
    script = 'cd "$BASCULE_ROOT/etc" && wc -c login/password && cat settings/config.yaml && exit 7'
    done = subprocess.run(
        [*PROGRAM, "run", *asked, "--", "sh", "-c", script],
        capture_output=True,
        text=True,
        env={**environment(), "TMPDIR": str(temporary)},
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.splitlines()) == (7, "4 login/password\na: 1\n", left)
    assert list(temporary.iterdir()) == []


# --- clean -----------------------------------------------------------------------------------------------------------


def test_clean_finds_what_is_left_anywhere(kube: Kube, space: str) -> None:
    """Objects of ours and marks on Pods are found in every namespace, though no bridge and no setting names it any more."""
    ask(kube, bridge("alice", space))
    operator(kube, space)
    kube.delete(Key("GefyraBridge", "gefyra", "alice"))
    found = bascule("clean", "--check", code=1)

    assert re.search(rf"^Pod {space}/web-{digest('web1', 10)}-0\n  label bascule.dev/carrier, ", found, re.MULTILINE)
    assert f"Service {space}/deployment-web-shadow\n  service\n" in found
    assert "swap back: the application returns" in bascule("clean")
    assert bascule("clean", "--check", "-n", "kube-public") == "nothing of bascule is left\n"
