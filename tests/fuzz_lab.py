r"""Who answers thousands of requests: real nginx on a rendered configuration, seen from a stub behind each address.

    answers(dispatch, [(8080, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"), (8080, [(b":method", b"GET"), ...])])
    -> ["10.9.0.1:3000", "400"]

Bytes go over HTTP/1, one after the other on a connection that is kept open; a list of headers goes over HTTP/2. The stubs are one
nginx, which says at which of its addresses it was asked. All of it runs in an enclosure (tests/enclosure.py).
"""

from __future__ import annotations

import base64
import json
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h2.config
import h2.connection
import h2.events

from carrier2.dispatch import Dispatch
from carrier2.nginx import render
from carrier2.relocate import addresses
from tests.enclosure import CARRIER_IP, carrier, enclosed, furnish, nginx_command

Fields = list[tuple[bytes, bytes]]
_TIMEOUT = 60
_STUB = """
daemon off; worker_processes 1; pid stub.pid; error_log stderr crit; user root;
events { worker_connections 4096; }
http {
  access_log off; ignore_invalid_headers off; client_max_body_size 0; large_client_header_buffers 8 64k;
  keepalive_requests 1000000000; keepalive_time 24h; keepalive_timeout 1h; keepalive_disable none;
  client_body_temp_path b; proxy_temp_path p; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
  server { LISTEN http2 on; add_header X-Who $server_addr:$server_port always; return 204; }
}
"""


def answers(dispatch: Dispatch, asked: Sequence[tuple[int, bytes | Fields]], seconds: float = 300) -> list[str]:
    """For each (port, request) the `address:port` that answered, nginx's own status, or what went wrong. IPv4 only."""
    stubs = sorted({f"{a.host}:{a.port}" for a in addresses(dispatch)})
    packed = [(port, _text(sent) if isinstance(sent, bytes) else [(_text(k), _text(v)) for k, v in sent]) for port, sent in asked]
    found = enclosed("tests.fuzz_lab", {"conf": render(dispatch), "stubs": stubs, "asked": packed}, seconds)
    return [str(each) for each in found]


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


# ---- what follows runs inside


def _main() -> None:
    job = json.load(sys.stdin)
    listen = "".join(f"listen {stub};" for stub in job["stubs"])
    furnish({"nginx.conf": job["conf"]}, {stub.rpartition(":")[0] for stub in job["stubs"]})
    folder = Path("/dev/shm/stub")
    folder.mkdir()
    (folder / "nginx.conf").write_text(_STUB.replace("LISTEN", listen), encoding="utf-8")
    stub = subprocess.Popen([job["nginx"], "-p", folder, "-c", folder / "nginx.conf", "-e", "stderr"])
    end = time.monotonic() + _TIMEOUT
    while not (folder / "stub.pid").exists():
        if stub.poll() is not None or time.monotonic() > end:
            raise AssertionError("the stub did not start")
        time.sleep(0.005)
    with carrier([*nginx_command(job["nginx"]), "-g", "daemon off;"], Path("/dev/shm/log")):
        print(json.dumps(_asked(job["asked"])))  # noqa: T201
    stub.terminate()
    stub.wait(_TIMEOUT)


def _asked(asked: Sequence[tuple[int, Any]]) -> list[str]:
    """The answers; a connection per port and protocol lives as long as nginx lets it."""
    open_now: dict[tuple[int, bool], _Http1 | _Http2] = {}
    found = []
    for port, packed in asked:
        first = isinstance(packed, str)
        connection = open_now.get((port, first)) or (_Http1(port) if first else _Http2(port))
        try:
            said, goes_on = connection.ask(packed)
        except OSError as error:
            said, goes_on = repr(error), False
        open_now[port, first] = connection
        if not goes_on:
            open_now.pop((port, first)).close()
        found.append(said)
    return found


class _Http1:
    """A connection that speaks HTTP/1."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection((CARRIER_IP, port), _TIMEOUT)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.rest = b""

    def close(self) -> None:
        self.sock.close()

    def ask(self, packed: str) -> tuple[str, bool]:
        """Who answers, or the status; and whether the connection goes on."""
        raw = base64.b64decode(packed)
        self.sock.sendall(raw)
        status = b"1"
        while status.startswith(b"1"):
            while b"\r\n\r\n" not in self.rest:
                if not (part := self.sock.recv(65536)):
                    return "no answer", False
                self.rest += part
            head, _, self.rest = self.rest.partition(b"\r\n\r\n")
            status = head[9:12]
        headers = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:])
        size = 0 if raw.startswith(b"HEAD ") or status == b"204" else int(headers[b"content-length"])
        while len(self.rest) < size:
            if not (part := self.sock.recv(65536)):
                return "half an answer", False
            self.rest += part
        self.rest = self.rest[size:]
        return headers.get(b"x-who", status).decode(), headers.get(b"connection") != b"close"


class _Http2:
    """A connection that speaks HTTP/2 and sends what it is told, right or wrong."""

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection((CARRIER_IP, port), _TIMEOUT)
        free = h2.config.H2Configuration(header_encoding=None, validate_outbound_headers=False, normalize_outbound_headers=False)
        self.http = h2.connection.H2Connection(free)
        self.http.initiate_connection()

    def close(self) -> None:
        self.sock.close()

    def ask(self, packed: Sequence[tuple[str, str]]) -> tuple[str, bool]:
        """As _Http1.ask."""
        stream = self.http.get_next_available_stream_id()
        self.http.send_headers(stream, [(base64.b64decode(k), base64.b64decode(v)) for k, v in packed], end_stream=True)
        said = ""
        while True:
            self.sock.sendall(self.http.data_to_send())
            if not (part := self.sock.recv(65536)):
                return said or "no answer", False
            for event in self.http.receive_data(part):
                if isinstance(event, h2.events.ResponseReceived):
                    headers = dict(event.headers)
                    said = headers.get(b"x-who", headers[b":status"]).decode()
                elif isinstance(event, h2.events.StreamReset | h2.events.ConnectionTerminated):
                    return said or f"reset {event.error_code}", False
                elif isinstance(event, h2.events.StreamEnded):
                    return said, stream < 2**20


if __name__ == "__main__":
    _main()
