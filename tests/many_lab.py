"""Requests that all wait at once, through one carrier, in an enclosure (tests/enclosure.py)."""

from __future__ import annotations

import asyncio
import json
import resource
import signal
import socket
import sys
from collections import Counter
from pathlib import Path
from typing import Any

from tests.enclosure import CARRIER_IP, carrier, enclosed, furnish, nginx_command

PATIENCE = 60
_FILES = 20_000


def wait_together(conf: str, hosts: list[str], count: int) -> tuple[int, dict[str, int], str]:
    """How many of `count` requests reached the application before it answered one; how many had which answer; what nginx said.

    hosts: where the application listens, on port 8080. It answers when all requests have come, or have ended without it.
    """
    reached, answers, log = enclosed("tests.many_lab", {"conf": conf, "hosts": hosts, "count": count}, 3 * PATIENCE)
    return reached, answers, log


# ---- what follows runs inside


class _Meeting:
    """All requests, here or ended without it."""

    def __init__(self, count: int) -> None:
        self.missing, self.reached, self.all = count, 0, asyncio.Event()

    def arrive(self) -> None:
        """One more is here, or has ended."""
        self.missing -= 1
        if self.missing <= 0:
            self.all.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """The application."""
        await reader.readuntil(b"\r\n\r\n")
        self.reached += 1
        self.arrive()
        await self.all.wait()
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        await writer.drain()
        writer.close()

    async def ask(self) -> str:
        """One client."""
        try:
            reader, writer = await asyncio.open_connection(CARRIER_IP, 8080)
            writer.write(b"GET /poll HTTP/1.1\r\nHost: x\r\n\r\n")
            line = (await asyncio.wait_for(reader.readline(), PATIENCE)).decode().strip() or "closed"
            writer.close()
        except (OSError, TimeoutError) as error:
            line = type(error).__name__
        if line != "HTTP/1.1 200 OK":
            self.arrive()
        return line


async def _meet(hosts: list[str], count: int) -> tuple[int, dict[str, int]]:
    meeting = _Meeting(count)
    for host in hosts:
        await asyncio.start_server(meeting.serve, host, 8080, backlog=count)
    answers = await asyncio.gather(*(meeting.ask() for _ in range(count)))
    return meeting.reached, Counter(answers)


def _main() -> None:
    job: dict[str, Any] = json.load(sys.stdin)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    furnish({"nginx.conf": job["conf"]}, job["hosts"])
    socket.sethostname("web-0")
    log = Path("/dev/shm/log")
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, most))  # as containers have it; nginx raises its own
    with carrier([*nginx_command(job["nginx"]), "-g", "daemon off;"], log) as nginx:
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(_FILES, most), most))
        reached, answers = asyncio.run(_meet(job["hosts"], job["count"]))
        nginx.send_signal(signal.SIGTERM)
        nginx.wait(PATIENCE)
    print(json.dumps([reached, answers, log.read_text(errors="replace")]))  # noqa: T201


if __name__ == "__main__":
    _main()
