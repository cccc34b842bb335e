"""The application and the load of live tests: the one answers on every protocol, the other hides nothing."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from queue import Queue
from typing import Any

import grpc
import httpx
import pytest
import websockets.sync.client

from tests.workload.build import built
from tests.workload.stub import CLOSE, RESET, SILENCE, stub, told

PATIENCE = 30
LOOPBACK = ["--http", "127.0.0.2:0", "--grpc", "127.0.0.2:0", "--tcp", "127.0.0.2:0"]
"""Clients come from 127.0.0.1: none takes the port of an application that is gone for a while."""
BRIEFLY = ["--duration", "300ms", "--workers", "3"]
READ_ONLY = """
mount --bind "$0" "$0" && mount -o remount,bind,ro "$0" &&
exec chroot $1 "$0" /bin/sh -c 'test $(id -u) = $0 && exec /app "$@"' "$2" "${@:3}"
"""


@dataclass(frozen=True)
class App:
    """A running application: its process, and host:port by protocol."""

    process: subprocess.Popen[str]
    at: dict[str, str]


@contextmanager
def app(*flags: str, command: tuple[str, ...] = (), ports: int = 3, **variables: str) -> Iterator[App]:
    """The application, from when it listens on `ports` ports; it is killed at the end."""
    line = [*(command or (str(built() / "app"),)), *LOOPBACK, *flags]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env={**os.environ, **variables}) as process:
        try:
            assert process.stdout is not None
            lines = [process.stdout.readline().split() for _ in range(ports)]
            assert all(lines), f"{line} ended"
            yield App(process, {protocol: address for protocol, address in lines})  # noqa: C416  # pairs are lists
        finally:
            process.kill()


def load(*flags: str) -> dict[str, Any]:
    """What the load says on exit."""
    done = subprocess.run([str(built() / "load"), *flags], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert done.returncode == 0, done.stderr
    summary: dict[str, Any] = json.loads(done.stdout)
    assert summary["sent"] == summary["ok"] + summary["failed"] + summary["misrouted"] > 0
    assert sum(summary["failed_per_second"]) == summary["failed"]
    return summary


def string_value(text: bytes) -> bytes:
    """`text`, shorter than 128 bytes, as google.protobuf.StringValue."""
    return bytes([10, len(text)]) + text


# ---- the application


def test_says_over_http_1_and_2_who_answers_and_what_arrived() -> None:
    """On one port, for every path as it was sent, with body and headers."""
    with app("--name", "web-0") as it, httpx.Client(http1=False, http2=True) as h2c, httpx.Client() as http1:
        for client, protocol in ((http1, "HTTP/1.1"), (h2c, "HTTP/2.0")):
            got = client.put(f"http://{it.at['http']}//a/../b?c=%20d", content=b"body", headers={"X-User": "alice"})
            answer = got.json()

            assert got.status_code == 200
            assert {key: answer[key] for key in ("name", "hostname", "protocol", "method", "length")} == {
                "name": "web-0",
                "hostname": socket.gethostname(),
                "protocol": protocol,
                "method": "PUT",
                "length": 4,
            }
            assert answer["sha256"] == hashlib.sha256(b"body").hexdigest()
            assert answer["path"] == got.request.url.raw_path.decode()
            assert answer["headers"]["x-user"] == ["alice"]
            assert answer["remote"].startswith("127.0.0.1:")


def test_answers_after_the_time_asked_for() -> None:
    """/slow waits, and answers as any other path; without a number it says how it is used."""
    with app("--name", "web-0") as it:
        assert httpx.post(f"http://{it.at['http']}/slow?ms=1").json()["name"] == "web-0"
        assert httpx.post(f"http://{it.at['http']}/slow").status_code == 400


def test_answers_calls_and_streams_of_grpc() -> None:
    """One for one with metadata; one for each message, at once."""
    with app("--name", "web-0") as it, grpc.insecure_channel(it.at["grpc"]) as channel:
        raw = channel.unary_unary("/bascule.test.Echo/Unary")(string_value(b"hello"), metadata=[("x-user", "alice")], timeout=PATIENCE)
        answer = json.loads(raw[raw.index(b"{") :])

        assert answer["name"] == "web-0"
        assert answer["path"] == "/bascule.test.Echo/Unary"
        assert answer["sha256"] == hashlib.sha256(b"hello").hexdigest()
        assert answer["headers"]["x-user"] == ["alice"]

        messages: Queue[bytes | None] = Queue()
        answers = channel.stream_stream("/bascule.test.Echo/Stream")(iter(messages.get, None), timeout=PATIENCE)
        for word in (b"one", b"two"):
            messages.put(string_value(word))
            assert next(answers) == string_value(b"web-0 " + word)
        messages.put(None)
        assert list(answers) == []


def test_echoes_lines_over_tcp_and_messages_over_websocket() -> None:
    """Each with the name in front, on one connection."""
    with app("--name", "web-0") as it:
        host, port = it.at["tcp"].split(":")
        with socket.create_connection((host, int(port)), PATIENCE) as client, client.makefile("rw") as lines:
            for word in ("one", "two"):
                lines.write(f"{word}\n")
                lines.flush()
                assert lines.readline() == f"web-0 {word}\n"
        with websockets.sync.client.connect(f"ws://{it.at['http']}/ws", proxy=None) as socket_:
            for message in ("one", b"two"):
                socket_.send(message)
                assert socket_.recv(PATIENCE) == ("web-0 one" if message == "one" else b"web-0 two")


@pytest.mark.parametrize(("after", "status", "health"), [("0s", 200, b"\x08\x01"), ("1h", 503, b"\x08\x02")])
def test_says_whether_it_is_ready(after: str, status: int, health: bytes) -> None:
    """/healthz and gRPC's health service agree (1: SERVING, 2: NOT_SERVING); a flag may come as a variable."""
    with app(APP_READY_AFTER=after) as it, grpc.insecure_channel(it.at["grpc"]) as channel:
        assert httpx.get(f"http://{it.at['http']}/healthz").status_code == status
        assert channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=PATIENCE) == health


