"""Files and standard input -> Kubernetes objects; options that several commands have; the clock, which no other module reads."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from generator.asked.admission import template_of
from generator.asked.values import workload
from generator.cli import color_option
from generator.cluster.shape import misshapen
from generator.cluster.snapshot import WORKLOAD_KINDS, Key, Obj, Snapshot
from generator.cluster.times import after, parse
from generator.desired.generate import Desired, generate
from generator.errors import InputError, Problem
from generator.names import RECORDED
from generator.text import reading as text
from generator.text.walk import Place

_EXAMPLE = f"for example:\n  kubectl get -n shop -o yaml {RECORDED} | bascule {{}} -f - -f bridges.yaml"


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

    def judged(self) -> tuple[Snapshot, Desired]:
        """The snapshot and what should exist. Raises InputError if the input cannot be used."""
        snapshot = Snapshot.of(self.usable().objects, self.now)
        desired = generate(snapshot)
        if fatal := [p for p in desired.problems if p.severity == "input"]:
            raise InputError(*fatal)
        return snapshot, desired


def input_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """`-f`, `--now` and `--color`; the function gets a Stream as its first argument."""

    @functools.wraps(function)
    def command(filename: tuple[str, ...], now: str | None, **rest: Any) -> Any:
        return function(read(filename, now), **rest)

    time = click.option("--now", metavar="TIME", help="RFC 3339 time that counts as now; the clock's if it is not given.")
    words = "YAML or JSON with Kubernetes objects; - is standard input. Repeatable."
    files = click.option("-f", "--filename", metavar="FILE", multiple=True, help=words)
    options: Callable[..., Any] = files(time(color_option(command)))
    return options


def target_option(function: Callable[..., Any]) -> Callable[..., Any]:
    """`--target`."""
    text_ = "Which container, as in shop/deployment/web or shop/deploy/web/app."
    return click.option("--target", metavar="NAMESPACE/KIND/NAME[/CONTAINER]", required=True, help=text_)(function)


def read(files: Iterable[str], now: str | None) -> Stream:
    """The objects of all files in their order. Raises click.UsageError when none is given."""
    files = list(dict.fromkeys(files))
    if not files:
        context = click.get_current_context()
        raise click.UsageError(f"Give the input with -f, {_EXAMPLE.format(context.info_name)}")
    place = Place("--now", [])
    moment = now if now is not None else datetime.now(UTC).isoformat(timespec="milliseconds")
    if parse(moment) is None:
        place.report("BadTime", f"{moment!r} is not an RFC 3339 time", "Write it with a zone, as in 2026-11-24T22:00:00Z.")
    else:
        moment = after(moment, 0)
    objects: list[Obj] = []
    problems = place.problems
    for name in files:
        found, wrong = _objects(name)
        objects += found
        problems += wrong
    return Stream(tuple(objects), moment, (*problems, *misshapen(objects)))


def _objects(name: str) -> tuple[list[Obj], tuple[Problem, ...]]:
    source = "stdin" if name == "-" else name
    if name == "-" and sys.stdin is None:
        return [], (Problem("FileNotReadable", source, "it is closed", "Give the input with -f FILE, or through a pipe."),)
    try:
        raw = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        return [], (Problem("FileNotReadable", source, reason, "Check the path; - reads standard input."),)
    if not raw.strip(b"- \t\r\n\v\f"):
        cure = "Did the command before the pipe fail? Give what `kubectl get ... -o yaml` prints."
        return [], (Problem("NotAnObject", source, "the input is empty", cure),)
    return text.read(raw, source)


def resolve(snapshot: Snapshot, written: str, claimed: Callable[[Key], Iterable[str]]) -> tuple[Key, str]:
    """`NAMESPACE/KIND/NAME[/CONTAINER]` as a workload of the snapshot and one of its containers. Raises InputError.

    claimed: containers of a workload that are bridged; when there is one, it need not be named.
    """
    place = Place("--target", [])
    parts = written.split("/")
    if len(parts) not in (3, 4) or not all(parts):
        message = f"{written!r} is not NAMESPACE/KIND/NAME[/CONTAINER]"
        place.report("TargetUnknown", message, "Write shop/deployment/web or shop/deploy/web/app.")
        raise InputError(*place.problems)
    ref = workload(place, f"{parts[1]}/{parts[2]}", parts[0], "".join(parts[3:]))
    if ref is None:
        raise InputError(*place.problems)
    key = Key(ref.kind, ref.namespace, ref.name)
    obj = snapshot.space(ref.namespace).get(ref.kind, ref.name)
    if obj is None:
        there = [
            f"{ref.namespace}/{k.lower()}/{o['metadata']['name']}"
            for k in WORKLOAD_KINDS[:3]
            for o in snapshot.space(ref.namespace).all(k)[:4]
        ]
        message = f"{key} is not in the stream (there in {ref.namespace}: {', '.join(there) or 'none'})"
        place.report("TargetUnknown", message, "Correct the name, or add the object to the stream.")
        raise InputError(*place.problems)
    known = [c["name"] for c in template_of(obj)["spec"]["containers"]]
    bridged = sorted(set(claimed(key)) & set(known))
    if ref.container in known:
        return key, ref.container
    if not ref.container and len(known) == 1:
        return key, known[0]
    if not ref.container and len(bridged) == 1:
        return key, bridged[0]
    cure = f"Write {'/'.join(parts[:3])}/{known[0]}; there are {', '.join(known)}."
    if ref.container:
        place.report("TargetUnknown", f"{key} has no container {ref.container!r}", cure)
    else:
        place.report("ContainerAmbiguous", f"{key} has {len(known)} containers and none is named", cure)
    raise InputError(*place.problems)
