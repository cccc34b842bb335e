"""Measures every row on every lane, in an enclosure. `measure(conf)` tries what a directive would change."""

from __future__ import annotations

import json
import socket
import ssl
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from carrier2.dispatch import Address, Condition, Destination, Dispatch, Listener, Route
from carrier2.nginx import render
from tests.enclosure import CARRIER_IP, carrier, enclosed, furnish, nginx_command
from tests.transparency import answer_rows, body_rows, connection_rows, http2_rows, request_rows
from tests.transparency.exchange import Observation, Run
from tests.transparency.wire import TLS, Lane, origin_tls, talking

DIRECT, PASSED, SHADOW, USER = LANES = "direct", "pass-through", "to the shadow", "to the user's process"
ROWS = [*request_rows.ROWS, *body_rows.ROWS, *answer_rows.ROWS, *connection_rows.ROWS, *http2_rows.ROWS]
_SHADOW, _SERVICE, _USER, _PLAIN = "10.1.0.1", "10.1.0.10", "10.9.0.1", "10.1.0.2"
_SECONDS = 600
"""Ten are enough, unless much is held back that should not be."""
_OTHERS = Route("nobody", (Condition("header", "exact", "nobody", "x-user"),))
_ALL = Route("alice")


def dispatch() -> Dispatch:
    """8080: one rule, which no request of ours meets. 8081: all is alice's. 9090: no rules. 844x: the same with TLS."""
    return Dispatch(
        (
            *(
                Listener(port, "TCP", (_OTHERS,), (Destination("nobody", Address(_USER, 1)),), tls)
                for port, tls in ((8080, False), (8440, True))
            ),
            *(
                Listener(port, "TCP", (_ALL,), (Destination("alice", Address(_USER, port)),), tls)
                for port, tls in ((8081, False), (8441, True))
            ),
            Listener(9090),
            Listener(8442),
        ),
        _SERVICE,
        {"web-0": (_SHADOW,)},
    )


def measure(conf: str = "") -> dict[str, Any]:
    """`rows`: row -> lane -> Observation; `nginx`: its version; `log`: what it said. conf: by default what `render` gives."""
    found: dict[str, Any] = enclosed("tests.transparency.lab", {"conf": conf or render(dispatch())}, _SECONDS)
    return found


# ---- what follows runs inside


def _main() -> None:
    job = json.load(sys.stdin)
    furnish({"nginx.conf": job["conf"], **_certificate("tls/8440", "tls/8441")}, {_SHADOW, _SERVICE, _USER, _PLAIN})
    socket.sethostname("web-0")
    log = Path("/dev/shm/log")
    version = subprocess.run([job["nginx"], "-v"], capture_output=True, text=True, check=True).stderr.strip().rpartition("/")[2]
    with carrier([*nginx_command(job["nginx"]), "-g", "daemon off;"], log):
        plain, secure = _lanes(tls=False), _lanes(tls=True)
        rows = {
            f"{row.subject}: {row.name}": {lane.name: _observe(row.run, lane) for lane in (secure if row.tls else plain)} for row in ROWS
        }
    print(json.dumps({"nginx": version, "rows": rows, "log": log.read_text(errors="replace")}))  # noqa: T201


def _observe(run: Run, lane: Lane) -> Observation:
    with talking(lane) as talk:
        return run(talk)


def _lanes(*, tls: bool) -> list[Lane]:
    ports = (8440, 8441, 8442) if tls else (8080, 8081, 9090)
    contexts = (_client(), origin_tls()) if tls else (None, None)
    shadow, user, passed = ports
    plain = _listening(_PLAIN, 443 if tls else 80)
    return [
        Lane(DIRECT, (_PLAIN, plain.getsockname()[1]), plain, _listening(_SERVICE, 0), *contexts),
        Lane(PASSED, (CARRIER_IP, passed), _listening(_SHADOW, passed), _listening(_SERVICE, passed), *contexts),
        Lane(SHADOW, (CARRIER_IP, shadow), _listening(_SHADOW, shadow), _listening(_SERVICE, shadow), *contexts),
        Lane(USER, (CARRIER_IP, user), _listening(_USER, user), _listening(_SERVICE, user), *contexts),
    ]


def _listening(host: str, port: int) -> socket.socket:
    return socket.create_server((host, port), backlog=64)


def _certificate(*names: str) -> Mapping[str, str]:
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=example.test -keyout - -out -".split()
    pem = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    key, crt = pem[: pem.index("-----BEGIN CERT")], pem[pem.index("-----BEGIN CERT") :]
    return {f"{name}.{end}": text for name in names for end, text in (("key", key), ("crt", crt))}


def _client() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["http/1.1"])
    context.load_cert_chain(f"{TLS}.crt", f"{TLS}.key")
    return context


if __name__ == "__main__":
    _main()
