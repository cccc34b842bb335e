"""Gefyra's own command line, as PyPI has it, on a real API server with our definitions, fences and webhook, and `bascule operate`.

No node is here: `kubelet` and `tokens` play who is missing, and carriers take every configuration. docs/gefyra.md says what is shown.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import ruamel.yaml

from generator.asked.client import decode_client
from generator.cluster.snapshot import Key, Obj, key_of, labels_of
from generator.connections.accounts import account_name
from generator.live.accounts import give_account
from generator.live.failures import KubeError, NotFound
from generator.live.farewell import FINALIZER
from generator.live.kube import Kube
from generator.names import CLIENT
from tests.cluster.cluster import Cluster, cluster
from tests.cluster.machine import wait
from tests.gefyra_lab import connection, docker, installed, local
from tests.overlay_lab import OPERATOR, account, objects, with_components
from tests.test_live_cli import create, kubelet, meanwhile, shop

ROOT = Path(__file__).parents[1]
MANAGED = ("shop", "books")
PROGRAM = """
from generator.cli import main
from generator.live import apply
apply.deliver = lambda *_: None
main()
"""
"""bascule, but that carriers take every configuration: an API server without nodes execs in no Pod."""
STOWAWAY = Key("ConfigMap", "gefyra", "gefyra-stowaway-config")
STOWAWAY_CONFIG = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": STOWAWAY.name, "namespace": "gefyra"}}
"""What shows that Stowaway is installed."""
NOWHERE = "tcp://127.0.0.1:1"
"""A Docker that is not there."""
CREATE = ("bridge", "create", "-t", "app", "-p", "8080:3000", "--mount", "web")
APP = "172.21.0.3"
"""The address of the local container `app`."""
RULE = ("--match-header-exact", "x-user:alice")


@dataclass(frozen=True)
class Lab:
    """The cluster, its administrator, where the command line is, a laptop's home and its Docker."""

    cluster: Cluster
    kube: Kube
    program: Path
    home: Path
    docker: str

    def gefyra(self, *arguments: str, code: int = 0, **environment: str) -> str:
        """What a command prints on both streams; its exit code is as expected."""
        own = {"HOME": str(self.home), "KUBECONFIG": str(self.cluster.kubeconfig), "DOCKER_HOST": self.docker}
        words, every = [str(self.program / "gefyra"), *arguments], {**os.environ, **own, **environment}
        done = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=every, check=False)
        said = done.stdout + done.stderr
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{said}"
        return said


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A laptop without a connection. There are Deployments shop/web and books/web of two Pods, shop/idle of none, and Stowaway."""
    program = installed()
    with cluster(api_only=True) as own:
        own.apply(with_components(tmp_path_factory.mktemp("overlay"), "clients"))
        own.kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=120s")
        kube = account(own.kubeconfig)
        idle = shop(replicas=0)[0]
        rights = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "bascule-target"}
        who = [{"kind": "ServiceAccount", "name": "gefyra-operator", "namespace": "gefyra"}]
        binding = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "roleRef": rights, "subjects": who}
        for namespace in MANAGED:
            create(kube, namespace, shop(namespace, 2))
            kube.create({**binding, "metadata": {"name": "bascule-target", "namespace": namespace}})
        kube.create({**idle, "metadata": {"name": "idle", "namespace": "shop"}})
        kube.merge(Key("ConfigMap", "gefyra", "bascule"), {"data": {"namespaces": " ".join(MANAGED)}})
        kube.create(STOWAWAY_CONFIG)
        front = kube.get(Key("Service", "gefyra", "gefyra-admission"))["spec"]["clusterIP"]
        own.run("ip", "address", "add", f"{front}/32", "dev", "lo")  # no kube-proxy leads there
        home = tmp_path_factory.mktemp("home")
        with docker() as host, operating(found := Lab(own, kube, program, home, host)), meanwhile(lambda: _others(found)):
            wait(lambda: _judged(kube), "the webhook")
            yield found


@contextmanager
def operating(lab: Lab) -> Iterator[None]:
    """`bascule operate` in the cluster's network, where the Service of its webhook is its own address."""
    token = lab.cluster.kubectl("create", "token", "-n", "gefyra", "gefyra-operator").strip()
    theirs = config(lab)
    file = lab.home / "operator"
    file.write_text(json.dumps({**theirs, "users": [{**user, "user": {"token": token}} for user in theirs["users"]]}))
    words = lab.cluster.inside(sys.executable, "-c", PROGRAM, "operate", "--webhook-port=443", "--port=8080")
    environment = {**os.environ, "KUBECONFIG": str(file), "PYTHONPATH": str(ROOT)}
    with (lab.cluster.logs / "operator.log").open("ab") as log, subprocess.Popen(words, env=environment, stderr=log) as process:
        try:
            yield
        finally:
            process.terminate()


