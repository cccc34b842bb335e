"""gRPC with grpcio on both sides: every kind of call, without a schema, as bytes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import Queue
from typing import Any

import grpc

from tests.protocol_hosts import PATIENCE, certificate, name_of

PORT, TLS_PORT = 8081, 8444
BIG = bytes(range(256)) * 4 * 8 * 1024  # 8 MiB
_NO_LIMIT = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
_ended: Queue[str] = Queue()
"""What servers learn of calls that the client ended."""


class _Shop(grpc.GenericRpcHandler):  # type: ignore[misc]
    """The methods of a server: each says who it is."""

    def __init__(self, host: str) -> None:
        self.who = name_of(host).encode()

    def service(self, details: Any) -> Any:
        unary, many = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
        return {
            "/Shop/Echo": unary(self.echo),
            "/Shop/Join": grpc.stream_unary_rpc_method_handler(self.join),
            "/Shop/Count": many(self.count),
            "/Shop/Chat": grpc.stream_stream_rpc_method_handler(self.chat),
            "/Shop/Fail": unary(self.fail),
            "/Shop/Wait": many(self.wait),
        }[details.method]

    def echo(self, message: bytes, _: Any) -> bytes:
        """One for one."""
        return self.who + message

    def join(self, messages: Iterator[bytes], _: Any) -> bytes:
        """One for many."""
        return self.who + b"".join(messages)

    def count(self, message: bytes, _: Any) -> Iterator[bytes]:
        """As many as the message has bytes."""
        for number in range(len(message)):
            yield self.who + str(number).encode()

    def chat(self, messages: Iterator[bytes], _: Any) -> Iterator[bytes]:
        """One for each, at once."""
        for each in messages:
            yield self.who + each

    def fail(self, _: bytes, context: Any) -> bytes:
        """Answer with trailers only."""
        context.set_trailing_metadata((("x-why", f"{self.who.decode()} has none"), ("x-bytes-bin", b"\0\xff")))
        context.abort(grpc.StatusCode.FAILED_PRECONDITION, "sold out: é%")
        raise AssertionError

    def wait(self, message: bytes, context: Any) -> Iterator[bytes]:
        """Say so at once, then nothing until the client ends the call."""
        limited = "limited" if (context.time_remaining() or 2 * PATIENCE) < PATIENCE else "unlimited"
        over = threading.Event()

        def end() -> None:
            _ended.put(f"{self.who.decode()} {message.decode()} {limited}")
            over.set()

        assert context.add_callback(end)
        yield self.who
        over.wait(4 * PATIENCE)


def serve_grpc(host: str) -> None:
    """A server in the clear."""
    _serve(host, PORT, None)


def serve_grpc_tls(host: str) -> None:
    """A server behind TLS."""
    crt, key = certificate("application")
    _serve(host, TLS_PORT, grpc.ssl_server_credentials([(key.read_bytes(), crt.read_bytes())]))


def _serve(host: str, port: int, credentials: Any) -> None:
    server = grpc.server(ThreadPoolExecutor(16), options=_NO_LIMIT)
    server.add_generic_rpc_handlers((_Shop(host),))
    at = f"{host}:{port}"
    assert (server.add_secure_port(at, credentials) if credentials else server.add_insecure_port(at)) == port
    server.start()
    _servers.append(server)


_servers: list[Any] = []
"""Kept, as a server ends when it is collected."""


def ask_grpc(host: str) -> Any:
    """Every kind of call, by who should take it."""
    with grpc.insecure_channel(f"{host}:{PORT}", options=_NO_LIMIT) as channel:
        return {user: _calls(channel, user) for user in ("alice", "nobody")}


def ask_grpc_tls(host: str) -> Any:
    """Some calls over TLS."""
    trusted = grpc.ssl_channel_credentials(certificate("carrier")[0].read_bytes())
    named = [("grpc.ssl_target_name_override", "shop.example")]
    with grpc.secure_channel(f"{host}:{TLS_PORT}", trusted, named) as channel:
        return {user: [_unary(channel, user, b"!"), _chat(channel, user), _failure(channel, user)] for user in ("alice", "nobody")}


def _calls(channel: Any, user: str) -> dict[str, Any]:
    metadata = (("x-user", user),)
    joined = channel.stream_unary("/Shop/Join")(iter([b"a", b"b", b"c"]), metadata=metadata, timeout=PATIENCE)
    counted = channel.unary_stream("/Shop/Count")(b"xxx", metadata=metadata, timeout=PATIENCE)
    big = channel.unary_unary("/Shop/Echo")(BIG, metadata=metadata, timeout=PATIENCE)
    return {
        "unary": _unary(channel, user, b"!"),
        "client stream": joined.decode(),
        "server stream": [each.decode() for each in counted],
        "bidirectional": _chat(channel, user),
        "big": [big[: -len(BIG)].decode(), big.endswith(BIG)],
        "error": _failure(channel, user),
        "deadline": _deadline(channel, metadata),
        "cancelled": _cancelled(channel, metadata),
    }


def _unary(channel: Any, user: str, message: bytes) -> str:
    answer: bytes = channel.unary_unary("/Shop/Echo")(message, metadata=(("x-user", user),), timeout=PATIENCE)
    return answer.decode()


def _chat(channel: Any, user: str) -> list[str]:
    """Each message is sent when the answer to the one before is there."""
    said: Queue[bytes | None] = Queue()
    answers = channel.stream_stream("/Shop/Chat")(iter(said.get, None), metadata=(("x-user", user),), timeout=PATIENCE)
    heard = []
    for word in (b"1", b"2", b"3"):
        said.put(word)
        heard.append(next(answers).decode())
    said.put(None)
    return heard + [each.decode() for each in answers]


def _failure(channel: Any, user: str) -> list[Any]:
    try:
        channel.unary_unary("/Shop/Fail")(b"", metadata=(("x-user", user),), timeout=PATIENCE)
    except grpc.RpcError as error:
        trailers = {key: text if isinstance(text, str) else text.hex() for key, text in error.trailing_metadata()}
        return [error.code().name, error.details(), trailers.get("x-why"), trailers.get("x-bytes-bin")]
    return []


def _deadline(channel: Any, metadata: Any) -> list[str]:
    """The server knows of the deadline, and of its passing."""
    answers = channel.unary_stream("/Shop/Wait")(b"deadline", metadata=metadata, timeout=5)
    try:
        for _ in answers:
            pass
    except grpc.RpcError as error:
        return [error.code().name, _ended.get(timeout=PATIENCE)]
    return []


def _cancelled(channel: Any, metadata: Any) -> str:
    """The server hears that the client gave up; it had begun to answer."""
    answers = channel.unary_stream("/Shop/Wait")(b"cancel", metadata=metadata)
    next(answers)
    answers.cancel()
    return _ended.get(timeout=PATIENCE)
