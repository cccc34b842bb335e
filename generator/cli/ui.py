"""`bascule ui`: one page with what status, check, explain and graph say, for a browser on this machine.

The server listens on 127.0.0.1 alone, answers GET alone and writes nothing, neither here nor in the cluster. So no token guards it:
there is nothing that another site could make a browser do (request forgery), and what is answered that site cannot read, as no
header allows it to, and as a Host that is not ours is refused: that of a name which has been led to 127.0.0.1 (DNS rebinding).
Whoever has an account on this machine may read the page.
"""

from __future__ import annotations

import threading
import time
import webbrowser
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib.resources import files
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import click

from generator import graph as drawing
from generator import names
from generator.cli import data, live, status, view
from generator.cli.check import gravity
from generator.cli.explain import headers_of, told, who_gets
from generator.cli.graph import target_graph
from generator.cli.signals import ends
from generator.cli.states import judge
from generator.cli.stream import Source, Stream, source_options
from generator.cluster.snapshot import Snapshot
from generator.desired.generate import Desired
from generator.errors import InputError, Problem
from generator.page.document import Answer, Form, Shown, page

PAUSE: Final = 2.0
"""Seconds for which what was read is new enough, however many pages are open: as often as page.js asks."""
_FILES: Final = {"/page.css": "text/css", "/page.js": "text/javascript", "/icon.svg": "image/svg+xml"}
_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_DRAWING: Final = "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'"
"""For the picture of `graph`, whose style stands in it and which holds no script."""
_LONGEST: Final = 1 << 16
"""Bytes that are read of what a request carries, so that its sender hears the refusal."""


class Seen(NamedTuple):
    """What was read and judged. operator: who carries it out, in words. trouble: why it is not of now."""

    stream: Stream
    snapshot: Snapshot
    desired: Desired
    status: dict[str, Any]
    check: dict[str, Any]
    operator: str
    trouble: tuple[Problem, ...] = ()


class Reply(NamedTuple):
    """What is answered to a request. more: headers."""

    code: HTTPStatus
    kind: str
    body: bytes
    policy: str = _POLICY
    more: Mapping[str, str] = {}


def look(source: Source, before: Seen | None = None) -> Seen:
    """What is there now; what was seen before if the very same is read. Raises InputError."""
    stream = source.read().usable()
    if before and stream == before.stream:
        return before._replace(trouble=())
    snapshot, desired = stream.judged()
    leads = live.leader(source.kube, stream.now) if source.of_cluster else None
    found = judge(snapshot, desired, leads)
    targets = {f"GefyraBridge {names.CONTROL_NAMESPACE}/{b.name}": b.written for b in found.bridges}
    problems = [{**data.problem_data(p), "asks": _asks(p, targets)} for p in sorted(desired.problems, key=gravity)]
    return Seen(stream, snapshot, desired, status.as_data(found), {"problems": problems}, leads.words if leads else "")


def _asks(problem: Problem, targets: Mapping[str, str]) -> dict[str, str]:
    """The fields of the form for the request that a problem names, none if it names none. targets: by the place of a bridge."""
    if not problem.example or problem.place not in targets:
        return {}
    port, method, url, headers = problem.example
    return Form(method, url, targets[problem.place], str(port), "\n".join(headers))._asdict()


def kept(source: Source) -> Callable[[], Seen]:
    """A look that is as old as PAUSE at most; what cannot be read later leaves the last one, and says so. Raises InputError at first."""
    lock = threading.Lock()
    last = [(look(source), time.monotonic())]

    def see() -> Seen:
        with lock:
            seen, at = last[0]
            if time.monotonic() - at >= PAUSE:
                try:
                    seen = look(source, seen)
                except InputError as error:
                    seen = seen._replace(trouble=error.problems)
                last[0] = seen, time.monotonic()
            return seen

    return see


def reply(see: Callable[[], Seen], source: str, wanted: str) -> Reply:
    """The answer to GET for a path with its query."""
    path, query = urlsplit(wanted).path, urlsplit(wanted).query
    asked = dict(parse_qsl(query, keep_blank_values=True, errors="replace"))
    if path in _FILES:
        return Reply(HTTPStatus.OK, _FILES[path], _file(path))
    if path == "/":
        return Reply(HTTPStatus.OK, "text/html", shown(see(), source, asked).encode(errors="replace"))
    if path == "/routes.svg":
        try:
            picture = drawing.svg(target_graph(see().stream, asked.get("target", "")))
        except InputError as error:
            return _plain(HTTPStatus.NOT_FOUND, str(error))
        return Reply(HTTPStatus.OK, "image/svg+xml", picture.encode(errors="replace"), _DRAWING)
    return _plain(HTTPStatus.NOT_FOUND, f"there is / with the page, /routes.svg?target=... and {', '.join(_FILES)}")


