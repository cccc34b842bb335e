"""What the operator answers, by real requests on loopback: webhooks over TLS, health and metrics, and no body that brings it down."""

from __future__ import annotations

import base64
import json
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import jsonpatch
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

from generator.asked.review import Verdict
from generator.cluster.snapshot import Obj
from generator.live import bounded, certificates, metrics, serve

LOOPBACK = "127.0.0.1"
BRIDGE = {"apiVersion": "gefyra.dev/v1", "kind": "gefyrabridge", "metadata": {"name": "alice", "namespace": "gefyra"}}


def judge(request: Obj) -> Verdict:
    """A judge whose verdict stands in the object."""
    name = (request.get("object") or request["oldObject"])["metadata"]["name"]
    if name == "broken":
        raise KeyError("something of ours")
    return Verdict(
        name != "refused", "RuleIdentical: taken" if name == "refused" else "", ("RuleOverlap: " + "x" * 400,) if name == "warned" else ()
    )


class Https:
    """The webhook server, and a client that trusts its authority and asks for it by its name."""

    def __init__(self) -> None:
        self.kept = certificates.renewed(None, datetime.now(UTC))
        self.tls = serve.context(self.kept.chain, self.kept.key)
        self.server = serve.Server(serve.webhooks(judge), 0, self.tls, LOOPBACK)
        self.client = self.trusting(self.kept)

    def trusting(self, kept: certificates.Kept) -> httpx.Client:
        """A client for these authorities."""
        trust = ssl.create_default_context(cadata=kept.authorities.decode())
        return httpx.Client(base_url=f"https://{LOOPBACK}:{self.server.port}", verify=trust, trust_env=False, timeout=60)

    def post(self, path: str, content: bytes, client: httpx.Client | None = None) -> httpx.Response:
        """Send a body, with the name of the Service as the server's."""
        return (client or self.client).post(path, content=content, extensions={"sni_hostname": certificates.HOST})

    def reviewed(self, path: str, **request: Any) -> Obj:
        """The response to a request; its uid is the request's."""
        uid = "705ab4f5-6393-11e8-b7cc-42010a800002"
        review = {
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {"uid": uid, "object": None, "oldObject": None, **request},
        }
        answer = self.post(path, json.dumps(review).encode())
        assert answer.status_code == 200, answer.text
        assert answer.headers["content-type"] == "application/json"
        body = answer.json()
        assert (body["apiVersion"], body["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
        assert body["response"].pop("uid") == uid
        response: Obj = body["response"]
        return response


@pytest.fixture(scope="module")
def https() -> Iterator[Https]:
    """A webhook server of this module."""
    made = Https()
    yield made
    made.client.close()
    made.server.stop()


def named(name: str) -> Obj:
    """A bridge of that name."""
    return {**BRIDGE, "metadata": {**BRIDGE["metadata"], "name": name}}  # type: ignore[dict-item]


def pod(held: bool, *conditions: tuple[str, str]) -> Obj:
    """A Pod with these conditions."""
    labels = {"bascule.dev/held": "true"} if held else {"app": "web"}
    status = {"conditions": [{"type": kind, "status": value} for kind, value in conditions]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "web-1", "labels": labels}, "status": status}


@pytest.mark.parametrize("path", ["/bridge-parameters", "/mount-parameters", "/client-parameters"])
def test_a_refusal_is_what_gefyras_command_line_prints(https: Https, path: str) -> None:
    """Status 500 and the message; an object of any of our kinds, also one that is deleted."""
    refusal = {"allowed": False, "status": {"status": "Failure", "code": 500, "message": "RuleIdentical: taken"}}
    assert https.reviewed(path, object=named("refused")) == refusal
    assert https.reviewed(path, oldObject=named("refused")) == refusal
    assert https.reviewed(path, object=named("alice")) == {"allowed": True}


def test_a_warning_is_short(https: Https) -> None:
    """The API server may cut what is longer than 256 characters."""
    (warning,) = https.reviewed("/bridge-parameters", object=named("warned"))["warnings"]
    assert len(warning) == 256
    assert warning.endswith("x...")


def test_a_held_pod_does_not_become_ready(https: Https) -> None:
    """The patch turns Ready alone from True to False."""
    held = pod(True, ("PodScheduled", "True"), ("Ready", "True"), ("ContainersReady", "True"))
    response = https.reviewed("/hold", object=held, oldObject=held)
    assert (response["allowed"], response["patchType"]) == (True, "JSONPatch")
    patched = jsonpatch.apply_patch(held, json.loads(base64.b64decode(response["patch"])))
    assert patched == pod(True, ("PodScheduled", "True"), ("Ready", "False"), ("ContainersReady", "True"))


@pytest.mark.parametrize(
    "other",
    [pod(False, ("Ready", "True")), pod(True, ("Ready", "False")), pod(True), {"kind": "Pod", "metadata": {"name": "a", "labels": None}}],
)
def test_all_other_pods_are_let_be(https: Https, other: Obj) -> None:
    """Not held, not ready, or without a status yet."""
    assert https.reviewed("/hold", object=other) == {"allowed": True}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"apiVersion": "admission.k8s.io/v1beta1", "kind": "AdmissionReview", "request": {"uid": "1"}}',
        b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"object": {}}}',
        b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "1", "object": []}}',
        b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "1", "object": {"metadata": {}}}}',
        b'{"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "1", "userInfo": "alice"}}',
    ],
)
def test_what_is_no_review_is_told_so(https: Https, body: bytes) -> None:
    """400 on each path, with a line that says why."""
    for path in ("/bridge-parameters", "/hold"):
        answer = https.post(path, body)
        assert answer.status_code == 400
        assert answer.text.startswith("not an AdmissionReview of admission.k8s.io/v1: ")


