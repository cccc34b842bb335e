"""A way into the cluster's network from outside: connections that a socket of the machine's own network accepts go on to a port inside."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress


def forward(listener: socket.socket, port: int) -> None:
    """Serve `listener` for ever: each connection goes on to `port` of 127.0.0.1, and ends where that one ends or refuses."""
    asyncio.run(_serve(listener, port))


async def _serve(listener: socket.socket, port: int) -> None:
    async def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            writer.transport.abort()
            return
        await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))
        inner_writer.close()
        writer.close()

    server = await asyncio.start_server(accepted, sock=listener)
    await server.serve_forever()


async def _copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    """Until the end of `source`, and hand that on. A broken connection breaks the other."""
    try:
        while data := await source.read(65536):
            sink.write(data)
            await sink.drain()
        if sink.can_write_eof():
            sink.write_eof()
    except OSError:
        with suppress(OSError):
            sink.transport.abort()
