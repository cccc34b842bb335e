"""A carrier container that runs carrier2/image/carrier2, in an enclosure: its main process is process 1, `apply` enters as exec does.

Stubs stand where the configuration leads.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc

from tests.enclosure import ROOT, RUN, carrier

SCRIPT = str(ROOT / "carrier2" / "image" / "carrier2")
SHELLS = (["dash"], ["busybox", "sh"])
SHADOW = "10.1.0.1"
BIN = Path("/dev/shm/bin")
TOOLS = "cat dd env ln ls mkdir mv rm sha256sum sleep".split()
PATIENCE = 30


class Pod:
    """One container. It may end and run again; RUN stays."""

    def __init__(self, nginx: str) -> None:
        """nginx: path of the binary. busybox's shell gets busybox's tools."""
        for shell in SHELLS:
            folder = BIN / shell[0]
            folder.mkdir(parents=True)
            (folder / "nginx").symlink_to(nginx)
        for tool in TOOLS:
            (BIN / "busybox" / tool).symlink_to(str(shutil.which("busybox")))
        self.first = 0

    def _env(self, shell: Sequence[str]) -> dict[str, str]:
        return {**os.environ, "PATH": f"{BIN / shell[0]}:{os.environ['PATH']}"}

    @contextmanager
    def running(self, shell: Sequence[str] = SHELLS[0]) -> Iterator[None]:
        """The container's life."""
        alone = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
        (RUN / "nginx.pid").unlink(missing_ok=True)  # of the last life; `carrier` waits for a new one
        subprocess.run(["ip", "link", "delete", "lab"], capture_output=True, check=False)
        with carrier([*alone, "env", f"PATH={self._env(shell)['PATH']}", *shell, SCRIPT], Path("/dev/shm/log")) as process:
            self.first = int(Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text())
            yield
            os.kill(self.first, signal.SIGKILL)
            while process.poll() is None:  # this process inherits what a killed `apply` leaves, and the kernel waits for all of them
                os.waitpid(-1, os.WNOHANG)
                time.sleep(0.005)

    def apply(self, stream: bytes, digest: str, shell: Sequence[str] = SHELLS[0], **env: str) -> tuple[int, str, str]:
        """Exit code, standard output, standard error of `apply`, in a process group of its own."""
        done = subprocess.run(
            ["nsenter", f"--target={self.first}", "--pid", "--mount", "--net", *shell, SCRIPT, "apply", digest],
            input=stream,
            capture_output=True,
            env={**self._env(shell), **env},
            start_new_session=True,
            timeout=2 * PATIENCE,
            check=False,
        )
        return done.returncode, done.stdout.decode(), done.stderr.decode()

    def children(self) -> list[str]:
        """Those of nginx's master."""
        master = Path(f"/proc/{self.first}/task/{self.first}/children").read_text().split()
        return [pid for each in master for pid in Path(f"/proc/{each}/task/{each}/children").read_text().split()]

    def workers(self) -> int:
        """How many there are, serving or ending."""
        count = 0
        for pid in self.children():
            try:
                count += Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"nginx: worker process")
            except OSError:
                continue
        return count


def pack(conf: str, files: Mapping[str, str] | None = None) -> tuple[bytes, str]:
    """The stream that `apply` reads, and its hash."""
    parts = [(name, text.encode()) for name, text in {**(files or {}), "nginx.conf": conf}.items()]
    return b"".join(f"{name} {len(data)}\n".encode() + data for name, data in parts), hashlib.sha256(conf.encode()).hexdigest()


# ---- stubs


class _Http(BaseHTTPRequestHandler):
    """Answers with its own address and the digest of the body, or with X-Size bytes; an upgrade is echoed."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1

    def do_GET(self) -> None:
        """Any method."""
        if self.headers.get("Upgrade"):
            self.connection.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
            while data := self.connection.recv(65536):
                self.connection.sendall(data)
            self.close_connection = True
            return
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        text = f"{self.connection.getsockname()[0]} {hashlib.sha256(body).hexdigest()}".encode()
        text = (bytes(range(256)) * (int(self.headers["X-Size"]) // 256)) if "X-Size" in self.headers else text
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_POST = do_GET  # noqa: N815 - as BaseHTTPRequestHandler wants it

    def log_message(self, *_: object) -> None:
        """Nothing."""


def http_stub(host: str, port: int) -> None:
    """Listens at once."""
    ThreadingHTTPServer.request_queue_size = 128
    threading.Thread(target=ThreadingHTTPServer((host, port), _Http).serve_forever, daemon=True).start()


def grpc_stub(host: str, port: int) -> grpc.Server:
    """`/t/Who` and `/t/Chat` (both ways) answer with the host, once for each message."""

    def who(_: bytes, __: grpc.ServicerContext) -> bytes:
        return host.encode()

    def chat(messages: Iterator[bytes], _: grpc.ServicerContext) -> Iterator[bytes]:
        for message in messages:
            yield host.encode() + b" " + message

    handlers = {"Who": grpc.unary_unary_rpc_method_handler(who), "Chat": grpc.stream_stream_rpc_method_handler(chat)}
    server = grpc.server(ThreadPoolExecutor(4))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("t", handlers),))
    server.add_insecure_port(f"{host}:{port}")
    server.start()
    return server
