"""`bascule demo`: the whole way on a bundled example, ending in a real nginx that routes real requests. No cluster is needed."""

from __future__ import annotations

import http.client
import importlib.resources
import platform
import socket
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

import click

import carrier2
from carrier2.dispatch import Address, Dispatch
from carrier2.relocate import Place, addresses
from generator.cli import color_option, view
from generator.cli.nginx import find_nginx, running
from generator.cli.plan import PAINT, as_text
from generator.cli.render import as_table
from generator.cluster.snapshot import Key, Snapshot
from generator.cluster.workload import ips_of
from generator.desired import routing
from generator.desired.generate import generate
from generator.rules import precedence as rules
from generator.rules.precedence import Refused
from generator.simulate import Run, fold
from generator.text import reading as text

NOW = "2026-11-24T22:30:00Z"
TARGET, CONTAINER, PORT = Key("Deployment", "default", "y"), "app", 8080
PROBE = "kube-probe/1.36"

REQUESTS: tuple[tuple[str, str, dict[str, str]], ...] = (
    ("GET", "/", {}),
    ("GET", "/api/objects/5", {}),
    ("GET", "/api/objects/5", {"owner": "john"}),
    ("POST", "/api/objects/5/items?draft=1", {"Owner": "john"}),
    ("GET", "/api/objects/50", {"owner": "john"}),
    ("GET", "/", {"owner": "anna"}),
    ("GET", "/api/objects/5", {"owner": "ANNA"}),
    ("GET", "/healthz", {"owner": "anna", "user-agent": PROBE}),
)


class Answer(NamedTuple):
    """A request, who should answer by the rules and who did."""

    request: str
    expected: str
    answered: str


@contextmanager
def _process(who: str) -> Iterator[tuple[Address, ThreadingHTTPServer]]:
    """An HTTP server on loopback that answers with its name."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _answer(self) -> None:
            self.rfile.read(int(self.headers.get("content-length") or 0))
            body = who.encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.send_header("connection", "close")
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = _answer  # noqa: N815  # http.server names them so

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield Address("127.0.0.1", server.server_address[1]), server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _send(port: int, method: str, url: str, headers: Mapping[str, str]) -> str:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, url, body=b"{}" if method == "POST" else None, headers=dict(headers))
        response = connection.getresponse()
        body = response.read().decode()
        return body if response.status == http.HTTPStatus.OK else f"HTTP {response.status}"
    finally:
        connection.close()


def _owners(run: Run, model: Dispatch) -> dict[Address, str]:
    """Who stands behind each address of the routing model."""
    pods = {ip: str(o["metadata"]["name"]) for o in run.end if o["kind"] == "Pod" for ip in ips_of(o)}
    users = {d.address: f"{d.bridge}'s laptop" for listener in model.listeners for d in listener.destinations}
    return {a: users.get(a) or pods.get(a.host) or "the shadows' Service" for a in addresses(model)}


def _expected(run: Run, method: str, url: str, headers: Mapping[str, str]) -> str:
    """The answer of `bascule explain` for the same request."""
    claim = run.desired.intent.claims[TARGET][CONTAINER]
    asked = rules.request(method, url, headers.items())
    assert not isinstance(asked, Refused)
    winner, _ = rules.decide(asked, routing.candidates_of(claim.bridges, PORT))
    return f"{winner.bridge}'s laptop" if winner else "the cluster"


def talk(run: Run, nginx_version: str) -> Iterator[Answer]:
    """Start the processes and nginx with the carrier's configuration, every address moved to loopback, and ask."""
    model = run.desired.dispatch(TARGET, CONTAINER)
    assert model is not None, nginx_version
    first = next(iter(model.shadows.values()))
    here = replace(model, shadows={**model.shadows, platform.node().lower(): first})
    who = _owners(run, here)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bascule-demo-")))
        servers = {address: stack.enter_context(_process(name)) for address, name in who.items()}
        ports = {listener.port: _free_port() for listener in here.listeners}
        place = Place(listen=lambda port: f"127.0.0.1:{ports[port]}", reach=lambda address: servers[address][0])
        stack.enter_context(running(carrier2.render(here, place), folder))
        for method, url, headers in REQUESTS:
            yield _ask(run, ports[PORT], method, url, headers)
        gone = next(address for address, name in who.items() if name.startswith("john"))
        servers[gone][1].shutdown()
        servers[gone][1].server_close()
        answer = _ask(run, ports[PORT], "GET", "/api/objects/5", {"owner": "john"})
        yield answer._replace(request=f"{answer.request} (john's laptop is off)", expected="the cluster")


def _ask(run: Run, port: int, method: str, url: str, headers: Mapping[str, str]) -> Answer:
    shown = " ".join(f"{k}: {v}" for k, v in headers.items())
    return Answer(f"{method} {url} {shown}".strip(), _expected(run, method, url, headers), _send(port, method, url, headers))


def _right(answer: Answer) -> bool:
    """Whether the one who should have answered did."""
    return answer.answered == answer.expected or (
        answer.expected == "the cluster" and ("shadow" in answer.answered or answer.answered == "the shadows' Service")
    )


def _heading(number: int, words: str) -> None:
    view.show(f"\n{number}. {words}\n", {r".*": {"bold": True}})


@click.command
@color_option
def demo() -> None:
    """See it work on a bundled example: what should exist, the plan, and a real nginx that routes.

    Two users share workload Y with its three Pods: john takes /api/objects/5 with header `owner: john`, anna everything with
    `owner: anna`; everybody else is served from inside the cluster. Exit code 0 if every request went where `explain` says.
    """
    example = importlib.resources.files("generator.cli").joinpath("example/rfc.yaml").read_text(encoding="utf-8")
    objects, problems = text.read(example, "example/rfc.yaml")
    assert not problems
    run = fold(objects, NOW)
    _heading(1, "What should exist: bascule render -f rfc.yaml -o text")
    view.show(as_table(generate(Snapshot.of(objects, NOW)), view.width()))
    _heading(2, "The way there, on a simulated cluster: bascule plan -f rfc.yaml")
    view.show(as_text(run, (), view.width()), PAINT)
    binary, version = find_nginx()
    number = ".".join(map(str, version))
    _heading(3, f"A real nginx ({number}) with the carrier's configuration, moved to loopback")
    wrong = 0
    for answer in talk(run, number):
        good = _right(answer)
        wrong += not good
        view.show(
            f"{answer.request}\n  -> {answer.answered:32} {'as explain says' if good else 'WRONG: explain says ' + answer.expected}\n",
            {r"  -> .* (WRONG.*)": {"fg": "red"}, r"  -> .*": {"fg": "green"}},
        )
    asked = len(REQUESTS) + 1
    view.show(f"\n{asked - wrong} of {asked} requests went where `bascule explain` says ({binary.name} {number}).\n")
    raise SystemExit(1 if wrong else 0)
