"""One connection of a client to the relay: OpenSSH's own client, kept alive, with ports that come and go while it lives.

What ports are wanted is plain data; whatever happens to the connection, they are asked for again until the relay listens on them.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from generator.errors import BasculeError
from generator.live.client import Access, NotYet
from generator.live.failures import KubeError
from generator.names import RELAY

HOST: Final = RELAY
"""What the relay is called in known_hosts; its address is the tunnel's matter."""
_CIPHERS: Final = "aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,aes256-ctr"
"""AES-GCM first, which processors compute: OpenSSH's own choice, ChaCha20, takes half as much time again at both ends. In each OpenSSH
since 6.2, also where only FIPS 140 is allowed; a word that the client does not know would keep it from connecting."""
FIRST, LAST = 0.2, 5.0
"""Seconds until a lost connection is tried again: doubled each time, from and to."""
_TOLD: Final = 0.4
"""Seconds after which it is told what is wrong: what passes by itself sooner is not."""
_LOOK: Final = 0.02
"""Seconds between two looks whether the relay has let us in."""
_RETRY: Final = 0.5
"""Seconds until a port that the relay did not give is asked for again: a listener of before ends after 6 to 8 s."""
_SECONDS: Final = 10
"""For a word with the running ssh."""
_MAKE: Final = "See what `ssh-keygen -t ed25519 -f /tmp/key` says; a full disk, or an OpenSSH without ed25519, is mended there."


class NoSsh(BasculeError):
    """OpenSSH's client is not on this machine."""


class BadKey(BasculeError):
    """The key in the folder cannot be made or used; says why. place: its file. cure: what to do."""

    def __init__(self, place: Path, why: str, cure: str) -> None:
        super().__init__(why)
        self.place, self.cure = place, cure


def programs() -> tuple[str, str]:
    """Paths of ssh and ssh-keygen. Raises NoSsh."""
    ssh, keygen = shutil.which("ssh"), shutil.which("ssh-keygen")
    if not ssh or not keygen:
        raise NoSsh(f"there is no {'ssh' if not ssh else 'ssh-keygen'} on this machine")
    return ssh, keygen


def folder(cluster: str, client: str) -> Path:
    """Where the client's key is, in the user's state (XDG Base Directory Specification), for this user alone."""
    state = os.environ.get("XDG_STATE_HOME") or ""
    base = Path(state) if state.startswith("/") else Path.home() / ".local/state"
    found = base / "bascule" / f"{cluster}-{client}"
    found.mkdir(mode=0o700, parents=True, exist_ok=True)
    found.chmod(0o700)
    return found


def public_key(at: Path) -> str:
    """The public half of the key in the folder; both are made the first time, and the private one never leaves it. Raises NoSsh, BadKey."""
    key = at / "id_ed25519"
    if not key.exists():
        with tempfile.TemporaryDirectory(dir=at) as fresh:
            command = [programs()[1], "-q", "-t", "ed25519", "-N", "", "-C", "bascule", "-f", f"{fresh}/key"]
            made = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)  # noqa: S603  # no text of others
            if made.returncode:
                raise BadKey(key, f"ssh-keygen cannot make it: {_last(made.stderr + made.stdout, 'it gave no reason')}", _MAKE)
            with contextlib.suppress(FileExistsError):  # of two commands that begin at once, one made it
                os.link(f"{fresh}/key", key)
    command = [programs()[1], "-y", "-P", "", "-f", str(key)]
    said = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True)  # noqa: S603  # as above
    if said.returncode:
        raise BadKey(key, _last(said.stderr, "it cannot be read"), "Delete it; a new one is made.")
    return " ".join(said.stdout.split()[:2])


def options(key: Path, run: Path, tunnel: Sequence[str]) -> list[str]:
    """The options of ssh. key: the private one. run: a folder for the files of this connection. tunnel: a command that leads to the relay.

    The user's own settings, agent and known hosts take no part: who may connect is the certificate's matter alone.
    """
    settings = {
        "IdentityFile": key,
        "CertificateFile": run / "certificate",
        "IdentitiesOnly": "yes",
        "IdentityAgent": "none",
        "PreferredAuthentications": "publickey",
        "BatchMode": "yes",
        "Ciphers": _CIPHERS,
        "HostKeyAlias": HOST,
        "UserKnownHostsFile": run / "known_hosts",
        "GlobalKnownHostsFile": "none",
        "StrictHostKeyChecking": "yes",
        "UpdateHostKeys": "no",
        "CheckHostIP": "no",
        "ExitOnForwardFailure": "yes",
        "ServerAliveInterval": 2,
        "ServerAliveCountMax": 3,
        "ConnectTimeout": 10,
        "ControlPath": run / "control",
        "ControlPersist": "no",
        "ForwardAgent": "no",
        "ForwardX11": "no",
        "LogLevel": "ERROR",
        "ProxyCommand": shlex.join(tunnel).replace("%", "%%"),
    }
    return ["-F", os.devnull, *(word for name, value in settings.items() for word in ("-o", f"{name}={_quoted(str(value), name)}"))]


def _quoted(value: str, name: str) -> str:
    """A path as ssh_config(5) takes one that has spaces, quotes and percent signs; any other value as it is."""
    if not name.endswith(("File", "Path")) or not value.startswith("/"):
        return value
    escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%")
    return f'"{escaped}"'


