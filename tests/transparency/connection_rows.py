"""Rows about connections: who is seen, which connections there are, upgrades, TLS."""

from __future__ import annotations

import socket
import ssl
from functools import partial

from tests.transparency.exchange import OK, Observation, Row, Run, ask, exchange, refused, tell, words
from tests.transparency.message import complete
from tests.transparency.wire import CLIENT_IP, HEAD_END, PATIENCE, End, Talk, has, origin_tls

_TRIES = 10
"""nginx keeps an idle connection for a second (upstreams.IDLE); at least one of so many tries is faster."""

UPGRADE = b"Upgrade: websocket", b"Connection: upgrade"
WS = (b"Sec-WebSocket-Version: 13", b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", b"Sec-WebSocket-Extensions: permessage-deflate")
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"
)


def peer(talk: Talk) -> Observation:
    """Whose address the origin sees."""
    talk.client.send(ask())
    origin = talk.request(has(HEAD_END))
    if origin is None:
        return refused(talk)
    origin.send(OK)
    talk.answer()
    return {"the origin sees": "the client's address" if origin.peer == CLIENT_IP else "the carrier Pod's address"}


def before_the_request(talk: Talk) -> Observation:
    """A client that says nothing yet."""
    talk.fence()
    return {"the origin's connection": "is there already" if len(talk.origins) > 1 else "is made with the request"}


def greeting(talk: Talk) -> Observation:
    """A protocol in which the server speaks first."""
    talk.fence()
    waiting = [end for end in talk.origins if not end.over]
    for end in waiting:
        end.send(b"220 ready\r\n")
        talk.wait(lambda: talk.client.got)
    return {"the client gets": words(talk.client.got.strip()) or "nothing"}


def not_http(first: bytes) -> Run:
    """A client that speaks something else."""

    def run(talk: Talk) -> Observation:
        talk.client.send(first)
        origin = talk.request(has(first))
        return refused(talk) if origin is None else {"the origin gets": words(first)}

    return run


def sharing(talk: Talk) -> Observation:
    """Clients one after the other, each on a connection of its own."""
    for number in range(_TRIES):
        client = talk.dial()
        origin = _asked(talk, client, b" /%d " % number)
        if origin.got.count(b"GET ") > 1:
            return {"the origin": "gets requests of two clients on one connection"}
        origin.send(OK)
        talk.wait(partial(_answered, client, 1))
    return {"the origin": "has a connection for each client"}


def bound(talk: Talk) -> Observation:
    """Two clients with a request each, then another of the first: authentication bound to a connection (NTLM) needs the same one."""
    came = set()
    for number in range(_TRIES):
        one, two = talk.dial(), talk.dial()
        first, other = _asked(talk, one, b" /one%d " % number), _asked(talk, two, b" /two%d " % number)
        for client, origin in ((one, first), (two, other)):
            origin.send(OK)
            talk.wait(partial(_answered, client, 1))
        origin = _asked(talk, one, b" /more%d " % number)
        origin.send(OK)
        talk.wait(partial(_answered, one, 2))
        came.add("the other client's connection" if origin is other else "its own connection" if origin is first else "a new connection")
    return {
        "the first client's next request comes on": max(
            came, key=("its own connection", "a new connection", "the other client's connection").index
        )
    }


def _asked(talk: Talk, client: End, mark: bytes) -> End:
    """The origin's connection on which the request came."""
    client.send(ask(line=b"GET" + mark + b"HTTP/1.1"))
    talk.wait(lambda: any(mark in end.got for end in talk.origins))
    return next(end for end in talk.origins if mark in end.got)


def _answered(client: End, times: int) -> bool:
    return client.got.count(OK[-30:]) >= times


def down(talk: Talk) -> Observation:
    """Neither the application nor Service Y' listens."""
    doors = talk.lane.origin, talk.lane.spare
    for door in doors:
        door.shutdown(socket.SHUT_RD)
    try:
        with socket.create_connection(talk.lane.door, PATIENCE, source_address=(CLIENT_IP, 0)) as client:
            client.sendall(ask())
            return {"the client gets": words(client.recv(65536).partition(b"\r\n")[0]) or "a connection that ends at once"}
    except ConnectionRefusedError:
        return {"the client gets": "connection refused"}
    except ConnectionResetError:
        return {"the client gets": "a connection that ends at once"}
    finally:
        for door in doors:
            door.listen(64)


def _ends(end: End, mark: bytes) -> bool:
    return end.got.endswith(mark) or bool(end.over)


def upgraded(*lines: bytes, early: bytes = b"", ends: str = "") -> Run:
    """A websocket. early: what the client sends with its request, before the 101. ends: which side closes."""

    def run(talk: Talk) -> Observation:
        talk.client.send(ask(*lines) + early)
        origin = talk.request(has(HEAD_END))
        if origin is None:
            return refused(talk)
        head, _, rest = origin.got.partition(HEAD_END)
        seen = {"request": words(head + HEAD_END)}
        if early:
            seen["what was sent with the request reaches the origin"] = "before its 101" if rest else "after its 101"
        origin.send(SWITCHED + b"\x81\x02hi")
        talk.wait(lambda: talk.client.got.endswith(b"hi") or talk.client.over)
        for number in range(3):
            talk.client.send(b"\x81\x81abcd%d" % number)
            talk.wait(partial(_ends, origin, b"%d" % number))
            origin.send(b"\x81\x01%d" % number)
            talk.wait(partial(_ends, talk.client, b"%d" % number))
        seen |= {"answer": words(talk.client.got), "frames": words(origin.got.partition(HEAD_END)[2])}
        if ends == "client":
            talk.client.close()
            talk.wait(lambda: origin.over)
            seen["the origin sees"] = origin.over
        elif ends == "client half":
            talk.client.finish()
            talk.wait(lambda: origin.over)
            origin.send(b"last")
            talk.wait(lambda: talk.client.got.endswith(b"last") or talk.client.over)
            seen["what the origin says after the client's end"] = "reaches the client" if talk.client.got.endswith(b"last") else "is lost"
        elif ends == "origin":
            origin.close()
            talk.wait(lambda: talk.client.over)
            seen["the client sees"] = talk.client.over
        return seen

    return run


