"""A session with OpenSSH's real client and server, through `bascule tunnel` and a port-forward."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from generator.cli.tunnel import command
from generator.live import session
from generator.live.client import Access, NotYet, certified
from generator.live.failures import Unreachable
from tests.session_lab import PATIENCE, Sshd, free_port, hello, kubeconfig, listens, port_forward, serving, sshd, until

ROOT = Path(__file__).parents[1]


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Sshd]:
    """The relay's sshd, and a kubeconfig of the way to it."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    with sshd(tmp_path / "sshd") as found, port_forward(found.port) as api:
        (tmp_path / "kubeconfig").write_text(kubeconfig(api))
        monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
        yield found


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A folder with a key, whose name needs quoting."""
    folder = tmp_path / 'a "state" of 100%h'
    folder.mkdir()
    return folder


@pytest.fixture
def process() -> Iterator[int]:
    """A user's process."""
    with serving(hello) as port:
        yield port


@contextmanager
def running(state: Path, access: Callable[[], Access], tunnel: list[str] | None = None) -> Iterator[tuple[session.Session, list[str]]]:
    """A session, and what it says."""
    said: list[str] = []
    made = session.Session(state, tunnel or command(None), access, said.append)
    stop = threading.Event()
    thread = threading.Thread(target=made.run, args=(stop,), daemon=True)
    thread.start()
    try:
        yield made, said
    finally:
        stop.set()
        thread.join(PATIENCE)
        assert not thread.is_alive()


def ask(port: int) -> bytes:
    """What an HTTP request gets there."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE) as made:
        made.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        return made.recv(1000)


def test_ports_come_and_go_on_one_connection(server: Sshd, state: Path, process: int) -> None:
    """A port that is wanted leads here, one that is wanted no more is given back; nothing else of the connection changes."""
    public = session.public_key(state)
    first, second = free_port(), free_port()
    with running(state, lambda: server.access(public)) as (made, _):
        made.want({first: process})
        until(lambda: made.held() == {first}, "the first port")
        assert ask(first).endswith(b"hello")
        made.want({first: process, second: process})
        until(lambda: made.held() == {first, second}, "the second port")
        assert ask(second).endswith(b"hello")
        made.want({second: process})
        until(lambda: made.held() == {second} and not listens(first), "the end of the first port")
        assert ask(second).endswith(b"hello")
        assert (server.folder / "log").read_text().count("Accepted publickey") == 1
    until(lambda: not listens(second), "the end")


@pytest.mark.parametrize(
    ("offered", "chosen"),
    [
        ("", "aes128-gcm@openssh.com"),
        ("chacha20-poly1305@openssh.com,aes256-gcm@openssh.com", "aes256-gcm@openssh.com"),
        ("aes128-ctr", "aes128-ctr"),
    ],
)
def test_the_cipher_that_costs_least(server: Sshd, state: Path, process: int, offered: str, chosen: str) -> None:
    """Of what the relay's OpenSSH offers, which it does in its own order by default, both directions take the first of ours."""
    with (server.folder / "config").open("a") as config:
        config.write("\nLogLevel DEBUG1\n" + (f"Ciphers {offered}\n" if offered else ""))
    server.stop()
    server.start()
    public, port = session.public_key(state), free_port()
    with running(state, lambda: server.access(public)) as (made, _):
        made.want({port: process})
        until(lambda: made.held() == {port}, "the port")
        assert ask(port).endswith(b"hello")
    log = (server.folder / "log").read_text()
    for direction in ("client->server", "server->client"):
        assert f"kex: {direction} cipher: {chosen} " in log


def test_a_port_that_leads_elsewhere_now(server: Sshd, state: Path, process: int) -> None:
    """The same port of the relay to another port of this machine."""
    public, port = session.public_key(state), free_port()
    with running(state, lambda: server.access(public)) as (made, _), serving(lambda made: made.sendall(b"other")) as other:
        made.want({port: process})
        until(lambda: made.held() == {port}, "the port")
        made.want({port: other})

        def moved() -> bool:
            with suppress(OSError):
                return ask(port) == b"other"
            return False

        until(moved, "the other process")


def test_it_connects_again(server: Sshd, state: Path, process: int) -> None:
    """The relay dies and comes back: all ports are there again with no new command, and with what is granted now."""
    public, port = session.public_key(state), free_port()
    granted: list[Access] = []

    def access() -> Access:
        granted.append(server.access(public))
        return granted[-1]

    with running(state, access) as (made, _):
        made.want({port: process})
        until(lambda: made.held() == {port}, "the port")
        server.stop()
        until(lambda: not made.held(), "the loss")
        server.start()
        until(lambda: made.held() == {port}, "the port again")
        assert ask(port).endswith(b"hello")
    assert len(granted) > 1


def test_a_port_in_use_is_said_and_asked_for_again(server: Sshd, state: Path, process: int) -> None:
    """Somebody else listens on it still, as a session that died without a word does; the others are not held up."""
    public, other = session.public_key(state), free_port()
    with socket.create_server(("127.0.0.1", 0)) as taken, running(state, lambda: server.access(public)) as (made, said):
        port = taken.getsockname()[1]
        made.want({port: process, other: process})
        until(lambda: made.held() == {other} and said, "the word")
        assert any(str(port) in each for each in said)
        taken.close()
        until(lambda: made.held() == {port, other}, "the port")


