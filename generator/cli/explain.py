"""`bascule explain`: a request -> the bridge that gets it, by which rule, and why all the others do not."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final

import click

from generator.cli import data, view
from generator.cli.stream import Stream, input_options
from generator.cli.target import resolve, target_option
from generator.cli.winner import Considered, Explanation, explain_request
from generator.cluster.snapshot import Snapshot
from generator.desired.generate import Desired
from generator.page.document import Answer

_PAINT: Final[view.Paint] = {
    r"(\S+) gets .*": {"fg": "green", "bold": True},
    r"(the (?:cluster|carrier) answers.*)": {"bold": True},
    r"    (not yet:).*": {"fg": "yellow"},
}


def told(found: Explanation, asked: str) -> Answer:
    """The answer in words."""
    if found.winner is None:
        who = "the cluster answers" if found.answered_by == "cluster" else "the carrier answers, no application sees it"
        why = [f"because {found.reason}"]
    else:
        who = f"{found.winner} {'gets a copy, the cluster answers' if found.mode == 'mirror' else 'gets it'}"
        why = [f"by rule {found.rule}: {found.conditions}", f"because it is the {found.reason}"]
        why += [f"not yet: {found.pending}; see `bascule plan`"] if found.pending else []
    considered = ((c.bridge, "" if c.rule is None else str(c.rule), _verdict(c), c.reason) for c in found.considered)
    return Answer(who, asked, tuple(why), tuple(considered))


def _verdict(each: Considered) -> str:
    return "matches but loses" if each.matched else "out" if each.rule is None else "no match"


def as_text(found: Explanation, asked: str, columns: int) -> str:
    """The answer, and who else was considered."""
    answer = told(found, asked)
    lines = [answer.who]
    for line in (asked, *answer.why):
        lines += view.wrapped(line, "    ", columns)
    if found.considered:
        lines += ["", "considered" if found.winner is None else "considered as well"]
    for bridge, rule, verdict, reason in answer.considered:
        lines += [f"  {bridge}{f', rule {rule}' if rule else ''}: {verdict}", *view.wrapped(reason, "    ", columns)]
    return "\n".join(lines) + "\n"


def headers_of(lines: Iterable[str]) -> list[tuple[str, str]]:
    """`Name: value` as curl takes it -> name, value. Raises ValueError."""
    pairs = []
    for line in lines:
        if not re.match(r"[^:]+:", line):
            raise ValueError(f"{line!r} is not 'Name: value', as in -H 'x-user: alice'")
        name, _, value = line.partition(":")
        pairs.append((name, value.strip(" ")))
    return pairs


def _headers(_: click.Context, __: click.Parameter, lines: tuple[str, ...]) -> list[tuple[str, str]]:
    try:
        return headers_of(lines)
    except ValueError as error:
        raise click.BadParameter(str(error)) from error


def who_gets(
    snapshot: Snapshot, desired: Desired, target: str | None, port: int, method: str, url: str, headers: Iterable[tuple[str, str]]
) -> tuple[Explanation, str]:
    """Who gets a request, and the request in words. target: as `--target` takes it, None for the only one. Raises InputError."""
    key, container = resolve(snapshot, desired.intent.targets.values(), target)
    found = explain_request(snapshot, desired, (key, container), port, method, url, headers)
    return found, f"{method} {url} on port {port} of {key}, container {container}"


@click.command
@click.argument("method")
@click.argument("url")
@target_option
@click.option("--port", type=click.IntRange(1, 65535), required=True, help="Port of the container.")
@click.option(
    "-H", "--header", "headers", metavar="'NAME: VALUE'", multiple=True, callback=_headers, help="A header of the request. Repeatable."
)
@input_options
@click.option("-o", "--output", type=click.Choice(["text", "json"]), default="text", show_default=True)
def explain(stream: Stream, method: str, url: str, target: str | None, port: int, headers: list[tuple[str, str]], output: str) -> None:
    """Say which bridge gets a request, by which rule, and why the others do not.

    URL may be a path. The answer is that of the carrier once its configuration is in force; `not yet` says when it is not.

    \b
      bascule explain GET /api/objects/5 -H 'owner: john' --port 8080
      bascule explain GET /bob --target deployment/web --port 8080 -f shop.yaml

    Exit code 0, whoever answers; 2 if the input cannot be used.
    """
    found, asked = who_gets(*stream.judged(), target, port, method, url, headers)
    if output == "json":
        view.show(data.as_json("Explain", **as_data(found)))
    else:
        view.show(as_text(found, asked, view.width()), _PAINT)


def as_data(found: Explanation) -> dict[str, Any]:
    """The answer as plain data."""
    rest = [{"bridge": c.bridge, "rule": c.rule, "matched": c.matched, "reason": c.reason} for c in found.considered]
    return {
        "winner": found.winner,
        "answeredBy": found.answered_by,
        "rule": found.rule,
        "mode": found.mode or None,
        "reason": found.reason,
        "pending": found.pending,
        "considered": rest,
    }
