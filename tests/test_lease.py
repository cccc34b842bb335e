"""Who leads: one at any time, also when a leader is killed, hangs or hands over; on a real API server."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

import pytest
import ruamel.yaml
from hypothesis import given
from hypothesis import strategies as st

from generator.cluster.snapshot import Key, Obj
from generator.cluster.times import seconds_between
from generator.live import metrics
from generator.live.failures import Conflict, NotFound
from generator.live.kube import Kube
from generator.live.lease import DURATION, LEASE, RETRY, Candidate, Seen, claimed, released, seen, wait
from tests.cluster.cluster import Cluster
from tests.overlay_lab import account

AT = "2026-11-24T22:30:00.000000Z"
PATIENCE = 120  # seconds until a test gives up
LEADER = """
import sys, threading
from generator.live.kube import connect
from generator.live.lease import Candidate
Candidate(connect(), "killed", lambda: print("leads", flush=True)).run(threading.Event())
"""


def test_a_lease_counts_from_when_it_was_seen_to_change() -> None:
    """Not from the time that stands in it, which another clock wrote."""
    lease = claimed(None, "a", AT)
    first = seen(None, lease, 100.0)
    assert seen(first, lease, 105.0) == first
    assert seen(first, claimed(lease, "a", "2026-11-24T22:30:02.000000Z"), 106.0).since == 106.0


@pytest.mark.parametrize(
    ("holder", "now", "left"), [("a", 100, 0), ("b", 100, 15), ("b", 114, 1), ("b", 115, 0), ("b", 300, 0), ("", 100, 0)]
)
def test_whoever_is_not_the_holder_waits_for_the_whole_duration(holder: str, now: float, left: float) -> None:
    """The holder himself, and anybody when there is none, may write at once."""
    assert wait(Seen(claimed(None, holder, AT)["spec"], 100.0), "a", now) == left


def test_the_duration_that_stands_in_the_lease_counts() -> None:
    """Two releases may have different ones."""
    assert wait(Seen({"holderIdentity": "b", "leaseDurationSeconds": 40}, 0.0), "a", 1.0) == 39.0


def test_a_new_holder_is_a_transition_and_a_renewal_is_none() -> None:
    """What `kubectl describe lease` shows; the resourceVersion of what was read guards the write."""
    mine = {**claimed(None, "a", AT), "metadata": {"name": "x", "resourceVersion": "7"}}
    later = "2026-11-24T22:31:00.000000Z"
    renewed, taken = claimed(mine, "a", later), claimed(mine, "b", later)
    assert [x["spec"]["leaseTransitions"] for x in (mine, renewed, taken, claimed(released(mine, AT), "b", later))] == [0, 0, 1, 1]
    assert [x["spec"]["acquireTime"] for x in (renewed, taken)] == [AT, later]
    assert taken["metadata"]["resourceVersion"] == "7"


@given(st.lists(st.tuples(st.sampled_from("abc"), st.floats(0.1, 20)), max_size=30))
def test_nobody_follows_a_leader_who_renews(turns: list[tuple[str, float]]) -> None:
    """Whoever looks when: the name changes only after nobody has written for the duration, as each has seen it."""
    lease, now, written = claimed(None, "a", AT), 0.0, 0.0
    views: dict[str, Seen] = {}
    for number, (who, pause) in enumerate(turns):
        now += pause
        views[who] = seen(views.get(who), lease, now)
        if not wait(views[who], who, now):
            assert who == lease["spec"]["holderIdentity"] or now - written >= DURATION
            lease, written = claimed(lease, who, f"2026-11-24T22:30:{number:02}.000000Z"), now


def test_a_lease_of_an_odd_shape_is_no_end(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Who reads it says so in the log, and leads when it is a Lease again, or is gone."""
    monkeypatch.setattr("generator.live.lease.RETRY", 0.01)
    odd = iter(list[Obj]([{"spec": {"holderIdentity": "b", "leaseDurationSeconds": "soon"}}, {"spec": "none"}]))

    class Server(Kube):
        def __init__(self) -> None:
            pass

        def get(self, key: Key) -> Obj:
            if found := next(odd, None):
                return found
            raise NotFound(f"no {key}")

        def create(self, obj: Obj) -> Obj:
            return obj

    before = metrics.REGISTRY.get_sample_value("bascule_failures_total") or 0.0
    told: list[str] = []
    running = Running(Server(), "a", told)
    assert running.leads.wait(PATIENCE)
    running.end()
    assert told == ["a leads", "a stops"]
    assert "soon" in caplog.text
    assert metrics.REGISTRY.get_sample_value("bascule_failures_total") == before + 2


@pytest.fixture
def kube(server: Cluster) -> Kube:
    """Its administrator; there is no Lease yet."""
    made = account(server.kubeconfig)
    with suppress(NotFound):
        made.delete(LEASE)
    return made


class Running:
    """A candidate in a thread, and what it has told."""

    def __init__(self, kube: Kube, name: str, told: list[str]) -> None:
        self.leads, self.stop = threading.Event(), threading.Event()
        self.candidate = Candidate(
            kube, name, self._tells(told, f"{name} leads", self.leads.set), self._tells(told, f"{name} stops", self.leads.clear)
        )
        self._thread = threading.Thread(target=self.candidate.run, args=(self.stop,))
        self._thread.start()

    def _tells(self, told: list[str], what: str, then: Callable[[], None]) -> Callable[[], None]:
        def tell() -> None:
            told.append(what)
            then()

        return tell

    def end(self) -> None:
        """Stop it, cleanly."""
        self.stop.set()
        self._thread.join(PATIENCE)
        assert not self._thread.is_alive()


