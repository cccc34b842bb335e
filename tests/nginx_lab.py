r"""Runs a carrier configuration, byte for byte as rendered, in a network of its own with a stub behind each address.

    outcome = run(conf, "web-0", [("10.1.0.5", 8080, "http")], [{"port": 8080, "send": b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"}])
    outcome.results[0]["json"]["who"] == "10.1.0.5:8080"

It runs in an enclosure (tests/enclosure.py): nothing outlives the call and nothing of the machine is touched. Stubs
answer with JSON that says what reached them:

    http   HTTP/1.1 with keep-alive; answers an upgrade with 101 and echoes. `X-Stub: close` closes without an answer,
           `X-Stub: NNN` answers with that status
    https  the same behind TLS, with the certificate in `files`
    hang   accepts, reads and records, never answers
    h2     HTTP/2, for gRPC: answers with the JSON and the trailer grpc-status 0
    tcp    greets before it has read anything, then echoes until the other side has finished, then says `bye`
    udp    sends back its name and the datagram
An address with the protocol `down` exists, but refuses connections; with `gone`, nobody answers at all.
"""

from __future__ import annotations

import base64
import hashlib
import json
import signal
import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h2.config
import h2.connection
import h2.events

from carrier2.contract import CONFIG
from tests.enclosure import CARRIER_IP, CARRIER_IP6, RUN, carrier, enclosed, furnish, nginx_command

TIMEOUT = 20


class Outcome(NamedTuple):
    """results: one per request, in order. seen: what every stub received, by nginx's end. log: what nginx said."""

    results: list[dict[str, Any]]
    seen: list[dict[str, Any]]
    log: str


def run(
    conf: str,
    hostname: str,
    stubs: Sequence[tuple[str, int, str]],
    requests: Sequence[Mapping[str, Any]],
    files: Mapping[str, str] | None = None,
) -> Outcome:
    """Send `requests` to the carrier one after the other. files: path in the carrier's folder -> text.

    A request has `port`, `send` (bytes), and `kind`: `http` (default; one answer is read), `tcp` (until the end, after a
    half-close), `udp`, or `h2` (`headers`: pairs, `send`: body). A result has `raw` (bytes) or `error`; for HTTP also
    `status`, `headers`, `json`. `tls` and `ipv6` may be True.
    """
    job = {"conf": conf, "hostname": hostname, "stubs": stubs, "requests": [_packed(r) for r in requests], "files": dict(files or {})}
    answer = enclosed("tests.nginx_lab", {"do": "run", **job})
    return Outcome([_unpacked(r) for r in answer["results"]], answer["seen"], answer["log"])


def syntax(conf: str, files: Mapping[str, str] | None = None) -> tuple[bool, str]:
    """`nginx -t`: whether it takes `conf`, and what it says."""
    return syntaxes([conf], files)[0]


def syntaxes(confs: Sequence[str], files: Mapping[str, str] | None = None) -> list[tuple[bool, str]]:
    """`nginx -t` on each, in one namespace."""
    answer = enclosed("tests.nginx_lab", {"do": "syntax", "confs": list(confs), "files": dict(files or {})})
    return [(ok, text) for ok, text in answer["results"]]


def _packed(request: Mapping[str, Any]) -> dict[str, Any]:
    return {**request, "send": base64.b64encode(request.get("send", b"")).decode()}


def _unpacked(result: dict[str, Any]) -> dict[str, Any]:
    return {**result, "raw": base64.b64decode(result["raw"])}


# ---- what follows runs inside


def _main() -> None:
    job = json.load(sys.stdin)
    furnish(job["files"], {host for host, _, protocol in job.get("stubs", ()) if protocol != "gone"})
    if job["do"] == "syntax":
        print(json.dumps({"results": [_try(job["nginx"], conf) for conf in job["confs"]]}))  # noqa: T201
        return
    socket.sethostname(job["hostname"])
    seen: list[dict[str, Any]] = []
    for host, port, protocol in job["stubs"]:
        _stub(host, port, protocol, seen)
    print(json.dumps(_serve(job, seen)))  # noqa: T201


def _try(nginx: str, conf: str) -> tuple[bool, str]:
    (RUN / CONFIG).write_text(conf, encoding="utf-8")
    done = subprocess.run([*nginx_command(nginx), "-t"], capture_output=True, text=True, errors="replace", check=False)
    return done.returncode == 0, done.stderr


