"""Who is connected: what the operator hears of a real relay, and what it writes into the ConfigMap, on a real API server."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from generator.cluster.relay import REPORT
from generator.cluster.snapshot import Key, Obj
from generator.live import connections
from generator.live import relay as live
from generator.live.kube import Kube
from generator.live.mirror import Mirror
from generator.live.relay import PATIENCE, Heard, Listener, told, used
from generator.live.relaykeys import line
from generator.names import RELAY_FIRST, RELAY_PORTS
from tests.cluster.cluster import Cluster
from tests.overlay_lab import OPERATOR, account, with_components
from tests.relay_lab import IMAGE, relay, until

NOW, THEN = "2026-11-27T22:30:00Z", "2026-11-27T22:29:00Z"
PORTS = st.sets(st.integers(RELAY_FIRST, RELAY_FIRST + 5))
ASK = "import sys; from generator.live.relay import ask; print(*ask(sys.argv[1]))"


def test_the_operator_hears_what_a_real_relay_says(tmp_path: Path) -> None:
    """Its address and the ports; OSError where there is none."""
    with relay(tmp_path) as lab:
        lab.forward(lab.user("alice", 20032), f"{lab.address}:20032:127.0.0.1:3000")
        until(lambda: lab.listening() == [20032], "a port")
        ask = lab.inside("carrier", sys.executable, "-c", ASK, lab.address)
        done = subprocess.run(ask, capture_output=True, text=True, check=True, cwd=IMAGE.parents[1])
        assert done.stdout == "10.1.0.5 frozenset({20032})\n"
        nobody = subprocess.run([*ask[:-1], "10.2.0.1"], capture_output=True, text=True, check=False, cwd=IMAGE.parents[1])
        assert "ConnectionRefusedError" in nobody.stderr


# ---- what is told


@given(PORTS, PORTS, PORTS, PORTS)
def test_a_port_is_away_since_it_was_first_missed(listening: set[int], wanted: set[int], later: set[int], wanted_later: set[int]) -> None:
    """Exactly the ports of bridges on which nobody listens; the time stays while it is so, and begins anew after a return."""
    first = told({}, Heard("10.1.0.5", frozenset(listening)), wanted, THEN)
    second = told(first, Heard("10.1.0.5", frozenset(later)), wanted_later, NOW)

    assert json.loads(first["away"]) == {str(port): THEN for port in wanted - listening}
    assert json.loads(second["away"]) == {str(p): THEN if p in wanted - listening else NOW for p in wanted_later - later}
    assert second["listening"].split() == [str(port) for port in sorted(later)]
    assert told(second, Heard("10.1.0.5", frozenset(later)), wanted_later, "2026-11-27T22:31:00Z") == second


@given(st.dictionaries(st.sampled_from(["address", "listening", "away"]), st.one_of(st.text(), st.just("[1]"), st.just('{"20032": 7}'))))
def test_whatever_stands_there_is_put_right(before: dict[str, str]) -> None:
    """Somebody may have edited it."""
    data = told(before, Heard("10.1.0.5", frozenset()), {20032}, NOW)
    assert data == {"address": "10.1.0.5", "listening": "", "away": json.dumps({"20032": NOW})}


def test_an_address_stays_while_there_is_no_relay() -> None:
    """So carriers keep their configuration while its Pod is replaced."""
    assert told({"address": "10.1.0.5"}, Heard("", frozenset()), (), NOW)["address"] == "10.1.0.5"


def bridge(**ends: str) -> Obj:
    """A bridge that ends there."""
    metadata = {"name": "x", "namespace": "gefyra"}
    return {"apiVersion": "gefyra.dev/v1", "kind": "gefyrabridge", "metadata": metadata, "clusterEndpoint": ends}


def test_only_ends_at_the_relay_count() -> None:
    """Ports of other providers' Services, other hosts and what is no port do not."""
    ends = {
        "8080": "bascule-relay.gefyra.svc.cluster.local:20032",
        "8081": "bascule-relay.gefyra.svc:20033",
        "8082": "gefyra-stowaway-proxy-10000.gefyra.svc.cluster.local:10000",
        "8083": "bascule-relay.shop.svc.cluster.local:20034",
        "8084": "bascule-relay.gefyra.svc.cluster.local:x",
        "8085": "bascule-relay.gefyra.svc.cluster.local",
    }
    assert used([bridge(**ends), bridge(), {**bridge(), "clusterEndpoint": None}]) == {20032}


