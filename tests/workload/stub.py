"""A server that treats the requests of a load badly, and knows what it was sent."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

_PATIENCE = 30


@dataclass
class Stub:
    """What a server was sent: of each POST the body and the headers."""

    bodies: list[bytes] = field(default_factory=list)
    headers: list[http.client.HTTPMessage] = field(default_factory=list)
    connections: int = 0
    url: str = ""
    over: threading.Event = field(default_factory=threading.Event)


RESET, CLOSE, SILENCE = b"reset", b"close", b"silence"


@contextmanager
def stub(answer: Callable[[int, bytes], bytes]) -> Iterator[Stub]:
    """Answer each POST by `answer(number, body)`: the bytes to send, or one of RESET, CLOSE, SILENCE."""
    seen, lock = Stub(), threading.Lock()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            with lock:
                seen.connections += 1
            while self.rfile.readline().startswith(b"POST "):
                headers = http.client.parse_headers(self.rfile)
                body = self.rfile.read(int(headers["Content-Length"]))
                with lock:
                    seen.headers.append(headers)
                    seen.bodies.append(body)
                    reply = answer(len(seen.bodies), body)
                if reply == SILENCE:
                    seen.over.wait(_PATIENCE)
                if reply == RESET:
                    self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if reply in {SILENCE, RESET, CLOSE}:
                    return
                self.wfile.write(reply)

        def finish(self) -> None:
            """Nothing is left to send; after a reset it would fail."""

    class Server(socketserver.ThreadingTCPServer):
        request_queue_size = 128

        def shutdown_request(self, request: Any) -> None:
            """Close without a shutdown, which would come too late for a reset."""
            request.close()

    with Server(("127.0.0.1", 0), Handler) as server:
        seen.url = f"http://127.0.0.1:{server.server_address[1]}/"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield seen
        finally:
            seen.over.set()
            server.shutdown()
            thread.join()


def told(name: str, body: bytes, status: int = 200) -> bytes:
    """The answer of an application `name` that got `body`."""
    data = json.dumps({"name": name, "length": len(body), "sha256": hashlib.sha256(body).hexdigest()}).encode()
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\nLocation: /\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data