def _serve(job: dict[str, Any], seen: list[dict[str, Any]]) -> dict[str, Any]:
    (RUN / CONFIG).write_text(job["conf"], encoding="utf-8")
    log = Path("/dev/shm/log")
    with carrier([*nginx_command(job["nginx"]), "-g", "daemon off;"], log) as nginx:
        results = [_ask(request) for request in job["requests"]]
        # SIGQUIT ends once every request, copies too, has ended, but a UDP session has no end
        nginx.send_signal(signal.SIGTERM if any(r.get("kind") == "udp" for r in job["requests"]) else signal.SIGQUIT)
        nginx.wait(TIMEOUT)
    return {"results": results, "seen": seen, "log": log.read_text(errors="replace")}


def _ask(request: dict[str, Any]) -> dict[str, Any]:
    raw = b""
    try:
        kind = request.get("kind", "http")
        with _connected(request, socket.SOCK_DGRAM if kind == "udp" else socket.SOCK_STREAM) as sock:
            data = base64.b64decode(request["send"])
            if kind == "h2":
                return _h2_request(sock, request["headers"], data)
            sock.sendall(data)
            if kind == "http":
                raw = _read_answer(sock)
                return {**_parsed(raw), "raw": base64.b64encode(raw).decode()}
            if kind == "udp":
                raw = sock.recv(65536)
            else:
                sock.shutdown(socket.SHUT_WR)
                raw = _read_all(sock)
    except OSError as error:
        return {"error": repr(error), "raw": base64.b64encode(raw).decode()}
    return {"raw": base64.b64encode(raw).decode()}


def _connected(request: dict[str, Any], kind: socket.SocketKind) -> socket.socket:
    host = CARRIER_IP6 if request.get("ipv6") else CARRIER_IP
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, kind)
    sock.settimeout(TIMEOUT)
    sock.connect((host, request["port"]))
    if not request.get("tls"):
        return sock
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context.wrap_socket(sock, server_hostname="example.test")


def _read_all(sock: socket.socket) -> bytes:
    parts = []
    while part := sock.recv(65536):
        parts.append(part)
    return b"".join(parts)


