"""What a command writes: a bridge beside other writers and over one that is there already, and the client of this machine."""

from __future__ import annotations

import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import cast
from urllib.parse import urlsplit

import pytest
from click.testing import CliRunner

from generator.cli import bridging, holding, live, main
from generator.cli.connect import _follow
from generator.cluster.snapshot import Obj
from generator.errors import InputError
from generator.live import session
from generator.live.failures import Refused
from tests.session_lab import kubeconfig
from tests.small_api import Api, small_api
from tests.test_bridge_command import asked

AT = f"/apis/gefyra.dev/v1/namespaces/gefyra/gefyrabridges/{asked()['metadata']['name']}"


@pytest.fixture
def api() -> Iterator[Api]:
    """An API server."""
    with small_api() as found:
        yield found


@pytest.mark.parametrize(("faster", "taken"), [(1, True), (100, False)])
def test_another_writer_is_faster(api: Api, faster: int, taken: bool) -> None:
    """The operator writes between our look and our word: it is read again, and what the operator wrote stays; not for ever."""
    api.keep(asked())
    written: list[str] = []

    def operator(method: str, _path: str) -> int:
        if method == "PUT" and len(written) < faster:
            written.append(_path)
            api.keep({**api.objects[AT], "clusterEndpoint": {"8080": f"a:{len(written)}"}})
        return 0

    api.before = operator
    if taken:
        bridging._write(api.kube, asked(fallback="error"))
    else:
        with pytest.raises(bridging._Declined, match="modified"):
            bridging._write(api.kube, asked(fallback="error"))
    assert api.objects[AT]["clusterEndpoint"] == {"8080": f"a:{len(written)}"}
    assert (api.objects[AT]["providerParameter"]["fallback"] == "error") == taken


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("before", [True, False])
def test_who_takes_a_bridge_up_decides_how_long_it_waits(api: Api, held: bool, before: bool) -> None:
    """One that is detached now stays without its client, also when a command held it before; other annotations are kept. One that is held
    now waits for a day until it is ACTIVE: its client may have been away for long.
    """
    old = asked(held=before)
    old["metadata"]["annotations"] = {**old["metadata"].get("annotations", {}), "a.example/b": "c"}
    api.keep(old)
    bridging._write(api.kube, asked(held=held))

    assert api.objects[AT]["metadata"]["annotations"] == {"a.example/b": "c", **({"bascule.dev/away-grace": "86400"} if held else {})}


@pytest.mark.parametrize(
    ("before", "wait", "state", "after"),
    [
        ("60", True, "REQUESTED", "86400"),
        ("86400", False, "REQUESTED", "86400"),
        ("86400", False, "ACTIVE", "60"),
        ("60", False, "ACTIVE", "60"),
        ("3", True, "REQUESTED", "3"),
    ],
)
def test_a_bridge_waits_longer_for_a_process_than_for_a_laptop(api: Api, before: str, wait: bool, state: str, after: str) -> None:
    """Until the operator has heard of its return: the time since nobody listened would end it at once. What somebody has set by hand
    stays; a write of another in between is left to the next look.
    """
    there = {**asked(held=True), "state": state}
    there["metadata"]["annotations"]["bascule.dev/away-grace"] = before
    api.keep(there)
    bridging._wait_for_process(api.kube, api.objects[AT], wait=wait)
    assert api.objects[AT]["metadata"]["annotations"] == {"bascule.dev/away-grace": after}
    api.before = lambda method, _path: 409 if method == "PUT" else 0
    bridging._wait_for_process(api.kube, api.objects[AT], wait=not wait)
    assert api.objects[AT]["metadata"]["annotations"] == {"bascule.dev/away-grace": after}


