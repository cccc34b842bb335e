"""Gefyra's own command line, unmodified, and the Docker Engine that it looks for on a laptop.

The Engine API is Docker's 1.43, as much as the command line reads of it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from generator.cluster.snapshot import Obj

ROOT = Path(__file__).parents[1]
LOCKED = ROOT / "requirements" / "gefyra.txt"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bascule" / "gefyra"
NETWORK = "gefyra-network-default"
"""Of the connection `default`; local containers are in it."""


def installed() -> Path:
    """The folder of programs of an environment with the package as locked, made once and kept in the user's cache.

    Raises subprocess.CalledProcessError when it cannot be installed.
    """
    folder = CACHE / hashlib.sha256(LOCKED.read_bytes() + sys.version.encode()).hexdigest()[:16]
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "whole").exists():
            shutil.rmtree(folder, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", folder], check=True)
            words = ["install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", str(LOCKED)]
            subprocess.run([folder / "bin" / "pip", *words], check=True)
            (folder / "whole").touch()
    return folder / "bin"


def local(name: str, address: str, status: str = "running", **labels: str) -> Obj:
    """A container in Gefyra's network, as Docker tells of it."""
    return {
        "Id": hashlib.sha256(name.encode()).hexdigest(),
        "Name": f"/{name}",
        "Created": "2026-11-24T20:00:00Z",
        "State": {"Status": status},
        "Config": {"Labels": labels},
        "HostConfig": {"DnsSearch": ["default"]},
        "NetworkSettings": {"Networks": {NETWORK: {"IPAddress": address}}},
    }


def connection(kubeconfig: Path, client: str) -> Obj:
    """The container by which the command line knows of a connection: Cargo, its end of the WireGuard tunnel, which is stopped here."""
    labels = {
        "created_by.gefyra.dev": "true",
        "gefyra.dev/role": "cargo",
        "connection_name.gefyra.dev": "default",
        "gefyraclient.gefyra.dev": client,
        "active_kubeconfig.gefyra.dev": str(kubeconfig),
        "active_context.gefyra.dev": "default-context",
        "cargo_endpoint.gefyra.dev": "192.0.2.1:31820",
        "version.gefyra.dev": "2.5.6",
    }
    return local("gefyra-cargo-default", "172.21.0.149", "exited", **labels)


@contextmanager
def docker(*containers: Obj) -> Iterator[str]:
    """The DOCKER_HOST of an engine with these containers; Gefyra's network is there if any is."""
    labels = {"created_by.gefyra.dev": "true"}
    ipam = {"Config": [{"Subnet": "172.21.0.0/16"}]}
    network = {"Id": "21", "Name": NETWORK, "Labels": labels, "IPAM": ipam, "Containers": {c["Id"]: {} for c in containers}}

    class Engine(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            url = urlsplit(self.path)
            match url.path.removeprefix("/v1.43").strip("/").split("/"):
                case ["version"]:
                    self._say({"ApiVersion": "1.43"})
                case ["containers", "json"]:
                    asked = json.loads(parse_qs(url.query).get("filters", ["{}"])[0]).get("label", [])
                    self._say([c for c in containers if all(_has(c, label) for label in asked)])
                case ["containers", which, "json"]:
                    self._say(next((c for c in containers if which in (c["Id"], c["Name"][1:])), None))
                case ["networks", "21" | "gefyra-network-default"] if containers:
                    self._say(network)
                case _:
                    self._say(None)

        def _say(self, told: object) -> None:
            body = json.dumps({"message": "no such thing"} if told is None else told).encode()
            self.send_response(404 if told is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Engine) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"tcp://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def _has(container: Obj, label: str) -> bool:
    name, _, value = label.partition("=")
    found: str | None = container["Config"]["Labels"].get(name)
    return found == value
