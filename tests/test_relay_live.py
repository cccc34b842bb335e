"""Users on laptops of their own, with nothing but a kubeconfig, through the relay to a workload that they share: a whole cluster.

What they get, what the others keep, what happens when a laptop vanishes, and what a user's key and account cannot do.
"""

from __future__ import annotations

import hashlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from itertools import count

import pytest

from generator.cluster.relay import REPORT
from generator.cluster.snapshot import Key, Obj, annotations_of, key_of
from generator.cluster.times import after, written
from generator.live.failures import KubeError
from generator.live.portforward import forward
from generator.names import AWAY_GRACE, RELAY_PORTS
from tests.command_lab import Running
from tests.live.lab import CARRIER, Lab, Load, Namespace, header, until, workload
from tests.live.laptop import GRPC, HTTP, Laptop, client, laptop

MEGABYTES = int(os.environ.get("BASCULE_RELAY_MEGABYTES", "256"))
"""How much goes up and down at once; `make soak` takes a gigabyte."""
NUMBERS = count()


@pytest.fixture(scope="module")
def alice(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """A laptop whose account may see the namespaces; the user's process runs."""
    with laptop(lab, "alice", tmp_path_factory.mktemp("alice"), 0) as made, made.process():
        yield made


@pytest.fixture(scope="module")
def bob(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Laptop]:
    """Another one, whose account sees nothing of them."""
    with laptop(lab, "bob", tmp_path_factory.mktemp("bob"), 1) as made, made.process():
        yield made


@pytest.fixture
def shop(lab: Lab, alice: Laptop) -> Iterator[Namespace]:
    """A workload that is shared. A new one for each test: kubelet starts containers ever later that have ended often."""
    name = f"relayed{next(NUMBERS)}"
    with lab.namespace(name, workload(name, replicas=2)) as space:
        alice.may_see(name)
        yield space


@contextmanager
def bridged(user: Laptop, space: Namespace, *more: str) -> Iterator[Running]:
    """The user's one command, until it has been told that it is ACTIVE; taken down by Ctrl-C."""
    ports = ("--port", f"8080:{HTTP}", "--port", f"9090:{GRPC}")
    with user.bridge("deployment/web", "-n", space.name, *ports, "--header", f"x-user={user.name}", *more) as made:
        made.told("active")
        yield made
        assert made.end() == 0, made.events
        assert made.told("removed")


def asked(space: Namespace, name: str) -> str:
    """Who answers a request with the header of a user."""
    return space.ask("web", "-H", f"x-user: {name}")


def unharmed(load: Load) -> None:
    """Of its requests, of which there are some, none is lost, and none answered by anybody else."""
    assert load.told["ok"], load
    assert not load.told["failed"], load
    assert not load.told["misrouted"], load


def test_one_command_brings_a_users_requests_and_no_others(lab: Lab, shop: Namespace, alice: Laptop) -> None:
    """HTTP, websockets and gRPC with the header reach the laptop, all else the cluster, none is lost; Ctrl-C puts everything back."""
    before = shop.owned()
    address = shop.address("web")
    own = ("--header", "x-user=alice", "--expect-name", "alice", "--timeout", "60s")
    with shop.load("--url", f"http://{address}/", "--expect-name", "web-.*") as others:
        with bridged(alice, shop) as bridge, ExitStack() as stack:
            assert asked(shop, "alice") == "alice"
            assert shop.ask("web").startswith("web-")
            (planned,) = [e for e in bridge.events if e["event"] == "planned"]
            assert planned["asked"]["client"] == "alice"
            loads = [
                stack.enter_context(shop.load(*to, *own, "--workers", workers))
                for to, workers in (
                    (("--url", f"http://{address}/"), "100"),
                    (("--url", f"http://{address}/", "--keepalive"), "100"),
                    (("--url", f"ws://{address}/ws"), "8"),
                    (("--grpc", f"{address}:9090"), "8"),
                )
            ]
            until(
                lambda: sum(e["event"] == "request" for e in bridge.events) > 2000, "two thousand requests", lambda: str(bridge.events[-1])
            )
            stack.close()
            for load in loads:
                unharmed(load)
        shop.restored()
    unharmed(others)
    shop.as_before(before)
    assert left(lab) == {"GefyraClient gefyra/alice"}


def test_much_goes_up_and_down_at_once(lab: Lab, shop: Namespace, alice: Laptop) -> None:
    """MEGABYTES each way, at the same time, through one connection; what arrives is what was sent."""
    size = MEGABYTES << 20
    with (alice.home / "big").open("wb") as file:
        file.truncate(size)
    with (alice.home / "big").open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    files = subprocess.Popen(alice.inside("busybox", "httpd", "-f", "-p", "127.0.0.1:3003", "-h", str(alice.home)))
    try:
        more = ("--port", "8080:3003", "--header", "x-user=alice-files")
        with bridged(alice, shop), alice.bridge("deployment/web", "-n", shop.name, *more) as down:
            down.told("active")
            url = f"http://{shop.address('web')}/big"
            curl = ["curl", "-sSf", "-m", "600", "-H"]
            up = [*curl, "x-user: alice", "-T", str(alice.home / "big"), url]
            with subprocess.Popen(lab.cluster.inside(*up), stdout=subprocess.PIPE, text=True) as upload:
                fetched = lab.cluster.inside(*curl, "x-user: alice-files", url)
                with subprocess.Popen(fetched, stdout=subprocess.PIPE) as download:
                    assert download.stdout
                    got = hashlib.file_digest(download.stdout, "sha256").hexdigest()  # type: ignore[arg-type]  # reads, and no more
                answer = json.loads(upload.communicate()[0])
            assert got == digest
            assert (answer["name"], answer["length"], answer["sha256"]) == ("alice", size, digest)
            assert down.end() == 0
    finally:
        files.kill()
        files.wait()
    shop.restored()


def test_two_share_a_workload_and_a_third_is_told_who_has_the_rule(shop: Namespace, alice: Laptop, bob: Laptop) -> None:
    """Each gets the own; a rule that would take another's requests is refused in words, whoever may see what."""
    with bridged(alice, shop), bridged(bob, shop):
        assert (asked(shop, "alice"), asked(shop, "bob")) == ("alice", "bob")
        assert shop.ask("web").startswith("web-")
        for third in (alice, bob):
            whose = "bob" if third is alice else "alice"
            words = ("--port", f"8080:{HTTP}", "--header", f"x-user={whose}", "--name", f"{third.name}-too")
            said = third.said("bridge", "deployment/web", "-n", shop.name, *words, code=1)
            assert "RuleIdentical" in said
            assert f"the rule `header x-user is '{whose}'`" in said
            assert "nothing was written" in said
            assert ("not judged here; the cluster judges it" in said) == (third is bob)
        assert (asked(shop, "alice"), asked(shop, "bob")) == ("alice", "bob")
    shop.restored()


def test_a_laptop_that_vanishes_and_comes_back(lab: Lab, shop: Namespace, alice: Laptop, bob: Laptop) -> None:
    """The cluster answers, its bridge says so, and others lose nothing; back, it is bridged again; away for too long, its bridge goes."""
    url = f"http://{shop.address('web')}/"
    with bridged(bob, shop), alice.bridge("deployment/web", "-n", shop.name, "--port", f"8080:{HTTP}", "--header", "x-user=alice") as made:
        name = made.told("active")["bridge"]
        with (
            shop.load("--url", url, "--expect-name", "web-.*") as nobodys,
            shop.load("--url", url, "--header", "x-user=bob", "--expect-name", "bob") as bobs,
        ):
            assert asked(shop, "alice") == "alice"
            alice.unplug()
            until(lambda: asked(shop, "alice").startswith("web-"), "the cluster to answer")
            until(lambda: "ClientAway" in shop.told(name), "the bridge to say so", lambda: shop.told(name))
            assert shop.state(name) == "REQUESTED"
            alice.plug()
            until(lambda: asked(shop, "alice") == "alice", "the laptop to answer again")
            until(lambda: shop.state(name) == "ACTIVE", "the bridge to say so", lambda: shop.told(name))
            lab.kube.merge(Key("GefyraBridge", "gefyra", name), {"metadata": {"annotations": {AWAY_GRACE: "3"}}})
            alice.unplug()
            until(lambda: not lab.kube.list_objects("GefyraBridge", "gefyra", "gefyra.dev/client=alice")[0], "the bridge to go")
            alice.plug()
            assert made.told("lost")
            assert made.end() == 1
        for load in (nobodys, bobs):
            unharmed(load)
    shop.restored()


def test_a_process_that_comes_and_goes(lab: Lab, shop: Namespace, alice: Laptop) -> None:
    """Until it listens the cluster answers its user's requests, and none is lost, also while the bridge comes; so again when it ends.

    An hour of silence, which its bridge outlives, is written into the operator's report.
    """
    words = ("--url", f"http://{shop.address('web')}/", "--header", "x-user=alice")
    later = HTTP + 100
    with alice.bridge("deployment/web", "-n", shop.name, "--port", f"8080:{later}", "--header", "x-user=alice") as made:
        with shop.load(*words, "--expect-name", "web-.*") as before:
            silence = made.told("waiting", message=f"a process that listens on port {later}; the cluster answers in its place")
            until(lambda: len(carriers(shop)) == 2, "the carriers")
            shop.without_stand_ins()
            assert "ClientAway" in shop.told(silence["bridge"])
            until(lambda: annotations_of(bridge_of(lab, "alice"))[AWAY_GRACE] == "86400", "the bridge to wait for a day")
            ports = json.loads(lab.kube.get(REPORT)["data"]["away"])
            away = dict.fromkeys(ports, after(written(datetime.now(UTC), "seconds"), -3600))
            lab.kube.merge(REPORT, {"data": {"away": json.dumps(away)}})
        with alice.process(later):
            made.told("active")
            until(lambda: shop.state(silence["bridge"]) == "ACTIVE", "the bridge to say so", lambda: shop.told(silence["bridge"]))
            assert {asked(shop, "alice") for _ in range(9)} == {"alice"}
            until(lambda: annotations_of(bridge_of(lab, "alice"))[AWAY_GRACE] == "60", "the bridge to wait for a minute")
        until(lambda: asked(shop, "alice").startswith("web-"), "the cluster to answer")
        with shop.load(*words, "--expect-name", "web-.*") as later_on:
            time.sleep(2)
        assert made.end() == 0
    for load in (before, later_on):
        unharmed(load)
    shop.restored()


def carriers(space: Namespace) -> list[str]:
    """The Pods of the workload whose container is a carrier."""
    pods = space.objects("Pod", "app=web")
    return [p["metadata"]["name"] for p in pods if any(c["image"] == CARRIER for c in p["spec"]["containers"])]


def test_what_a_users_key_and_account_cannot_do(lab: Lab, shop: Namespace, alice: Laptop, bob: Laptop) -> None:
    """Nothing of another user's, no shell, no way into the cluster: each is tried, and refused by whose task that is."""
    with bridged(alice, shop), bridged(bob, shop) as bobs:
        address = lab.kube.get(Key("ConfigMap", "gefyra", "bascule-relay"))["data"]["address"]
        theirs = bridge_of(lab, "bob")
        port = int(theirs["clusterEndpoint"]["8080"].rpartition(":")[2])
        first = int(lab.kube.get(client("alice"))["providerConfig"]["ports"].partition("-")[0])
        free = f"{first + 31}:127.0.0.1:{HTTP}"
        _by_key(alice, address, port, free, shop.address("web"))
        _by_account(alice, theirs, shop)
        _by_port_forward(alice, port)
        assert subprocess.run(alice.inside("curl", "-sm", "3", f"http://{address}:8080/cgi-bin/listening"), check=False).returncode
        assert (asked(shop, "alice"), asked(shop, "bob")) == ("alice", "bob")
        assert bobs.process.poll() is None
    shop.restored()


def listening(lab: Lab) -> list[str]:
    """The relay's ports on which somebody listens, as the operator has written them."""
    found = lab.kube.get(Key("ConfigMap", "gefyra", "bascule-relay"))["data"]["listening"].split()
    return list(map(str, found))


def bridge_of(lab: Lab, name: str) -> Obj:
    """The one bridge of a client."""
    (found,) = lab.kube.list_objects("GefyraBridge", "gefyra", f"gefyra.dev/client={name}")[0]
    return found


def _by_key(alice: Laptop, address: str, port: int, free: str, service: str) -> None:
    """What her own ssh could ask the relay for. free: a port of hers and where it would lead."""
    with subprocess.Popen(alice.ssh("-N", "-R", f"{address}:{free}"), stdin=subprocess.DEVNULL, env=alice.environment) as allowed:
        own = free.partition(":")[0]
        until(lambda: own in listening(alice.lab), "what she may")
        allowed.terminate()
    forwards = [
        f"{address}:{port}:127.0.0.1:1",
        f"{address}:{port + 1}:127.0.0.1:1",
        f"127.0.0.1:{free}",
        f"0.0.0.0:{free}",
        "8081:127.0.0.1:1",
    ]
    for each in (*forwards, f"{address}:8080:127.0.0.1:1", f"{address}:0:127.0.0.1:1", f"/tmp/x:127.0.0.1:{HTTP}", "1080"):
        assert "remote port forwarding failed" in alice.refused("-N", "-R", each).replace("path", "port"), each
    for target in (f"{service}:80", f"{address}:{port}", "127.0.0.1:2222", "10.96.0.1:443"):
        assert "prohibited" in alice.refused("-v", "-W", target), target
    for words in (("true",), ("-tt",), ("-s", "sftp")):
        assert alice.refused(*words), words


def _by_account(alice: Laptop, theirs: Obj, space: Namespace) -> None:
    """What she could ask the API server for."""
    kube, bob, own = alice.kube, client("bob"), client("alice")
    key = key_of(theirs)
    mount = {"apiVersion": "gefyra.dev/v1", "kind": "gefyrabridgemount", "metadata": {"name": "m", "namespace": "gefyra"}}
    mount |= {"provider": "carrier2", "target": "deployment/web", "targetNamespace": space.name}
    ports = {"annotations": {RELAY_PORTS: "20000"}}
    attempts: dict[str, Callable[[], object]] = {
        "another's client": lambda: kube.get(bob),
        "all clients": lambda: kube.list_objects("GefyraClient", "gefyra"),
        "another's key": lambda: kube.merge(bob, {"providerParameter": {"publicKey": "x"}}),
        "another's certificate": lambda: kube.merge(bob, {"providerConfig": None}),
        "another's end": lambda: kube.delete(bob),
        "a certificate": lambda: kube.merge(own, {"providerConfig": {"ports": "20000-20031"}}),
        "ports": lambda: kube.merge(own, {"metadata": ports}),
        "a client": lambda: kube.create(
            {"apiVersion": "gefyra.dev/v1", "kind": "gefyraclient", "metadata": {"name": "x"}, "provider": "relay"}
        ),
        "a change of another's bridge": lambda: kube.merge(key, {"providerParameter": {"rules": []}}),
        "a place of her own choice": lambda: kube.create(space.wanted("x", "deployment/web", [header("x-user", "x")], user="alice")),
        "another's place": lambda: kube.merge(key, {"clusterEndpoint": {"8080": "10.0.0.1:80"}}),
        "the end of another's bridge": lambda: kube.delete(key),
        "a bridge in another's name": lambda: kube.create({**theirs, "metadata": {"name": "x", "namespace": "gefyra"}}),
        "a mount": lambda: kube.create(mount),
        "Secrets": lambda: kube.list_objects("Secret", "gefyra"),
        "the authority": lambda: kube.get(Key("Secret", "gefyra", "bascule-relay-ca")),
        "another's token": lambda: kube.get(Key("Secret", "gefyra", "gefyra-client-bob-token")),
        "Secrets of the workload": lambda: kube.list_objects("Secret", space.name),
        "Pods of gefyra": lambda: kube.list_objects("Pod", "gefyra"),
        "the end of a Pod": lambda: kube.delete(Key("Pod", space.name, space.objects("Pod")[0]["metadata"]["name"])),
        "who is connected": lambda: kube.merge(Key("ConfigMap", "gefyra", "bascule-relay"), {"data": {"listening": ""}}),
    }
    for what, attempt in attempts.items():
        with pytest.raises(KubeError) as refused:
            attempt()
        assert refused.value.status in (403, 422), (what, refused.value)


def _by_port_forward(alice: Laptop, port: int) -> None:
    """What she could reach by it: the relay's sshd, and nothing else."""
    pods = {pod["metadata"]["name"]: pod for pod in alice.lab.kube.list_objects("Pod", "gefyra")[0]}
    operator = next(name for name in pods if name.startswith("gefyra-operator"))
    assert reached(alice, "bascule-relay-0", 2222).startswith(b"SSH-2.0-")
    for pod, at in (("bascule-relay-0", port), ("bascule-relay-0", 8080), (operator, 8080), (operator, 9443)):
        with pytest.raises(KubeError):
            reached(alice, pod, at)


def reached(user: Laptop, pod: str, port: int) -> bytes:
    """The first bytes that come by port-forward from a port of a Pod of gefyra. Raises KubeError."""
    (own, outward), (never, kept) = os.pipe(), os.pipe()
    try:
        forward(user.kube, Key("Pod", "gefyra", pod), port, never, outward, lambda: not select.select([own], [], [], 0)[0])
        return os.read(own, 100)
    finally:
        for each in (own, outward, never, kept):
            os.close(each)


def left(lab: Lab) -> set[str]:
    """What `bascule clean --check` finds."""
    words = [sys.executable, "-m", "generator", "clean", "--check"]
    environment = {**os.environ, "KUBECONFIG": str(lab.cluster.kubeconfig)}
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    return {line for line in done.stdout.splitlines() if not line.startswith(" ")}
