"""Real nginx on every golden configuration: it accepts the file, and sends each request where `explain` says."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from carrier2.dispatch import Condition, Dispatch, Listener
from carrier2.relocate import addresses
from generator.asked.intent import Claim
from generator.desired import routing
from generator.rules import precedence as rules
from generator.rules.precedence import Refused
from generator.simulate import Run, fold
from generator.text import reading as text
from tests.golden import cases
from tests.nginx_lab import run as lab
from tests.nginx_lab import syntaxes

WITNESSES = {
    r"^[0-9a-f]{8}-dev\z": "0a1b2c3d-dev",
    r"^/api/v\d+/cart\z": "/api/v1/cart",
    r"^.*a.{20}\z": "a" * 21,
    r"^.*[ab].{20}\z": "b" * 21,
}
"""A text for each regex that stands in a golden case, as nginx has it."""


class Carrier(NamedTuple):
    """One configuration of a case, as recorded, and the model it was made from."""

    case: str
    name: str
    conf: str
    model: Dispatch
    claim: Claim


@cache
def _end(case: Path) -> Run | None:
    """The case's plan, run to its end."""
    raw = (case / "input.yaml").read_text()
    objects, problems = text.read(raw, "input.yaml")
    return None if problems else fold(objects, raw.partition("\n")[0].removeprefix("# now: "))


def carriers() -> Iterator[Carrier]:
    """Every configuration below golden/ whose plan ends with it."""
    for case in cases():
        file = case / "nginx.conf"
        if not file.exists():
            continue
        sections = re.split(r"(?m)^# ConfigMap (\S+)\n", file.read_text())[1:]
        ended = _end(case)
        assert ended is not None
        for name, conf in zip(sections[::2], sections[1::2], strict=True):
            for key, outcome in ended.desired.outcomes.items():
                for container, model in outcome.dispatches.items():
                    claim = ended.desired.intent.claims.get(key, {}).get(container)
                    if claim and name.endswith(f"{outcome.workload.id}-carrier-{container}"):
                        yield Carrier(case.name, name, _delivered(conf.rstrip("\n") + "\n", model), model, claim)


def _delivered(conf: str, model: Dispatch) -> str:
    """The configuration, with certificates of the container's own volumes where delivered ones lie: here is no volume."""
    for each in model.listeners:
        for path, end in ((each.certificate, "crt"), (each.key, "key")):
            conf = conf.replace(f'"{path}"', f"tls/{each.port}.{end}") if path else conf
    return conf


CARRIERS = list(carriers())
ROUTED = [c for c in CARRIERS if any(listener.routes for listener in c.model.listeners)]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A certificate of our own for every TLS port of a golden case, where the applier would put it."""
    folder = tmp_path_factory.mktemp("tls")
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=web.example",
    ]
    subprocess.run([*command, "-keyout", folder / "key", "-out", folder / "crt"], check=True, capture_output=True)
    ports = {listener.port for c in CARRIERS for listener in c.model.listeners if listener.tls}
    return {f"tls/{port}.{part}": (folder / part).read_text() for port in ports for part in ("key", "crt")}


def _fields(conditions: tuple[Condition, ...], spoil: int | None) -> tuple[str, str, dict[str, str]]:
    """Method, URL and headers of a request that meets all conditions, or all but one."""
    method, path, query, headers = "GET", "/elsewhere", "", {}
    for index, c in enumerate(conditions):
        value = (
            c.value
            if c.match == "exact"
            else WITNESSES[c.value]
            if c.match == "regex"
            else c.value + ("/x" if c.kind == "path" else "rest")
        )
        value = value if index != spoil else ("PUT" if c.kind == "method" else f"{value[:-1]}~~")
        if c.kind == "method":
            method = value
        elif c.kind == "path":
            path = value
        elif c.kind == "query":
            query = f"?z=1&{c.name}={value}"
        else:
            headers[c.name if c.kind == "header" else "cookie"] = value if c.kind == "header" else f"a=b; {c.name}={value}"
    return method, path + query, headers


def _requests(listener: Listener) -> Iterator[tuple[str, str, dict[str, str]]]:
    """For each rule: a request that meets it, one for each condition it misses, and the same from a kubelet."""
    yield "GET", "/", {}
    for route in listener.routes:
        conditions = tuple(c for c in route.conditions)
        for spoil in (None, *range(len(conditions))):
            yield _fields(conditions, spoil)
        method, url, headers = _fields(conditions, None)
        yield method, url, {**headers, "user-agent": "kube-probe/1.36"}


def _expected(carrier: Carrier, port: int, request: tuple[str, str, dict[str, str]]) -> str:
    """Who answers, by the rules: a destination's address, or "shadow"."""
    asked = rules.request(request[0], request[1], request[2].items())
    assert not isinstance(asked, Refused)
    reached = {d.bridge: d for listener in carrier.model.listeners if listener.port == port for d in listener.destinations}
    winner, _ = rules.decide(asked, routing.candidates_of(carrier.claim.bridges, port))
    if winner is None or winner.bridge not in reached or reached[winner.bridge].mode == "mirror":
        return "shadow"
    address = reached[winner.bridge].address
    return f"{address.host}:{address.port}"