def test_a_refusal_of_before_is_not_this_bridges(api: Api) -> None:
    """What was refused once is judged anew, also when the same is asked for again; its port is kept."""
    condition = {"type": "Accepted", "status": "False", "reason": "RuleIdentical", "message": "bob has it"}
    refused: Obj = {**asked(), "state": "ERROR", "status": {"conditions": [condition]}, "clusterEndpoint": {"8080": "a:1"}}
    api.keep(refused)
    assert bridging._refusal(api.objects[AT])
    bridging._write(api.kube, asked())

    assert not bridging._refusal(api.objects[AT])
    assert api.objects[AT]["clusterEndpoint"] == {"8080": "a:1"}


@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(("status", "cure"), [(429, "Try again in 1 s"), (500, "Try again; "), (503, "kubectl version")])
def test_a_server_that_fails_refuses_nothing(api: Api, method: str, status: int, cure: str) -> None:
    """Its answer says nothing of the bridge: it has a code and a cure, and nothing is written."""
    api.before = lambda asked_, _path: status if asked_ == method else 0
    with pytest.raises(InputError, match="ClusterUnreachable: ") as caught:
        bridging._write(api.kube, asked())
    assert cure in str(caught.value)
    assert api.objects == {}


def test_a_webhooks_denial_is_a_refusal_whatever_its_status(api: Api) -> None:
    """Gefyra's webhooks deny with 500: that is said of the bridge, and not of the server."""
    words = 'admission webhook "bridge-parameters.gefyra.dev" denied the request: RuleIdentical: taken by bob'
    with pytest.raises(Refused, match="RuleIdentical"), live.answers(api.kube):
        raise Refused(words, 500)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_detached_bridge_waits_for_a_server_that_fails(api: Api, state: Path, status: int) -> None:
    """Once it is written it is there: what fails then is asked again, and the command ends well when the answer comes."""
    failures: list[str] = []

    def fails(method: str, at: str) -> int:
        if method == "GET" and at == AT and AT in api.objects and len(failures) < 2:
            failures.append(at)
            return status
        if method == "GET" and at == AT and AT in api.objects:
            api.keep({**api.objects[AT], "clusterEndpoint": {"8080": "bascule-relay.gefyra.svc.cluster.local:20032"}})
        return 0

    api.before = fails
    told: list[str] = []
    code = bridging.detached(api.kube, asked(held=False), lambda event, *_, **__: told.append(event), threading.Event(), named=False)
    assert (code, told, len(failures)) == (0, ["made"], 2)


def test_a_detached_bridge_that_its_account_may_not_see(api: Api, state: Path) -> None:
    """Waiting would not help: it ends, and says that the bridge is there."""
    api.before = lambda method, at: 403 if method == "GET" and at == AT and AT in api.objects else 0
    told: list[str] = []
    code = bridging.detached(api.kube, asked(held=False), lambda _event, text, **_: told.append(text), threading.Event(), named=False)
    assert code == 1
    assert told[0].endswith(" is made, and waits for the API server: as the test wants it; `bascule status` shows how far it is")


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_connection_outlives_a_server_that_fails(api: Api, status: int) -> None:
    """`connect` says it once, holds what it holds, and goes on."""
    stop, told, asks = threading.Event(), list[str](), list[str]()

    def fails(_method: str, at: str) -> int:
        asks.append(at)
        if len(asks) == 2:
            stop.set()
        return status

    api.before = fails
    _follow(api.kube, "alice", cast(holding.Held, None), lambda event, text, **_: told.append(f"{event}: {text}"), stop)
    assert len(asks) == 2
    assert told == ["connection: as the test wants it"]


@pytest.mark.parametrize(("status", "said"), [(404, "; no operator runs"), (403, "may not see whether an operator runs"), (500, "")])
def test_whether_an_operator_is_waited_for(api: Api, status: int, said: str) -> None:
    """That none runs is said where it is known; an account that may not see the Lease is told that, and one without an answer nothing."""
    api.before = lambda _method, _path: status
    assert said in (found := bridging._nobody(api.kube))
    assert bool(found) == bool(said)


# ---- the client

CLIENT = "/apis/gefyra.dev/v1/namespaces/gefyra/gefyraclients/alice"


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where this machine keeps its keys."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path


