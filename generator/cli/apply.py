"""`bascule apply`: bridges and mounts into the cluster, and, where no operator runs, the steps of the plan until nothing changes."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TYPE_CHECKING, Final

import click

from generator.cli import color_option, live, view
from generator.cli.diff import SIGNS
from generator.cli.plan import PAINT, counts, step_lines
from generator.cli.states import MOVING, Row, Status, Target, judge, pending
from generator.cli.status import PAINT as STATES
from generator.cli.status import as_text
from generator.cli.stream import Source, Stream, cluster_options
from generator.cli.waiting import seconds, until
from generator.cli.wishes import Concerned, Wish, concerned, put, wishes
from generator.cluster.relay import unheard
from generator.cluster.snapshot import OUR_KINDS, key_of
from generator.desired.waking import next_look
from generator.plan import plan
from generator.simulate import fold

if TYPE_CHECKING:
    from generator.live.kube import Kube

_PAUSE: Final = 0.3
"""Seconds between two rounds: each is a few lists."""
_WRITES: Final = 16


@click.command
@click.option("-f", "--filename", metavar="FILE", multiple=True, help="Bridges and mounts to write; - is standard input. Repeatable.")
@click.option("--delete", is_flag=True, help="Delete those of the files instead, and wait until their targets are as before.")
@cluster_options
@click.option("--dry-run", type=click.Choice(["server"]), help="Let the API server judge the first writes, and keep none.")
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--timeout", metavar="DURATION", callback=seconds, default="60s", show_default=True, help="How long to go on, as in 90s, 5m or 1h."
)
@color_option
@click.pass_context
def apply(
    ctx: click.Context,
    filename: tuple[str, ...],
    delete: bool,
    context: str | None,
    namespace: tuple[str, ...],
    dry_run: str | None,
    yes: bool,
    timeout: float,
) -> None:
    """Write bridges and mounts, and wait until they are ACTIVE.

    Where an operator runs, or the account may not see whether one does, it does the rest. Where none runs, this command does: it reads,
    plans and writes until nothing changes any more, and without -f carries on from wherever the cluster stands. It may be
    interrupted, and run again.

    Before it writes, it prints what it is about to do, and on a terminal asks.

    Exit code 0; 1 if something is refused, declined or not reached in time; 2 if the input cannot be used.
    """
    if delete and not filename:
        raise click.UsageError("--delete needs -f.")
    source = Source(filename, None, live=True, context=context, namespaces=namespace)
    given = source.given.usable().objects
    now, leader = _read(replace(source, files=()))
    if leader.holder and not filename:
        view.fail(f"an operator is running ({leader.holder}) and does this; `bascule status --watch` shows how far it is")
        ctx.exit(2)
    if leader.holder is None and not filename:
        view.fail(f"{leader.words}, and this does what one does: let it `get` Lease gefyra/bascule-operator")
        ctx.exit(2)
    asked = wishes(given, now.objects, delete=delete)
    then = _without(now, asked) if delete else _read(source)[0]
    whose = concerned(judge(*(now if delete else then).judged()), asked) if filename else None
    if whose and not delete and (refused := [i.problem for i in whose.items if i.problem and i.problem.severity != "warning"]):
        view.complain(refused)
        view.fail("nothing was written")
        ctx.exit(1)
    writes, run = [w for w in asked if w.op], fold(then.objects, then.now)
    moves = bool(writes or run.changes) or next_look(run.desired, then.now) is not None
    if not moves and not (whose and pending(whose.items)):
        view.show("nothing to do\n")
        ctx.exit(0)
    view.show("".join(f"{line}\n" for line in (*(f"{SIGNS[w.op]} {w.key}" for w in writes), *counts(run, view.width()))), PAINT)
    if dry_run:
        ctx.exit(_tried(live.account(context, dry_run=True), writes, then))
    if not yes and view.is_asked() and not click.confirm("Go on?", err=True):
        view.note("nothing was written")
        ctx.exit(1)
    with live.answers(source.kube):
        for wish in writes:
            put(source.kube, wish)
    if leader.holder is None:
        view.note(f"{leader.words}; one is waited for")
    watched = replace(source, files=(), namespaces=_spaces(source, now, then))
    ctx.exit(0 if _go_on(watched, whose, timeout) else 1)


def _read(source: Source) -> tuple[Stream, live.Leader]:
    """What is there now, and who leads. Where nobody does, nobody keeps the relay's report, and no bridge goes for what it says."""
    stream = source.read().usable()
    leader = live.leader(source.kube, stream.now)
    return (stream if leader.holder != "" else replace(stream, objects=unheard(stream.objects))), leader


