"""Asks a carrier many things at once and counts who saw each, in an enclosure (tests/enclosure.py).

    outcome, lines = ask(conf, [("10.9.0.1", 3000, "up")], [{"port": 8080, "send": b"GET / HTTP/1.1\r\nX-Id: 1\r\n..."}])

A stub speaks HTTP/1.1 as tests/nginx_lab.py has it, and gRPC on the same port: `X-Stub: close` reads the request and dies,
`X-Stub: NNN` answers with that status. An address with the protocol `down` refuses connections; with `gone`, nobody is there.
"""

from __future__ import annotations

import base64
import json
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from threading import Thread
from typing import Any

import h2.config
import h2.connection
import h2.events

from tests import nginx_lab
from tests.enclosure import carrier, enclosed, furnish, nginx_command

AT_ONCE = 16


def ask(conf: str, stubs: Sequence[tuple[str, int, str]], requests: Sequence[Mapping[str, Any]]) -> tuple[nginx_lab.Outcome, list[bytes]]:
    """As nginx_lab.run on web-0, but AT_ONCE requests at a time; and the lines nginx wrote on its standard output."""
    job = {"conf": conf, "stubs": stubs, "requests": [nginx_lab._packed(r) for r in requests]}
    answer = enclosed("tests.fallback_lab", job)
    outcome = nginx_lab.Outcome([nginx_lab._unpacked(r) for r in answer["results"]], answer["seen"], answer["log"])
    return outcome, bytes.fromhex(answer["output"]).splitlines()


# ---- what follows runs inside


def _main() -> None:
    job = json.load(sys.stdin)
    furnish({"nginx.conf": job["conf"]}, {host for host, _, protocol in job["stubs"] if protocol != "gone"})
    socket.sethostname("web-0")
    seen: list[dict[str, Any]] = []
    for host, port, protocol in job["stubs"]:
        if protocol not in ("down", "gone"):
            server = socket.create_server((host, port), family=socket.AF_INET6 if ":" in host else socket.AF_INET, backlog=128)
            Thread(target=nginx_lab._accept, args=(server, _stub, f"{host}:{port}", protocol, seen), daemon=True).start()
    log, output = Path("/dev/shm/log"), Future[bytes]()
    with carrier([*nginx_command(job["nginx"]), "-g", "daemon off;"], log) as nginx:
        assert nginx.stdout is not None
        Thread(target=lambda pipe: output.set_result(pipe.read()), args=(nginx.stdout,), daemon=True).start()
        with ThreadPoolExecutor(AT_ONCE) as pool:
            results = list(pool.map(_ask, job["requests"]))
        nginx.send_signal(signal.SIGQUIT)
        nginx.wait(nginx_lab.TIMEOUT)
    written = output.result(nginx_lab.TIMEOUT)
    answer = {"results": results, "seen": seen, "log": log.read_text(errors="replace"), "output": written.hex()}
    print(json.dumps(answer))  # noqa: T201


def _ask(request: dict[str, Any]) -> dict[str, Any]:
    """As nginx_lab has it; over HTTP/2 head and body leave in one piece, and the answer may be any page."""
    if request.get("kind") != "h2":
        return nginx_lab._ask(request)
    with nginx_lab._connected(request, socket.SOCK_STREAM) as sock:
        state = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="latin-1"))
        state.initiate_connection()
        body = base64.b64decode(request["send"])
        state.send_headers(1, [(name, text) for name, text in request["headers"]], end_stream=not body)
        if body:
            state.send_data(1, body, end_stream=True)
        sock.sendall(state.data_to_send())
        status, raw = 0, b""
        while data := sock.recv(65536):
            for event in state.receive_data(data):
                if isinstance(event, h2.events.ResponseReceived):
                    status = next(int(text) for name, text in event.headers if str(name) == ":status")
                elif isinstance(event, h2.events.DataReceived):
                    raw += event.data
                elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset)):
                    return {"status": status, "raw": base64.b64encode(raw).decode()}
            sock.sendall(state.data_to_send())
    return {"status": 0, "raw": ""}


def _stub(connection: socket.socket, who: str, protocol: str, seen: list[dict[str, Any]]) -> None:
    http2 = connection.recv(3, socket.MSG_PEEK) == b"PRI"
    (_grpc if http2 else nginx_lab._http)(connection, who, protocol, seen)


def _grpc(connection: socket.socket, who: str, _: str, seen: list[dict[str, Any]]) -> None:
    """Answers a call with what reached it."""
    state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="latin-1"))
    state.initiate_connection()
    headers: dict[int, list[tuple[str, str]]] = {}
    bodies: dict[int, int] = {}
    connection.sendall(state.data_to_send())
    while data := connection.recv(65536):
        for event in state.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                headers[event.stream_id] = [(str(name), str(text)) for name, text in event.headers]
            elif isinstance(event, h2.events.DataReceived):
                bodies[event.stream_id] = bodies.get(event.stream_id, 0) + len(event.data)
                state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                told = {"who": who, "headers": headers[event.stream_id], "len": bodies.get(event.stream_id, 0)}
                seen.append(told)
                wish = dict(headers[event.stream_id]).get("x-stub", "200")
                if wish == "close":
                    return
                state.send_headers(event.stream_id, [(":status", wish), ("content-type", "application/grpc")])
                state.send_data(event.stream_id, json.dumps(told).encode())
                state.send_headers(event.stream_id, [("grpc-status", "0")], end_stream=True)
        connection.sendall(state.data_to_send())


if __name__ == "__main__":
    _main()