def test_another_kind_is_not_judged(https: Https) -> None:
    """A rule of the webhook configuration that is too wide shows at once."""
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "1", "object": pod(True)}}
    assert https.post("/bridge-parameters", json.dumps(review).encode()).status_code == 400


def test_a_mistake_of_ours_is_in_the_log_and_not_in_the_answer(https: Https, caplog: pytest.LogCaptureFixture) -> None:
    """The API server then does what the failurePolicy says, and the next request is answered."""
    review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": {"uid": "1", "object": named("broken")}}
    with caplog.at_level(logging.ERROR):
        answer = https.post("/bridge-parameters", json.dumps(review).encode())
    assert (answer.status_code, answer.text) == (500, "no answer; the operator's log says why\n")
    assert "something of ours" in caplog.text
    assert https.reviewed("/bridge-parameters", object=named("alice")) == {"allowed": True}


def test_a_body_has_an_end(https: Https) -> None:
    """3 MiB, whether its length is told before or not."""

    def pieces() -> Iterator[bytes]:
        for _ in range(64):
            yield b" " * 65536

    trust = {"sni_hostname": certificates.HOST}
    assert https.post("/hold", b" " * bounded.MAX_BODY).status_code == 400
    with https.trusting(https.kept) as client:
        assert client.post("/hold", content=b" " * (bounded.MAX_BODY + 1), extensions=trust).status_code == 413
    with https.trusting(https.kept) as client:
        assert client.post("/hold", content=pieces(), extensions=trust).status_code == 413
    assert https.reviewed("/hold", object=pod(False)) == {"allowed": True}


@contextmanager
def answering(route: Callable[[bytes], serve.Answer]) -> Iterator[tuple[int, httpx.Client]]:
    """The port of a server without TLS that answers POST / so, and a client of it."""
    server = serve.Server({("POST", "/"): route}, 0, None, LOOPBACK)
    with httpx.Client(base_url=f"http://{LOOPBACK}:{server.port}", trust_env=False, timeout=60) as client:
        yield server.port, client
    server.stop()


def length(body: bytes) -> serve.Answer:
    """As an answer."""
    return serve.Answer(200, str(len(body)).encode())


def begun(port: int, sent: int) -> socket.socket:
    """A connection with a request of the largest size, of which so many bytes are on their way."""
    made = socket.create_connection((LOOPBACK, port), timeout=60)
    made.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % bounded.MAX_BODY + b"a" * sent)
    return made


