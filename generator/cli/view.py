"""How text looks on a terminal: colour, width, wrapped paragraphs, problems on standard error.

Commands make plain text; colour comes last and by line, so that what a file gets is what a terminal shows.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
import traceback
from collections.abc import Iterable, Mapping
from typing import Any, Final

import click

from generator.errors import Problem
from generator.text.printable import printable

Paint = Mapping[str, Mapping[str, Any]]
"""Regex of a line, or of its part that is a group -> how click styles it. The first that matches counts."""

LABELS: Final = {"input": "error", "refused": "refused", "warning": "warning"}
"""A severity as a person reads it."""
_COLOURS: Final = {"error": "red", "refused": "red", "warning": "yellow"}
_WIDEST: Final = 100

MARKS: Final[Paint] = {
    r" *(?:[0-9]+\.)? *(\+ .*)": {"fg": "green"},
    r" *(?:[0-9]+\.)? *(~ .*)": {"fg": "yellow"},
    r" *(?:[0-9]+\.)? *(- .*)": {"fg": "red"},
}
"""Lines with a change: `+` create, `~` patch, `-` delete."""
PROBLEMS: Final[Paint] = {r" *((?:error|refused)\b).*": {"fg": "red", "bold": True}, r" *(warning\b).*": {"fg": "yellow", "bold": True}}
"""Lines that begin with a severity."""


def width() -> int:
    """Columns to write in: the terminal's or COLUMNS, 80 for a file or pipe, never more than a line is read well in."""
    return max(40, min(shutil.get_terminal_size().columns, _WIDEST))


def wrapped(text: str, indent: str, columns: int, first: str | None = None) -> list[str]:
    """`text` in lines of at most `columns`, begun with `indent` (the first with `first`); words are never cut."""
    writer = textwrap.TextWrapper(columns, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)
    lines: list[str] = []
    for line in text.split("\n"):
        writer.initial_indent = first if first is not None and not lines else indent + line[: len(line) - len(line.lstrip(" "))]
        lines += writer.wrap(line.lstrip(" ")) or [""]
    return lines


def show(text: str, paint: Paint | None = None) -> None:
    """`text` on standard output; with `paint` for a person: coloured line by line, and without control characters."""
    lines = printable(text, "\n\t").splitlines(keepends=True) if paint else [text]
    click.echo("".join(_painted(line, paint) if paint else line for line in lines), nl=False)


def complain(problems: Iterable[Problem]) -> None:
    """Each problem on standard error: one line to search in, and its cure below."""
    for problem in problems:
        label = LABELS[problem.severity]
        head = click.style(label, fg=_COLOURS[label], bold=True)
        place, message, cure = (printable(each) for each in (problem.place, problem.message, problem.cure))
        click.echo(f"{head} {problem.code}: {place}: {message}\n  {cure}", err=True)


def note(text: str) -> None:
    """On standard error what is no problem."""
    click.echo(printable(text, "\n"), err=True)


def is_screen() -> bool:
    """Whether standard output is a terminal that can be drawn on again."""
    return sys.stdout.isatty()


def is_asked() -> bool:
    """Whether somebody sits at standard input."""
    return sys.stdin is not None and sys.stdin.isatty()


def clear() -> None:
    """An empty screen, also above what is seen, so that nothing old stands over what comes (ECMA-48: CUP, ED)."""
    click.echo("\x1b[H\x1b[2J\x1b[3J", nl=False)


def fail(message: str) -> None:
    """Why it ends here, where that is no problem of the input."""
    click.echo(f"{click.style('error', fg='red', bold=True)}: {printable(message, chr(10))}", err=True)


def internal(error: Exception) -> None:
    """A mistake of ours: where it is, without a traceback and without a path of this machine."""
    frame = traceback.extract_tb(sys.exc_info()[2])[-1]
    where = f"{os.path.basename(frame.filename)}:{frame.lineno}"  # noqa: PTH119  # pathlib costs more than this line
    what = printable(" ".join(f"{type(error).__name__}: {error}".split())[:300])
    click.echo(f"{click.style('error', fg='red', bold=True)} Internal: {what} ({where}); please report with the snapshot", err=True)


def _painted(line: str, paint: Paint) -> str:
    body = line.rstrip("\n")
    for pattern, style in paint.items():
        if found := re.fullmatch(pattern, body):
            group = 1 if found.re.groups else 0
            start, end = found.span(group)
            return body[:start] + click.style(body[start:end], **style) + body[end:] + line[len(body) :]
    return line