@cache
def _file(path: str) -> bytes:
    return files("generator.cli").joinpath(f"static{path}").read_bytes()


def _plain(code: HTTPStatus, why: str, **more: str) -> Reply:
    return Reply(code, "text/plain", f"{why}\n".encode(errors="replace"), more=more)


def shown(seen: Seen, source: str, asked: Mapping[str, str]) -> str:
    """The page, with the answer to what the form asks."""
    form = Form(**{name: asked.get(name, "").strip() for name in Form._fields})
    answer, wrong = answered(seen, form) if form.url else (None, ())
    trouble, problems = ([data.problem_data(p) for p in found] for found in (seen.trouble, wrong))
    return page(Shown(source, seen.status, seen.check, seen.operator, form, trouble, answer, problems))


def answered(seen: Seen, form: Form) -> tuple[Answer | None, Sequence[Problem]]:
    """The answer of `bascule explain`, or why there is none."""
    try:
        port = int(form.port) if form.port.isascii() and form.port.isdigit() else 0
        headers = headers_of(filter(None, map(str.strip, form.headers.splitlines())))
        return told(*who_gets(seen.snapshot, seen.desired, form.target, port, form.method, form.url, headers)), ()
    except ValueError as error:
        return None, (Problem("OptionInvalid", "Headers", str(error), "Write a header a line, as in x-user: alice."),)
    except InputError as error:
        return None, error.problems


def guarded(method: str, host: str | None, port: int) -> Reply | None:
    """Why a request is not answered, if it is not."""
    ours = [f"{name}{tail}" for name in ("127.0.0.1", "localhost") for tail in (f":{port}", *([""] if port == 80 else []))]
    if host not in ours:
        return _plain(HTTPStatus.FORBIDDEN, f"the Host of a request must be {' or '.join(ours)}: another may be a site's that was led here")
    if method != "GET":
        return _plain(HTTPStatus.METHOD_NOT_ALLOWED, "only GET is answered: nothing can be written here", Allow="GET")
    return None


@contextmanager
def serving(see: Callable[[], Seen], source: str, port: int) -> Iterator[str]:
    """The page on 127.0.0.1; gives its URL. port: 0 for one that is free. Raises InputError."""

    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version, timeout = "bascule", "", 30

        def handle_any(self) -> None:
            length = self.headers.get("content-length") or "0"
            self.rfile.read(min(int(length), _LONGEST) if length.isascii() and length.isdigit() else 0)
            try:
                found = guarded(self.command, self.headers.get("host"), here) or reply(see, source, self.path)
            except Exception as error:  # noqa: BLE001  # a mistake of ours is one line, here as in every command
                view.internal(error)
                found = _plain(HTTPStatus.INTERNAL_SERVER_ERROR, "a mistake of bascule; the terminal says which")
            self.send_response(found.code)
            headers = {
                "content-type": f"{found.kind}; charset=utf-8",
                "content-length": str(len(found.body)),
                "content-security-policy": found.policy,
                "x-content-type-options": "nosniff",
                "cross-origin-resource-policy": "same-origin",
                "referrer-policy": "no-referrer",
                "cache-control": "no-store",
            }
            for name, value in {**headers, **found.more}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(found.body)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = handle_any  # noqa: N815  # http.server names them so

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: Any) -> None:
            """A browser that hangs up is no error."""

    try:
        server = Server(("127.0.0.1", port), Handler)
    except OSError as error:
        cure = "Give another port, or leave --port out for one that is free."
        raise InputError(Problem("OptionInvalid", "--port", f"{port}: {error.strerror or error}", cure)) from error
    here = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{here}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@click.command
@source_options
@click.option("--port", type=click.IntRange(0, 65535), default=0, show_default=True, help="On 127.0.0.1; 0 is one that is free.")
@click.option("--open/--no-open", "opens", default=True, show_default=True, help="Open it in your browser.")
def ui(source: Source, port: int, opens: bool) -> None:
    """Serve a page with status and problems; it explains requests too.

    It shows targets and bridges, who takes which requests and where they go, what clashes and what is wrong, and answers what
    `bascule explain` does. With a cluster it is fresh every two seconds. It writes nothing, and only this machine reaches it.

    \b
      bascule ui
      bascule ui -f shop.yaml -f bridges.yaml

    Exit code 0 when it is ended by Ctrl-C; 2 if the input cannot be used at the start.
    """
    words = source.kube.server if source.of_cluster else ", ".join(source.files)
    with ends() as stop, serving(kept(source), words, port) as url:
        view.show(f"{url} until Ctrl-C\n")
        if opens:
            webbrowser.open(url)
        stop.wait()
