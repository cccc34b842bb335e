"""`bascule clean`: the steps that take everything of ours away, or a list of what there is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final, NamedTuple

import click

from generator import names
from generator.cli import data, view
from generator.cli.plan import write
from generator.cli.stream import Source, source_options
from generator.cluster.snapshot import OUR_KINDS, Key, Obj, is_ours, key_of
from generator.cluster.workload import original
from generator.plan import Change
from generator.simulate import Run, Step, fold

_PAINT: Final[view.Paint] = {r"nothing of bascule is left": {"fg": "green"}}


class Trace(NamedTuple):
    """Something of ours that is in the stream. what: `asked`, the role of an object of ours, or the marks on a Pod."""

    key: Key
    what: str


def traces(objects: Iterable[Obj]) -> tuple[Trace, ...]:
    """Bridges, mounts and clients, objects of ours, and Pods with marks of ours."""
    return tuple(sorted(trace for obj in objects for trace in _traces(obj)))


def _traces(obj: Obj) -> Iterator[Trace]:
    key = key_of(obj)
    if key.kind == "EndpointSlice":  # its controller copies the labels of the Service, with which it goes
        return
    if key.kind in OUR_KINDS.values():
        yield Trace(key, "asked for by a user")
    elif is_ours(obj):
        yield Trace(key, str(obj["metadata"]["labels"][names.ROLE]))
    else:
        metadata = obj["metadata"]
        marks = [f"{part[:-1]} {k}" for part in ("labels", "annotations") for k in sorted(metadata.get(part) or ()) if names.is_ours(k)]
        if key.kind == "Pod" and obj.get("spec", {}).get("containers"):
            marks += [f"container {c.name} is a carrier" for c in original(obj).containers.values() if c.carried]
        if marks:
            yield Trace(key, ", ".join(marks))


def restore(objects: Iterable[Obj], now: str) -> Run:
    """The fold of the stream without what is asked; its first step deletes that."""
    objects = tuple(objects)
    asked = sorted(trace.key for trace in traces(objects) if trace.key.kind in OUR_KINDS.values())
    run = fold([o for o in objects if key_of(o) not in asked], now)
    if not asked:
        return run
    first = Step(now, tuple(Change("delete", key, "delete it first: with kubectl, or whoever made it") for key in asked))
    return Run((first, *run.steps), run.converged, run.end, run.desired, run.now)


def as_text(found: Iterable[Trace], columns: int) -> str:
    """A line for each, or the good news."""
    lines = [line for trace in found for line in (str(trace.key), *view.wrapped(trace.what, "  ", columns))]
    return "\n".join(lines or ["nothing of bascule is left"]) + "\n"


@click.command
@source_options
@click.option("--check", "only_check", is_flag=True, help="List what there is of bascule instead.")
@click.option("-o", "--output", type=click.Choice(["text", "json", "yaml"]), default="text", show_default=True)
@click.pass_context
def clean(ctx: click.Context, source: Source, only_check: bool, output: str) -> None:
    """Show the steps that take everything of bascule away, or with --check what there is of it.

    The steps begin with the bridges, mounts and clients, end with no object and no mark of ours, and lose no request on the way. Without -f
    the whole cluster is looked at, or what the account may read of it. Where bascule is installed (namespace gefyra and what is of
    the cluster) does not count.

    Exit code 0; 1 if no end is found, or with --check if anything is left; 2 if the input cannot be used.
    """
    whole = source.of_cluster and not source.files
    there = source.traces() if whole else ()
    if only_check:
        ctx.exit(_list(traces(there if whole else source.read().usable().objects), output))
    stream = (replace(source, namespaces=_spaces(source, there)) if whole else source).read().usable()
    run = restore(stream.objects, stream.now)
    write("Clean", output, run, run.desired.problems)
    ctx.exit(0 if run.converged else 1)


def _spaces(source: Source, there: Iterable[Obj]) -> tuple[str, ...]:
    """Where something is left, or is asked for."""
    from generator.live import reading  # noqa: PLC0415  # only when a cluster is read

    left = {trace.key.namespace for trace in traces(there) if trace.key.kind not in OUR_KINDS.values()}
    return source.namespaces or tuple(sorted(left | reading.named(there)))


def _list(found: tuple[Trace, ...], output: str) -> int:
    if output == "text":
        view.show(as_text(found, view.width()), _PAINT)
    else:
        view.show(data.written(output, data.envelope("Clean", left=[{**data.reference(t.key), "what": t.what} for t in found])))
    return int(bool(found))