def until(happens: Callable[[], bool]) -> None:
    """Wait for it."""
    for _ in range(20 * PATIENCE):
        if happens():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen")


def reached(told: list[str], count: int) -> bool:
    """Whether so much has been told."""
    return len(told) >= count


def takes(kube: Kube, name: str) -> bool:
    """Whether the Lease could be written, between two renewals."""
    try:
        kube.replace(claimed(kube.get(LEASE), name, AT))
    except Conflict:
        return False
    return True


def spec(kube: Kube) -> Obj:
    """The Lease as it stands."""
    found: Obj = kube.get(LEASE)["spec"]
    return found


def test_of_many_that_begin_at_once_one_leads(kube: Kube) -> None:
    """And when it hands over, exactly one follows, without waiting for the Lease to run out."""
    told: list[str] = []
    running = {name: Running(kube, name, told) for name in ("a", "b", "c")}
    for turn in range(3):
        until(partial(reached, told, 2 * turn + 1))
        leader = told[-1].removesuffix(" leads")
        assert [name for name, each in running.items() if each.candidate.leads()] == [leader]
        assert spec(kube)["holderIdentity"] == leader
        running.pop(leader).end()
        assert not running or spec(kube)["leaseDurationSeconds"] in (1, DURATION)
    assert [word for line in told for word in line.split()[1:]] == ["leads", "stops"] * 3
    assert spec(kube)["holderIdentity"] == ""


def test_a_killed_leader_is_followed_when_its_lease_has_run_out(server: Cluster, kube: Kube) -> None:
    """SIGKILL: nothing is handed over, and nobody leads too early."""
    environment = {**os.environ, "KUBECONFIG": str(server.kubeconfig), "PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen([sys.executable, "-c", LEADER], env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "leads\n"
        told: list[str] = []
        standing_by = Running(kube, "b", told)
        assert not standing_by.leads.wait(RETRY)
        process.send_signal(signal.SIGKILL)
    last = spec(kube)
    assert last["holderIdentity"] == "killed"
    assert standing_by.leads.wait(PATIENCE)
    now = spec(kube)
    assert (now["holderIdentity"], now["leaseTransitions"]) == ("b", 1)
    assert seconds_between(last["renewTime"], now["acquireTime"]) >= DURATION
    standing_by.end()
    assert told == ["b leads", "b stops"]


class Road:
    """A way to the API server that can be blocked: bytes that come then wait, as in a network that drops packets."""

    def __init__(self, to: int) -> None:
        self._to, self.open = to, threading.Event()
        self.open.set()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                one, _ = self._listening.accept()
                other = socket.create_connection(("127.0.0.1", self._to))
                self._sockets += [one, other]
                for ends in ((one, other), (other, one)):
                    threading.Thread(target=self._pump, args=ends, daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self.open.wait()
                sink.sendall(data)

    def close(self) -> None:
        """No way at all any more."""
        self.open.set()
        for each in (self._listening, *self._sockets):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()


@contextmanager
def road(kubeconfig: Path, folder: Path) -> Iterator[tuple[Road, Kube]]:
    """A way of its own to the API server, and the administrator who takes it."""
    yaml = ruamel.yaml.YAML(typ="safe", pure=True)
    config = yaml.load(kubeconfig)
    server = config["clusters"][0]["cluster"]
    way = Road(int(server["server"].rpartition(":")[2]))
    server["server"] = f"https://127.0.0.1:{way.port}"
    yaml.dump(config, folder / "kubeconfig")
    yield way, account(folder / "kubeconfig")
    way.close()


def test_a_leader_that_hangs_stops_before_another_leads(server: Cluster, kube: Kube, tmp_path: Path) -> None:
    """Its request is on the way and no answer comes; when the answer comes at last, it is no leader by that."""
    told: list[str] = []
    with road(server.kubeconfig, tmp_path) as (way, far):
        hanging = Running(far, "a", told)
        assert hanging.leads.wait(PATIENCE)
        standing_by = Running(kube, "b", told)
        way.open.clear()
        assert standing_by.leads.wait(PATIENCE)
        assert told == ["a leads", "a stops", "b leads"]
        way.open.set()
        assert not hanging.leads.wait(2 * RETRY)
        assert not hanging.candidate.leads()
        assert standing_by.candidate.leads()
        assert spec(kube)["holderIdentity"] == "b"
        hanging.end()
        standing_by.end()
    assert told == ["a leads", "a stops", "b leads", "b stops"]


def test_a_leader_whose_lease_another_holds_stops(kube: Kube) -> None:
    """Whoever wrote it: two never lead."""
    told: list[str] = []
    leader = Running(kube, "a", told)
    assert leader.leads.wait(PATIENCE)
    until(partial(takes, kube, "somebody"))
    until(partial(reached, told, 2))
    assert told == ["a leads", "a stops"]
    assert spec(kube)["holderIdentity"] == "somebody"
    leader.end()
    assert spec(kube)["holderIdentity"] == "somebody"
