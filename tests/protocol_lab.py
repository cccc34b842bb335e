"""Real clients talk through a carrier to real servers, in an enclosure (tests/enclosure.py), over IPv4 and over IPv6.

    told = talk("grpc", dispatch)         # in the test; what the client saw: {"IPv4": {...}, "IPv6": {...}}

A protocol is a pair of functions in SCENARIOS: one serves at an address, as user's process or as shadow, one asks the carrier
at an address and returns what it saw. Both run here, so they may share a queue, which is how one knows of the other.
"""

from __future__ import annotations

import json
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from carrier2 import Dispatch, render
from tests.enclosure import CARRIER_IP, CARRIER_IP6, RUN, carrier, enclosed, furnish, nginx_command
from tests.protocol_grpc import ask_grpc, ask_grpc_tls, serve_grpc, serve_grpc_tls
from tests.protocol_hosts import PATIENCE, PROCESS, SERVICE, SHADOW, certificate
from tests.protocol_http import ask_events, ask_h2c, ask_mirror, ask_tls, ask_websockets, serve_http, serve_https, serve_websockets
from tests.protocol_streams import ask_passed, ask_tcp, ask_udp, serve_streams

Serve = Callable[[str], None]
Ask = Callable[[str], Any]


def talk(scenario: str, subject: Dispatch) -> dict[str, Any]:
    """What the scenario's client saw, by family. Everybody who serves a TLS port has a certificate for shop.example."""
    told: dict[str, Any] = enclosed("tests.protocol_lab", {"scenario": scenario, "conf": render(subject)})
    return told


# ---- what follows runs inside


def _main() -> None:
    scenarios: dict[str, tuple[Serve, Ask]] = {
        "grpc": (serve_grpc, ask_grpc),
        "grpc_tls": (serve_grpc_tls, ask_grpc_tls),
        "h2c": (serve_http, ask_h2c),
        "events": (serve_http, ask_events),
        "mirror": (serve_http, ask_mirror),
        "tls": (serve_https, ask_tls),
        "websockets": (serve_websockets, ask_websockets),
        "passed": (serve_streams, ask_passed),
        "tcp": (serve_streams, ask_tcp),
        "udp": (serve_streams, ask_udp),
    }
    job = json.load(sys.stdin)
    furnish({"nginx.conf": job["conf"]}, [PROCESS, SHADOW, SERVICE])
    tls = RUN / "tls"
    tls.mkdir()
    for end, file in zip(("crt", "key"), certificate("carrier"), strict=True):
        for port in (8443, 8444):
            (tls / f"{port}.{end}").write_bytes(file.read_bytes())
    socket.sethostname("web-0")
    serve, ask = scenarios[job["scenario"]]
    serve(PROCESS)
    serve(SHADOW)
    with carrier([*nginx_command(job["nginx"]), "-g", "daemon off;"], Path("/dev/shm/log")) as nginx:
        told = {"IPv4": ask(CARRIER_IP), "IPv6": ask(f"[{CARRIER_IP6}]")}
        nginx.send_signal(signal.SIGTERM)
        nginx.wait(PATIENCE)
    print(json.dumps(told), flush=True)  # noqa: T201


if __name__ == "__main__":
    _main()