@pytest.mark.parametrize("wrong", ["certificate", "host key", "expired"])
def test_who_is_not_trusted(server: Sshd, state: Path, process: int, wrong: str) -> None:
    """A certificate of no authority or of yesterday, or another relay's host key: no port, and it is said why."""
    public = session.public_key(state)
    good = server.access(public)
    bad = {
        "certificate": good._replace(certificate=public),
        "host key": good._replace(host_key=public),
        "expired": good._replace(certificate=server.sign(public, "-2h:-1h")),
    }[wrong]
    with running(state, lambda: bad) as (made, said):
        made.want({free_port(): process})
        until(lambda: said, "the reason")
        assert not made.held()
        assert "Permission denied" in said[0] or "Host key verification failed" in said[0]


def late(server: Sshd, public: str, answers: list[Exception]) -> Callable[[], Access]:
    """Who fails in each of these ways, one after the other, and then grants access."""

    def access() -> Access:
        if answers:
            raise answers.pop(0)
        return server.access(public)

    return access


def test_what_is_not_granted_yet(server: Sshd, state: Path, process: int) -> None:
    """The operator takes its time, and the API server fails once: it waits, says for what, and connects."""
    public, port = session.public_key(state), free_port()
    answers: list[Exception] = [*3 * [NotYet("the operator")], Unreachable("no answer")]

    with running(state, late(server, public, answers)) as (made, said):
        made.want({port: process})
        until(lambda: made.held() == {port}, "the port")
        assert said == ["waiting for the operator"]


def test_whatever_goes_wrong_it_goes_on(server: Sshd, state: Path, process: int) -> None:
    """Also what nobody thought of: it is said, and tried again."""
    public, port = session.public_key(state), free_port()
    answers: list[Exception] = [*3 * [KeyError("user")], OSError("no room"), session.NoSsh("there is no ssh")]

    with running(state, late(server, public, answers)) as (made, said):
        made.want({port: process})
        until(lambda: made.held() == {port}, "the port")
        assert said == ["no connection to the relay: KeyError: 'user'"]


def test_the_tunnel_knows_best_why(server: Sshd, state: Path) -> None:
    """What ssh says after it is only that the tunnel has ended."""
    script = "echo error RelayUnreachable: a Pod: it starts >&2; echo '  Wait.' >&2; exit 2"
    public = session.public_key(state)
    with running(state, lambda: server.access(public), ["sh", "-c", script]) as (_, said):
        until(lambda: said, "the reason")
        assert said == ["the connection to the relay ended: error RelayUnreachable: a Pod: it starts"]


def test_a_folder_for_sockets_whose_name_needs_quoting(
    server: Sshd, state: Path, process: int, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """TMPDIR is the user's; ssh is given, and asked at, the same place."""
    made_in = tempfile.TemporaryDirectory(prefix='a "%h" ', dir="/tmp")
    request.addfinalizer(made_in.cleanup)
    monkeypatch.setattr(tempfile, "tempdir", made_in.name)
    public, port = session.public_key(state), free_port()
    with running(state, lambda: server.access(public)) as (made, _):
        made.want({port: process})
        until(lambda: made.held() == {port}, "the port")


def test_a_killed_process_takes_its_connection_along(server: Sshd, state: Path, process: int, tmp_path: Path) -> None:
    """SIGKILL leaves no ssh behind that would go on listening for nobody."""
    public, port = session.public_key(state), free_port()
    code = """
import sys, threading
from pathlib import Path
from generator.cli.tunnel import command
from generator.live.client import Access
from generator.live.session import Session
state, port, process, *access = sys.argv[1:]
made = Session(Path(state), command(None), lambda: Access(*access), print)
made.want({int(port): int(process)})
made.run(threading.Event())
"""
    words = [sys.executable, "-c", code, str(state), str(port), str(process), *server.access(public)]
    with subprocess.Popen(words, env=os.environ) as holder:
        until(lambda: listens(port), "the port")
        holder.kill()
    until(lambda: not listens(port), "the end of the port")


def test_the_key_is_made_once_and_for_its_user_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two commands of the same client find the same key; nobody else can read it."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    at = session.folder("a.example-6443", "alice")
    public = session.public_key(at)

    assert public == session.public_key(session.folder("a.example-6443", "alice"))
    assert public.startswith("ssh-ed25519 ")
    assert [stat.S_IMODE(p.stat().st_mode) for p in (at, at / "id_ed25519")] == [0o700, 0o600]
    assert sorted(p.name for p in at.iterdir()) == ["id_ed25519"]


def test_whose_key_a_certificate_has(server: Sshd, state: Path) -> None:
    """So that a certificate of the key of before is not taken for one of the key of now."""
    public = session.public_key(state)
    assert certified(server.sign(public)) == certified(server.sign(public)) != b""
    assert certified("nonsense") == certified("") == certified(public[:40]) == b""


def test_no_ssh(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is said which program is missing."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(session.NoSsh, match="there is no ssh on this machine"):
        session.programs()
