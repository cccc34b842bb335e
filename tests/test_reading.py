"""A cluster is read in few turns: lists that need not wait for each other do not, and connections are used again."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import cast

import pytest

from generator.cluster.snapshot import Key, Obj
from generator.errors import InputError
from generator.live import reading
from generator.live.failures import Forbidden
from generator.live.kube import Kube
from tests.session_lab import PATIENCE
from tests.small_api import small_api

CLIENT = Key("GefyraClient", "gefyra", "alice")
TOKEN = {"providerConfig": {"certificate": "c"}, "serviceAccountData": {"token": "secret"}}


class Lists:
    """An account that sees a client and nothing else. first: a namespace that is answered once another has been asked for."""

    def __init__(self, first: str = "", forbidden: str = "") -> None:
        self.first, self.forbidden, self.asked, self.other = first, forbidden, list[tuple[str, str]](), threading.Event()

    def list_objects(self, kind: str, namespace: str, _selector: str) -> tuple[list[Obj], str]:
        """As Kube has it."""
        self.asked.append((kind, namespace))
        if namespace != self.first:
            self.other.set()
        elif not self.other.wait(PATIENCE):
            raise AssertionError(f"nobody asks for another namespace than {namespace}")
        if namespace == self.forbidden:
            raise Forbidden("no", 403)
        metadata = {"name": CLIENT.name, "namespace": CLIENT.namespace}
        client = {"apiVersion": "gefyra.dev/v1", "kind": CLIENT.kind, "metadata": metadata, **TOKEN}
        return ([client] if kind == CLIENT.kind else []), "1"

    def get(self, key: Key) -> Obj:
        """As Kube has it."""
        return {"metadata": {"name": key.name}}


@pytest.mark.parametrize("first", ["gefyra", "shop"])
def test_namespaces_that_are_given_are_read_beside_the_control_namespace(first: str) -> None:
    """Neither waits for the other; each list is asked for once, and what is secret is left out."""
    kube = Lists(first)
    (client, space) = reading.read(cast(Kube, kube), ("shop",))
    wanted = [(k, "gefyra") for k in reading.CONTROL] + [(k, "shop") for k in (*reading.NEEDED, *reading.OPTIONAL) if k != "Namespace"]
    assert sorted(kube.asked) == sorted(wanted)
    assert (client["kind"], space["kind"]) == ("GefyraClient", "Namespace")
    assert "serviceAccountData" not in client
    assert "certificate" not in client["providerConfig"]


@pytest.mark.parametrize("forbidden", ["gefyra", "shop"])
def test_what_may_not_be_listed_is_said_wherever_it_is(forbidden: str) -> None:
    """One problem, of that namespace, though the lists of the other have come."""
    with pytest.raises(InputError) as caught:
        reading.read(cast(Kube, Lists(forbidden=forbidden)), ("shop",))
    assert [(p.code, p.place) for p in caught.value.problems] == [("ClusterForbidden", f"namespace {forbidden}")]


def test_a_connection_is_the_next_threads() -> None:
    """One after the other, threads share a connection; at once, each has its own."""
    with small_api() as api:
        api.keep({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a", "namespace": "shop"}})
        key = Key("ConfigMap", "shop", "a")
        for _ in range(3):
            with ThreadPoolExecutor(1) as one:
                one.submit(api.kube.get, key).result()
        assert len(api.callers) == 1

        together = threading.Barrier(3, timeout=PATIENCE)
        api.before = lambda *_: together.wait() * 0
        with ThreadPoolExecutor(3) as pool:
            assert {o["metadata"]["name"] for o in pool.map(api.kube.get, 3 * [key])} == {"a"}
        assert len(api.callers) == 3
