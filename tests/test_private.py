"""What a kubeconfig holds stays with its user: keys as files that nobody else can read or plant."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
import subprocess
import tempfile
from base64 import b64encode
from pathlib import Path

import pykube
import pytest

from generator.cli.tunnel import command
from generator.live import credentials
from generator.live.kube import Kube
from tests.cluster.certificates import Authority

KEY, CERTIFICATE, AUTHORITY = b"the key", b"the certificate", b"the authority"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> pykube.KubeConfig:
    """A kubeconfig with all of it inside, on a machine where somebody has planted an authority at the path that pykube would take."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    credentials.forget()
    planted = tmp_path / f"pykube-ng.{hashlib.md5(AUTHORITY).hexdigest()}.crt"
    planted.write_bytes(b"planted")
    data = {f"{name}-data": b64encode(content).decode() for name, content in (("client-key", KEY), ("client-certificate", CERTIFICATE))}
    return pykube.KubeConfig(
        {
            "current-context": "it",
            "clusters": [
                {"name": "it", "cluster": {"server": "https://127.0.0.1:1", "certificate-authority-data": b64encode(AUTHORITY).decode()}}
            ],
            "users": [{"name": "it", "user": data}],
            "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        }
    )


def test_keys_are_in_files_of_their_user_alone(config: pykube.KubeConfig, tmp_path: Path) -> None:
    """Whatever the umask; where they cannot be foretold; and gone with the process."""
    before = {*tmp_path.iterdir()}
    umask = os.umask(0)
    try:
        Kube(config)
    finally:
        os.umask(umask)
    (folder,) = {*tmp_path.iterdir()} - before
    parts = {"client-key": config.user, "client-certificate": config.user, "certificate-authority": config.cluster}
    paths = {name: Path(part[name].filename()) for name, part in parts.items()}

    assert [path.read_bytes() for path in paths.values()] == [KEY, CERTIFICATE, AUTHORITY]
    assert {path.parent for path in paths.values()} == {folder}
    assert {oct(path.stat().st_mode & 0o777) for path in paths.values()} == {"0o600"}
    assert oct(folder.stat().st_mode & 0o777) == "0o700"
    credentials.forget()
    assert {*tmp_path.iterdir()} == before


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_they_go_with_a_tunnel_that_ssh_ends(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory, number: signal.Signals) -> None:
    """Ssh ends its ProxyCommand by a signal, with every connection that breaks."""
    authority = Authority(tmp_path)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        authority.kubeconfig(tmp_path / "config", f"https://127.0.0.1:{silent.getsockname()[1]}", "alice")
        folder = tmp_path_factory.mktemp("temporary")
        environment = {**os.environ, "KUBECONFIG": str(tmp_path / "config"), "TMPDIR": str(folder)}
        process = subprocess.Popen([*command(None)], env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
        with process:
            silent.settimeout(30)
            silent.accept()[0].detach()
            assert list(folder.iterdir())
            process.send_signal(number)
            assert process.wait(30) == 0
    assert list(folder.iterdir()) == []
