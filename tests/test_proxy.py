"""A kubeconfig's `proxy-url` and `tls-server-name`, for requests, exec and port-forward alike."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pykube
import pytest

from generator.cluster.relay import POD
from generator.cluster.snapshot import Key
from generator.live.deliver import run
from generator.live.failures import NotFound, Unreachable
from generator.live.kube import Kube
from generator.live.portforward import forward
from tests.cluster.cluster import Cluster
from tests.session_lab import PATIENCE, echo, port_forward, serving, tls_of

ELSEWHERE = "https://cluster.invalid:6443"
"""Only the proxy knows where it is (RFC 6761: the name never resolves)."""


@contextmanager
def proxy(to: int, answer: bytes = b"200 Connection established") -> Iterator[tuple[int, list[bytes]]]:
    """A proxy that leads every CONNECT to a port of this machine, where its answer is 200; its port, and the heads of all requests."""
    seen: list[bytes] = []

    def pump(source: socket.socket, sink: socket.socket) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                sink.sendall(data)
        with suppress(OSError):
            sink.shutdown(socket.SHUT_WR)

    def one(made: socket.socket) -> None:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += made.recv(1)
        seen.append(head)
        made.sendall(b"HTTP/1.1 " + answer + b"\r\n\r\n")
        if answer.startswith(b"200"):
            with socket.create_connection(("127.0.0.1", to)) as there:
                back = threading.Thread(target=pump, args=(there, made), daemon=True)
                back.start()
                pump(made, there)
                back.join()

    with serving(one) as port:
        yield port, seen


def account(kubeconfig: Path, **more: str) -> Kube:
    """The account of a kubeconfig, on a cluster with more settings."""
    config = pykube.KubeConfig.from_file(str(kubeconfig))
    config.doc["clusters"][0]["cluster"].update(more)
    return Kube(pykube.KubeConfig(config.doc))


def port_of(api: Cluster) -> int:
    """Of the API server."""
    return int(pykube.KubeConfig.from_file(str(api.kubeconfig)).cluster["server"].rpartition(":")[2])


def get(kube: Kube) -> None:
    """An object that is not there."""
    kube.get(POD)


def exec_(kube: Kube) -> None:
    """In a Pod that is not there."""
    run(kube, POD, "app", ("true",), b"")


def port_forwarded(kube: Kube) -> None:
    """To a Pod that is not there."""
    forward(kube, POD, 2222, 0, 1)


WAYS = pytest.mark.parametrize("way", [get, exec_, port_forwarded])


@WAYS
def test_the_api_server_is_reached(api: Cluster, way: Callable[[Kube], None]) -> None:
    """By the proxy and under another name, all at once: its own answer comes."""
    with proxy(port_of(api)) as (port, seen):
        kube = account(
            api.kubeconfig, server=ELSEWHERE, **{"proxy-url": f"http://127.0.0.1:{port}", "tls-server-name": "kubernetes.default.svc"}
        )
        with pytest.raises(NotFound, match="not found"):
            way(kube)
    assert [head.split()[:2] for head in seen] == [[b"CONNECT", b"cluster.invalid:6443"]]


@WAYS
@pytest.mark.parametrize("proxied", [True, False])
def test_another_name_is_not_trusted(api: Cluster, way: Callable[[Kube], None], proxied: bool) -> None:
    """The certificate is held against `tls-server-name`, though it is good for the address."""
    with proxy(port_of(api)) as (port, _):
        more = {"proxy-url": f"http://127.0.0.1:{port}"} if proxied else {}
        kube = account(api.kubeconfig, **more, **{"tls-server-name": "other.example"})
        with pytest.raises(Unreachable, match=r"other\.example"):
            way(kube)


@WAYS
def test_a_proxy_that_refuses(api: Cluster, way: Callable[[Kube], None]) -> None:
    """It is given the user of its URL; its status is in the error, the password is not."""
    with proxy(0, b"407 Proxy Authentication Required") as (port, seen):
        kube = account(api.kubeconfig, **{"proxy-url": f"http://alice:se%20cret@127.0.0.1:{port}/"})
        with pytest.raises(Unreachable, match="407") as found:
            way(kube)
    assert "cret" not in str(found.value)
    assert all(b"Proxy-Authorization: Basic " + base64.b64encode(b"alice:se cret") in head for head in seen)
    assert seen


@pytest.mark.parametrize(
    "url", ["https://p.example:3128", "socks5://a:secret@p.example", "p.example:3128", "http://", "http://p:x", "http://["]
)
def test_other_proxies_are_said_to_be_unknown(api: Cluster, url: str) -> None:
    """Exec and port-forward name the URL, without its password, and give an example of one that they know."""
    for way in (exec_, port_forwarded):
        with pytest.raises(Unreachable, match=r"as proxy-url http://proxy\.example:3128, not ") as found:
            way(account(api.kubeconfig, **{"proxy-url": url}))
        assert str(found.value).endswith(url.replace("a:secret@", ""))


def test_bytes_pass(tmp_path: Path) -> None:
    """Both ways, whole, while the session lasts."""
    sent = bytes(range(256)) * 4096
    near, far = socket.socketpair()
    with (
        serving(echo) as app,
        port_forward(app, tls=tls_of(tmp_path)) as api,
        proxy(api) as (port, _),
        near,
        far,
        far.dup() as back,
    ):
        cluster = {"server": ELSEWHERE, "insecure-skip-tls-verify": True, "proxy-url": f"http://127.0.0.1:{port}"}
        names = {"contexts": [{"name": "a", "context": {"cluster": "a", "user": "a"}}], "current-context": "a"}
        kube = Kube(pykube.KubeConfig({"clusters": [{"name": "a", "cluster": cluster}], "users": [{"name": "a", "user": {}}], **names}))
        pump = threading.Thread(target=forward, args=(kube, Key("Pod", "shop", "web"), 1, far.fileno(), back.fileno()), daemon=True)
        pump.start()
        near.settimeout(PATIENCE)
        sender = threading.Thread(target=near.sendall, args=(sent,), daemon=True)
        sender.start()
        found = b""
        while len(found) < len(sent):
            found += near.recv(65536)
        assert found == sent
        near.shutdown(socket.SHUT_WR)
        pump.join(PATIENCE)
        assert not pump.is_alive()
