"""`bascule check`: what is wrong with the bridges, the mounts and their targets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import click

from generator.cli import data, view
from generator.cli.stream import Stream, input_options
from generator.desired.generate import Desired
from generator.errors import Problem

_PAINT: Final[view.Paint] = {**view.PROBLEMS, r"(nothing .*)": {"fg": "green"}}


def gravity(problem: Problem) -> tuple[int, Problem]:
    """A sort key: worst first."""
    return list(view.LABELS).index(problem.severity), problem


def as_text(problems: Sequence[Problem], desired: Desired, columns: int) -> str:
    """The problems by severity, and a verdict of one line."""
    lines = [line for problem in problems for line in (*problem_lines(problem, columns), "")]
    return "\n".join((*lines, verdict(problems, desired))) + "\n"


def problem_lines(problem: Problem, columns: int) -> Iterator[str]:
    """Severity, code and place; what is wrong; what to do."""
    yield from view.wrapped(f"{problem.code}: {problem.place}", "    ", columns, f"{view.LABELS[problem.severity]} ")
    yield from view.wrapped(problem.message, "  ", columns)
    yield from view.wrapped(problem.cure, "    ", columns, "  > ")


def verdict(problems: Iterable[Problem], desired: Desired) -> str:
    """The counts."""
    severities = [p.severity for p in problems]
    words = {"input": "error", "refused": "refusal", "warning": "warning"}
    counts = [f"{n} {word}{'s' * (n != 1)}" for severity, word in words.items() if (n := severities.count(severity))]  # type: ignore[arg-type]
    if "input" in severities:
        return f"{', '.join(counts)}: the input cannot be used"
    asked = sorted(desired.intent.targets)
    bridges, mounts = (sum(key.kind == kind for key in asked) for kind in ("GefyraBridge", "GefyraBridgeMount"))
    what = f"{bridges} bridge{'s' * (bridges != 1)}, {mounts} mount{'s' * (mounts != 1)} with a target"
    return f"{', '.join(counts) or 'nothing is wrong'}; {what}"


@click.command
@input_options
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.pass_context
def check(ctx: click.Context, stream: Stream, output: str) -> None:
    """Show what is wrong with the bridges, the mounts and their targets.

    Each problem has a stable code, a place, what is wrong there, and what to do (docs/problems.md has all codes). A refusal keeps
    one bridge or mount out; a warning does not. An error in a file of yours ends every other command. If the input cannot be
    read at all, there is no report: standard error says why.

    Exit code 0: nothing is refused; 1: something is; 2: the input cannot be used.
    """
    _, desired = stream.reported()
    problems = sorted(desired.problems, key=gravity)
    if output == "json":
        view.show(data.as_json("Check", problems=[data.problem_data(p) for p in problems]))
    else:
        view.show(as_text(problems, desired, view.width()), _PAINT)
    severities = {p.severity for p in problems}
    ctx.exit(2 if "input" in severities else 1 if "refused" in severities else 0)