def test_a_body_that_does_not_come_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """408, whether it is large or small, and large ones have a place again."""
    monkeypatch.setattr(bounded, "BODY_SECONDS", 0.5)
    with answering(length) as (port, client):
        for sent in (0, 1, bounded.SMALL + 1):
            with begun(port, sent) as slow:
                assert slow.recv(100).startswith(b"HTTP/1.1 408 ")
        assert client.post("/", content=b"a" * bounded.MAX_BODY).text == str(bounded.MAX_BODY)


def test_a_body_that_comes_slowly_is_answered() -> None:
    """Piece by piece, while others are asked and answered between two of its pieces."""
    with answering(length) as (_, client):

        def pieces() -> Iterator[bytes]:
            for size in range(1, 9):
                with httpx.Client(base_url=client.base_url, trust_env=False, timeout=60) as other:
                    assert other.post("/", content=b"a" * size).text == str(size)
                yield b"a" * bounded.SMALL

        assert client.post("/", content=pieces()).text == str(8 * bounded.SMALL)


def test_of_large_bodies_one_is_in_memory_and_small_ones_never_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """While one is judged another waits, and is told 503 if it waits too long; reviews of the usual size are answered all the time."""
    monkeypatch.setattr(bounded, "BODY_SECONDS", 0.5)
    judged, go_on = threading.Event(), threading.Event()

    def route(body: bytes) -> serve.Answer:
        if body.startswith(b"first"):
            judged.set()
            go_on.wait(60)
        return length(body)

    with answering(route) as (_, client), ThreadPoolExecutor(1) as pool:
        large = b"a" * (bounded.SMALL + 1)
        first = pool.submit(client.post, "/", content=b"first" + large)
        assert judged.wait(60)
        assert [client.post("/", content=large).status_code for _ in range(2)] == [503, 503]
        assert client.post("/", content=b"a" * bounded.SMALL).text == str(bounded.SMALL)
        go_on.set()
        assert first.result().status_code == 200
        assert client.post("/", content=large).status_code == 200


def test_of_many_reviews_at_once_none_is_cut() -> None:
    """However many more there are than may stay: each is younger than a review that is late."""
    with answering(length) as (port, _), ExitStack() as stack:
        half = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\na"
        many = [stack.enter_context(socket.create_connection((LOOPBACK, port), timeout=60)) for _ in range(2 * bounded.CONNECTIONS - 1)]
        for each in many:
            each.sendall(half)
        for each in many:
            each.sendall(b"bc")
        assert all(each.recv(100).startswith(b"HTTP/1.1 200 ") for each in many)


