"""A command that holds a connection: what it tells, as lines or as JSON, what ends it, and the session with its taps."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import urlsplit

import click

from generator.cli import data, live, view
from generator.cli.tunnel import command
from generator.cluster.times import written
from generator.errors import InputError, Problem
from generator.names import fit

if TYPE_CHECKING:
    from generator.live.kube import Kube
    from generator.live.session import Session
    from generator.watching import Seen

PAINT: Final[view.Paint] = {r"\S+ +\S+ +\S.* ([45]\d\d) +\d+ ms": {"fg": "red"}, r"(.* is ACTIVE.*)": {"fg": "green"}, **view.PROBLEMS}
Tell = Callable[..., None]
"""tell(event, text, **fields): `text` for a person, the fields for a program."""
_Way = tuple[str, int]
"""A bridge, and a port of this machine that it leads to."""
_LINGERS: Final = 30.0
"""Seconds for which a tap that no bridge needs any more goes on: for the answers that are on their way."""


def teller(output: str, stop: threading.Event) -> Tell:
    """Tells on standard output, from any thread; when nobody listens any more, it falls silent and sets `stop`."""
    lock = threading.Lock()

    def tell(event: str, text: str, **fields: Any) -> None:
        if output == "json":
            at = written(datetime.now(UTC), "milliseconds")
            text = json.dumps(data.envelope("BridgeEvent", event=event, time=at, **fields), ensure_ascii=False, sort_keys=True)
        with lock:
            try:
                view.show(f"{text}\n", None if output == "json" else PAINT)
                sys.stdout.flush()
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    view.fail(f"the output cannot be written: {error.strerror}")
                nowhere = os.open(os.devnull, os.O_WRONLY)
                for stream in (1, 2):
                    os.dup2(nowhere, stream)
                stop.set()

    return tell


def request(tell: Tell, bridge: str, seen: Seen) -> None:
    """Tell of a request."""
    moment = datetime.now(UTC).astimezone().strftime("%H:%M:%S")
    text = f"{moment}  {seen.method:<7} {seen.path}  {seen.status}  {seen.seconds * 1000:.0f} ms"
    milliseconds = round(seen.seconds * 1000, 1)
    tell("request", text, bridge=bridge, method=seen.method, path=seen.path, status=seen.status, milliseconds=milliseconds)


class _Tap(NamedTuple):
    """port: where it listens. end: ends it, once or again. wanted: when a bridge needed it last, in seconds of a clock that only grows."""

    port: int
    end: Callable[[], None]
    wanted: float


class Held:
    """A client's session in a thread of its own, and a tap for each bridge and port.

    While nothing listens on a port of this machine, the relay's port that leads to it is not held: a carrier is refused there before it
    has sent anything, and the cluster answers.
    """

    def __init__(self, session: Session, tell: Tell, stack: ExitStack) -> None:
        self._session, self._tell, self._stack = session, tell, stack
        self._lock = threading.Lock()
        self._taps: dict[_Way, _Tap] = {}
        self._listens: dict[_Way, bool] = {}
        self._ways: dict[int, _Way] = {}

    def lead(self, bridges: Mapping[str, Mapping[int, int]]) -> None:
        """By bridge: the relay's ports that lead to ports of this machine; all others are given back."""
        now, ways = time.monotonic(), {port: (name, local) for name, ports in bridges.items() for port, local in ports.items()}
        for way in {*ways.values()} - self._taps.keys():
            self._taps[way] = self._tapped(way, now)
        with self._lock:
            self._ways = ways
            self._want()
        for way, tap in list(self._taps.items()):
            if way in ways.values():
                self._taps[way] = tap._replace(wanted=now)
            elif now - tap.wanted > _LINGERS:
                del self._taps[way]
                tap.end()

    def holds(self) -> frozenset[int]:
        """The relay's ports that lead here now."""
        return self._session.held()

    def silent(self, bridge: str) -> list[int]:
        """The ports of this machine that the bridge leads to, and on which nothing listens."""
        with self._lock:
            return sorted({way[1] for way in self._ways.values() if way[0] == bridge and self._listens.get(way) is False})

    def _tapped(self, way: _Way, now: float) -> _Tap:
        from generator.live.tap import tapped  # noqa: PLC0415  # only when a connection is held

        name, local = way
        with ExitStack() as stack:
            port = stack.enter_context(tapped(local, partial(request, self._tell, name), partial(self._turned, way)))
            own = stack.pop_all()
        self._stack.callback(own.close)
        return _Tap(port, own.close, now)

    def _turned(self, way: _Way, listens: bool) -> None:
        with self._lock:
            self._listens[way] = listens
            self._want()

    def _want(self) -> None:
        self._session.want({port: self._taps[way].port for port, way in self._ways.items() if self._listens.get(way)})