def test_there_are_configurations() -> None:
    """The two tests below have something to test, with and without rules."""
    assert len(ROUTED) >= 25
    assert len(CARRIERS) >= len(ROUTED)


def test_nginx_accepts_every_golden_configuration(certificate: dict[str, str]) -> None:
    """`nginx -t` on each recorded nginx.conf."""
    verdicts = syntaxes([c.conf for c in CARRIERS], files=certificate)

    assert {f"{c.case}: {said}" for c, (good, said) in zip(CARRIERS, verdicts, strict=True) if not good} == set()


def _wire(request: tuple[str, str, dict[str, str]]) -> bytes:
    method, url, headers = request
    lines = [
        f"{method} {url} HTTP/1.1",
        "host: web.example",
        "content-length: 0",
        "connection: close",
        *(f"{k}: {v}" for k, v in headers.items()),
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


@pytest.mark.parametrize("carrier", ROUTED, ids=lambda c: f"{c.case}:{c.name}")
def test_nginx_sends_requests_where_explain_says(carrier: Carrier, certificate: dict[str, str]) -> None:
    """Each rule's own requests, near misses and probes reach whom `decide` names: the user's process, or this Pod's own shadow."""
    secure = {listener.port for listener in carrier.model.listeners if listener.tls}
    stream = {listener.port for listener in carrier.model.listeners if not listener.routes}
    users = {d.address for listener in carrier.model.listeners for d in listener.destinations}
    tls_users = {d.address for listener in carrier.model.listeners if listener.tls for d in listener.destinations}
    stubs = []
    for address in addresses(carrier.model):
        if address in users:
            stubs.append((address.host, address.port, "https" if address in tls_users else "http"))
        elif address.port not in stream:
            stubs.append((address.host, address.port, "https" if address.port in secure else "http"))
    hostname, own = next(iter(carrier.model.shadows.items()))
    wanted: list[set[str]] = []
    sent: list[dict[str, Any]] = []
    for listener in carrier.model.listeners:
        for request in _requests(listener) if listener.routes else ():
            expected = _expected(carrier, listener.port, request)
            wanted.append({f"{ip}:{listener.port}" for ip in own} if expected == "shadow" else {expected})
            sent.append({"port": listener.port, "send": _wire(request), **({"tls": True} if listener.tls else {})})

    results = lab(carrier.conf, hostname, stubs, sent, files=certificate).results

    got = [(r.get("json") or {}).get("who", "").partition(" as ")[0] or r.get("error") or r["raw"] for r in results]
    assert [(s["send"], g, w) for s, g, w in zip(sent, got, wanted, strict=True) if g not in w] == []
