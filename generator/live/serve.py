"""What the operator answers: the admission webhooks over TLS; health and metrics in plain HTTP.

Each server is a thread of its own beside a process that has its own main loop. Sources: AdmissionReview v1
(admission.k8s.io/v1: one request in, the response with its uid out) and facts of uvicorn that stand beside the settings they led to.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import socket
import ssl
import tempfile
import threading
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Final, NamedTuple

import uvicorn

from generator.asked.review import Verdict
from generator.cluster.snapshot import OUR_KINDS, Obj, labels_of
from generator.live import bounded
from generator.live.bounded import Message
from generator.names import HELD
from generator.patch import Op

_log: Final = logging.getLogger(__name__)
_REFUSED: Final = 500
"""The status of a refusal: Gefyra's command line shows the message of this one alone."""
_WARNING: Final = 256
"""Characters of one warning; the API server may cut longer ones (admission.k8s.io/v1, `warnings`)."""

Judge = Callable[[Obj], Verdict]


class NoReview(ValueError):
    """The body is no AdmissionReview that we can answer."""


class Answer(NamedTuple):
    """An HTTP response."""

    status: int
    body: bytes
    content: str = "text/plain; charset=utf-8"


Routes = Mapping[tuple[str, str], Callable[[bytes], Answer]]
"""By method and path, what makes the answer of a body. It may block: each request has a thread."""


def webhooks(judge: Judge) -> Routes:
    """The validating webhooks of our three kinds, and the mutating one that holds a Pod where the server has no policies for it."""
    validating = partial(_reviewed, partial(_judged, judge))
    paths = ("/bridge-parameters", "/mount-parameters", "/client-parameters")
    return {**{("POST", path): validating for path in paths}, ("POST", "/hold"): partial(_reviewed, _held)}


def insides(healthy: Callable[[], str], ready: Callable[[], str], metrics: Callable[[], tuple[bytes, str]]) -> Routes:
    """Health and metrics. healthy, ready: what is wrong, "" if nothing. metrics: the text and its content type."""

    def told(ask: Callable[[], str], _: bytes) -> Answer:
        wrong = ask()
        return Answer(503 if wrong else 200, f"{wrong or 'ok'}\n".encode())

    def measured(_: bytes) -> Answer:
        return Answer(200, *metrics())

    return {("GET", "/healthz"): partial(told, healthy), ("GET", "/readyz"): partial(told, ready), ("GET", "/metrics"): measured}


def unready(pod: Obj) -> list[Op]:
    """The operations that turn Ready from True to False in a Pod that is held, in its status as kubelet is about to write it."""
    if labels_of(pod).get(HELD) != "true":
        return []
    conditions = (pod.get("status") or {}).get("conditions") or ()
    found = [index for index, c in enumerate(conditions) if c.get("type") == "Ready" and c.get("status") == "True"]
    return [{"op": "replace", "path": f"/status/conditions/{index}/status", "value": "False"} for index in found]


def _judged(judge: Judge, request: Obj) -> Obj:
    if any(str(o.get("kind")).lower() not in OUR_KINDS for o in (request.get("oldObject"), request.get("object")) if o):
        raise NoReview("the object is no bridge, mount or client")
    verdict = judge(request)
    told = [w if len(w) <= _WARNING else f"{w[: _WARNING - 3]}..." for w in verdict.warnings]
    refusal = {} if verdict.allowed else {"status": {"status": "Failure", "code": _REFUSED, "message": verdict.message}}
    return {"allowed": verdict.allowed, **refusal, **({"warnings": told} if told else {})}


def _held(request: Obj) -> Obj:
    operations = unready(request.get("object") or request["oldObject"])
    patch = {"patchType": "JSONPatch", "patch": base64.b64encode(json.dumps(operations).encode()).decode()}
    return {"allowed": True, **(patch if operations else {})}