def introduced(kube: Kube, client: str, tell: Tell, *, named: bool) -> tuple[Path, str]:
    """Let the client be there with the key of this machine: the key's folder and its public half.

    named: the user has named the client himself; then the key of another machine is replaced. Raises InputError.
    """
    from generator.live import client as clients  # noqa: PLC0415  # only when a connection is held
    from generator.live import session as sessions  # noqa: PLC0415
    from generator.live.failures import KubeError  # noqa: PLC0415

    try:
        sessions.programs()
        folder = sessions.folder(fit((urlsplit(kube.server).netloc or "cluster").replace(":", "-"), 60), client)
        public = sessions.public_key(folder)
        with live.answers(kube):
            if clients.put(kube, client, public, replace=named):
                tell("key", f"client {client} had the key of another machine, which cannot connect again", client=client)
    except sessions.NoSsh as error:
        cure = "Install OpenSSH's client: apt-get install openssh-client, dnf install openssh-clients; macOS and Windows have it."
        raise InputError(Problem("SshMissing", "PATH", str(error), cure)) from error
    except sessions.BadKey as error:
        raise InputError(Problem("KeyUnusable", str(error.place), str(error), error.cure)) from error
    except OSError as error:
        cure = "Name a folder of your own, as in XDG_STATE_HOME=$HOME/.local/state."
        raise InputError(
            Problem("FileNotWritable", str(error.filename or "the state folder"), error.strerror or str(error), cure)
        ) from error
    except clients.Unusable as error:
        raise InputError(Problem("ClientUnusable", f"GefyraClient {client}", str(error), "Give another one with --client.")) from error
    except clients.NoClients as error:
        cure = "Install it as docs/install.md says, or give the --context of a cluster that has it."
        raise InputError(Problem("NotInstalled", kube.server, "bascule is not installed in this cluster", cure)) from error
    except KubeError as error:
        cure = "Try again; what the API server, or a webhook that it asks, says of itself is in their logs."
        raise InputError(Problem("ClusterUnreachable", kube.server, str(error), cure)) from error
    return folder, public


@contextmanager
def held(kube: Kube, context: str | None, client: str, tell: Tell, *, named: bool) -> Iterator[Held]:
    """The client is there with the key of this machine, and a session of it runs within the block. named: as above. Raises InputError."""
    from generator.live import client as clients  # noqa: PLC0415  # only when a connection is held
    from generator.live import session as sessions  # noqa: PLC0415

    folder, public = introduced(kube, client, tell, named=named)
    session = sessions.Session(
        folder,
        command(context),
        partial(clients.access, kube, client, public),
        lambda why: tell("connection", why, client=client),
    )
    stop = threading.Event()
    thread = threading.Thread(target=session.run, args=(stop,), daemon=True)
    thread.start()
    with ExitStack() as stack:
        try:
            yield Held(session, tell, stack)
        finally:
            stop.set()
            session.want({})
            with contextlib.suppress(KeyboardInterrupt):
                thread.join()


def duration(ctx: click.Context, parameter: click.Parameter, value: str | None) -> float | None:
    """`--ttl`: a duration or none. A callback of click."""
    from generator.cli.waiting import seconds  # noqa: PLC0415  # one direction of imports

    return None if value is None else seconds(ctx, parameter, value)
