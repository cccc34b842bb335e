"""Ports without rules: TCP whose server speaks first, UDP, and TLS that is the application's own."""

from __future__ import annotations

import socket
import socketserver
import ssl
import threading
from typing import Any

from tests.protocol_hosts import PATIENCE, certificate, name_of

TCP_PORT, UDP_PORT, TLS_PORT = 5432, 5353, 9443


def serve_streams(host: str) -> None:
    """All three."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate("application"))

    class Greeter(socketserver.StreamRequestHandler):
        """Speaks first, answers each line, and when the client has finished says so."""

        def handle(self) -> None:
            self.wfile.write(f"{name_of(host)} greets\n".encode())
            for line in self.rfile:
                self.wfile.write(b"heard " + line)
            self.wfile.write(b"the end\n")

    class Secure(socketserver.StreamRequestHandler):
        """The same behind TLS."""

        def handle(self) -> None:
            with context.wrap_socket(self.request, server_side=True) as secure:
                secure.sendall(f"{name_of(host)} greets\n".encode())

    class Datagrams(socketserver.BaseRequestHandler):
        """Answers with the port a datagram came from."""

        def handle(self) -> None:
            data, reply = self.request
            reply.sendto(f"{name_of(host)} {self.client_address[1]} ".encode() + data, self.client_address)

    socketserver.TCPServer.allow_reuse_address = True
    for server in (
        socketserver.ThreadingTCPServer((host, TCP_PORT), Greeter),
        socketserver.ThreadingTCPServer((host, TLS_PORT), Secure),
        socketserver.UDPServer((host, UDP_PORT), Datagrams),
    ):
        threading.Thread(target=server.serve_forever, daemon=True).start()


def ask_tcp(host: str) -> Any:
    """A talk in which the client waits to be greeted, and finishes first."""
    with socket.create_connection((host.strip("[]"), TCP_PORT), PATIENCE) as client, client.makefile("rb") as lines:
        told = [lines.readline().decode()]
        for word in (b"one\n", b"two\n"):
            client.sendall(word)
            told.append(lines.readline().decode())
        client.shutdown(socket.SHUT_WR)
        return [*told, *(line.decode() for line in lines)]


def ask_udp(host: str) -> Any:
    """Two clients in turns: each has a session of its own, and gets its own answers."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as one, socket.socket(family, socket.SOCK_DGRAM) as two:
        told: dict[str, list[list[str]]] = {"one": [], "two": []}
        for name, client in (("one", one), ("two", two)):
            client.settimeout(PATIENCE)
            client.connect((host.strip("[]"), UDP_PORT))
            client.send(f"{name} 0".encode())
        for number in range(1, 4):
            for name, client in (("one", one), ("two", two)):
                client.send(f"{name} {number}".encode())
        for name, client in (("one", one), ("two", two)):
            told[name] = [client.recv(2048).decode().split() for _ in range(4)]
    ports = {name: {port for _, port, *_ in answers} for name, answers in told.items()}
    return {
        "who": sorted({who for answers in told.values() for who, *_ in answers}),
        "heard": {name: sorted([sender, number] for _, _, sender, number in answers) for name, answers in told.items()},
        "sessions": [len(ports["one"]), len(ports["two"]), len(ports["one"] | ports["two"])],
    }


def ask_passed(host: str) -> Any:
    """TLS that ends at the application: its certificate is the one the client sees."""
    context = ssl.create_default_context(cafile=str(certificate("application")[0]))
    with (
        socket.create_connection((host.strip("[]"), TLS_PORT), PATIENCE) as plain,
        context.wrap_socket(plain, server_hostname="shop.example") as secure,
    ):
        own = ssl.PEM_cert_to_DER_cert(certificate("application")[0].read_text())
        return [secure.recv(100).decode(), secure.getpeercert(binary_form=True) == own]