class Session:
    """The connection, in a thread of its own: `run`. Any thread may say what is wanted and ask what is held."""

    def __init__(self, at: Path, tunnel: Sequence[str], access: Callable[[], Access], say: Callable[[str], None]) -> None:
        """at: the folder of the key. access: what the operator grants now; may raise NotYet and KubeError. say: told what goes wrong."""
        self._at, self._tunnel, self._access, self._say = at, tunnel, access, say
        self._wanted: dict[int, int] = {}
        self._held: dict[int, int] = {}
        self._changed = threading.Event()
        self._why = self._said = ""

    def want(self, ports: Mapping[int, int]) -> None:
        """Let the relay's ports lead to these ports of this machine's loopback, and no others."""
        if dict(ports) != self._wanted:
            self._wanted = dict(ports)
            self._changed.set()

    def held(self) -> frozenset[int]:
        """The relay's ports that lead here now."""
        return frozenset(self._held)

    def run(self, stop: threading.Event) -> None:
        """Connect, and again whenever the connection ends, until `stop` is set."""
        pause, since = FIRST, 0.0
        while not stop.is_set():
            began = time.monotonic()
            why = self._tried(stop)
            if stop.is_set():
                return
            ended = time.monotonic()
            lasted = ended - began > LAST
            if why != self._why or lasted:
                self._why, since = why, began if lasted else ended
            if why != self._said and ended - since >= _TOLD:
                self._say(why)
                self._said = why
            pause = FIRST if lasted else pause
            stop.wait(pause)
            pause = min(2 * pause, LAST)

    def _tried(self, stop: threading.Event) -> str:
        """As `_once`, whatever goes wrong: a full disk, a program that is gone, an answer of another form."""
        try:
            with tempfile.TemporaryDirectory(prefix="bascule-") as name:  # a socket's path has room for 104 characters at most
                return self._once(Path(name), stop)
        except (BasculeError, OSError) as error:
            return f"no connection to the relay: {error}"
        except Exception as error:  # noqa: BLE001  # without this thread nothing would say what is wrong
            return f"no connection to the relay: {type(error).__name__}: {error}"

    def _once(self, run: Path, stop: threading.Event) -> str:
        """One connection, from its beginning to its end; why it ended."""
        try:
            access = self._access()
        except NotYet as error:
            return f"waiting for {error}"
        except KubeError as error:
            return str(error)
        (run / "certificate").write_text(f"{access.certificate.strip()}\n")
        (run / "known_hosts").write_text(f"{HOST} {access.host_key.strip()}\n")
        control = run / "control"
        command = [programs()[0], *options(self._at / "id_ed25519", run, self._tunnel), "-M", "-N", f"{access.user}@{HOST}"]
        with (run / "said").open("w+") as said:
            settings = {**os.environ, "SHELL": "/bin/sh"}  # with which ssh runs its ProxyCommand
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=said, stderr=said, env=settings, start_new_session=True)  # noqa: S603  # Ctrl-C is ours
            try:
                while process.poll() is None and not stop.is_set():
                    if control.exists():  # it is made when the relay has let us in
                        self._settle(control, access)
                    self._changed.wait(_RETRY if control.exists() else _LOOK)
                    self._changed.clear()
            finally:
                self._held = {}
                process.terminate()
                process.wait()
            said.seek(0)
            lines = said.read()
        return f"the connection to the relay ended: {_reason(lines)}"

    def _settle(self, control: Path, access: Access) -> None:
        """Take back what is not wanted any more, ask for what is not held."""
        wanted = self._wanted
        for port, local in list(self._held.items()):
            if wanted.get(port) != local:
                _word(control, "cancel", _spec(access, port, local))
                self._held = {p: to for p, to in self._held.items() if p != port}
        for port, local in wanted.items():
            if port in self._held:
                continue
            if refused := _word(control, "forward", _spec(access, port, local)):
                why = f"port {port} of the relay is not free yet: {refused}"
                if why == self._why and why != self._said:
                    self._say(why)
                    self._said = why
                self._why = why
            else:
                self._held = {**self._held, port: local}


def _reason(said: str) -> str:
    """Why ssh ended: what the tunnel below it says is nearer to it than what ssh makes of that."""
    return next((line for line in said.splitlines() if line.startswith("error")), "") or _last(said, "without a word")


def _last(said: str, nothing: str) -> str:
    return (said.strip().splitlines() or [nothing])[-1]


def _spec(access: Access, port: int, local: int) -> str:
    host = f"[{access.address}]" if ":" in access.address else access.address
    return f"{host}:{port}:127.0.0.1:{local}"


def _word(control: Path, word: str, spec: str) -> str:
    """A word to the running ssh; what it says against it, "" if nothing."""
    command = [programs()[0], "-F", os.devnull, "-o", f"ControlPath={_quoted(str(control), 'ControlPath')}", "-O", word, "-R", spec, HOST]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_SECONDS, check=False)  # noqa: S603  # numbers and our own address
    except subprocess.TimeoutExpired:
        return "the connection to the relay does not answer"
    return "" if done.returncode == 0 else _last(done.stderr, "ssh gave no reason")
