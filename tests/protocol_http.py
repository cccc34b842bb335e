"""HTTP with httpx, websockets with `websockets`, against the servers of the standard library and of `websockets`."""

from __future__ import annotations

import hashlib
import json
import select
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from queue import Queue
from typing import Any

import httpx
import websockets.sync.client
import websockets.sync.server
from websockets.exceptions import ConnectionClosed

from tests.protocol_hosts import PATIENCE, certificate, name_of

PORT, TLS_PORT, WEBSOCKETS_PORT = 8080, 8443, 8082
BODY = bytes(range(256)) * 1200
EVENTS = 4
_confirmed: Queue[int] = Queue()
_copies: Queue[str] = Queue()
_released, _still_open = threading.Event(), Queue[bool]()
_close_codes: Queue[int] = Queue()


def _handler(who: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        """Says what reached it; sends events at /events, and does not answer at `...-hang` if it is a user's process."""

        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:  # http.server names it so
            if self.path != "/events":
                self._tell(b"")
                return
            self.send_response(200)
            self.send_header("Content-Type", "text/event-stream")
            self.send_header("Connection", "close")
            self.end_headers()
            for number in range(EVENTS):
                self.wfile.write(f"data: {who} {number}\n\n".encode())
                self.wfile.flush()
                if _confirmed.get(timeout=PATIENCE) != number:
                    return

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.path.startswith("/mirror") and who == "process":
                _copies.put(f"{self.path} {hashlib.sha256(body).hexdigest()}")
            if self.path.endswith("-hang") and who == "process":
                _released.wait(PATIENCE)
                _still_open.put(not select.select([self.connection], [], [], 0)[0])
            self._tell(body)

        def _tell(self, body: bytes) -> None:
            names = getattr(self.server, "names", {})
            told = {"who": who, "sha256": hashlib.sha256(body).hexdigest(), "sni": names.get(self.client_address)}
            text = json.dumps(told).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    return Handler


class _Server(ThreadingHTTPServer):
    """With TLS, `names` has the server name that each client asked for."""

    daemon_threads = True
    context: ssl.SSLContext | None = None
    names: dict[Any, str | None]

    def get_request(self) -> tuple[Any, Any]:
        connection, address = super().get_request()
        if self.context:
            self.context.sni_callback = lambda _, name, __: self.names.update({address: name})
            connection = self.context.wrap_socket(connection, server_side=True)
        return connection, address


def serve_http(host: str) -> None:
    """A server in the clear."""
    _serve(_Server((host, PORT), _handler(name_of(host))))


def serve_https(host: str) -> None:
    """A server behind TLS, with a certificate of its own."""
    server = _Server((host, TLS_PORT), _handler(name_of(host)))
    server.context, server.names = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), {}
    server.context.load_cert_chain(*certificate("application"))
    _serve(server)


def _serve(server: ThreadingHTTPServer) -> None:
    threading.Thread(target=server.serve_forever, daemon=True).start()


def ask_h2c(host: str) -> Any:
    """HTTP/2 with prior knowledge: a request with a body and one without, on one connection."""
    told = {}
    with httpx.Client(http1=False, http2=True, base_url=f"http://{host}:{PORT}", timeout=PATIENCE) as client:
        for user in ("alice", "nobody"):
            answers = [client.post("/", content=BODY, headers={"x-user": user}), client.get("/", headers={"x-user": user})]
            told[user] = [[each.http_version, each.json()["who"], each.json()["sha256"]] for each in answers]
    return told


def ask_events(host: str) -> Any:
    """The server sends an event when the client has the one before."""
    told: dict[str, Any] = {}
    for version, http2 in (("HTTP/1.1", False), ("HTTP/2", True)):
        for user in ("alice", "nobody"):
            heard = told[f"{version} {user}"] = []
            with (
                httpx.Client(http1=not http2, http2=http2, timeout=PATIENCE) as client,
                client.stream("GET", f"http://{host}:{PORT}/events", headers={"x-user": user}) as answer,
            ):
                for line in filter(None, answer.iter_lines()):
                    _confirmed.put(len(heard))
                    heard.append(line)
    return told