def introduced(api: Api, *, named: bool = False) -> list[str]:
    """What is told while alice's client is made sure of."""
    told: list[str] = []
    holding.introduced(api.kube, "alice", lambda event, *_, **__: told.append(event), named=named)
    return told


def refused(api: Api) -> str:
    """Why her client cannot be used."""
    with pytest.raises(InputError) as caught:
        introduced(api)
    return str(caught.value)


def test_two_machines_of_one_name(api: Api, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The second does not put the first off without being told to: with --client it does, and says so."""
    assert introduced(api) == introduced(api) == []
    first = api.objects[CLIENT]
    monkeypatch.setenv("XDG_STATE_HOME", str(state / "another"))

    assert "ClientUnusable: GefyraClient alice: it is used from another machine; --client alice takes it over" in refused(api)
    assert api.objects[CLIENT] == first
    assert introduced(api, named=True) == ["key"]
    assert api.objects[CLIENT]["providerParameter"] != first["providerParameter"]


@pytest.mark.parametrize(
    ("method", "status", "said"),
    [
        ("POST", 404, "NotInstalled"),
        ("POST", 422, "ClientUnusable"),
        ("POST", 403, "ClusterForbidden"),
        ("GET", 500, "ClusterUnreachable"),
        ("POST", 500, "ClusterUnreachable"),
        ("GET", 429, "ClusterUnreachable"),
        ("POST", 429, "ClusterUnreachable"),
    ],
)
def test_why_there_is_no_client(api: Api, state: Path, method: str, status: int, said: str) -> None:
    """Where bascule is not installed, it is said how; a server that fails says nothing of the client."""
    api.before = lambda asked_, _path: status if asked_ == method else 0
    why = refused(api)

    assert f"{said}: " in why
    assert ("docs/install.md" in why) == (said == "NotInstalled")


@pytest.mark.parametrize("damage", ["empty", "passphrase"])
def test_a_key_that_cannot_be_used(api: Api, state: Path, damage: str) -> None:
    """Its file is named, and what to do; nothing asks for a passphrase."""
    key = session.folder(urlsplit(api.kube.server).netloc.replace(":", "-"), "alice") / "id_ed25519"
    introduced(api)
    if damage == "empty":
        key.write_text("")
    else:
        subprocess.run(["ssh-keygen", "-q", "-p", "-P", "", "-N", "secret", "-f", str(key)], check=True, capture_output=True)
    why = refused(api)

    assert f"KeyUnusable: {key}: " in why
    assert "Delete it" in why


def test_a_key_that_cannot_be_made(api: Api, state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An ssh-keygen that fails is quoted, with the file it was to make; nothing half-made stays, and the next try makes the key."""
    broken = state / "bin"
    broken.mkdir()
    steps = ("#!/bin/sh", "while [ $# -gt 1 ]; do shift; done", 'echo half > "$1"', "echo No space left on device >&2", "exit 1")
    (broken / "ssh-keygen").write_text("\n".join(steps))
    (broken / "ssh-keygen").chmod(0o755)
    key = session.folder(urlsplit(api.kube.server).netloc.replace(":", "-"), "alice") / "id_ed25519"
    with monkeypatch.context() as patched:
        patched.setenv("PATH", f"{broken}:{os.environ['PATH']}")
        why = refused(api)

    assert f"KeyUnusable: {key}: ssh-keygen cannot make it: No space left on device\n" in why
    assert "See what `ssh-keygen -t ed25519 " in why
    assert list(key.parent.iterdir()) == []
    assert introduced(api) == []


def test_no_way_to_the_relay(api: Api, tmp_path: Path) -> None:
    """What ssh hears of its tunnel begins with a code and the Pod."""
    (tmp_path / "kubeconfig").write_text(kubeconfig(int(api.kube.server.rpartition(":")[2])))
    done = CliRunner().invoke(main, ["tunnel", "--parent", "1"], env={"KUBECONFIG": str(tmp_path / "kubeconfig")})

    assert done.exit_code == 2
    assert done.stderr.startswith("error RelayUnreachable: Pod gefyra/bascule-relay-0: ")
