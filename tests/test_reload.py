"""A reload loses nothing, and a configuration that does not work never replaces one that does."""

from __future__ import annotations

import hashlib
import re
import ssl
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from carrier2.contract import MAX_LINGERING, OUTSIDE, RUN_DIR
from carrier2.dispatch import Address, Condition, Destination, Dispatch, Listener, Route
from carrier2.nginx import render
from tests.enclosure import enclosed
from tests.reload_pod import SCRIPT, SHADOW, SHELLS

HOSTS = [f"10.9.0.{number}" for number in range(1, 6)]
IN_BOTH_SHELLS = pytest.mark.parametrize("shell", range(len(SHELLS)), ids=[" ".join(shell) for shell in SHELLS])


def conf(to: str, bridges: int = 1, *, port: int = 8080, grpc: bool = False, tls: bool = False) -> str:
    """A configuration: alice's requests go to `to`. The other bridges are of four kinds, each with an address of its own."""
    listeners = [listener(port, to, 3000, bridges)]
    if grpc:
        listeners.append(listener(9090, to, 3001, 1))
    if tls:
        listeners.append(listener(8443, to, 3000, 1, tls=True))
    return render(Dispatch(tuple(listeners), "10.0.0.1", {"web-0": (SHADOW,)}))


def listener(port: int, to: str, to_port: int, bridges: int, *, tls: bool = False) -> Listener:
    """One port, and what the configuration says of it."""
    routes = [Route("b0", (Condition("header", "exact", "alice", "x-user"),))]
    routes += [Route(f"b{number}", conditions(number)) for number in range(1, bridges)]
    made = [Destination("b0", Address(to, to_port))]
    made += [Destination(f"b{number}", Address(f"10.8.{number // 250}.{number % 250 + 1}", to_port)) for number in range(1, bridges)]
    return Listener(port, "TCP", tuple(routes), tuple(made), tls)


def with_own_files() -> str:
    """A configuration whose port 8443 takes the application's own TLS files."""
    secure = replace(listener(8443, HOSTS[0], 3000, 1, tls=True), certificate="/dev/shm/own file.crt", key="/dev/shm/own file.key")
    return render(Dispatch((listener(8080, HOSTS[0], 3000, 1), secure), "10.0.0.1", {"web-0": (SHADOW,)}))


def conditions(number: int) -> tuple[Condition, ...]:
    """A header, a path, both, or (below 40) a regex."""
    header = Condition("header", "exact", f"user{number}", "x-user")
    path = Condition("path", "prefix", f"/service{number}")
    found = Condition("header", "regex", f"^team-{number}-[a-z]+$", "x-team")
    return [(header,), (path,), (header, path), (found,) if number < 40 else (header,)][number % 4]


def lab(do: str, seconds: float = 600, **job: Any) -> Any:
    """What tests/reload_lab.py says."""
    return enclosed("tests.reload_lab", {"do": do, "hosts": HOSTS, **job}, seconds)


def certificate(folder: Path, name: str) -> dict[str, str]:
    """Files for port 8443."""
    key, crt = folder / f"{name}.key", folder / f"{name}.crt"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}"]
    subprocess.run([*command, "-keyout", key, "-out", crt], check=True, capture_output=True)
    return {"tls/8443.crt": crt.read_text(), "tls/8443.key": key.read_text()}


