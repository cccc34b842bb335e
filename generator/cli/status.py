"""`bascule status`: each target and each bridge, how far it is, and what holds it up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import click

from generator.cli import data, live, view
from generator.cli.states import Row, Status, absent, judge, narrowed, pending
from generator.cli.stream import Source, source_options
from generator.cli.waiting import again, seconds, until
from generator.cluster.times import seconds_between
from generator.errors import InputError, Problem

PAINT: Final[view.Paint] = {
    r"[A-Z]+(?:  +[A-Z]+)+": {"bold": True},
    r".* (ACTIVE)(?: .*)?": {"fg": "green"},
    r".* (PREPARING|INSTALLING|RESTORING|REQUESTED)(?: .*)?": {"fg": "yellow"},
    r".* (ERROR|MISSING)(?: .*)?": {"fg": "red"},
    r"(no operator runs.*|this account may not see.*)": {"fg": "yellow"},
}
_MOST_RULES: Final = 3


def as_text(found: Status, columns: int) -> str:
    """Two tables; what is not ACTIVE has the reason and the next step below it. Of a cluster, with a word about the operator."""
    parts = []
    if found.targets:
        rows = [(t.written, f"{t.carried}/{t.originals}", f"{t.serving}/{t.shadows}", t.state) for t in found.targets]
        notes = [list(_notes(t.waits, t.problem, columns)) for t in found.targets]
        parts.append(_table(("TARGET", "CARRIERS", "SHADOWS", "STATE"), rows, notes, columns))
    if found.bridges:
        rows = [(b.name, b.owner, b.state, age(b.created, found.now)) for b in found.bridges]
        notes = [[*_rules(b, columns), *_notes(b.waits, b.problem, columns)] for b in found.bridges]
        parts.append(_table(("BRIDGE", "OWNER", "STATE", "AGE"), rows, notes, columns))
    if not parts:
        parts.append("no bridges, no mounts, and nothing on its way back\n")
    if found.leader:
        nobody = ": nothing moves until one does, or `bascule apply` is run" if found.leader.holder == "" else ""
        heard = f", heard of {found.leader.seconds:.0f}s ago" if found.leader.holder else ""
        parts.append(f"{found.leader.words}{nobody}{heard}\n")
    return "\n".join(parts)


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], notes: Sequence[list[str]], columns: int) -> str:
    """Columns, with lines of notes below a row. A first field that leaves no room for the others stands on a line of its own."""
    widths = [max(len(row[i]) for row in (head, *rows)) for i in range(len(head))]
    room = columns - sum(widths[1:]) - 2 * (len(head) - 1)
    first = max((len(row[0]) for row in (head, *rows) if len(row[0]) <= room), default=len(head[0]))
    lines = []
    for row, below in zip((head, *rows), ([], *notes), strict=True):
        rest = "".join(f"  {field:{width}}" for field, width in zip(row[1:], widths[1:], strict=True)).rstrip()
        lines += [f"{row[0]:{first}}{rest}"] if len(row[0]) <= first else [row[0], " " * first + rest]
        lines += below
    return "".join(f"{line}\n" for line in lines)


def _rules(bridge: Row, columns: int) -> Iterator[str]:
    ports = f"port{'s' * (len(bridge.ports) != 1)} {', '.join(map(str, bridge.ports))}"
    yield from view.wrapped(f"{bridge.written} {ports}" if bridge.ports else bridge.written, "      ", columns, "    ")
    for rule in bridge.rules[:_MOST_RULES]:
        yield from view.wrapped(rule, "      ", columns, "    ")
    if (more := len(bridge.rules) - _MOST_RULES) > 0:
        yield f"    or {more} more rule{'s' * (more != 1)}"


def _notes(waits: Iterable[str], problem: Problem | None, columns: int) -> Iterator[str]:
    if problem:
        yield from view.wrapped(f"{problem.code}: {problem.message}", "    ", columns, "  ! ")
        yield from view.wrapped(problem.cure, "    ", columns, "  > ")
    for each in waits:
        yield from view.wrapped(each, "    ", columns, "  . ")


def age(created: str, now: str) -> str:
    """How old, as kubectl says it: 12s, 5m, 3h, 4d."""
    seconds = max(0, int(seconds_between(created, now)))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size or (unit == "d" and seconds >= size):
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def as_data(found: Status) -> dict[str, Any]:
    """The same as plain data, without ages."""
    return data.envelope(
        "Status",
        operator=(found.leader.holder or None) if found.leader else None,
        operatorRuns=found.leader.runs if found.leader else "Unknown",
        targets=[
            {
                "target": t.written,
                "mount": t.mount or None,
                "state": t.state,
                "originals": {"total": t.originals, "carried": t.carried},
                "shadows": {"total": t.shadows, "serving": t.serving},
                "waitsFor": list(t.waits),
                "problem": data.problem_data(t.problem) if t.problem else None,
            }
            for t in found.targets
        ],
        bridges=[
            {
                "name": b.name,
                "owner": b.owner,
                "target": b.written,
                "ports": list(b.ports),
                "rules": list(b.rules),
                "state": b.state,
                "waitsFor": list(b.waits),
                "problem": data.problem_data(b.problem) if b.problem else None,
                "created": b.created,
                "goesTo": {str(port): address for port, address in b.ways.items()},
                "mode": b.mode or None,
                "fallback": b.fallback or None,
            }
            for b in found.bridges
        ],
    )


def look(source: Source) -> Status:
    """The status of now. Raises InputError."""
    stream = source.read().usable()
    return judge(*stream.judged(), live.leader(source.kube, stream.now) if source.of_cluster else None)


def _named(source: Source, only: Sequence[str]) -> Status:
    """Of the bridges and mounts that are named; one that is not there may be gone, or come, and is told once."""
    found = look(source)
    for problem in absent(found, only):
        source.warn(f"{problem.message}; {problem.cure}")
    return narrowed(found, only)


@click.command
@click.argument("only", metavar="[NAME]...", nargs=-1)
@source_options
@click.option("-w", "--watch", is_flag=True, help="Show it again whenever it changes.")
@click.option("--wait", is_flag=True, help="Until every bridge and mount, or each that is named, is ACTIVE or gone.")
@click.option(
    "--timeout", metavar="DURATION", callback=seconds, default="60s", show_default=True, help="How long to --wait, as in 90s, 5m or 1h."
)
@click.option("-o", "--output", type=click.Choice(["text", "json", "yaml"]), default="text", show_default=True)
@click.pass_context
def status(ctx: click.Context, source: Source, only: tuple[str, ...], watch: bool, wait: bool, timeout: float, output: str) -> None:
    """Show each target and bridge, how far it is, and what holds it up.

    A target counts the carriers among its Pods, and the shadows that serve. Below what is not ACTIVE stands why (!), the next
    step (>), or what it waits for (.). The states are those that the cluster shows now, whatever is written in the objects. NAME is
    a bridge or a mount.

    Exit code 0; 1 if --wait has waited in vain; 2 if the input cannot be used, or nothing is called NAME (with
    --wait it has gone, or may come).
    """
    if (watch or wait) and not source.of_cluster:
        raise click.UsageError(f"--{'watch' if watch else 'wait'} needs a cluster; leave out -f, or add --live.")
    if watch and wait:
        raise click.UsageError("Give either --watch or --wait.")
    if watch:
        _watch(source, only, output)
    elif wait:
        found, done = until(lambda: _waiting(_named(source, only)), timeout)
        _show(found, output)
        ctx.exit(0 if done else 1)
    else:
        found = look(source)
        if problems := absent(found, only):
            raise InputError(*problems)
        _show(narrowed(found, only), output)


def _waiting(found: Status) -> tuple[Status, list[str]]:
    return found, pending(found.items)


def _show(found: Status, output: str) -> None:
    if output == "text":
        view.show(as_text(found, view.width()), PAINT)
    else:
        view.show(data.written(output, as_data(found)))


def _watch(source: Source, only: Sequence[str], output: str) -> None:
    """Until interrupted: on a terminal the screen again with each change, elsewhere what has changed below what was."""
    before: object = None
    drawn = view.is_screen() and output == "text"
    for found in again(lambda: _named(source, only)):
        shown = as_text(found, view.width()) if drawn else as_data(found)
        if shown != before:
            if drawn:
                view.clear()
            _show(found, output)
            before = shown
