"""Files, standard input or a live cluster -> Kubernetes objects; options that several commands have; the clock of all commands.

With -f only files are read, without it the cluster; with -f and --live the cluster as it would be once the files are applied.
"""

from __future__ import annotations

import functools
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import click

from generator.cli import color_option, live, view
from generator.cluster.shape import misshapen
from generator.cluster.snapshot import Obj, Snapshot
from generator.cluster.times import after, parse
from generator.desired.generate import Desired, generate
from generator.errors import InputError, Problem
from generator.names import API_VERSION, CONTROL_NAMESPACE

if TYPE_CHECKING:
    from generator.live.kube import Kube

NOW: Final = "# now: "
"""How the first line of a snapshot begins; the time when it was taken follows."""
_LABEL: Final = re.compile(r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?")
_NOW = re.compile(rb"\A(?:\xef\xbb\xbf)?# now: (\S+)[ \t]*\r?(?:\n|\Z)")


@dataclass(frozen=True, slots=True)
class Stream:
    """Everything that was given. now: RFC 3339 in UTC. problems: of the text and the shape of the objects."""

    objects: tuple[Obj, ...]
    now: str
    problems: tuple[Problem, ...] = ()

    def usable(self) -> Stream:
        """Itself. Raises InputError if it has problems."""
        if self.problems:
            raise InputError(*self.problems)
        return self

    def reported(self) -> tuple[Snapshot, Desired]:
        """The snapshot and what should exist, with whatever is wrong with it. Raises InputError if the input cannot be read."""
        snapshot = Snapshot.of(self.usable().objects, self.now)
        return snapshot, generate(snapshot)

    def judged(self) -> tuple[Snapshot, Desired]:
        """The same. Raises InputError also if a bridge or mount in it cannot be used."""
        snapshot, desired = self.reported()
        if fatal := [p for p in desired.problems if p.severity == "input"]:
            raise InputError(*fatal)
        return snapshot, desired


@dataclass(frozen=True)
class Source:
    """Where a command reads. now: as given, or None. context, namespaces: of the cluster; no namespace: those in use.

    asked: objects beside those of the files. said: what was left out, so that it is told once.
    """

    files: tuple[str, ...]
    now: str | None
    live: bool
    context: str | None
    namespaces: tuple[str, ...]
    asked: tuple[Obj, ...] = ()
    said: set[str] = field(default_factory=set, compare=False)

    @property
    def of_cluster(self) -> bool:
        """Whether a cluster is read."""
        return self.live or not self.files

    @cached_property
    def kube(self) -> Kube:
        """The account on the cluster. Raises InputError."""
        return live.account(self.context)

    @cached_property
    def given(self) -> Stream:
        """What the files hold, and the time that they or the options name; read once, for standard input is gone then."""
        objects: list[Obj] = list(self.asked)
        problems: list[Problem] = []
        moments: list[tuple[str, str]] = [] if self.now is None else [("--now", self.now)]
        for name in dict.fromkeys(self.files):
            found, wrong, noted = _objects(name)
            objects += map(_placed, found) if self.live else found
            problems += wrong
            moments += [(name, noted)] if noted and self.now is None else []
        cure = "Write it with a zone, as in 2026-11-24T22:00:00Z."
        bad = [Problem("BadTime", where, f"{moment!r} is not an RFC 3339 time", cure) for where, moment in moments if parse(moment) is None]
        now = max((after(moment, 0) for _, moment in moments), default="") if not bad else ""
        return Stream(tuple(objects), now, (*bad, *problems, *misshapen(objects)))

    def read(self) -> Stream:
        """Everything of now. What cannot be read is a problem of the stream."""
        given = self.given
        now = given.now or clock()
        if not self.of_cluster or given.problems:
            return Stream(given.objects, now, given.problems)
        try:
            objects = self._read(given.objects)
        except InputError as error:
            return Stream((), now, error.problems)
        return Stream(objects, given.now or clock())

    def _read(self, asked: tuple[Obj, ...]) -> tuple[Obj, ...]:
        from generator.live import reading  # noqa: PLC0415  # only when a cluster is read

        with live.patience(f"reading {self.kube.server}") as step, live.answers(self.kube):
            return reading.read(self.kube, self.namespaces or None, asked, warn=self.warn, step=step)

    def traces(self) -> tuple[Obj, ...]:
        """All that may be left of bascule in the cluster, or in the namespaces that are given. Raises InputError."""
        from generator.live import reading  # noqa: PLC0415  # only when a cluster is read

        with live.patience(f"reading {self.kube.server}") as step, live.answers(self.kube):
            return reading.traces(self.kube, self.namespaces or None, warn=self.warn, step=step)

    def warn(self, text_: str) -> None:
        """Tell it once, on standard error."""
        if text_ not in self.said:
            self.said.add(text_)
            view.note(text_)


def clock() -> str:
    """Now, with milliseconds."""
    return after(datetime.now(UTC).isoformat(timespec="milliseconds"), 0)


def _placed(obj: Obj) -> Obj:
    """A bridge or mount without a namespace where the operator looks for it."""
    if obj.get("apiVersion") != API_VERSION or not isinstance(obj.get("metadata"), dict) or obj["metadata"].get("namespace"):
        return obj
    return {**obj, "metadata": {**obj["metadata"], "namespace": CONTROL_NAMESPACE}}


def source_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`-f`, `--now`, `--color` and those of a cluster; the function gets a Source as its first argument."""

    @functools.wraps(function)
    def command(
        filename: tuple[str, ...], now: str | None, live: bool, context: str | None, namespace: tuple[str, ...], **rest: Any
    ) -> Any:
        if filename and not live and (context is not None or namespace):
            option = "--context" if context is not None else "--namespace"
            raise click.UsageError(f"{option} is for a cluster, and -f reads only files; add --live for both.")
        return function(Source(filename, now, live, context, namespace), **rest)

    words = "YAML or JSON with Kubernetes objects; - is standard input. Repeatable. Without it the cluster is read."
    files = click.option("-f", "--filename", metavar="FILE", multiple=True, help=words)
    both = click.option("--live", is_flag=True, help="With -f: the cluster as it would be with the files applied.")
    time = click.option("--now", metavar="TIME", help="RFC 3339 time that counts as now; that of a snapshot, else the clock's.")
    options: Callable[..., Any] = files(both(cluster_options(time(color_option(command)))))
    return options


def space(_ctx: click.Context, _parameter: click.Parameter, value: Any) -> Any:
    """`-n`: a name, several or none, as they were given (RFC 1123, label). A callback of click. Raises InputError."""
    for name in (value,) if isinstance(value, str) else value or ():
        if not _LABEL.fullmatch(name):
            cure = "Use up to 63 lower-case letters, digits and -, as in -n shop."
            raise InputError(Problem("OptionInvalid", "--namespace", f"{name!r} is no namespace's name", cure))
    return value


def cluster_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--context` and `-n`."""
    spaces = "Of the cluster only these. Repeatable. By default those that bridges, mounts and the operator's settings name."
    namespace = click.option("-n", "--namespace", metavar="NAME", multiple=True, callback=space, help=spaces)
    context = click.option("--context", metavar="NAME", help="Of the kubeconfig (KUBECONFIG, ~/.kube/config); its current one by default.")
    options: Callable[..., Any] = context(namespace(function))
    return options


def input_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same options; the function gets a Stream as its first argument."""

    @functools.wraps(function)
    def command(source: Source, **rest: Any) -> Any:
        return function(source.read(), **rest)

    return source_options(command)


def _objects(name: str) -> tuple[list[Obj], tuple[Problem, ...], str]:
    """The objects of a file, what is wrong with it, and the time that its first line names, "" if it names none."""
    source = "stdin" if name == "-" else name
    if name == "-" and sys.stdin is None:
        return [], (Problem("FileNotReadable", source, "it is closed", "Give the input with -f FILE, or through a pipe."),), ""
    try:
        raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return [], (Problem("FileNotReadable", source, reason, "Check the path; - reads standard input."),), ""
    if not raw.strip(b"- \t\r\n\v\f"):
        cure = "Did the command before the pipe fail? Give what `kubectl get ... -o yaml` prints."
        return [], (Problem("NotAnObject", source, "the input is empty", cure),), ""
    from generator.text import reading as text  # noqa: PLC0415  # only when a file is read

    noted = _NOW.match(raw)
    return (*text.read(raw, source), noted[1].decode(errors="replace") if noted else "")