def test_can_listen_for_http_later() -> None:
    """The other ports are open by then."""
    with app("--http-delay-start", "1h", ports=2) as it, grpc.insecure_channel(it.at["grpc"]) as channel:
        assert channel.unary_unary("/grpc.health.v1.Health/Check")(b"", timeout=PATIENCE)
        it.process.terminate()
        assert it.process.stdout is not None
        assert it.process.stdout.read() == ""


@pytest.mark.parametrize(("flags", "code"), [((), 128 + signal.SIGTERM), (("--graceful",), 0)])
def test_stops_at_once_unless_it_is_graceful(flags: tuple[str, ...], code: int) -> None:
    """A request that has begun is lost, or answered."""
    with app(*flags) as it:
        host, port = it.at["http"].split(":")
        with socket.create_connection((host, int(port)), PATIENCE) as client, client.makefile("rb") as answer:
            client.sendall(b"POST / HTTP/1.1\r\nHost: web\r\nExpect: 100-continue\r\nContent-Length: 4\r\n\r\n")
            assert answer.readline() == b"HTTP/1.1 100 Continue\r\n"  # the application waits for the body
            assert answer.readline() == b"\r\n"
            it.process.terminate()
            if code == 0:
                client.sendall(b"body")
                assert answer.readline() == b"HTTP/1.1 200 OK\r\n"
            else:
                assert answer.read() == b""
        assert it.process.wait(PATIENCE) == code


def test_runs_under_a_shell_as_any_user_where_nothing_can_be_written() -> None:
    """The folder is the root of the image: there is a shell in it, and nothing else is needed."""
    unshare, user, chroot = ["--mount"], "12345", "--userspec=12345:12345"
    if os.geteuid():
        unshare, user, chroot = ["--mount", "--map-root-user"], "0", ""  # nobody else is to be had, and this one has no rights outside
    with app("--name", "web-0", command=("unshare", *unshare, "bash", "-c", READ_ONLY, str(built()), chroot, user)) as it:
        assert httpx.get(f"http://{it.at['http']}/").json()["name"] == "web-0"


