"""The relay as its container is, but without one: its scripts, a real sshd, and networks of its own for the Pod, a laptop and a carrier.

    with relay(tmp_path) as lab:
        session = lab.ssh(lab.user("alice", 20032), f"{lab.address}:20032:127.0.0.1:3000")

The relay runs as its user, with no capability, on a read-only root, as the first process of its namespace; in place of the API server's
port-forward stands a program in the Pod's network that leads from port 6443 to sshd on loopback. All ends with the block.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from generator.live.relaykeys import certificate, line, public_key

IMAGE = Path(__file__).parents[1] / "relay" / "image"
PATIENCE = 60.0
"""Seconds until a test gives up."""
UID = 65532
_POD = """
read -r _
set -e
mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs /srv
mkdir -p /srv/relay/keys /srv/relay/run /srv/relay/www/cgi-bin
cp "$IMAGE/relay" "$IMAGE/principals" /srv/relay
cp "$IMAGE/listening" "$IMAGE/end" /srv/relay/www/cgi-bin
cp "$KEYS/host_key" "$KEYS/user_ca.pub" /srv/relay/keys
chown -R "0:$ID" /srv/relay/keys && chmod 440 /srv/relay/keys/*
chown "$ID:$ID" /srv/relay/run
{ cat /etc/passwd; echo "relay:x:$ID:$ID::/nonexistent:/bin/false"; } >/srv/passwd
mount --bind /srv/passwd /etc/passwd
mount -o remount,bind,ro /
cd /
busybox nc -ll -p 6443 -e busybox nc 127.0.0.1 2222 </dev/null >/dev/null 2>&1 &
exec setpriv --pdeathsig KILL --reuid "$ID" --regid "$ID" --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all \
    env -i "PATH=/usr/local/bin:/usr/bin:/bin" "POD_IP=$POD_IP" /srv/relay/relay
"""
_ASK = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2])), 20) as connection:
    connection.sendall(sys.stdin.buffer.read())
    while data := connection.recv(65536):
        sys.stdout.buffer.write(data)
"""


@dataclass(frozen=True)
class User:
    """A key and, maybe, its certificate, as files that ssh reads."""

    key: Path
    certificate: Path | None


@dataclass
class Lab:
    """A running relay. address: of its Pod. net: the process whose network is the Pod's, the laptop's, the carrier's."""

    folder: Path
    address: str
    authority: Ed25519PrivateKey
    net: dict[str, int]
    pod: subprocess.Popen[bytes]
    sessions: list[subprocess.Popen[str]]

    def inside(self, where: str, *command: str) -> list[str]:
        """The command that runs `command` in a network: pod, laptop, carrier."""
        return ["nsenter", f"--net=/proc/{self.net[where]}/ns/net", *command]

    @property
    def first(self) -> str:
        """The number of the container's first process."""
        pod = self.net["pod"]
        return Path(f"/proc/{pod}/task/{pod}/children").read_text().strip()

    def key(self) -> Path:
        """A new key of a user."""
        path = self.folder / f"key{len(list(self.folder.glob('key*.pub')))}"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "me", "-f", path], check=True)
        return path

    def user(self, client: str, first: int, now: datetime | None = None, authority: Ed25519PrivateKey | None = None) -> User:
        """A user with a certificate as the operator gives it, for the block that begins at `first`."""
        key = self.key()
        public = public_key(key.with_suffix(".pub").read_text())
        return self.holding(key, certificate(authority or self.authority, public, client, first, now or datetime.now(UTC)))

    def signed(self, *arguments: str) -> User:
        """A user whose certificate ssh-keygen has signed, with the relay's own authority and these arguments."""
        key = self.key()
        subprocess.run(["ssh-keygen", "-q", "-s", self.folder / "ca", *arguments, key.with_suffix(".pub")], check=True)
        return User(key, key.with_name(f"{key.name}-cert.pub"))

    def holding(self, key: Path, text: str) -> User:
        """Whoever has this key and this certificate."""
        path = key.with_suffix(".cert")
        path.write_text(f"{text}\n")
        return User(key, path)

    def ssh(self, user: User, *more: str, account: str = "relay") -> subprocess.Popen[str]:
        """OpenSSH's client on the laptop. more: its further options, and a command."""
        options = [
            *("IdentitiesOnly=yes", "BatchMode=yes", "StrictHostKeyChecking=yes", "HostKeyAlias=relay", "ExitOnForwardFailure=yes"),
            *("ControlPath=none", f"UserKnownHostsFile={self.folder / 'known_hosts'}", f"IdentityFile={user.key}"),
            *([f"CertificateFile={user.certificate}"] if user.certificate else []),
        ]
        words = [word for option in options for word in ("-o", option)]
        host = ["-p", "6443", f"{account}@{self.address}"]
        command = self.inside("laptop", "ssh", "-F", "none", *words, *_ordered(host, more))
        session = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, errors="replace"
        )
        self.sessions.append(session)
        return session

    def forward(self, user: User, *forwards: str) -> subprocess.Popen[str]:
        """A session that listens: each of `forwards` is `ADDRESS:PORT:HOST:PORT`."""
        return self.ssh(user, "-N", *(word for each in forwards for word in ("-R", each)))

    def sent(self, where: str, host: str, port: int, data: bytes) -> bytes | None:
        """What comes back, until the other end closes, when `data` is sent from a network; None where nobody listens."""
        asking = [sys.executable, "-ISc", _ASK, host, str(port)]
        done = subprocess.run(self.inside(where, *asking), input=data, capture_output=True, check=False)
        return done.stdout if done.returncode == 0 else None

    def asked(self, where: str, host: str, port: int, path: str = "/") -> str:
        """The body that an HTTP request from a network is answered with; "" where nobody answers."""
        answer = self.sent(where, host, port, f"GET {path} HTTP/1.0\r\n\r\n".encode()) or b""
        return answer.partition(b"\r\n\r\n")[2].decode()

    def log(self) -> str:
        """What sshd has said."""
        return (self.folder / "relay.log").read_text(errors="replace")

    def listening(self) -> list[int]:
        """What the relay says of who is listening."""
        return [int(each) for each in self.asked("carrier", self.address, 8080, "/cgi-bin/listening").split()]

    def sockets(self) -> set[tuple[str, int]]:
        """What is listened on in the Pod's network, as the kernel says it: the truth."""
        done = subprocess.run(self.inside("pod", "ss", "-Hltn"), capture_output=True, text=True, check=True)
        pairs = (row.split()[3].rpartition(":") for row in done.stdout.splitlines())
        return {(host.strip("[]"), int(port)) for host, _, port in pairs}

    def link(self, state: str) -> None:
        """The laptop's cable: up or down. Nobody is told."""
        subprocess.run(self.inside("laptop", "ip", "link", "set", "pod", state), check=True)


def _ordered(host: list[str], more: Sequence[str]) -> list[str]:
    """Options, the host, and behind `--` a command."""
    at = list(more).index("--") if "--" in more else len(more)
    return [*more[:at], *host, *more[at + 1 :]]


def until(happens: Callable[[], object], what: str) -> None:
    """Wait for it."""
    end = time.monotonic() + PATIENCE
    while not happens():
        assert time.monotonic() < end, f"waited in vain for {what}"
        time.sleep(0.05)


@contextmanager
def relay(folder: Path, address: str = "10.1.0.5", peers: tuple[str, str] = ("10.1.0.1", "10.2.0.1")) -> Iterator[Lab]:
    """A relay whose Pod has `address`; `peers` are the laptop and the carrier."""
    authority, host = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    _private(folder / "ca", authority)
    _private(folder / "host_key", host)
    (folder / "user_ca.pub").write_text(f"{line(authority.public_key())}\n")
    (folder / "known_hosts").write_text(f"relay {line(host.public_key())}\n")
    with ExitStack() as stack, (folder / "relay.log").open("wb") as log:
        nets = {
            name: stack.enter_context(_process(["unshare", "--net", "sh", "-c", "echo; exec cat"], None)) for name in ("laptop", "carrier")
        }
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "IMAGE": str(IMAGE), "KEYS": str(folder), "ID": str(UID), "POD_IP": address}
        alone = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", f"echo; {_POD}"]
        pod = stack.enter_context(_process(alone, log, environment))
        lab = Lab(folder, address, authority, {"pod": pod.pid, **{name: each.pid for name, each in nets.items()}}, pod, [])
        _wire(lab, peers)
        assert pod.stdin
        pod.stdin.write(b"\n")
        pod.stdin.flush()
        until(lambda: pod.poll() is not None or ("127.0.0.1", 2222) in lab.sockets(), "sshd")
        assert pod.poll() is None, lab.log()
        try:
            yield lab
        finally:
            for session in lab.sessions:
                session.kill()
                session.communicate()


def _private(path: Path, key: Ed25519PrivateKey) -> None:
    path.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.OpenSSH, serialization.NoEncryption()))
    path.chmod(0o600)


@contextmanager
def _process(command: list[str], log: object, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[bytes]]:
    """A process from when it has printed a line, until the block ends."""
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=env)  # type: ignore[call-overload]
    try:
        assert process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()


def _wire(lab: Lab, peers: tuple[str, str]) -> None:
    """A cable from the Pod to the laptop, and one to the carrier."""
    size, kind = (64, " nodad") if ":" in lab.address else (24, "")
    gateways = lab.address, f"{peers[1][:-1]}9"
    for name, peer, gateway in zip(("laptop", "carrier"), peers, gateways, strict=True):
        cable = f"to-{name}"
        there = f"link add {cable} type veth peer name pod netns {lab.net[name]}"
        _ip(lab.inside("pod"), ["link set lo up", there, f"link set {cable} up", f"addr add {gateway}/{size} dev {cable}{kind}"])
        plug = ["link set lo up", "link set pod up", f"addr add {peer}/{size} dev pod{kind}", f"route add default via {gateway}"]
        _ip(lab.inside(name), plug)


def _ip(inside: list[str], commands: list[str]) -> None:
    subprocess.run([*inside, "ip", "-batch", "-"], input="\n".join(commands) + "\n", text=True, check=True)