def test_whoever_connects_is_answered_however_many_stay_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest connections are ended for the newest, and no more stay than there may be."""
    monkeypatch.setattr(bounded, "AGE", 0.0)
    with answering(length) as (port, client), ExitStack() as stack:
        silent = []
        for _ in range(2 * bounded.CONNECTIONS):
            silent.append(stack.enter_context(socket.create_connection((LOOPBACK, port), timeout=60)))
            with socket.create_connection((LOOPBACK, port), timeout=60) as newest:
                newest.sendall(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc")
                assert newest.recv(100).startswith(b"HTTP/1.1 200 ")
        assert all(ended(each) for each in silent[: bounded.CONNECTIONS])
        for each in silent:
            each.close()
        assert client.post("/", content=b"abc").text == "3"


def ended(connection: socket.socket) -> bool:
    """Whether the other end has closed it; waits for that."""
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


def test_only_what_is_there_is_answered(https: Https) -> None:
    """Another path, another method, and nothing of the other server."""
    assert https.post("/", b"{}").status_code == 404
    assert https.post("/healthz", b"").status_code == 404
    assert https.client.get("/hold", extensions={"sni_hostname": certificates.HOST}).status_code == 405


@given(
    st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda s: st.lists(s) | st.dictionaries(st.text(), s), max_leaves=8)
)
@settings(max_examples=100, deadline=None)
def test_no_request_is_too_strange(value: Any) -> None:
    """Whatever stands in the parts of a review: 400, or a response."""
    routes = serve.webhooks(judge)
    for request in (value, {"uid": "1", "object": value}, {"uid": "1", "userInfo": value}, {"uid": value, "oldObject": named("alice")}):
        review = {"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": request}
        assert routes["POST", "/bridge-parameters"](json.dumps(review).encode()).status in (200, 400)


def test_a_new_chain_is_shown_to_the_next_connection(https: Https) -> None:
    """Without a restart; a connection that is open goes on."""
    assert https.reviewed("/hold", object=pod(False)) == {"allowed": True}
    fresh = certificates.renewed(None, datetime.now(UTC))
    serve.load(https.tls, fresh.chain, fresh.key)
    assert https.reviewed("/hold", object=pod(False)) == {"allowed": True}
    with https.trusting(fresh) as client:
        assert https.post("/nothing", b"", client).status_code == 404
    with https.trusting(https.kept) as client, pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
        https.post("/nothing", b"", client)
    serve.load(https.tls, https.kept.chain, https.kept.key)


def test_health_and_metrics_are_plain() -> None:
    """503 with the reason while something is wrong; what is measured, as Prometheus reads it."""
    wrong = ["", "no watch of Pods in shop"]
    routes = serve.insides(lambda: wrong[0], lambda: wrong[1], metrics.exposition)
    server = serve.Server(routes, 0, None, LOOPBACK)
    try:
        with httpx.Client(base_url=f"http://{LOOPBACK}:{server.port}", trust_env=False, timeout=60) as client:
            assert client.get("/healthz").text == "ok\n"
            answer = client.get("/readyz")
            assert (answer.status_code, answer.text) == (503, "no watch of Pods in shop\n")
            wrong[:] = ["stuck", ""]
            assert [client.get(path).status_code for path in ("/healthz", "/readyz")] == [503, 200]
            metrics.count(metrics.bridges, ["ACTIVE", "ACTIVE", "ERROR"])
            metrics.writes.labels("patch", "Pod", "written").inc()
            answer = client.get("/metrics")
            assert answer.headers["content-type"].startswith("text/plain; version=")
            found = {family.name: family for family in text_string_to_metric_families(answer.text)}
            states = {s.labels["state"]: s.value for s in found["bascule_bridges"].samples}
            assert states == {state: {"ACTIVE": 2, "ERROR": 1}.get(state, 0) for state in metrics.STATES}
            assert "bascule_writes_total" in {s.name for s in found["bascule_writes"].samples}
            assert all(name.startswith(("bascule_", "process_")) for name in found)
            assert client.post("/metrics").status_code == 405
    finally:
        server.stop()


def test_a_stop_answers_what_was_asked() -> None:
    """A request that is being judged is answered; then the port is free, and no thread is left, though a connection stays open."""
    asked, go_on = threading.Event(), threading.Event()

    def slowly() -> str:
        asked.set()
        go_on.wait(60)
        return ""

    threads = set(threading.enumerate())
    server = serve.Server(serve.insides(slowly, lambda: "", metrics.exposition), 0, None, LOOPBACK)
    idle = socket.create_connection((LOOPBACK, server.port))
    answers: list[int] = []
    request = threading.Thread(
        target=lambda: answers.append(httpx.get(f"http://{LOOPBACK}:{server.port}/healthz", trust_env=False, timeout=60).status_code)
    )
    request.start()
    assert asked.wait(60)
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    go_on.set()
    for thread in (request, stopping):
        thread.join(60)
    assert answers == [200]
    assert set(threading.enumerate()) == threads
    idle.close()
    with socket.create_server((LOOPBACK, server.port)):
        pass


def test_a_port_that_is_taken_is_an_error_at_once() -> None:
    """Not a thread that has died."""
    with socket.create_server((LOOPBACK, 0)) as taken, pytest.raises(OSError, match="in use"):
        serve.Server({}, taken.getsockname()[1], None, LOOPBACK)
