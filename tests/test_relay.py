"""The relay: what a client may do works, and all else that OpenSSH could do is tried and refused, by a real sshd."""

from __future__ import annotations

import re
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from generator.live.relaykeys import key_id
from generator.names import RELAY_BLOCK, RELAY_FIRST, RELAY_LAST
from tests.relay_lab import IMAGE, PATIENCE, Lab, User, relay, until

GOOD = "bascule:alice:20032-20063"
WEB = "127.0.0.1:3000"
DENIED = "Permission denied (publickey)"
FORWARD = "remote port forwarding failed"
SESSION = "open failed"
TUNNEL = "administratively prohibited"


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """A relay, and on the laptop a web server at WEB that has one page."""
    folder = tmp_path_factory.mktemp("relay")
    (folder / "www").mkdir()
    (folder / "www" / "index.html").write_text("alice's laptop")
    with relay(folder) as made, web(made):
        yield made


@contextmanager
def web(lab: Lab) -> Iterator[None]:
    """The laptop's own web server, while the block runs."""
    process = subprocess.Popen(lab.inside("laptop", "busybox", "httpd", "-f", "-p", WEB, "-h", str(lab.folder / "www")))
    try:
        yield
    finally:
        process.kill()
        process.wait()


def truth(lab: Lab) -> list[int]:
    """The ports of users on which the kernel says that somebody listens, at the Pod's address."""
    return sorted(port for host, port in lab.sockets() if host == lab.address and RELAY_FIRST <= port <= RELAY_LAST)


def ends(lab: Lab, session: subprocess.Popen[str]) -> str:
    """What ssh has said when it has ended, without success; nothing new is listened on, and the relay says so."""
    _, said = session.communicate(timeout=PATIENCE)
    assert session.returncode != 0
    assert truth(lab) == lab.listening() == []
    assert {host for host, _ in lab.sockets()} == {"127.0.0.1", "::1", lab.address, "*"}  # `*`: the stand-in for port-forward
    return said


# ---- what works


def test_an_own_port_leads_to_the_laptop(lab: Lab) -> None:
    """From another network, and for several at once; nothing is left of a session that ends."""
    session = lab.forward(lab.user("alice", 20032), f"{lab.address}:20032:{WEB}", f"{lab.address}:20063:{WEB}")
    until(lambda: truth(lab) == [20032, 20063], "two ports")
    assert lab.listening() == [20032, 20063]
    assert lab.asked("carrier", lab.address, 20032) == lab.asked("carrier", lab.address, 20063) == "alice's laptop"
    session.terminate()
    until(lambda: truth(lab) == [], "the end of both")
    assert lab.listening() == []


def test_a_pod_of_the_other_family(tmp_path: Path) -> None:
    """IPv6: the same, and the address of the Pod alone."""
    (tmp_path / "www").mkdir()
    (tmp_path / "www" / "index.html").write_text("alice's laptop")
    with relay(tmp_path, "2001:db8:1::5", ("2001:db8:1::1", "2001:db8:2::1")) as lab, web(lab):
        alice = lab.user("alice", 20032)
        lab.forward(alice, f"[{lab.address}]:20032:{WEB}")
        until(lambda: lab.listening() == [20032], "a port")
        assert lab.asked("carrier", lab.address, 20032) == "alice's laptop"
        for other in (f"[{lab.address}]:20064:{WEB}", f"[::]:20033:{WEB}", f"[::1]:20033:{WEB}"):
            assert FORWARD in lab.forward(alice, other).communicate(timeout=PATIENCE)[1]


def test_a_laptop_that_vanishes_loses_its_ports_and_gets_them_back(lab: Lab) -> None:
    """Its cable is cut and nobody is told: sshd finds out. Another's session goes on; the next session listens again."""
    alice = lab.user("alice", 20032)
    lost = lab.forward(alice, f"{lab.address}:20032:{WEB}")
    until(lambda: lab.listening() == [20032], "a port")
    lab.link("down")
    try:
        until(lambda: truth(lab) == [], "sshd to notice")
        assert lab.listening() == []
        assert lost.poll() is None
    finally:
        lab.link("up")
        lost.kill()
    again = lab.forward(alice, f"{lab.address}:20032:{WEB}")
    until(lambda: lab.listening() == [20032], "the port again")
    assert lab.asked("carrier", lab.address, 20032) == "alice's laptop"
    again.terminate()
    until(lambda: lab.listening() == [], "its end")