def _judged(kube: Kube) -> bool:
    """Whether the webhook answers: it refuses a bridge in another namespace."""
    bad = {"apiVersion": "gefyra.dev/v1", "kind": "gefyrabridge", "metadata": {"name": "a", "namespace": "shop"}}
    try:
        kube.create(bad)
    except KubeError as error:
        return "namespace gefyra only" in str(error)
    kube.delete(key_of(bad))
    return False


def _others(lab: Lab) -> None:
    for namespace in MANAGED:
        with suppress(KubeError):
            kubelet(lab.kube, namespace)
    with suppress(KubeError):
        tokens(lab)


def tokens(lab: Lab) -> None:
    """What the operator and the controller of tokens do for clients: accounts, and their tokens."""
    for obj in lab.kube.list_objects("GefyraClient", "gefyra")[0]:
        client, _ = decode_client(obj)
        if client is None or client.account or give_account(account(lab.cluster.kubeconfig, OPERATOR), obj):
            continue
        name = account_name(client)
        token = lab.cluster.kubectl("create", "token", "-n", "gefyra", name).strip()
        authority = config(lab)["clusters"][0]["cluster"]["certificate-authority-data"]
        data = {"token": encoded(token), "ca.crt": authority, "namespace": encoded("gefyra")}
        lab.kube.merge(Key("Secret", "gefyra", f"{name}-token"), {"data": data})


def encoded(text: str) -> str:
    """As a Secret has it."""
    return base64.b64encode(text.encode()).decode()


def config(lab: Lab) -> Any:
    """The administrator's kubeconfig."""
    return ruamel.yaml.YAML(typ="safe", pure=True).load(lab.cluster.kubeconfig)


@pytest.fixture(scope="module")
def laptop(lab: Lab) -> Iterator[Lab]:
    """Alice's: her account, the local container `app`, and what Gefyra's `connect` leaves of a connection. There is mount `web`.

    The connection itself is refused: its keys are made inside Stowaway's Pod, which only Gefyra's operator enters.
    """
    lab.gefyra("clients", "create", "--client-id", "alice")
    file = lab.home / "alice.json"
    file.write_text(lab.gefyra("clients", "config", "alice", "--host", "192.0.2.1"))
    with docker(local("app", APP)) as host:
        said = replace(lab, docker=host).gefyra("connections", "connect", "-f", str(file), "--timeout", "1", code=1)
        assert "Could not activate connection" in said
    assert problems(lab, "GefyraClient", "alice") == ["PeersUnmanaged"]
    with docker(local("app", APP), connection(lab.home / ".gefyra" / "default.yaml", "alice")) as host:
        connected = replace(lab, docker=host)
        said = connected.gefyra("mount", "create", "--namespace", "shop", "--name", "web", "--target", "deployment/web/app")
        assert "Successfully created GefyraBridgeMount 'web'. You can now create a GefyraBridge" in said
        yield connected


@pytest.fixture
def bridge(laptop: Lab) -> Iterator[str]:
    """The name of a bridge of alice's; afterwards none is there."""
    said = laptop.gefyra(*CREATE, "--name", "alice", *RULE)
    assert said.endswith("Successfully created GefyraBridge 'alice'.\n")
    yield "alice"
    for obj in laptop.kube.list_objects("GefyraBridge", "gefyra")[0]:
        laptop.kube.delete(key_of(obj))
    wait(lambda: not laptop.kube.list_objects("GefyraBridge", "gefyra")[0], "the bridges to go")