def declined(answer: bytes) -> Run:
    """An upgrade that the origin does not make."""
    return exchange(ask(*UPGRADE, *WS), answer)


def server_name(talk: Talk) -> Observation:
    """The name the origin is asked for."""
    names: list[str] = []
    talk.lane = talk.lane._replace(origin_tls=origin_tls(sni_callback=lambda _, name, __: names.append(str(name))))
    exchange(ask())(talk)
    return {"the origin is asked for": ", ".join(dict.fromkeys(names))}


def alpn(talk: Talk) -> Observation:
    """What the client and the origin agreed on. Both know http/1.1."""
    context = origin_tls()
    context.set_alpn_protocols(["http/1.1"])
    talk.lane = talk.lane._replace(origin_tls=context)
    talk.client.send(ask())
    origin = talk.request(has(HEAD_END))
    if origin is None or origin.tls is None or talk.client.tls is None:
        return refused(talk)
    agreed = {"client": talk.client.tls.selected_alpn_protocol(), "origin": origin.tls.selected_alpn_protocol()}
    return {f"agreed with the {end}:": name or "nothing" for end, name in agreed.items()}


def client_certificate(talk: Talk) -> Observation:
    """Whether the certificate that the client has reaches the origin, which asks for one."""
    talk.lane = talk.lane._replace(origin_tls=origin_tls(verify_mode=ssl.CERT_OPTIONAL))
    talk.client.send(ask())
    origin = talk.request(has(HEAD_END))
    if origin is None or origin.tls is None:
        return refused(talk)
    return {"the client's certificate": "reaches the origin" if origin.tls.getpeercert(binary_form=True) else "does not reach the origin"}


def cut(talk: Talk) -> Observation:
    """The origin ends TCP, but not TLS, in an answer that lasts until the end."""
    talk.client.send(ask())
    origin = talk.request(has(HEAD_END))
    if origin is None:
        return refused(talk)
    origin.send(tell(length=-1, close=True))
    talk.wait(lambda: b"ok" in talk.client.got)
    origin.close()
    talk.wait(lambda: talk.client.over or complete(talk.client.got))
    whole = complete(talk.client.got) or talk.client.over == "closed"
    return {"to the client the answer is": "whole" if whole else "cut off"}


_WHO = "Connections and addresses"
_WS = "Upgrades (websockets)"
_TLS = "TLS (the carrier has the port's certificate)"

ROWS = [
    Row(_WHO, "client's address", peer),
    Row(_WHO, "`X-Forwarded-For` and the like", exchange(ask())),
    Row(_WHO, "a connection without a request yet", before_the_request),
    Row(_WHO, "a protocol in which the server speaks first", greeting),
    Row(_WHO, "something that is not HTTP, `SSH-2.0-x`", not_http(b"SSH-2.0-x\r\n")),
    Row(_WHO, "a PROXY protocol line before the request", not_http(b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n" + ask())),
    Row(_WHO, "TLS to a port without it", not_http(b"\x16\x03\x01\x00\x05\x01\x00\x00\x01\x00")),
    Row(_WHO, "clients one after the other", sharing),
    Row(_WHO, "authentication bound to a connection (NTLM, Negotiate)", bound),
    Row(_WHO, "nobody listens", down),
    Row(_WS, "accepted; frames both ways", upgraded(*UPGRADE, *WS)),
    Row(_WS, "`Connection: Upgrade`", upgraded(b"Upgrade: websocket", b"Connection: Upgrade", *WS)),
    Row(_WS, "`Connection: keep-alive, Upgrade` (Firefox)", upgraded(b"Upgrade: websocket", b"Connection: keep-alive, Upgrade", *WS)),
    Row(_WS, "the client sends on before the 101", upgraded(*UPGRADE, *WS, early=b"\x81\x81abcdx")),
    Row(_WS, "the client closes", upgraded(*UPGRADE, *WS, ends="client")),
    Row(_WS, "the client half-closes", upgraded(*UPGRADE, *WS, ends="client half")),
    Row(_WS, "the origin closes", upgraded(*UPGRADE, *WS, ends="origin")),
    Row(_WS, "declined with 426", declined(tell(line=b"HTTP/1.1 426 Upgrade Required"))),
    Row(_WS, "declined with 200", declined(OK)),
    Row(_WS, "another protocol, `Upgrade: foo`", upgraded(b"Upgrade: foo", b"Connection: upgrade")),
    Row(_TLS, "a request and its answer", exchange(ask()), tls=True),
    Row(_TLS, "server name (SNI)", server_name, tls=True),
    Row(_TLS, "ALPN", alpn, tls=True),
    Row(_TLS, "the client's certificate (mutual TLS)", client_certificate, tls=True),
    Row(_TLS, "the origin is cut off in an answer without a length", cut, tls=True),
]