def ask_mirror(host: str) -> Any:
    """A copied request, one whose copy hangs, and the two after it while it still does."""
    _released.clear()
    paths = "/mirror/1", "/mirror/2-hang", "/mirror/3", "/mirror/4"
    with httpx.Client(base_url=f"http://{host}:{PORT}", headers={"x-user": "alice"}, timeout=PATIENCE) as client:
        told = [client.post(path, content=path.encode()).json()["who"] for path in paths]
    copies = sorted(_copies.get(timeout=PATIENCE) for _ in told)
    _released.set()
    wanted = [f"{path} {hashlib.sha256(path.encode()).hexdigest()}" for path in paths]
    return {"answers": told, "copies are whole": copies == wanted, "copy still hangs": _still_open.get(timeout=PATIENCE)}


def ask_tls(host: str) -> Any:
    """Both versions of HTTP by ALPN; the client sees the carrier's certificate, the server the client's server name."""
    context = ssl.create_default_context(cafile=str(certificate("carrier")[0]))
    told: dict[str, Any] = {}
    for http2 in (False, True):
        with httpx.Client(http1=not http2, http2=http2, verify=context, timeout=PATIENCE) as client:
            for user in ("alice", "nobody"):
                url, headers = f"https://{host}:{TLS_PORT}/", {"x-user": user, "host": "shop.example"}
                answer = client.get(url, headers=headers, extensions={"sni_hostname": "shop.example"})
                told[f"{answer.http_version} {user}"] = [answer.json()["who"], answer.json()["sni"]]
    for offered in (["h2", "http/1.1"], ["http/1.1"]):
        context.set_alpn_protocols(offered)
        with (
            socket.create_connection((host.strip("[]"), TLS_PORT), PATIENCE) as plain,
            context.wrap_socket(plain, server_hostname="shop.example") as secure,
        ):
            told[" or ".join(offered)] = secure.selected_alpn_protocol()
    return told


def serve_websockets(host: str) -> None:
    """Echoes; `bye` is answered with a close of code 4001, and the code of a client's close is kept."""

    def talk(connection: websockets.sync.server.ServerConnection) -> None:
        try:
            connection.send(name_of(host))
            for message in connection:
                if message == "bye":
                    connection.close(4001, "as you wish")
                connection.send(message)
        except ConnectionClosed:
            pass
        _close_codes.put(connection.close_code or 0)

    server = websockets.sync.server.serve(talk, host, WEBSOCKETS_PORT, max_size=None)
    threading.Thread(target=server.serve_forever, daemon=True).start()


def ask_websockets(host: str) -> Any:
    """Text, bytes, a MiB, a ping, and a close by each side."""
    told: dict[str, Any] = {}
    for user in ("alice", "nobody"):
        url, headers = f"ws://{host}:{WEBSOCKETS_PORT}/", {"X-User": user}
        with websockets.sync.client.connect(url, additional_headers=headers, max_size=None, proxy=None) as client:
            seen = told[user] = [client.recv(PATIENCE)]
            for message in ("é", b"\0\xff", "x" * 1024 * 1024, bytes(1024 * 1024)):
                client.send(message)
                seen.append(client.recv(PATIENCE) == message)
            seen.append(client.ping().wait(PATIENCE))
            client.send("bye")
            try:
                client.recv(PATIENCE)
            except ConnectionClosed as closed:
                seen.append([closed.rcvd.code, closed.rcvd.reason] if closed.rcvd else [])
        with websockets.sync.client.connect(url, additional_headers=headers, proxy=None) as client:
            client.close(4002, "enough")
        seen.append(sorted(_close_codes.get(timeout=PATIENCE) for _ in range(2)))
    return told
