"""A relay of a test's own: OpenSSH's real sshd on loopback that trusts an authority, and an API server's port-forward that leads to it."""

from __future__ import annotations

import getpass
import json
import os
import signal
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pykube
from websockets.exceptions import ConnectionClosed
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from generator.live.client import Access
from generator.live.kube import Kube

PATIENCE = 60  # seconds until a test gives up
SSHD = "/usr/sbin/sshd"


def until(true: Callable[[], object], what: str = "it") -> None:
    """Wait until it is true."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, f"{what} did not come"
        time.sleep(0.02)


def free_port() -> int:
    """A port of 127.0.0.1 on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
        return port


def listens(port: int, host: str = "127.0.0.1") -> bool:
    """Whether somebody takes connections there."""
    with suppress(OSError), socket.create_connection((host, port), 5):
        return True
    return False


def kube(port: int, scheme: str = "http") -> Kube:
    """An account on an API server at a port of loopback."""
    return Kube(pykube.KubeConfig(_config(port, scheme)))


def kubeconfig(port: int) -> str:
    """The same as a file."""
    return json.dumps(_config(port, "http"))


def _config(port: int, scheme: str) -> dict[str, object]:
    return {
        "clusters": [{"name": "a", "cluster": {"server": f"{scheme}://127.0.0.1:{port}", "insecure-skip-tls-verify": True}}],
        "users": [{"name": "a", "user": {}}],
        "contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}],
        "current-context": "a",
    }


def tls_of(folder: Path) -> ssl.SSLContext:
    """A server's settings with a certificate that nobody knows."""
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=a"]
    subprocess.run([*words, "-keyout", f"{folder}/key", "-out", f"{folder}/crt"], check=True, capture_output=True)
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.load_cert_chain(f"{folder}/crt", f"{folder}/key")
    return made


@contextmanager
def channels(speak: Callable[[ServerConnection], None], protocol: str, **more: Any) -> Iterator[int]:
    """The port of a server of websockets of that protocol, in whose connections `speak` speaks. more: as `serve` takes it."""
    protocols = [Subprotocol(protocol)]
    with serve(speak, "127.0.0.1", 0, subprotocols=protocols, compression=None, max_size=None, **more) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.socket.getsockname()[1]
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def port_forward(to: int, seen: list[str] | None = None, tls: ssl.SSLContext | None = None) -> Iterator[int]:
    """The port of an API server that knows port-forward alone, v4.channel.k8s.io, to a port of this machine.

    seen: gets the path of each request. As kubelet does it, each channel begins with the port, and where one side ends, both do.
    """

    def pump(websocket: ServerConnection) -> None:
        assert websocket.request
        if seen is not None:
            seen.append(websocket.request.path)
        number = int(websocket.request.path.rpartition("=")[2]).to_bytes(2, "little")
        websocket.send(b"\x00" + number)
        websocket.send(b"\x01" + number)
        try:
            made = socket.create_connection(("127.0.0.1", to))
        except OSError as error:
            websocket.send(b"\x01" + str(error).encode())
            return
        with made:
            made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def answers() -> None:
                with suppress(OSError, ConnectionClosed):
                    while data := made.recv(32 * 1024):
                        websocket.send(b"\x00" + data)
                websocket.close()

            back = threading.Thread(target=answers, daemon=True)
            back.start()
            with suppress(ConnectionClosed, OSError):
                for message in websocket:
                    assert isinstance(message, bytes)
                    made.sendall(message[1:])
            with suppress(OSError):
                made.shutdown(socket.SHUT_RDWR)
            back.join()

    with channels(pump, "v4.channel.k8s.io", ssl=tls) as port:
        yield port


@dataclass
class Sshd:
    """The real sshd of a folder, at `port` of 127.0.0.1; listeners of users bind to 127.0.0.1 too."""

    folder: Path
    port: int
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Begin to listen."""
        with (self.folder / "log").open("ab") as log:
            command = [SSHD, "-D", "-e", "-f", str(self.folder / "config")]
            self.process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        until(lambda: listens(self.port), "sshd")

    def stop(self) -> None:
        """End it, and each session of it."""
        if self.process:
            sessions = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
            for each in (self.process.pid, *map(int, sessions)):
                with suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
            self.process.wait()
            self.process = None

    def sign(self, public: str, validity: str = "+1h") -> str:
        """A certificate for a public key."""
        key = self.folder / "user.pub"
        key.write_text(public + "\n")
        _keygen("-q", "-s", str(self.folder / "ca"), "-I", "bascule:test", "-n", getpass.getuser(), "-V", validity, str(key))
        return (self.folder / "user-cert.pub").read_text().strip()

    def access(self, public: str) -> Access:
        """What the operator would grant to a key."""
        host = " ".join((self.folder / "host.pub").read_text().split()[:2])
        return Access(self.sign(public), host, getpass.getuser(), "127.0.0.1")


def _keygen(*arguments: str) -> None:
    subprocess.run(["ssh-keygen", *arguments], check=True, capture_output=True, stdin=subprocess.DEVNULL)


@contextmanager
def sshd(folder: Path) -> Iterator[Sshd]:
    """A real sshd that takes users of its authority, and from them remote forwards alone."""
    folder.mkdir()
    Path("/run/sshd").mkdir(exist_ok=True)
    for name in ("ca", "host"):
        _keygen("-q", "-t", "ed25519", "-N", "", "-f", str(folder / name))
    port = free_port()
    settings = f"""
        ListenAddress 127.0.0.1:{port}
        HostKey {folder}/host
        TrustedUserCAKeys {folder}/ca.pub
        AuthorizedKeysFile none
        PidFile none
        StrictModes no
        PermitRootLogin yes
        AllowTcpForwarding remote
        GatewayPorts clientspecified
        ClientAliveInterval 2
        ClientAliveCountMax 3
    """
    (folder / "config").write_text("\n".join(line.strip() for line in settings.splitlines()))
    found = Sshd(folder, port)
    found.start()
    try:
        yield found
    finally:
        found.stop()


@contextmanager
def serving(answer: Callable[[socket.socket], None], at: int = 0) -> Iterator[int]:
    """A TCP server at the port of 127.0.0.1 that is given, with a thread for each connection. at: the port, 0 for any."""
    with socket.create_server(("127.0.0.1", at), backlog=256) as listener:

        def one(made: socket.socket) -> None:
            with made, suppress(OSError):
                answer(made)

        def accept() -> None:
            with suppress(OSError):
                while True:
                    made, _ = listener.accept()
                    threading.Thread(target=one, args=(made,), daemon=True).start()

        threading.Thread(target=accept, daemon=True).start()
        try:
            yield listener.getsockname()[1]
        finally:
            with suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)


def echo(made: socket.socket) -> None:
    """What comes goes back, until the other side has ended its half."""
    while data := made.recv(65536):
        made.sendall(data)


def hello(made: socket.socket) -> None:
    """An HTTP/1.1 server that answers each request without a body with `hello`."""
    kept = b""
    while data := made.recv(65536):
        kept += data
        while b"\r\n\r\n" in kept:
            _, _, kept = kept.partition(b"\r\n\r\n")
            made.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")


def whole(made: socket.socket) -> bytes:
    """Everything until the other side ends."""
    found = b""
    while data := made.recv(65536):
        found += data
    return found
