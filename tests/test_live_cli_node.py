"""The command line on a whole cluster: with an operator it shows and waits, without one it does the work itself."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from generator.cluster.snapshot import Key, Obj
from tests.live.lab import PATIENCE, ROOT, Lab, adjusted, header, until, workload
from tests.overlay_lab import OVERLAYS, objects, rendered, text_of, with_components

DEADLINE = f"{PATIENCE:.0f}s"


@pytest.fixture(autouse=True)
def administrator(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands of this file ask the lab's cluster."""
    monkeypatch.setenv("KUBECONFIG", str(lab.cluster.kubeconfig))


def bascule(*arguments: str, code: int = 0) -> str:
    """What a command prints at 80 columns, on both streams; its exit code is as expected, and no line is longer."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "80"}
    command = [sys.executable, "-m", "generator", *arguments]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, env=environment, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == code, said
    if arguments[0] == "status":
        assert max(map(len, said.splitlines())) <= 80, said
    return said


def steady(found: str) -> str:
    """Without the first line, the time."""
    return found.partition("\n")[2]


@contextmanager
def no_operator(lab: Lab) -> Iterator[None]:
    """The cluster as components/no-operator leaves it; the operator goes before its rights, and comes after them."""
    with TemporaryDirectory(dir=ROOT / "tests") as folder:
        stays = {ident(o) for o in objects(with_components(Path(folder), "no-operator"))}
    goes = [adjusted(o) for o in objects(rendered(OVERLAYS / "base")) if ident(o) not in stays]
    runs = [o for o in goes if o["kind"] == "Deployment"]
    rest = [o for o in goes if o not in runs]
    lab.cluster.kubectl("delete", "-f", "-", stdin=text_of(runs))
    until(lambda: not lab.kube.list_objects("Pod", "gefyra", "app.kubernetes.io/name=gefyra-operator")[0], "the operator to go")
    lab.cluster.kubectl("delete", "-f", "-", stdin=text_of(rest))
    try:
        yield
    finally:
        for objs in (rest, runs):
            lab.cluster.apply(text_of(objs))
        lab.cluster.kubectl("rollout", "status", "-n", "gefyra", "deployment/gefyra-operator", f"--timeout={DEADLINE}")


def ident(obj: Obj) -> tuple[str, str]:
    """What names an object of the overlays."""
    return obj["kind"], obj["metadata"]["name"]


def test_without_an_operator_apply_does_it_all(lab: Lab, tmp_path: Path) -> None:
    """From nothing to ACTIVE, with carriers that take their configuration, and with --delete back to where it was."""
    with lab.namespace("alone", workload("alone", replicas=2)) as alone, no_operator(lab):
        before, file = alone.owned(), tmp_path / "bridge.yaml"
        file.write_text(json.dumps(alone.wanted("alice", "deployment/web", [header("x-user", "alice")])))
        assert bascule("clean", "--check") == "nothing of bascule is left\n"

        done = bascule("apply", "-f", str(file), "--yes", "--timeout", DEADLINE)
        assert done.startswith("+ GefyraBridge gefyra/alice\n")
        assert "alice   alice  ACTIVE" in done
        assert alone.ask("web", "-H", "x-user: alice") == "alice"
        assert alone.ask("web").startswith("web-shadow-")
        assert bascule("apply", "-f", str(file), "--yes") == "nothing to do\n"
        assert "no operator runs" in bascule("status")

        back = bascule("apply", "-f", str(file), "--delete", "--yes", "--timeout", DEADLINE)
        assert back.startswith("- GefyraBridge gefyra/alice\n")
        assert bascule("clean", "--check") == "nothing of bascule is left\n"
        alone.as_before(before)


def test_with_an_operator_the_commands_show_how_far_it_is(lab: Lab, tmp_path: Path) -> None:
    """`status` while it is installed and when it is ACTIVE, `--wait`, nothing left to plan, and a snapshot that says the same."""
    with lab.namespace("seen", workload("seen", replicas=2)) as seen:
        lab.kube.create(seen.wanted("alice", "deployment/web", [header("x-user", "alice")]))
        shown = [bascule("status")]
        waited = bascule("status", "--wait", "alice", "--timeout", DEADLINE)
        until(lambda: "nothing to do" in bascule("plan"), "the stand-in to leave", lambda: bascule("plan"))

        assert "seen/deployment/web/app" in shown[0]
        assert "alice   alice  ACTIVE" in waited
        assert "heard of" in bascule("status")
        bascule("diff")
        file = tmp_path / "snapshot.yaml"
        file.write_text(bascule("snapshot"))
        assert bascule("plan", "-f", str(file)) == bascule("plan")
        assert bascule("clean", "--check", code=1).count("GefyraBridge gefyra/alice") == 1
        lab.kube.delete(Key("GefyraBridge", "gefyra", "alice"))
        seen.restored()
        assert bascule("clean", "--check") == "nothing of bascule is left\n"
