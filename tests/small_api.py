"""An API server of a test's own that keeps objects, guards them by resourceVersion, and fails when it is told to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from generator.cluster.snapshot import Obj, key_of
from generator.live.kube import Kube, path
from tests.session_lab import kube


class Api:
    """objects: by path. callers: the other end of each connection.

    before: called with each request's method and path; what it returns, if not 0, is the status of the answer.
    """

    def __init__(self) -> None:
        self.objects: dict[str, Obj] = {}
        self.callers: set[tuple[str, int]] = set()
        self.before: Callable[[str, str], int] = lambda _method, _path: 0
        self.kube: Kube

    def keep(self, obj: Obj) -> None:
        """Somebody writes it."""
        at = path(*key_of(obj))
        version = int(self.objects.get(at, {"metadata": {}})["metadata"].get("resourceVersion", 0)) + 1
        self.objects[at] = {**obj, "metadata": {**obj["metadata"], "resourceVersion": str(version)}}

    def answer(self, method: str, at: str, body: Obj) -> tuple[int, Obj]:
        """The status and the object of an answer."""
        if failed := self.before(method, at):
            return failed, {"message": "as the test wants it"}
        made = f"{at}/{body['metadata']['name']}" if method == "POST" else at
        old = self.objects.get(made)
        if method == "POST" and old:
            return 409, {"message": "it exists"}
        if method != "POST" and not old:
            return 404, {"message": "it is not there"}
        if method == "PUT" and old and body["metadata"].get("resourceVersion") != old["metadata"]["resourceVersion"]:
            return 409, {"message": "the object has been modified"}
        if method == "PATCH" and old:
            body = {**old, **body}
        if method != "GET":
            self.keep(body)
        return 200, self.objects[made]


@contextmanager
def small_api() -> Iterator[Api]:
    """It listens on loopback, and `kube` is an account on it."""
    api = Api()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            api.callers.add(self.client_address)
            sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, body = api.answer(self.command, self.path.partition("?")[0], json.loads(sent or b"{}"))
            data = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = do_PUT = do_PATCH = _any  # noqa: N815  # http.server's names

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        api.kube = kube(server.server_address[1])
        try:
            yield api
        finally:
            server.shutdown()
            thread.join()