# ---- the load


@pytest.mark.parametrize(
    ("mode", "connections"), [((), "sent"), (("--keepalive",), "workers"), (("--grpc",), "workers"), (("--ws",), "workers")]
)
def test_counts_who_answers(mode: tuple[str, ...], connections: str) -> None:
    """A connection for each POST; or one for each worker, over HTTP, gRPC and WebSocket. Who is not expected is misrouted, no failure."""
    with app("--name", "web-0") as it:
        where = {"--grpc": ["--grpc", it.at["grpc"]], "--ws": ["--url", f"ws://{it.at['http']}/ws"]}
        flags = where.get("".join(mode), ["--url", f"http://{it.at['http']}/", *mode])
        good = load(*flags, *BRIEFLY, "--expect-name", "web-[0-9]")
        bad = load(*flags, *BRIEFLY, "--expect-name", "web|alice")

    assert good["ok"] == good["sent"]
    assert good["names"] == {"web-0": good["sent"]}
    assert good["connections"] == {"sent": good["sent"], "workers": 3}[connections]
    assert 0 < good["latency_ms"]["p50"] <= good["latency_ms"]["p99"] <= good["latency_ms"]["max"]
    assert bad["misrouted"] == bad["sent"]
    assert bad["names"] == {"web-0": bad["sent"]}


@pytest.mark.parametrize("mode", [(), ("--keepalive",)])
@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (lambda _: RESET, "connection reset by peer"),
        (lambda _: CLOSE, "EOF"),
        (lambda _: SILENCE, "deadline exceeded"),
        (lambda body: told("web-0", body, 503), "503 Service Unavailable"),
        (lambda body: told("web-0", body, 303), "303 See Other"),
        (lambda _: told("web-0", b"another body"), "to another body"),
        (lambda _: b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nWelcome", "no answer of an app"),
    ],
    ids=["reset", "close", "silence", "503", "redirect", "other body", "other server"],
)
def test_counts_each_failure_and_never_repeats_a_request(mode: tuple[str, ...], reply: Callable[[bytes], bytes], says: str) -> None:
    """The server has seen each body once, and as many as were sent."""
    with stub(lambda _, body: reply(body)) as server:
        summary = load("--url", server.url, *BRIEFLY, "--timeout", "400ms", *mode)

    assert summary["failed"] == summary["sent"] == len(server.bodies) == len(set(server.bodies))
    assert len(summary["errors"]) == min(summary["sent"], 20)
    assert all(says in error["error"] for error in summary["errors"])


def test_never_repeats_what_a_used_connection_lost() -> None:
    """Go sends a request again that a used connection did not answer, if its header calls it idempotent."""
    with stub(lambda number, body: told("web-0", body) if number % 2 else CLOSE) as server:
        flags = ("--duration", "300ms", "--workers", "1", "--keepalive", "--header", "Idempotency-Key=1")
        summary = load("--url", server.url, *flags)

    assert summary["sent"] == len(server.bodies) == len(set(server.bodies))
    assert summary["failed"] == summary["sent"] // 2 > 0
    assert summary["connections"] == server.connections == (summary["sent"] + 1) // 2