def get(lab: Lab, kind: str, name: str) -> Obj:
    """An object of namespace gefyra."""
    return lab.kube.get(Key(kind, "gefyra", name))


def problems(lab: Lab, kind: str, name: str) -> list[str]:
    """The codes of what is wrong with it."""
    return [text.partition(":")[0] for text in (get(lab, kind, name).get("status") or {}).get("problems", ())]


def there(lab: Lab, kind: str, name: str) -> bool:
    """Whether there is such an object."""
    try:
        get(lab, kind, name)
    except NotFound:
        return False
    return True


def table(said: str) -> list[list[str]]:
    """The rows of a table without its heading, by columns."""
    return [re.split("  +", line.strip()) for line in said.strip().splitlines()[1:]]


def test_clients(lab: Lab) -> None:
    """Created until WAITING, listed, described, handed out as a file whose account the server knows, deleted."""
    assert lab.gefyra("clients", "create", "--client-id", "carol").endswith("1 GefyraClient(s) created successfully\n")
    assert ["carol", "WAITING"] in [row[:2] for row in table(lab.gefyra("clients", "list"))]
    told = json.loads(lab.gefyra("clients", "list", "-o", "json"))["carol"]
    assert (told["state"], told["uid"]) == ("WAITING", get(lab, "GefyraClient", "carol")["metadata"]["uid"])
    assert told["state_transitions"].keys() >= {"CREATING", "WAITING"}
    assert f"carol\nuid: {told['uid']}\nStates:" in lab.gefyra("clients", "inspect", "carol")

    file = json.loads(lab.gefyra("clients", "config", "carol", "--host", "192.0.2.1"))
    own = {"client_id": "carol", "provider": "stowaway", "namespace": "gefyra", "gefyra_server": "192.0.2.1:31820"}
    assert own.items() <= file.items()
    token = base64.b64decode(file["token"]).decode()
    assert "gefyra-client-carol" in lab.cluster.kubectl("auth", "whoami", "--token", token, "--kubeconfig", str(nobody(lab)))
    assert "gefyra-stowaway-wireguard" in lab.gefyra("clients", "config", "carol", code=1)

    assert "Client carol already exists." in lab.gefyra("clients", "create", "--client-id", "carol", code=1)
    assert lab.gefyra("clients", "disconnect", "carol") == "GefyraClient carol marked for disconnection\n"
    assert lab.gefyra("clients", "delete", "carol") == "GefyraClient carol marked for deletion\n"
    assert not there(lab, "GefyraClient", "carol")
    assert lab.gefyra("clients", "delete", "carol") == ""
    assert "GefyraClient 'carol' does not exist" in lab.gefyra("clients", "inspect", "carol", code=101)


def nobody(lab: Lab) -> Path:
    """A kubeconfig for the cluster, without a user."""
    file = lab.home / "nobody"
    file.write_text(json.dumps({**config(lab), "users": [{**user, "user": {}} for user in config(lab)["users"]]}))
    return file