def test_a_client_that_is_no_more_is_disconnected(lab: Lab) -> None:
    """Whoever listens on ports of a block, and nobody else; what is no block ends nobody."""
    alice = lab.forward(lab.user("alice", 20032), f"{lab.address}:20063:{WEB}")
    bob = lab.forward(lab.user("bob", 20064), f"{lab.address}:20064:{WEB}")
    until(lambda: lab.listening() == [20063, 20064], "two clients")
    for nonsense in ("", "0", "1", "20032;kill -9 1", "-1", "20032 20064", "61984", "99999", "$(id)"):
        lab.sent("carrier", lab.address, 8080, f"GET /cgi-bin/end?{nonsense} HTTP/1.0\r\n\r\n".encode())
    assert lab.listening() == [20063, 20064]
    lab.asked("carrier", lab.address, 8080, "/cgi-bin/end?20032")
    alice.communicate(timeout=PATIENCE)
    assert truth(lab) == lab.listening() == [20064]
    assert bob.poll() is None
    bob.terminate()
    until(lambda: lab.listening() == [], "the end")


def test_a_hundred_clients_at_once(lab: Lab) -> None:
    """All connect at the same moment; half of them have five bridges. None is turned away, and each port is its own."""
    users = {RELAY_FIRST + RELAY_BLOCK * n: lab.user(f"client-{n}", RELAY_FIRST + RELAY_BLOCK * n) for n in range(100)}
    ports = {first: range(first, first + (5 if n < 50 else 1)) for n, first in enumerate(users)}
    sessions = [lab.forward(user, *(f"{lab.address}:{port}:{WEB}" for port in ports[first])) for first, user in users.items()]
    wanted = sorted(port for each in ports.values() for port in each)
    until(lambda: truth(lab) == wanted or any(s.poll() is not None for s in sessions), "300 ports")
    assert lab.listening() == wanted
    assert lab.asked("carrier", lab.address, wanted[-1]) == "alice's laptop"
    for session in sessions:
        session.terminate()
    until(lambda: lab.listening() == [], "their end")


def test_a_signal_ends_all_of_it(tmp_path: Path) -> None:
    """SIGTERM to the container's first process: it ends, and the kernel ends all others with it; a client notices."""
    with relay(tmp_path) as lab:
        session = lab.forward(lab.user("alice", 20032), f"{lab.address}:20032:{WEB}")
        until(lambda: lab.listening() == [20032], "a port")
        subprocess.run(["kill", f"-{signal.SIGTERM}", lab.first], check=True)
        session.communicate(timeout=PATIENCE)
        assert lab.pod.wait(PATIENCE) is not None
        assert lab.asked("carrier", lab.address, 8080, "/cgi-bin/listening") == ""


# ---- what is refused

BLOCKS_OF_OTHERS = {
    "another's port": "{address}:20064:" + WEB,
    "the port before its own": "{address}:20031:" + WEB,
    "every address": "0.0.0.0:20033:" + WEB,
    "every address, by a star": "*:20033:" + WEB,
    "every address, by no name": ":20033:" + WEB,
    "every address of IPv6": "[::]:20033:" + WEB,
    "loopback": "127.0.0.1:20033:" + WEB,
    "loopback of IPv6": "[::1]:20033:" + WEB,
    "loopback, by its name": "localhost:20033:" + WEB,
    "the Pod's address, spelled otherwise": "010.1.0.5:20033:" + WEB,
    "the Pod's other address": "10.2.0.9:20033:" + WEB,
    "any free port": "{address}:0:" + WEB,
    "the port of HTTP": "{address}:8080:" + WEB,
    "the port of sshd": "{address}:2222:" + WEB,
    "a port of root": "{address}:80:" + WEB,
    "a socket in a file": "/srv/relay/run/socket:" + WEB,
    "a proxy for the cluster to the laptop's network": "0.0.0.0:20033",
}
"""What a client with the block from 20032 to 20063 may not listen on."""


@pytest.mark.parametrize("forward", BLOCKS_OF_OTHERS.values(), ids=BLOCKS_OF_OTHERS)
def test_nobody_listens_elsewhere(lab: Lab, forward: str) -> None:
    """Only on the own ports, and only at the Pod's address: port-forward leads to loopback, and must reach no other user there."""
    assert FORWARD in ends(lab, lab.forward(lab.user("alice", 20032), forward.format(address=lab.address)))


WISHES = {
    "a shell": ((), SESSION),
    "a shell on a terminal": (("-tt",), SESSION),
    "a command": (("--", "id"), SESSION),
    "sftp": (("-s", "--", "sftp"), SESSION),
    "an agent": (("-o", "ForwardAgent=/dev/null", "--", "id"), SESSION),
    "a display": (("-X", "--", "id"), SESSION),
    "variables": (("-o", "SetEnv=LD_PRELOAD=/x", "--", "id"), SESSION),
    "a network of its own": (("-N", "-w", "any"), "Tunnel forwarding failed"),
    "sshd itself": (("-W", "127.0.0.1:2222"), TUNNEL),
    "who listens": (("-W", "{address}:8080"), TUNNEL),
    "a carrier": (("-W", "10.2.0.1:80"), TUNNEL),
    "the cluster's DNS": (("-W", "kubernetes.default.svc:443"), TUNNEL),
}
"""What a client asks for beside ports, and in which words it is refused."""