def fingerprint(files: dict[str, str]) -> str:
    """Digest of the certificate as clients see it."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(files["tls/8443.crt"])).hexdigest()


def test_fifty_reloads_under_load_lose_nothing() -> None:
    """Every client gets every answer, from where the rules led at that time, and workers stay few."""
    outcome = lab("load", confs=[(conf(to, 1000, grpc=True), to) for to in HOSTS], reloads=50)
    assert (outcome["bad"], outcome["lost"], outcome["wrong"]) == ([], [], [])
    assert outcome["who"] == sorted([*HOSTS, SHADOW])
    assert all(count > 50 for count in outcome["answers"].values()), outcome["answers"]
    assert outcome["samples"] > 50
    assert outcome["workers"] <= MAX_LINGERING + 1
    assert outcome["old workers gone"]


@IN_BOTH_SHELLS
def test_renewed_tls_files_of_the_application_are_loaded(shell: int, tmp_path: Path) -> None:
    """By the next apply of the same configuration, once; those that do not fit are refused until they do; a restart takes them too."""
    old, new = certificate(tmp_path, "old"), certificate(tmp_path, "new")
    own, there = with_own_files(), {end: f"/dev/shm/own file.{end}" for end in ("crt", "key")}
    old_there, new_there = ({path: files[f"tls/8443.{end}"] for end, path in there.items()} for files in (old, new))
    mixed = {there["crt"]: old_there[there["crt"]]}
    same: dict[str, Any] = {"conf": own}
    life = [{**same, "mounted": files} if files else same for files in (old_there, None, new_there, None, mixed, None, new_there)]
    found = [step for step in lab("steps", lives=[life, [same, {**same, "mounted": old_there}], [same]], shell=shell) if "code" in step]
    assert [step["code"] for step in found] == [0, 0, 0, 0, 1, 1, 0, 0, 0, 0]
    assert [step["seen"][1] for step in found] == [fingerprint(files) for files in (old, old, *[new] * 6, old, old)]
    assert [step["same"] for step in found] == [False, True, False, True, True, True, True, True, False, True]
    assert all("key values mismatch" in step["said"] for step in found[4:6])


@IN_BOTH_SHELLS
def test_broken_never_replaces_good(shell: int, tmp_path: Path) -> None:
    """Whatever is wrong is said in nginx's words, nothing is lost meanwhile, and the good one is stored and serves, after a restart too."""
    good, other = conf(HOSTS[0]), conf(HOSTS[1])
    old, new = certificate(tmp_path, "old"), certificate(tmp_path, "new")
    mixed = {"tls/8443.crt": new["tls/8443.crt"], "tls/8443.key": old["tls/8443.key"]}
    secure, other_secure = conf(HOSTS[0], tls=True), conf(HOSTS[1], tls=True)
    taken = render(Dispatch((listener(8080, HOSTS[1], 3000, 1), listener(7070, HOSTS[1], 3000, 1)), "10.0.0.1"))
    broken: list[tuple[dict[str, Any], str]] = [
        ({"conf": other[: len(other) // 2]}, "unexpected end of file"),
        ({"conf": other + "frobnicate on;\n"}, 'unknown directive "frobnicate"'),
        ({"conf": other.replace("http {", 'http { map $host $x { "~(" 1; }', 1)}, "missing )"),
        ({"conf": other_secure}, "cannot load certificate "),
        ({"conf": other_secure, "files": mixed}, "key values mismatch"),
        ({"conf": taken, "taken": 7070}, "bind() to 0.0.0.0:7070 failed (98: Address in use)"),
        ({"conf": other, "hash": "0" * 64}, "does not have the SHA-256"),
        ({"conf": other, "cut": 0}, "ends before nginx.conf"),
        ({"conf": other, "cut": 7}, "ends before nginx.conf"),
        ({"conf": other, "cut": 500}, "does not have the SHA-256"),
        ({"conf": other, "files": {"tls/../x.crt": "x"}}, "no file is named tls/../x.crt"),
        ({"conf": other, "files": {"nginx.pid": "1"}}, "no file is named nginx.pid"),
    ]
    lives = [
        [{"conf": good}, *(step for step, _ in broken), {"conf": good}],
        [{"conf": conf_, "files": files} for conf_, files in ((secure, old), (other_secure, mixed), (secure, old), (secure, new))],
        [],
    ]
    outcome = lab("steps", lives=lives, shell=shell)
    first, second, third = outcome[:15], outcome[15:20], outcome[20]
    assert first[1]["said"] == f"applied {hashlib.sha256(good.encode()).hexdigest()}\n"
    for told, (_, why) in zip(first[2:14], broken, strict=True):
        assert told["code"] == 1
        assert re.fullmatch(f"refused: [^\n]*{re.escape(why)}[^\n]*\n", told["said"])
        assert (told["seen"], told["stored"], told["same"]) == ([HOSTS[0], ""], good, True)
    assert (first[14]["code"], first[14]["same"], first[14]["lost"]) == (0, True, [])
    assert first[14]["answers"] > 50
    assert second[0]["seen"] == [HOSTS[0], ""]
    assert [(told["code"], told["seen"][1]) for told in second[1:]] == [
        (0, fingerprint(old)),
        (1, fingerprint(old)),
        (0, fingerprint(old)),
        (0, fingerprint(new)),
    ]
    assert [told["same"] for told in second[2:]] == [True, True, False]
    assert third["seen"] == [HOSTS[0], fingerprint(new)]


def test_killed_at_any_step_leaves_a_whole_configuration(tmp_path: Path) -> None:
    """Both the next `apply` and the next start work; configuration and certificate are of one delivery."""
    old, new = certificate(tmp_path, "old"), certificate(tmp_path, "new")
    outcome = lab("killed", confs=[(conf(HOSTS[0], tls=True), old), (conf(HOSTS[1], tls=True), new)])
    before, after = [HOSTS[0], fingerprint(old)], [HOSTS[1], fingerprint(new)]
    assert len(outcome) > 20
    assert [told["died"] for told in outcome] == [True] * (len(outcome) - 1) + [False]
    for told in outcome:
        assert all(part in pair for part, pair in zip(told["after"], zip(before, after, strict=True), strict=True)), told
        assert told.get("restarted", before) in (before, after), told
        assert told["again"].startswith("applied "), told
        assert told["then"] == before, told
        assert not any(name.startswith("undo") for name in told["left"]), told
    assert outcome[-1]["after"] == after
    assert len(outcome[-1]["left"]) <= 1, "of what killed ones had received, at most the last is left"


def test_at_the_same_time() -> None:
    """Of several that arrive at once each comes into force whole, one after the other."""
    confs = {to: conf(to) for to in HOSTS}
    outcome = lab("together", confs=list(confs.values()))
    assert outcome["said"] == [f"applied {hashlib.sha256(each.encode()).hexdigest()}\n" for each in confs.values()]
    assert outcome["stored"] == confs[outcome["seen"]]
    assert outcome["left"] == []


def test_old_workers_are_bounded() -> None:
    """Of connections that outlive their configuration by too many reloads the oldest are cut, and `apply` says so."""
    count = MAX_LINGERING + 2
    outcome = lab("bounded", confs=[conf(HOSTS[number % 2]) for number in range(count)])
    assert [code for code, _, _ in outcome["said"]] == [0] * count
    assert [noise for _, noise, _ in outcome["said"]][:-1] == [""] * (count - 1)
    assert outcome["said"][-1][1] == f"carrier2: cut 1 connections that are {MAX_LINGERING} reloads old\n"
    assert max(workers for _, _, workers in outcome["said"]) == MAX_LINGERING + 1
    assert outcome["alive"] == [False] + [True] * (count - 1)
    assert outcome["old workers gone"]


def test_script_and_contract_agree() -> None:
    """The script cannot import contract.py."""
    script = Path(SCRIPT).read_text()
    for name, value in (("ALL", RUN_DIR), ("OUTSIDE", OUTSIDE), ("LINGERING", MAX_LINGERING)):
        assert re.search(rf"^{name}={value} ", script, re.MULTILINE)
