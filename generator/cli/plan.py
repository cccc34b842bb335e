"""`bascule plan`: the numbered steps from here to where nothing changes any more, on a simulated cluster."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import click

from generator.cli import data, view
from generator.cli.check import gravity, problem_lines
from generator.cli.diff import SIGNS
from generator.cli.render import as_nginx
from generator.cli.stream import Stream, input_options
from generator.cluster.snapshot import OUR_KINDS, Key
from generator.cluster.times import seconds_between
from generator.codes import CODES
from generator.errors import Problem
from generator.plan import Change, summary, summary_line
from generator.simulate import Run, fold

PAINT: Final[view.Paint] = {r"\d+ create, .*": {"bold": True}, **view.MARKS, **view.PROBLEMS}
_OUTPUTS: Final = "json, yaml: with every patch. nginx: the carriers' nginx.conf at the end."
_INDENT: Final = " " * 6
_MOST_NAMES: Final = 12


def as_text(run: Run, problems: Iterable[Problem], columns: int) -> str:
    """The counts, the steps with their reasons, how it ends, and the problems."""
    changes = run.changes
    if not changes and run.converged:
        lines = ["nothing to do", *_states(run, columns)]
    else:
        lines = [*counts(run, columns), ""]
        for number, step in enumerate(run.steps, 1):
            lines += step_lines(number, step.changes, columns)
        lines += ["", *_end(run, columns)]
    for problem in problems:
        lines += ["", *problem_lines(problem, columns)]
    return "\n".join(lines) + "\n"


def counts(run: Run, columns: int) -> list[str]:
    """What all steps write, and how many there are."""
    steps = f"{len(run.steps)} step{'s' * (len(run.steps) != 1)}"
    pace = f", about {seconds(run):.0f} seconds; containers that start slowly add their time" if len(run.steps) > 1 else ""
    lines = (summary_line(s.changes for s in run.steps), steps + pace)
    return [part for line in lines for part in view.wrapped(line, "  ", columns, "")]


def as_data(kind: str, run: Run, problems: Iterable[Problem]) -> dict[str, Any]:
    """The same with every change in full."""
    return data.envelope(
        kind,
        summary=summary(s.changes for s in run.steps),
        converged=run.converged,
        seconds=seconds(run),
        steps=[{"now": s.now, "changes": [data.change_data(c) for c in s.changes]} for s in run.steps],
        problems=[data.problem_data(p) for p in problems],
    )


def seconds(run: Run) -> float:
    """From the first write to the last."""
    return seconds_between(run.steps[0].now, run.steps[-1].now) if run.steps else 0.0


def step_lines(number: int, changes: Sequence[Change], columns: int) -> Iterator[str]:
    """What is written in one round: equal changes as one line, reports of states as one line for all."""
    groups: dict[tuple[str, str, str, str], list[Change]] = {}
    reports = [c for c in changes if c.key.kind in OUR_KINDS.values() and c.op == "patch"]
    for c in changes:
        if c not in reports:
            groups.setdefault((c.op, c.key.kind, c.key.namespace, c.reason), []).append(c)
    lead = f"{number:3}. "
    for (op, kind, namespace, reason), group in groups.items():
        names = sorted({c.key.name for c in group})
        count = f"{kind}" if len(names) == 1 else f"{len(names)} {plural(kind)}"
        start = f"{lead}{SIGNS[op]} {count} {namespace}/"
        restarts = sum(c.restarts for c in group)
        yield from braced(names, start, columns)
        note = f" ({restarts} container{'s' * (restarts != 1)} restart{'s' * (restarts == 1)})" if restarts else ""
        yield from view.wrapped(reason + note, _INDENT + "   ", columns)
        lead = " " * 5
    if reports:
        yield from view.wrapped(_reported(reports), _INDENT + " ", columns, f"{lead}~ ")


def _reported(changes: Iterable[Change]) -> str:
    """`1 mount PREPARING, 2 bridges REQUESTED, conditions of 1 bridge`."""
    kinds: dict[tuple[str, str], int] = {}
    for c in changes:
        state = next((op["value"] for op in c.patch if op["path"] == "/state" and op["op"] != "test"), "")
        kinds[_word(c.key), state] = kinds.get((_word(c.key), state), 0) + 1
    ordered = sorted(kinds.items(), key=lambda item: (not item[0][1], item[0]))
    counted = [(f"{n} {word}{'s' * (n != 1)}", state) for (word, state), n in ordered]
    return ", ".join(f"{what} {state}" if state else f"conditions of {what}" for what, state in counted)


def _word(key: Key) -> str:
    return {"GefyraBridgeMount": "mount", "GefyraClient": "client"}.get(key.kind, "bridge")


def plural(kind: str) -> str:
    """Several objects of a kind."""
    return f"{kind[:-1]}ies" if kind.endswith("y") else f"{kind}s"


def braced(names: Sequence[str], lead: str, columns: int) -> list[str]:
    """`web-{a,b,c}` behind `lead`, on as many lines as it takes; of more than a dozen names the last are only counted."""
    if len(names) == 1:
        return [lead + names[0]]
    low, high = min(names), max(names)
    head = low[: next((i for i, c in enumerate(low) if high[i : i + 1] != c), len(low))]
    head = head[: max(head.rfind("-"), head.rfind(".")) + 1]
    shown = [name[len(head) :] for name in names[:_MOST_NAMES]]
    if more := len(names) - len(shown):
        shown.append(f"... {more} more")
    lines = [f"{lead}{head}{{{shown[0]}"]
    for name in shown[1:]:
        if len(lines[-1]) + len(name) + 2 > columns:
            lines[-1] += ","
            lines.append(f"{_INDENT}   {name}")
        else:
            lines[-1] += f",{name}"
    lines[-1] += "}"
    return lines


def _end(run: Run, columns: int) -> Iterator[str]:
    if run.converged:
        yield "Then nothing changes any more."
    else:
        yield from view.wrapped(f"No end is found in {len(run.steps)} steps. The last one still does:", "", columns)
        yield from step_lines(len(run.steps), run.steps[-1].changes if run.steps else (), columns)
    yield from _states(run, columns)


def _states(run: Run, columns: int) -> Iterator[str]:
    """Each mount and bridge at the end: those that are well in one line, the others with what holds them up."""
    ends = [(key.name, _word(key), o) for key, o in _asked(run)]
    for word in ("mount", "bridge"):
        good = sorted(name for name, w, o in ends if w == word and o.get("state") == "ACTIVE")
        if good:
            yield from view.wrapped(f"{', '.join(good)} ACTIVE", "  ", columns, f"{word if len(good) == 1 else word + 's'} ")
    for name, word, obj in sorted(ends, key=lambda item: item[:2]):
        if obj.get("state") != "ACTIVE":
            conditions = (obj.get("status") or {}).get("conditions") or ()
            why = next((c["reason" if c["reason"] in CODES else "message"] for c in conditions if c["status"] != "True"), "")
            yield from view.wrapped(f"{word} {name} {obj.get('state', 'REQUESTED')}: {why}", "  ", columns, "")


def _asked(run: Run) -> Iterator[tuple[Key, Any]]:
    for obj in run.desired.objects:
        if obj["kind"].lower() in ("gefyrabridge", "gefyrabridgemount"):
            key = Key(OUR_KINDS[obj["kind"].lower()], obj["metadata"].get("namespace", ""), obj["metadata"]["name"])
            yield key, obj


def write(kind: str, output: str, run: Run, problems: Sequence[Problem]) -> None:
    """A run on standard output."""
    if output == "text":
        view.show(as_text(run, problems, view.width()), PAINT)
    else:
        view.show(data.written(output, as_data(kind, run, problems)))


@click.command
@input_options
@click.option("-o", "--output", type=click.Choice(["text", "json", "yaml", "nginx"]), default="text", show_default=True, help=_OUTPUTS)
@click.pass_context
def plan(ctx: click.Context, stream: Stream, output: str) -> None:
    """Show the numbered steps from here to where nothing changes any more.

    A simulated cluster takes the place of yours: after each step its Pods start, become ready and enter the endpoints, and what
    should exist is asked again. The first line has the counts of all steps.

    Exit code 0; 1 if no end is found; 2 if the input cannot be used.
    """
    _, desired = stream.judged()
    run = fold(stream.objects, stream.now)
    problems = sorted({*desired.problems, *run.desired.problems}, key=gravity)
    if output == "nginx":
        view.show(as_nginx(run.desired.objects))
    else:
        write("Plan", output, run, problems)
    ctx.exit(0 if run.converged else 1)