@pytest.mark.parametrize(("more", "said"), WISHES.values(), ids=WISHES)
def test_nobody_gets_more_than_ports(lab: Lab, more: tuple[str, ...], said: str) -> None:
    """No session of any kind, and no way into the cluster; also for a certificate that allows all that OpenSSH knows."""
    words = [word.format(address=lab.address) for word in more]
    for user in (lab.user("alice", 20032), lab.signed("-I", GOOD, "-n", "relay")):
        assert said in ends(lab, lab.ssh(user, *words))


WAYS = {
    "to a port": ("-L", "127.0.0.1:4000:{address}:8080", "refused local port forward"),
    "to a socket in a file": ("-L", "127.0.0.1:4000:/srv/relay/run/socket", "refused streamlocal port forward"),
    "to anywhere": ("-D", "127.0.0.1:4000", "refused local port forward"),
}
SOCKS = bytes.fromhex("050100 05010001 0a010005 1f90")
"""To 10.1.0.5:8080, with no name (RFC 1928)."""


@pytest.mark.parametrize(("option", "way", "said"), WAYS.values(), ids=WAYS)
def test_no_way_leads_from_the_laptop_into_the_cluster(lab: Lab, option: str, way: str, said: str) -> None:
    """With -L and -D, ssh listens on the laptop; what is sent there is refused by sshd."""
    session = lab.ssh(lab.user("alice", 20032), "-N", option, way.format(address=lab.address))
    hello = SOCKS if option == "-D" else b"GET /cgi-bin/listening HTTP/1.0\r\n\r\n"
    denied, answers = lab.log().count(said), [b""]

    def refused() -> bool:
        answers.append(lab.sent("laptop", "127.0.0.1", 4000, hello) or b"")
        return lab.log().count(said) > denied

    try:
        until(refused, "sshd to refuse")
        assert b"HTTP" not in b"".join(answers)
    finally:
        session.terminate()
        session.communicate(timeout=PATIENCE)


def stranger(lab: Lab) -> User:
    """A key without a certificate."""
    return User(lab.key(), None)


def rsa(lab: Lab) -> User:
    """A key of another kind, signed by the right authority."""
    key = lab.folder / f"rsa{len(list(lab.folder.glob('rsa*.pub')))}"
    subprocess.run(["ssh-keygen", "-q", "-t", "rsa", "-N", "", "-f", key], check=True)
    sign = ["ssh-keygen", "-q", "-s", str(lab.folder / "ca"), "-I", GOOD, "-n", "relay", str(key.with_suffix(".pub"))]
    subprocess.run(sign, check=True)
    return User(key, key.with_name(f"{key.name}-cert.pub"))


def thief(lab: Lab) -> User:
    """The certificate of somebody else, which is no secret, and a key of one's own."""
    certificate = lab.user("alice", 20032).certificate
    assert certificate
    return lab.holding(lab.key(), certificate.read_text().strip())


NOW = datetime.now(UTC)
STRANGERS = {
    "a key without a certificate": stranger,
    "a certificate of another authority": lambda lab: lab.user("alice", 20032, authority=Ed25519PrivateKey.generate()),
    "a certificate that has expired": lambda lab: lab.user("alice", 20032, NOW - timedelta(hours=25)),
    "a certificate of tomorrow": lambda lab: lab.user("alice", 20032, NOW + timedelta(hours=24)),
    "a certificate for another principal": lambda lab: lab.signed("-I", GOOD, "-n", "root"),
    "a certificate for nobody": lambda lab: lab.signed("-I", GOOD),
    "a certificate of a host": lambda lab: lab.signed("-h", "-I", GOOD, "-n", "relay"),
    "a certificate for other addresses": lambda lab: lab.signed("-I", GOOD, "-n", "relay", "-O", "source-address=192.0.2.0/24"),
    "the certificate of another key": thief,
    "a key of another kind": rsa,
}
"""Who is not let in."""


@pytest.mark.parametrize("who", STRANGERS.values(), ids=STRANGERS)
def test_nobody_is_let_in_without_his_own_certificate(lab: Lab, who: Callable[[Lab], User]) -> None:
    """Whatever is wrong with it."""
    assert DENIED in ends(lab, lab.forward(who(lab), f"{lab.address}:20032:{WEB}"))


