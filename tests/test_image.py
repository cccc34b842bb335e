"""The carrier image: built from its Containerfile, run as kubelet runs an application's container."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from carrier2.contract import COMMAND_DIRS, COMMANDS, EXECUTABLE, STAND_IN, USER
from carrier2.dispatch import Address, Condition, Destination, Dispatch, Listener, Route
from carrier2.nginx import render
from tests.cluster import images
from tests.enclosure import ROOT, enclosed
from tests.image_lab import PROBES
from tests.reload_pod import SHADOW
from tests.test_reload import HOSTS, conf

FOLDER = ROOT / "carrier2" / "image"
WELL = [0, ""]


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The image's files and its configuration; it stands in for `/server` and `mytool` too."""
    images.base()
    given = {"BASE": images.BASE, "TOOLS": images.BASE, "COMMANDS": "/server mytool"}
    archive = images.build(FOLDER, "localhost/bascule-test/carrier2:image", given, tmp_path_factory.mktemp("archive") / "carrier2.tar")
    layout, root = tmp_path_factory.mktemp("layout"), tmp_path_factory.mktemp("root")
    root.chmod(0o755)
    subprocess.run(["tar", "-xf", archive, "-C", layout], check=True)

    def blob(descriptor: dict[str, str]) -> Path:
        return layout / "blobs" / descriptor["digest"].replace(":", "/")

    manifest = json.loads(blob(json.loads((layout / "index.json").read_text())["manifests"][0]).read_text())
    for layer in manifest["layers"]:
        subprocess.run(["tar", "-xf", blob(layer), "-C", root], check=True)
    print(f"{sum(layer['size'] for layer in manifest['layers']) / 2**20:.1f} MiB in {len(manifest['layers'])} layers")  # noqa: T201
    for folder in ("dev", "proc"):  # as a runtime does
        (root / folder).mkdir(exist_ok=True)
    return root, json.loads(blob(manifest["config"]).read_text())["config"]


def lab(image: tuple[Path, dict[str, Any]], do: str, **job: Any) -> Any:
    """What tests/image_lab.py says."""
    return enclosed("tests.image_lab", {"do": do, "root": str(image[0]), "hosts": HOSTS, **job}, 300)


def draining(to: str) -> str:
    """A configuration that leads alice to `to`, and all that come by port 8081 to the shadow."""
    routes = (Route("b0", (Condition("header", "exact", "alice", "x-user"),)),)
    listeners = tuple(Listener(port, "TCP", routes, (Destination("b0", Address(to, 3000)),)) for port in (8080, 8081))
    return render(Dispatch(listeners, "10.0.0.1", {"web-0": (SHADOW,)}))


@pytest.mark.parametrize(
    ("command", "uid"),
    [
        (["python", "/srv/app.py"], 10001),
        (["/bin/sh", "-c", "exec /server"], 10001),
        (["/usr/local/bin/node", "--inspect", "server.js"], 10001),
        (["/server"], 10001),
        ([EXECUTABLE, "apply", "0" * 64], 0),
    ],
    ids=["python", "shell", "node", "added", "arguments-alone-as-root"],
)
def test_stands_in_for_an_application(image: tuple[Path, dict[str, Any]], command: list[str], uid: int) -> None:
    """Under its command, user and limits it becomes nginx, answers probes, takes configurations, keeps them, and drains."""
    told = lab(image, "one", command=command, uid=uid, conf=draining(HOSTS[0]), other=draining(HOSTS[1]))
    assert told["before"] == told["probes"] == [WELL] * len(PROBES)
    assert told["routed"] == [HOSTS[0], SHADOW]
    assert told["changed"] == told["restarted"] == [HOSTS[1], SHADOW]
    assert told["status"] == [str(uid), str(uid), "0" * 16, "0" * 16]
    assert told["root"] == ["ro"]
    assert told["late"] == [told["changed"][0]] * 5, told["log"]
    assert (told["no more"], told["waits"], told["slow"], told["code"]) == (True, True, [200, "slow"], 0), told["log"]
    assert [line for line in told["log"].splitlines() if "[emerg]" in line and "initgroups(root, 0)" not in line] == []