# ---- what is written


class Relay:
    """What answers as the relay does: `text`, or not at all when it is None."""

    def __init__(self) -> None:
        self.text: str | None = ""
        self.asked: set[str] = set()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                stub.asked.add(self.path)
                body = (stub.text or "").encode()
                self.send_response(200 if stub.text is not None else 500)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


def loopback(_: Kube) -> str:
    """Where the stub is."""
    return "127.0.0.1"


@pytest.fixture
def stub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Relay]:
    """A relay on loopback, at a port of its own."""
    made = Relay()
    monkeypatch.setattr(live, "_HTTP", made.server.server_address[1])
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def installed(server: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Cluster:
    """With the relay's component."""
    server.apply(with_components(tmp_path_factory.mktemp("overlay"), "relay"))
    return server


@pytest.fixture
def admin(installed: Cluster) -> Kube:
    """The administrator; the ConfigMap is as the overlay makes it."""
    made = account(installed.kubeconfig)
    made.merge(REPORT, {"data": None})
    return made


def test_news_are_written_once(installed: Cluster, admin: Kube, stub: Relay) -> None:
    """With the operator's own rights: an answer that says the same writes nothing; nonsense in it is left out."""
    listener = Listener(account(installed.kubeconfig, OPERATOR), loopback)
    stub.text = "20032\n20033\n80\nx\n99999\n"
    listener.listen({20032, 20034})
    first = admin.get(REPORT)
    assert (first["data"]["address"], first["data"]["listening"]) == ("127.0.0.1", "20032 20033")
    assert list(json.loads(first["data"]["away"])) == ["20034"]
    for _ in range(3):
        listener.listen({20034, 20032})
    assert admin.get(REPORT) == first
    stub.text = "20034\n"
    listener.listen({20032, 20034})
    assert (admin.get(REPORT)["data"]["listening"], list(json.loads(admin.get(REPORT)["data"]["away"]))) == ("20034", ["20032"])


def test_a_new_leader_goes_on_where_the_last_one_was(installed: Cluster, admin: Kube, stub: Relay) -> None:
    """Who was away stays so since then; and when somebody else has written, that is read before the next write."""
    kube = account(installed.kubeconfig, OPERATOR)
    one, other = Listener(kube, loopback), Listener(kube, loopback)
    admin.merge(REPORT, {"data": {"away": json.dumps({"20032": THEN})}})
    one.listen({20032})
    other.listen({20032})
    stub.text = "20040\n"
    one.listen({20032})
    stub.text = "20041\n"
    for _ in range(2):
        other.listen({20032})
    assert admin.get(REPORT)["data"] == {"address": "127.0.0.1", "listening": "20041", "away": json.dumps({"20032": THEN})}


def test_a_relay_that_does_not_answer_is_given_time(installed: Cluster, admin: Kube, stub: Relay) -> None:
    """A question that fails is no news; after PATIENCE nobody is taken to listen, the address stays, and no bridge goes for it: it is the
    relay that is away.
    """
    at = 100.0
    listener = Listener(account(installed.kubeconfig, OPERATOR), loopback, lambda: at)
    stub.text = "20032\n"
    listener.listen({20032})
    stub.text = None
    at += PATIENCE - 1
    listener.listen({20032})
    assert admin.get(REPORT)["data"]["listening"] == "20032"
    at += 1
    listener.listen({20032})
    found = admin.get(REPORT)["data"]
    assert (found["address"], found["listening"], found["away"]) == ("127.0.0.1", "", "{}")
    stub.text = "20032\n"
    listener.listen({20032})
    assert admin.get(REPORT)["data"] == {"address": "127.0.0.1", "listening": "20032", "away": "{}"}


def test_the_leader_does_both_where_a_relay_is_installed(installed: Cluster, admin: Kube, stub: Relay) -> None:
    """Nothing while it does not lead; then a client gets its certificate, its port is told, and another client gets one when it changes."""
    key = Ed25519PrivateKey.generate().public_key()
    installed.kubectl("delete", "validatingwebhookconfiguration", "gefyra.dev")  # nobody answers here
    made = {"apiVersion": "gefyra.dev/v1", "kind": "gefyraclient", "provider": "relay", "providerParameter": {"publicKey": line(key)}}

    def create(name: str, first: int) -> None:
        admin.create({**made, "metadata": {"name": name, "namespace": "gefyra", "annotations": {RELAY_PORTS: str(first)}}})

    def certified(name: str) -> bool:
        return bool(admin.get(Key("GefyraClient", "gefyra", name)).get("providerConfig"))

    create("alice", 20032)
    admin.create({**bridge(**{"8080": "bascule-relay.gefyra.svc.cluster.local:20032"}), "client": "alice", "target": "deployment/web"})
    kube = account(installed.kubeconfig, OPERATOR)
    leads, asked, heard, stop = (threading.Event() for _ in range(4))
    mirror = Mirror(kube, lambda *_: None)
    mirror.follow(())
    thread = threading.Thread(target=connections.run, args=(kube, mirror, leads.is_set, asked, heard, stop, loopback))
    thread.start()
    try:
        until(lambda: not mirror.waits_for, "the mirror")
        assert not stop.wait(2 * connections.ROUND)
        assert not certified("alice")
        assert "data" not in admin.get(REPORT)
        assert not heard.is_set()
        leads.set()
        until(lambda: certified("alice"), "a certificate")
        until(lambda: list(json.loads(admin.get(REPORT).get("data", {}).get("away", "{}"))) == ["20032"], "who is away")
        stub.text = "20032\n"
        until(lambda: admin.get(REPORT)["data"]["listening"] == "20032", "who listens")
        create("bob", 20064)
        connections.changed(Key("GefyraClient", "gefyra", "bob"), asked)
        until(lambda: certified("bob"), "another certificate")
        stub.text = "20032\n20064\n20130\n"
        until(lambda: "/cgi-bin/end?20128" in stub.asked, "a stranger to be disconnected")
        assert stub.asked == {"/cgi-bin/listening", "/cgi-bin/end?20128"}
    finally:
        stop.set()
        thread.join()
        mirror.stop()


def test_who_is_away_is_known_when_the_leader_itself_has_listened(installed: Cluster, admin: Kube, stub: Relay) -> None:
    """Alice came back while nobody led, and again while another did: at the moment when judging begins, the mirror says that she is there.

    What this process wrote before the other led says the same as what it hears now, and is no reason to leave the other's report.
    """
    kube = account(installed.kubeconfig, OPERATOR)
    led, idle, asked, heard, stop = (threading.Event() for _ in range(5))
    told: list[tuple[bool, str]] = []

    def changed(key: Key, before: Obj | None, after: Obj | None) -> None:
        if key == REPORT and before is after is not None:
            told.append((heard.is_set(), (mirror.get(REPORT) or {})["data"]["away"]))

    def leads() -> bool:
        if not led.is_set():
            idle.set()
        return led.is_set()

    mirror = Mirror(kube, changed)
    stale = {"data": {"listening": "", "away": json.dumps({"20032": THEN})}}
    admin.merge(REPORT, stale)
    stub.text = "20032\n"
    mirror.follow(())
    thread = threading.Thread(target=connections.run, args=(kube, mirror, leads, asked, heard, stop, loopback))
    thread.start()
    try:
        until(lambda: not mirror.waits_for, "the mirror")
        assert not heard.is_set()
        led.set()
        until(lambda: told == [(True, "{}")], "the first look")
        led.clear()
        idle.clear()
        until(idle.is_set, "the end of its part")
        heard.clear()
        admin.merge(REPORT, stale)
        led.set()
        until(lambda: told == [(True, "{}")] * 2, "the first look of the second time")
        assert admin.get(REPORT)["data"] == {"address": "127.0.0.1", "listening": "20032", "away": "{}"}
    finally:
        stop.set()
        thread.join()
        mirror.stop()