def test_mounts(lab: Lab) -> None:
    """Created until ACTIVE, listed, described with its events, deleted; then every Pod is what it was."""
    images = [o["spec"]["containers"][0]["image"] for o in lab.kube.list_objects("Pod", "books")[0]]
    words = ("mount", "create", "--namespace", "books", "--target", "deployment/web/app")
    assert "Successfully created GefyraBridgeMount 'books'." in lab.gefyra(*words, "--name", "books")
    assert ["books", "ACTIVE", "deployment/web", "app", "books"] in table(lab.gefyra("mount", "list"))
    assert json.loads(lab.gefyra("mount", "inspect", "books", "-o", "json"))["state"] == "ACTIVE"
    said = lab.gefyra("mount", "inspect", "books")
    assert "Target: deployment/web in namespace books" in said
    assert "2 of 2 originals carry it" in said.partition("Events")[2]

    assert "GefyraBridgeMount 'books' already exists" in lab.gefyra(*words, "--name", "books", code=1)
    assert "is mounted by books, which is older" in lab.gefyra(*words, "--name", "again", code=1)
    assert "TargetUnknown" in lab.gefyra(*words[:-1], "deployment/nothing/app", "--name", "nothing", code=1)

    assert lab.gefyra("mount", "delete", "books") == "GefyraBridgeMount 'books' marked for deletion\n"
    assert "'books' not found" in lab.gefyra("mount", "inspect", "books", code=101)
    assert "'books' not found" in lab.gefyra("mount", "delete", "books", code=101)
    wait(lambda: not traces(lab, "books"), "the originals as they were")
    assert [o["spec"]["containers"][0]["image"] for o in lab.kube.list_objects("Pod", "books")[0]] == images


def traces(lab: Lab, namespace: str) -> list[str]:
    """The Pods that bear our marks."""
    return [o["metadata"]["name"] for o in lab.kube.list_objects("Pod", namespace)[0] if "bascule.dev/" in json.dumps(o["metadata"])]


def test_waiting_for_too_long_ends_with_100(lab: Lab, laptop: Lab) -> None:
    """A mount without Pods never gets ACTIVE, nor its bridge; without Stowaway a client waits."""
    target = ("--namespace", "shop", "--name", "idle", "--target", "deployment/idle/app")
    assert "Timeout for bridging operation exceeded" in lab.gefyra("mount", "create", *target, "--timeout", "2", code=100)
    assert problems(lab, "GefyraBridgeMount", "idle") == ["NoReadyPods"]
    words = ("bridge", "create", "-t", "app", "-p", "8080:3000", "--mount", "idle", "--name", "idle")
    assert "Timeout for this operation reached." in laptop.gefyra(*words, *RULE, "--timeout", "2", code=100)
    for kind in ("GefyraBridge", "GefyraBridgeMount"):
        lab.kube.delete(Key(kind, "gefyra", "idle"))

    lab.kube.delete(STOWAWAY)
    try:
        assert "to reach state" in lab.gefyra("clients", "create", "--client-id", "dave", "--timeout", "2", code=100)
        assert get(lab, "GefyraClient", "dave")["state"] == "REQUESTED"
    finally:
        lab.kube.create(STOWAWAY_CONFIG)
        lab.kube.delete(Key("GefyraClient", "gefyra", "dave"))


def test_bridges(laptop: Lab, bridge: str) -> None:
    """With the account of the client alone: created until all carriers have it, listed, described, led through Stowaway."""
    (port,) = get(laptop, "GefyraBridge", bridge)["clusterEndpoint"].values()
    assert re.fullmatch(r"gefyra-stowaway-proxy-(\d+)\.gefyra\.svc\.cluster\.local:\1", port)
    assert f"{APP}:3000,{port.rpartition(':')[2]}" in get(laptop, "ConfigMap", "gefyra-stowaway-proxyroutes")["data"].values()

    row = [bridge, "ACTIVE", "web", "alice", "['3000:8080']"]
    assert [each[:5] for each in table(laptop.gefyra("bridge", "list"))] == [row]
    assert table(laptop.gefyra("bridge", "list"))[0][6] == "app"
    assert [each[:5] for each in table(laptop.gefyra("bridge", "list", "-A"))] == [row]
    told = json.loads(laptop.gefyra("bridge", "inspect", bridge, "-o", "json"))
    assert (told["state"], told["local_container_ip"], told["target"]) == ("ACTIVE", APP, "web")
    assert told["rules"] == [{"match": [{"matchHeader": {"name": "x-user", "value": "alice", "type": "exact"}}]}]
    assert "2 of 2 carriers confirm it" in laptop.gefyra("bridge", "inspect", bridge).partition("Events")[2]
    assert "'nobody' not found" in laptop.gefyra("bridge", "inspect", "nobody", code=101)