def _without(now: Stream, asked: Iterable[Wish]) -> Stream:
    keys = {w.key for w in asked}
    return Stream(tuple(o for o in now.objects if key_of(o) not in keys), now.now)


def _spaces(source: Source, *streams: Stream) -> tuple[str, ...]:
    """The namespaces to go on reading: also those that only what is deleted has named."""
    from generator.live import reading  # noqa: PLC0415  # only when a cluster is read

    objects = [o for stream in streams for o in stream.objects]
    return source.namespaces or tuple(sorted({*reading.named(objects), *reading.settings(objects)}))


def _tried(kube: Kube, writes: Iterable[Wish], then: Stream) -> int:
    """Let the server judge what is written first: bridges and mounts, and the first step but for what a carrier has to take."""
    from generator.live import apply as live_apply  # noqa: PLC0415  # only when a cluster is written to

    with live.answers(kube), ThreadPoolExecutor(_WRITES) as pool:
        for wish in writes:
            put(kube, wish)
        changes = [c for c in plan(*then.judged()) if c.key.kind not in OUR_KINDS.values() and not c.deliver]
        result = live_apply.write(kube, changes, pool)
    for change, error in result.failed:
        view.fail(f"{change.op} {change.key}: {error}")
    if not result.failed:
        view.show("the server would take the first step; nothing was written\n")
    return int(bool(result.failed))


def _go_on(source: Source, whose: Concerned | None, timeout: float) -> bool:
    """Until what is concerned is ACTIVE or gone, and, if we are who writes, nothing changes any more; whether that was reached.

    We write while no operator runs: one that ends meanwhile, or has ended without a word, is replaced.
    """
    from generator.live import apply as live_apply  # noqa: PLC0415  # only when a cluster is written to
    from generator.live.failures import Forbidden  # noqa: PLC0415

    number = 0
    with ThreadPoolExecutor(_WRITES) as pool:

        def look() -> tuple[tuple[tuple[Target | Row, ...], str], list[str]]:
            nonlocal number
            stream, leader = _read(source)
            writes = leader.holder == ""
            snapshot, desired = stream.judged()
            found = judge(snapshot, desired)
            items = whose.of(found) if whose else tuple(i for i in found.items if i.state in MOVING)
            missing = pending(items)
            changes = plan(snapshot, desired) if writes else ()
            if changes:
                result = live_apply.write(source.kube, changes, pool)
                if result.written:
                    number += 1
                    view.show("".join(f"{line}\n" for line in step_lines(number, result.written, view.width())), PAINT)
                with live.answers(source.kube):
                    for _, error in result.failed:
                        if isinstance(error, Forbidden):
                            raise error
                failed = [f"{change.op} {change.key}: {error}" for change, error in result.failed]
                return (items, stream.now), [*failed, *missing] or ["what was written to take effect"]
            if writes and not missing and next_look(desired, stream.now) is not None:
                missing.append("proxies to know that nobody is to be sent to what was drained")
            elif writes and not missing and (rest := fold(stream.objects, stream.now).changes):
                missing.append(f"{rest[0].key}: {rest[0].reason}")
            return (items, stream.now), missing

        (items, now), done = until(look, timeout, _PAUSE)
    if done:
        rows = Status(tuple(i for i in items if isinstance(i, Target)), tuple(i for i in items if isinstance(i, Row)), now)
        view.show(as_text(rows, view.width()), STATES)
    return done
