"""`bascule diff`: the changes of this moment, for a person or as guarded patches."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from typing import Final

import click

from generator.cli import data, view
from generator.cli.stream import Stream, input_options
from generator.cluster.snapshot import OUR_KINDS, Obj, Snapshot, key_of
from generator.desired.generate import Desired
from generator.plan import Change, plan, summary, summary_line
from generator.text import reading as text

SIGNS: Final = {"create": "+", "patch": "~", "delete": "-"}
_CONTEXT: Final = 3
_SERVER_FIELDS: Final = ("managedFields", "resourceVersion", "uid", "generation", "creationTimestamp", "selfLink")
_PAINT: Final[view.Paint] = {
    r"[+~-] [A-Z].*": {"bold": True},
    r"@@.*": {"fg": "cyan"},
    r"\+.*": {"fg": "green"},
    r"-.*": {"fg": "red"},
}


def as_text(snapshot: Snapshot, desired: Desired, changes: Iterable[Change]) -> str:
    """A header and a unified diff for each change, then the counts."""
    wanted = {key_of(o): o for o in desired.objects}
    changes = tuple(changes)
    lines: list[str] = []
    for change in changes:
        live = snapshot.space(change.key.namespace).get(change.key.kind, change.key.name)
        after = None if change.op == "delete" else wanted[change.key]
        part = f", {change.subresource}" if change.subresource else ""
        lines += [f"{SIGNS[change.op]} {change.key}{part}: {change.reason}", *_hunks(_lines(live, change), _lines(after, change)), ""]
    lines.append(summary_line([changes]) if changes else "no differences")
    return "\n".join(lines) + "\n"


def as_json(changes: Iterable[Change]) -> str:
    """The changes with their patches."""
    changes = tuple(changes)
    return data.as_json("Diff", summary=summary([changes]), changes=[data.change_data(c) for c in changes])


def _lines(obj: Obj | None, change: Change) -> list[str]:
    """An object as YAML lines, without what the server fills in; of a status change only the status."""
    if obj is None:
        return []
    shown: Obj = {k: v for k, v in data.masked(obj).items() if k != "status" or change.key.kind in OUR_KINDS.values()}
    if change.subresource:
        shown = {"status": obj.get("status")}
    else:
        shown["metadata"] = {k: v for k, v in shown["metadata"].items() if k not in _SERVER_FIELDS}
    return text.write_yaml([shown]).splitlines()[1:]


def _hunks(before: list[str], after: list[str]) -> Iterator[str]:
    """A unified diff without file names; each hunk says in which field its first change is. All of it when one side is empty."""
    if not before or not after:
        yield from (f"{'+' if after else '-'}{line}" for line in before or after)
        return
    matcher = difflib.SequenceMatcher(None, before, after)
    for group in matcher.get_grouped_opcodes(_CONTEXT):
        changed = next(new for tag, _, _, new, _ in group if tag != "equal")
        yield f"@@ {_path(after, changed)} @@" if _path(after, changed) else "@@"
        for tag, old_start, old_end, start, end in group:
            if tag == "equal":
                yield from (f" {line}" for line in after[start:end])
            else:
                yield from (f"-{line}" for line in before[old_start:old_end])
                yield from (f"+{line}" for line in after[start:end])


def _path(lines: list[str], at: int) -> str:
    """The fields above line `at` of a YAML text, as in `spec.containers[]`."""
    parts: list[str] = []
    depth = _depth(lines[at]) if at < len(lines) else 0
    for line in reversed(lines[:at]):
        found = re.match(r"( *(?:- )*)([^ :]+):(?: [|>].*)?$", line)
        if found and _depth(line) < depth and (len(found[1]) < depth or not parts):
            depth = _depth(line)
            parts.append(found[2])
    return ".".join(reversed(parts))


def _depth(line: str) -> int:
    """How far a line's content stands in; an item of a list stands deeper than the key above it."""
    lead = re.match(r" *(?:- )*", line)
    return lead.end() if lead else 0


@click.command
@input_options
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True, help="json: the RFC 6902 patches.")
@click.pass_context
def diff(ctx: click.Context, stream: Stream, output: str) -> None:
    """Show the changes of this moment: desired against what is in the input.

    A header says what is done and why (+ create, ~ patch, - delete), a unified diff of the YAML what changes in it. Fields that
    the server fills in are left out, values of Secrets are hidden. With -o json every patch is guarded by `test` operations, so
    that it fails on any other object than the one it was made for.

    Exit code 0: no differences; 1: differences; 2: the input cannot be used.
    """
    snapshot, desired = stream.judged()
    changes = plan(snapshot, desired)
    view.complain(desired.problems)
    view.show(as_json(changes) if output == "json" else as_text(snapshot, desired, changes), None if output == "json" else _PAINT)
    ctx.exit(1 if changes else 0)