def test_bridges_that_others_wrote(laptop: Lab, bridge: str) -> None:
    """One with no more than it needs is listed with the rest, and for its client; one without a client is too."""
    minimal = {"apiVersion": "gefyra.dev/v1", "kind": "gefyrabridge", "target": "deployment/web", "targetNamespace": "shop"}
    for name, client in (("own", {"client": "alice"}), ("nobodys", {})):
        rules = [{"match": [{"matchPath": {"path": f"/{name}", "type": "prefix"}}]}]
        more = {"portMappings": ["3000:8080"], "providerParameter": {"rules": rules}}
        laptop.kube.create({**minimal, **more, **client, "metadata": {"name": name, "namespace": "gefyra"}})
    wait(lambda: all(CLIENT in labels_of(get(laptop, "GefyraBridge", name)) for name in ("own", "nobodys")), "their labels")

    assert [row[0] for row in table(laptop.gefyra("bridge", "list", "-A"))] == [bridge, "nobodys", "own"]
    assert [row[0] for row in table(laptop.gefyra("bridge", "list"))] == [bridge, "own"]


def test_refused_bridges(laptop: Lab, bridge: str) -> None:
    """The words of the webhook reach the terminal; exit code 1."""
    assert "already bridged" in laptop.gefyra(*CREATE, "--name", bridge, *RULE, code=1)
    said = laptop.gefyra(*CREATE, "--name", "bob", *RULE, code=1)
    assert 'Could not create GefyraBridge: admission webhook "bridge-parameters.gefyra.dev" denied the request: RuleIdentical: ' in said
    assert "is taken by bridge alice of alice, which is older" in said
    assert "PortUnknown" in laptop.gefyra(*CREATE, "-p", "9999:3001", "--name", "bob", "--match-path-prefix", "/bob", code=1)
    elsewhere = laptop.gefyra(*CREATE[:-1], "nothing", "--name", "bob", *RULE, code=1)
    assert "Could not find GefyraBridgeMount 'nothing'" in elsewhere
    assert not there(laptop, "GefyraBridge", "bob")


@pytest.mark.parametrize("which", [("alice",), ("-A",), ("--mount", "web"), ("alice", "--nowait")])
def test_deleted_bridges(laptop: Lab, bridge: str, which: tuple[str, ...]) -> None:
    """By name, all, of a mount: it waits until the server tells that they are gone, and they are."""
    wait(lambda: FINALIZER in get(laptop, "GefyraBridge", bridge)["metadata"].get("finalizers", ()), "the finalizer")
    said = laptop.gefyra("bridge", "delete", *which)

    by_mount = "All GefyraBridges for mount 'web' deleted\n"
    ends = {"-A": "", "--mount": by_mount, "--nowait": "GefyraBridge 'alice' marked for deletion\n"}
    assert said == ends.get(which[-1], ends.get(which[0], "GefyraBridge 'alice' deleted\n"))
    assert there(laptop, "GefyraBridge", bridge) == ("--nowait" in which)
    wait(lambda: not there(laptop, "GefyraBridge", bridge), "the bridge to go")
    assert laptop.gefyra("bridge", "delete", bridge) == ""
    assert laptop.gefyra("bridge", "list") == "No GefyraBridges found\n"


def test_status(lab: Lab, laptop: Lab, bridge: str) -> None:
    """Of the cluster, with a client's account too: our operator, and Stowaway where its Pod is."""
    running(lab)
    said = laptop.gefyra("status")
    assert "connected=True, operator=True, operator_image='bascule-operator:0.1.0', stowaway=False, stowaway_image=''" in said
    assert "namespace=True, operator_webhook=True" in said
    assert "Gefyra is not running'" in said
    container = {"name": "stowaway", "image": "quay.io/gefyra/stowaway:2.5.6"}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "gefyra-stowaway-0", "namespace": "gefyra"}}
    lab.kube.create({**pod, "spec": {"serviceAccountName": "gefyra-operator", "containers": [container]}})
    status = {"containerStatuses": [{**container, "imageID": "", "ready": True, "restartCount": 0}]}
    lab.kube.patch(key_of(pod), [{"op": "replace", "path": "/status", "value": status}], "status")
    said = laptop.gefyra("status")
    assert "stowaway=True, stowaway_image='quay.io/gefyra/stowaway:2.5.6'" in said
    assert "bridges=1" in said
    assert "Gefyra is not running properly" in said  # Cargo is stopped