def test_containers_of_one_pod_do_not_meet(image: tuple[Path, dict[str, Any]]) -> None:
    """Each has a folder of its own below the /dev/shm that they share, whoever they are."""
    told = lab(image, "two", conf=conf(HOSTS[0]), other=conf(HOSTS[1], port=8081))
    assert told["routed"] == [HOSTS[0], HOSTS[1]]
    assert told["again"] == [True, HOSTS[0], HOSTS[1]]
    assert told["probes"] == [WELL, WELL]
    assert told["folders"] == [["app", 10001, "0o40700"], ["side-car", 20002, "0o40700"]]
    assert told["above"] == "0o41777"


def test_is_not_process_1_with_a_shared_process_namespace(image: tuple[Path, dict[str, Any]]) -> None:
    """The main process is known all the same, and so is a probe with the very same command."""
    told = lab(image, "together", conf=conf(HOSTS[0]))
    assert told["first"] == told["second"] == {"main": True, "probe": WELL, "routed": [HOSTS[0], SHADOW]}


def test_a_hook_waits_for_nginx_a_while(image: tuple[Path, dict[str, Any]]) -> None:
    """A postStart hook that came too early would cost the container; nor does it wait for ever."""
    told = lab(image, "hook")
    assert told == {"looking": True, "early": WELL, "never": [1, "nginx does not run\n"]}


def test_a_hook_that_waits_does_so(image: tuple[Path, dict[str, Any]]) -> None:
    """Before a Pod goes, a hook gives its traffic time to go elsewhere, and its listeners must stay as long; others answer at once."""
    hooks = [["sleep", "600"], ["/bin/sh", "-c", "sleep 15m; /app --stop"], ["sh", "-c", "rm -f /tmp/asleep && kill -TERM 1"]]
    assert lab(image, "sleeping", conf=conf(HOSTS[0]), hooks=hooks)["asleep"] == [["600"], ["15m"], []]


@pytest.mark.parametrize("gives", [True, False])
def test_access_log(image: tuple[Path, dict[str, Any]], gives: bool) -> None:
    """Lines come on standard output; if the runtime keeps that from the user, the carrier says so, and serves."""
    listener = Listener(8080, "TCP", (Route("b0"),), (Destination("b0", Address(HOSTS[0], 3000), log=True),))
    confs = [render(Dispatch((listener,), service, {"web-0": (SHADOW,)})) for service in ("10.0.0.1", "10.0.0.2")]
    told = lab(image, "logged", conf=confs[0], other=confs[1], gives=gives)
    assert told["answers"] == [HOSTS[0]] * 2
    assert [json.loads(line)["bridge"] for line in told["lines"]] == (["b0", "b0"] if gives else [])
    assert ("carrier2: no access log" in told["log"]) == (not gives)


def _resolved(root: Path, path: Path) -> str:
    """Where a link in the image leads, as the container sees it."""
    while (here := root / path.relative_to("/")).is_symlink():
        path = Path(os.path.normpath(path.parent / here.readlink()))
    return str(path)


def test_has_all_names(image: tuple[Path, dict[str, Any]]) -> None:
    """Each command in each folder, and the added ones; nothing else that could run stands in those folders."""
    root, _ = image
    wanted = {f"{folder}/{name}" for folder in COMMAND_DIRS for name in (*COMMANDS, "mytool")} | {"/server"}
    assert {path for path in wanted if _resolved(root, Path(path)) != EXECUTABLE} == set()
    there = {f"{folder}/{file.name}" for folder in COMMAND_DIRS for file in (root / folder[1:]).iterdir()}
    assert {path for path in there if _resolved(root, Path(path)) != EXECUTABLE} == set()


def test_configuration_of_the_image(image: tuple[Path, dict[str, Any]]) -> None:
    """A stop is graceful; a Pod without a command gets the carrier, and no arguments of the base; it is not root, by a number."""
    _, config = image
    expected = ([EXECUTABLE], None, "SIGQUIT", f"{USER}:{USER}")
    assert (config["Entrypoint"], config.get("Cmd"), config["StopSignal"], config["User"]) == expected
    assert set(COMMAND_DIRS) == set(dict(each.split("=", 1) for each in config["Env"])["PATH"].split(":"))


def test_files_and_contract_agree() -> None:
    """Neither a shell nor a Containerfile can import contract.py."""
    assert (FOLDER / "commands").read_text().split() == sorted(COMMANDS)
    script = (FOLDER / Path(STAND_IN).name).read_text()
    assert re.findall('^DIRS="(.*)"', script, re.MULTILINE) == [" ".join(COMMAND_DIRS)]