def _reviewed(answer: Callable[[Obj], Obj], body: bytes) -> Answer:
    """The AdmissionReview with its response; 400 for anything else. What fails beyond that is ours, and refused by the server's policy."""
    try:
        request = _request(body)
        response = {"uid": request["uid"], **answer(request)}
    except NoReview as error:
        return Answer(400, f"not an AdmissionReview of admission.k8s.io/v1: {error}\n".encode())
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response}
    return Answer(200, json.dumps(review).encode(), "application/json")


def _request(body: bytes) -> Obj:
    try:
        review = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise NoReview("not JSON") from error
    if not isinstance(review, dict) or (review.get("apiVersion"), review.get("kind")) != ("admission.k8s.io/v1", "AdmissionReview"):
        raise NoReview("another apiVersion or kind")
    request = review.get("request")
    if not isinstance(request, dict) or not isinstance(request.get("uid"), str) or not isinstance(request.get("userInfo") or {}, dict):
        raise NoReview("no request with a uid")
    for obj in (request.get("object"), request.get("oldObject")):
        metadata = obj.get("metadata") if isinstance(obj, dict) else {"name": ""}
        if not isinstance(obj, dict | None) or not isinstance(metadata, dict) or not isinstance(metadata.get("name"), str):
            raise NoReview("an object without a name")
    if not (request.get("object") or request.get("oldObject")):
        raise NoReview("no object")
    result: Obj = request
    return result


def application(routes: Routes) -> Callable[..., Awaitable[None]]:
    """The routes as an ASGI application."""
    large = asyncio.Semaphore(1)

    async def app(scope: Message, receive: Callable[[], Awaitable[Message]], send: Callable[[Message], Awaitable[None]]) -> None:
        method, path = scope["method"], scope["path"]
        if (method, path) not in routes:
            known = any(path == other for _, other in routes)
            answer = Answer(405 if known else 404, b"no such method\n" if known else b"not found\n")
        else:
            try:
                async with bounded.body(receive, large) as body:
                    answer = await asyncio.to_thread(_safely, routes[method, path], body, path)
            except bounded.Unread as error:
                answer = Answer(error.status, f"{error}\n".encode())
        headers = [(b"content-type", answer.content.encode()), (b"content-length", str(len(answer.body)).encode())]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": answer.body})

    return app


def _safely(route: Callable[[bytes], Answer], body: bytes, path: str) -> Answer:
    try:
        return route(body)
    except Exception:  # noqa: BLE001  # whatever it is, the server goes on, and the log says it
        _log.exception("no answer for %s", path)
        return Answer(500, b"no answer; the operator's log says why\n")


class Server:
    """A server in a thread. port: where it listens, also when 0 was asked for."""

    def __init__(self, routes: Routes, port: int, tls: ssl.SSLContext | None = None, host: str = "") -> None:
        """Listen, and answer from then on. host: "" for all addresses. Raises OSError when the port is taken."""
        dual = not host and socket.has_dualstack_ipv6()
        made = socket.create_server((host, port), family=socket.AF_INET6 if dual else socket.AF_INET, dualstack_ipv6=dual, backlog=128)
        self._socket = bounded.Listener(made)
        self.port: int = self._socket.getsockname()[1]
        config = uvicorn.Config(
            application(routes),
            http="h11",
            loop="asyncio",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=120,  # the API server drops an idle connection after 90 s (net/http): who sends must be first
            timeout_graceful_shutdown=5,  # without it idle connections hold up the stop
        )
        config.load()
        config.ssl = tls
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name=f"serve-{self.port}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Answer what was asked, and end."""
        self._server.should_exit = True
        self._thread.join()


def context(certificate: bytes, key: bytes) -> ssl.SSLContext:
    """TLS settings of a server with this chain and key, both PEM. Raises ssl.SSLError when they do not fit."""
    made = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    load(made, certificate, key)
    return made


def load(into: ssl.SSLContext, certificate: bytes, key: bytes) -> None:
    """Let a server that runs show this chain to whoever connects from now on."""
    with tempfile.NamedTemporaryFile(prefix="bascule-") as file:  # the ssl module reads nothing but files
        file.write(key + b"\n" + certificate)
        file.flush()
        into.load_cert_chain(file.name)