def running(lab: Lab) -> None:
    """The operator's Deployment as its controller would report it."""
    counts = {"replicas": 2, "readyReplicas": 2, "availableReplicas": 2}
    patch = [{"op": "add", "path": "/status", "value": counts}]
    lab.kube.patch(Key("Deployment", "gefyra", "gefyra-operator"), patch, "status")


def test_installed_is_what_its_command_line_looks_for(lab: Lab) -> None:
    """As in what `gefyra install` prints: webhooks with their paths and Service, the operator's container; and its two events."""
    theirs = {(o["kind"], o["metadata"]["name"]): o for o in objects(lab.gefyra("install", DOCKER_HOST=NOWHERE))}
    hooks = {h["name"]: h for h in theirs["ValidatingWebhookConfiguration", "gefyra.dev"]["webhooks"]}
    ours = {h["name"]: h for h in lab.kube.get(Key("ValidatingWebhookConfiguration", "", "gefyra.dev"))["webhooks"]}
    assert ours.keys() == hooks.keys()
    for name, hook in hooks.items():
        assert ours[name]["clientConfig"]["service"]["path"] == hook["clientConfig"]["service"]["path"]
        assert ours[name]["clientConfig"]["service"]["name"] == hook["clientConfig"]["service"]["name"]
    deployment = theirs["Deployment", "gefyra-operator"]["spec"]["template"]["spec"]
    own = lab.kube.get(Key("Deployment", "gefyra", "gefyra-operator"))["spec"]["template"]["spec"]
    assert [c["name"] for c in own["containers"]] == [c["name"] for c in deployment["containers"]]
    told = {e["reason"] for e in lab.kube.list_objects("Event", "gefyra")[0]}
    assert told >= {"Gefyra-Ready", "Gefyra-Webhook-Ready"}


def test_without_docker(lab: Lab) -> None:
    """Every command but `install` asks Docker first, also those that only concern the cluster."""
    for words in (("clients", "list"), ("mount", "list"), ("bridge", "list", "-A"), ("status",), ("uninstall", "--force")):
        assert "Docker init error" in lab.gefyra(*words, code=1, DOCKER_HOST=NOWHERE)


def test_what_runs_on_the_laptop_needs_a_connection(lab: Lab, laptop: Lab) -> None:
    """`run`, and a bridge, are refused without one; `connections list` and `list` tell of it."""
    run = ("run", "-i", "nginx", "-N", "app")
    for words in (run, (*CREATE, *RULE)):
        assert "No Gefyra connection found" in lab.gefyra(*words, code=2)
    assert table(laptop.gefyra("connections", "list"))[0][0] == "default"
    assert ["default", "app", APP, "default"] in [row[:1] + row[-3:] for row in table(laptop.gefyra("list"))]


def test_uninstall(lab: Lab) -> None:
    """The last of this file. `operator update` puts Gefyra's image into our Deployment; `uninstall` deletes what has Gefyra's names."""
    at = Key("Deployment", "gefyra", "gefyra-operator")
    assert "gefyra-operator-webhook" in lab.gefyra("operator", "update", code=1)
    assert lab.kube.get(at)["spec"]["template"]["spec"]["containers"][0]["image"].startswith("quay.io/gefyra/operator:")

    lab.gefyra("uninstall", "--force")
    assert lab.kube.get(Key("Namespace", "", "gefyra"))["metadata"]["deletionTimestamp"]
    left = lab.cluster.kubectl("get", "crd,clusterrole,validatingwebhookconfiguration,validatingadmissionpolicy", "-o", "name")
    assert "gefyra.dev" not in left
    assert "clusterrole.rbac.authorization.k8s.io/bascule-target" in left
    assert "bascule-fence-pods" in left