@pytest.mark.parametrize(
    "flags", [("--url", "http://AT/"), ("--keepalive", "--url", "http://AT/"), ("--grpc", "AT"), ("--url", "ws://AT/ws")]
)
def test_counts_refused_connections(flags: tuple[str, ...]) -> None:
    """On every protocol."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        summary = load(*(flag.replace("AT", f"127.0.0.1:{nobody.getsockname()[1]}") for flag in flags), *BRIEFLY)

    assert summary["failed"] == summary["sent"]
    assert summary["connections"] == 0
    assert all("connection refused" in error["error"] for error in summary["errors"])


@pytest.mark.parametrize("flags", [("--keepalive",), ("--grpc",), ("--ws",)])
def test_goes_on_after_its_connection_has_died(flags: tuple[str, ...]) -> None:
    """The application is killed and another comes at its place: failures in between, none hidden, and then answers again."""
    with app("--name", "one") as it:
        where = {"--grpc": ["--grpc", it.at["grpc"]], "--ws": ["--url", f"ws://{it.at['http']}/ws"]}
        to = where.get(flags[0], ["--url", f"http://{it.at['http']}/", *flags])
        command = [str(built() / "load"), *to, "--follow", "--workers", "2"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            laps = _until(process, lambda lap: "one" in lap["names"])
            it.process.kill()
            laps += _until(process, lambda lap: lap["failed"] > 0)
            with app("--name", "two", "--http", it.at["http"], "--grpc", it.at["grpc"], "--tcp", it.at["tcp"]):
                laps += _until(process, lambda lap: "two" in lap["names"])
                process.send_signal(signal.SIGINT)
                assert process.stdout is not None
                *rest, summary = [json.loads(line) for line in process.stdout]
        assert process.returncode == 0

    laps += rest
    for key in ("sent", "ok", "failed", "misrouted"):
        assert sum(lap[key] for lap in laps) == summary[key]
    assert set(summary["names"]) == {"one", "two"}
    assert all(before["second"] <= after["second"] for before, after in pairwise(laps))


def _until(process: subprocess.Popen[str], wanted: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
    laps: list[dict[str, Any]] = []
    assert process.stdout is not None
    while not laps or not wanted(laps[-1]):
        line = process.stdout.readline()
        assert line, "load ended"
        laps.append(json.loads(line))
        assert len(laps) <= PATIENCE
    return laps


def test_first_waits_for_who_is_expected() -> None:
    """It looks past failures and other names, each time over a new connection, and stops with the first answer that counts."""
    with stub(lambda number, body: [RESET, told("web-0", body, 503), told("web-0", body), told("alice", body)][number - 1]) as server:
        command = [str(built() / "load"), "first", "--url", server.url, "--expect-name", "alice", "--header", "x-user=alice"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert (done.returncode, done.stderr) == (0, "")
    assert float(done.stdout) > 0
    assert len(server.bodies) == server.connections == 4


def test_first_gives_up() -> None:
    """With status 1, and with what it saw last."""
    with stub(lambda _, body: told("web-0", body)) as server:
        command = [str(built() / "load"), "first", "--url", server.url, "--expect-name", "alice", "--timeout", "50ms"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)

    assert (done.returncode, done.stdout) == (1, "")
    assert "web-0" in done.stderr


def test_sends_headers_over_http() -> None:
    """Also two of a name, and the host."""
    with stub(lambda _, body: told("web-0", body)) as server:
        load("--url", server.url, *BRIEFLY, "--header", "x-user=alice", "--header", "x-user=b=b", "--header", "host=shop.example")

    assert all(headers.get_all("X-User") == ["alice", "b=b"] for headers in server.headers)
    assert all(headers["Host"] == "shop.example" for headers in server.headers)


def test_sends_headers_over_grpc() -> None:
    """The metadata of each call, as another implementation of gRPC sees it."""
    seen: list[Any] = []

    class Listener(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: Any) -> None:
            seen.append((details.method, [value for key, value in details.invocation_metadata if key == "x-user"]))

    server = grpc.server(ThreadPoolExecutor(2), handlers=[Listener()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    summary = load("--grpc", f"127.0.0.1:{port}", *BRIEFLY, "--header", "x-user=alice", "--header", "x-user=bob")
    server.stop(None).wait()

    assert seen == [("/bascule.test.Echo/Unary", ["alice", "bob"])] * summary["sent"]
    assert summary["failed"] == summary["sent"]
    assert all("Unimplemented" in error["error"] for error in summary["errors"])


def test_sources_are_formatted_and_vetted() -> None:
    """As gofmt and go vet see it."""
    module = Path(__file__).parent / "workload"
    for command in (["gofmt", "-l", "."], ["go", "vet", "./..."]):
        done = subprocess.run(command, cwd=module, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