@pytest.mark.parametrize("account", ["root", "nobody", "alice", "relay2"])
def test_there_is_one_account(lab: Lab, account: str) -> None:
    """The certificate of a client opens no other."""
    assert DENIED in ends(lab, lab.ssh(lab.user("alice", 20032), "-N", account=account))


def test_a_certificate_that_allows_nothing_allows_nothing(lab: Lab) -> None:
    """The key id alone gives no port: the certificate has to permit forwarding too."""
    user = lab.signed("-I", GOOD, "-n", "relay", "-O", "clear")
    assert FORWARD in ends(lab, lab.forward(user, f"{lab.address}:20032:{WEB}"))


NONSENSE = [
    *("alice", "bascule", "bascule:", "bascule::20032-20063", "bascule:alice", "bascule:alice:", "bascule:alice:20032", "%h", "-n", "*"),
    *("bascule:alice:20032-61983", "bascule:alice:20000-20063", "bascule:alice:20033-20064", "bascule:alice:20063-20032"),
    *("bascule:alice:19968-19999", "bascule:alice:61984-62015", "bascule:alice:00080-00111", "bascule:alice:1-65535"),
    *(
        "bascule:alice:20032-20063-20095",
        "bascule:alice:20032-20063:20064-20095",
        "bascule:alice:20032-20063 ",
    ),
    *(
        " bascule:alice:20032-20063",
        'bascule:alice"x:20032-20063',
        "bascule:alice x:20032-20063",
        "bascule:alice,x:20032-20063",
        "bascule:Alice:20032-20063",
    ),
    *('bascule:alice:20032-20063,permitlisten="*:1"', "bascule:alice\n:20032-20063", "bascule:alice:20032-20063\nrelay", "\nrelay\n"),
    *("bascule:$(touch /tmp/x):20032-20063", "bascule:`id`:20032-20063", "bascule:alice:20032-20063;relay", "bascule:../x:0x4e40-0x4e5f"),
]
"""Key ids that the operator never gives, signed by its key all the same."""


@pytest.mark.parametrize("name", NONSENSE, ids=repr)
def test_a_key_id_that_is_none_gives_nothing(lab: Lab, name: str) -> None:
    """Even if it were signed: quotes, spaces, commas, lines, ranges that are too large or too low."""
    assert DENIED in ends(lab, lab.forward(lab.signed("-I", name, "-n", "relay"), f"{lab.address}:20032:{WEB}"))


# ---- what a key id means


def principals(address: str, name: str) -> str:
    """What relay/image/principals prints."""
    return subprocess.run([IMAGE / "principals", address, name], capture_output=True, text=True, check=False).stdout


def expected(address: str, name: str) -> str:
    """The same, by the words of its first lines."""
    found = re.fullmatch(r"bascule:[a-z0-9.-]+:(\d{5})-(\d{5})", name, re.ASCII)
    if not found or name.endswith("\n"):
        return ""
    first, last = map(int, found.groups())
    if first not in range(RELAY_FIRST, RELAY_LAST, RELAY_BLOCK) or last != first + RELAY_BLOCK - 1:
        return ""
    return "restrict,port-forwarding" + "".join(f',permitlisten="{address}:{port}"' for port in range(first, last + 1)) + " relay\n"


SOME = st.one_of(
    st.text(st.characters(exclude_characters="\0", codec="utf-8")),
    st.from_regex(r"bascule:[a-z0-9. \n\"'$-]{0,4}:[1-6]\d{4}-[1-6]\d{4}", fullmatch=True),
    st.builds(
        lambda n, d, c: f"bascule:{c}:{20000 + n}-{20031 + n + d}", st.integers(-64, 42100), st.integers(-1, 1), st.sampled_from("aB.")
    ),
)


@given(SOME)
def test_principals_gives_a_whole_block_or_nothing(name: str) -> None:
    """For any key id; and it never fails in another way than by saying nothing."""
    assert principals("10.1.0.5", name) == expected("10.1.0.5", name)


@given(st.integers(0, (RELAY_LAST - RELAY_FIRST) // RELAY_BLOCK), st.from_regex(r"[a-z0-9]([a-z0-9.-]{0,40}[a-z0-9])?", fullmatch=True))
def test_what_the_operator_signs_is_what_principals_reads(block: int, client: str) -> None:
    """Each of the 1312 blocks, for each name of an object."""
    first = RELAY_FIRST + block * RELAY_BLOCK
    assert principals("10.1.0.5", key_id(client, first)).count("permitlisten=") == RELAY_BLOCK
    assert f'"[2001:db8::5]:{first}"' in principals("2001:db8::5", key_id(client, first))