def _read_head(sock: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data and (part := sock.recv(65536)):
        data += part
    return data


def _read_answer(sock: socket.socket) -> bytes:
    """One answer: its head, and the body that Content-Length speaks of, else all there is until the end."""
    data = _read_head(sock)
    head, _, body = data.partition(b"\r\n\r\n")
    length = [int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
    if not length and not head.startswith((b"HTTP/1.1 101", b"HTTP/1.1 204")):
        return data + _read_all(sock)
    while length and len(body) < length[0] and (part := sock.recv(65536)):
        body += part
        data += part
    if head.startswith(b"HTTP/1.1 101"):
        sock.sendall(b"ping")
        data += sock.recv(4)
    return data


def _parsed(raw: bytes) -> dict[str, Any]:
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    status = int(lines[0].split(" ")[1]) if lines[0].startswith("HTTP/") else 0
    headers = [line.split(": ", 1) for line in lines[1:] if ": " in line]
    try:
        return {"status": status, "headers": headers, "json": json.loads(body)}
    except ValueError:
        return {"status": status, "headers": headers, "json": {}}


def _stub(host: str, port: int, protocol: str, seen: list[dict[str, Any]]) -> None:
    if protocol in ("down", "gone"):
        return
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM if protocol == "udp" else socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((host, port))
    who = f"{host}:{port}"
    if protocol == "udp":
        threading.Thread(target=_udp, args=(sock, who), daemon=True).start()
        return
    sock.listen(128)
    serve = {"tcp": _tcp, "h2": _h2_serve}.get(protocol, _http)
    threading.Thread(target=_accept, args=(sock, serve, who, protocol, seen), daemon=True).start()


def _accept(sock: socket.socket, serve: Any, who: str, protocol: str, seen: list[dict[str, Any]]) -> None:
    while True:
        connection, _ = sock.accept()
        threading.Thread(target=_guarded, args=(serve, connection, who, protocol, seen), daemon=True).start()


def _guarded(serve: Any, connection: socket.socket, who: str, protocol: str, seen: list[dict[str, Any]]) -> None:
    with connection:
        try:
            if protocol == "https":
                context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
                certificate = next((RUN / "tls").glob("*.crt"))
                context.load_cert_chain(certificate, certificate.with_suffix(".key"))
                names: list[str] = []
                context.sni_callback = lambda _, name, __: names.append(name or "")
                connection = context.wrap_socket(connection, server_side=True)
                who = f"{who} as {names[0]}"
            serve(connection, who, protocol, seen)
        except OSError:
            pass


def _udp(sock: socket.socket, who: str) -> None:
    while True:
        data, client = sock.recvfrom(65536)
        sock.sendto(who.encode() + b" " + data, client)


def _tcp(connection: socket.socket, who: str, _: str, __: list[dict[str, Any]]) -> None:
    connection.sendall(f"hello from {who}\n".encode())
    while data := connection.recv(65536):
        connection.sendall(data)
    connection.sendall(b"bye")


def _http(connection: socket.socket, who: str, protocol: str, seen: list[dict[str, Any]]) -> None:
    stream = connection.makefile("rb")
    while line := stream.readline():
        method, path, _ = line.decode("latin-1").rstrip("\r\n").split(" ", 2)
        headers = []
        while (line := stream.readline()) not in (b"\r\n", b""):
            headers.append(tuple(line.decode("latin-1").rstrip("\r\n").split(": ", 1)))
        values = {name.lower(): value for name, *rest in headers for value in rest or [""]}
        body = _body(stream, values)
        told = {
            "who": who,
            "method": method,
            "path": path,
            "headers": headers,
            "sha256": hashlib.sha256(body).hexdigest(),
            "len": len(body),
        }
        seen.append(told)
        if protocol == "hang":
            connection.recv(1)
            return
        if values.get("x-stub") == "close":
            return
        if "upgrade" in values:
            connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            while data := connection.recv(65536):
                connection.sendall(data)
            return
        answer = json.dumps(told).encode()
        status = values.get("x-stub") or "200"
        head = f"HTTP/1.1 {status} Stub\r\nServer: stub\r\nX-Accel-Redirect: /x\r\nLocation: http://{who}/\r\n"
        head += f"Content-Length: {len(answer)}\r\n\r\n"
        connection.sendall(head.encode() + (b"" if method == "HEAD" else answer))


def _body(stream: Any, values: Mapping[str, str]) -> bytes:
    if values.get("transfer-encoding") == "chunked":
        parts = []
        while size := int(stream.readline(), 16):
            parts.append(stream.read(size))
            stream.readline()
        stream.readline()
        return b"".join(parts)
    return bytes(stream.read(int(values.get("content-length", 0))))


def _h2_serve(connection: socket.socket, who: str, _: str, seen: list[dict[str, Any]]) -> None:
    state = h2.connection.H2Connection(h2.config.H2Configuration(client_side=False, header_encoding="latin-1"))
    state.initiate_connection()
    heads: dict[int, Any] = {}
    connection.sendall(state.data_to_send())
    while data := connection.recv(65536):
        for event in state.receive_data(data):
            if isinstance(event, h2.events.RequestReceived):
                heads[event.stream_id] = [*map(tuple, event.headers)]
            elif isinstance(event, h2.events.DataReceived):
                state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
            elif isinstance(event, h2.events.StreamEnded):
                told = {"who": who, "headers": heads.pop(event.stream_id)}
                seen.append(told)
                state.send_headers(event.stream_id, [(":status", "200"), ("content-type", "application/grpc")])
                state.send_data(event.stream_id, json.dumps(told).encode())
                state.send_headers(event.stream_id, [("grpc-status", "0")], end_stream=True)
        connection.sendall(state.data_to_send())


def _h2_request(sock: socket.socket, headers: Sequence[Sequence[str]], body: bytes) -> dict[str, Any]:
    state = h2.connection.H2Connection(h2.config.H2Configuration(header_encoding="latin-1"))
    state.initiate_connection()
    state.send_headers(1, [(name, value) for name, value in headers], end_stream=not body)
    if body:
        state.send_data(1, body, end_stream=True)
    sock.sendall(state.data_to_send())
    raw, ended = b"", False
    got: list[Any] = []
    while not ended and (data := sock.recv(65536)):
        for event in state.receive_data(data):
            if isinstance(event, (h2.events.ResponseReceived, h2.events.TrailersReceived)):
                got += [list(pair) for pair in event.headers]
            elif isinstance(event, h2.events.DataReceived):
                raw += event.data
            ended = ended or isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset))
        sock.sendall(state.data_to_send())
    return {"status": int(dict(got)[":status"]), "headers": got, "json": json.loads(raw or b"{}"), "raw": base64.b64encode(raw).decode()}


if __name__ == "__main__":
    _main()
