"""Measure what the carrier changes between a client and its application, and write docs/transparency.md.

    python tools/transparency.py            prints the page
    python tools/transparency.py --write    puts it into docs/

Every verdict is measured (tests/transparency/), only the reasons are written (tests/transparency/why.py).
"""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

from tests.transparency.compare import SAME, verdict
from tests.transparency.lab import DIRECT, PASSED, SHADOW, USER, measure
from tests.transparency.why import FIRST, WHY

PAGE = Path(__file__).parents[1] / "docs" / "transparency.md"

INTRODUCTION = """# What the carrier changes

Made by `python tools/transparency.py --write` with nginx {nginx}; a test measures it again. Do not edit.

How: a client sends exact bytes, an origin records exact bytes and answers exact bytes; once with nothing between them, once
through a port without rules (*pass-through*), once through a port with rules (*routed*), to the shadow where no rule matches, and
to a user's process where one does. What both ends saw is compared with what they saw without a carrier (*direct*): `same` means
every byte and every close. In rows about parts, each part is sent once the one before has arrived, so there `same` also means that
nothing is held back. Requests have `Host` first, and answers their headers in nginx's order, but for the rows about order.

{count} rows: {passed} differ on a pass-through port, {routed} on a routed one. Not measured: copies to a process (`mode: mirror`).

## In a minute

On a port with rules these matter, the most harmful first:

{first}

The rest is what any HTTP proxy does: what is hop by hop is made anew, what is malformed or ambiguous is refused.
On a port without rules:

{stream}
"""


class Verdict(NamedTuple):
    """Of one row, in the page's words."""

    subject: str
    name: str
    passed: str
    routed: str

    @property
    def key(self) -> str:
        """The row in WHY."""
        return f"{self.subject}: {self.name}"

    @property
    def same(self) -> bool:
        """Whether the carrier changes nothing."""
        return self.passed == self.routed == SAME


def page() -> str:
    """The text of docs/transparency.md, measured now. Raises ValueError when WHY does not fit what was measured."""
    found = measure()
    rows = []
    for key, seen in found["rows"].items():
        subject, _, name = key.partition(": ")
        passed, shadow, user = (verdict(seen[DIRECT], seen[lane]) for lane in (PASSED, SHADOW, USER))
        rows.append(Verdict(subject, name, passed, shadow if shadow == user else f"{SHADOW}: {shadow}; {USER}: {user}"))
    if wrong := unfounded(rows):
        raise ValueError("\n".join(wrong))
    known = {row.key: row for row in rows}
    first = "\n".join(f"- **{key}**: {known[key].routed}. {WHY[key]}" for key in FIRST)
    stream = "\n".join(f"- **{row.key}**: {row.passed}." for row in rows if row.passed != SAME)
    numbers = {"passed": sum(row.passed != SAME for row in rows), "routed": sum(row.routed != SAME for row in rows), "count": len(rows)}
    tables = [table(subject, list(group)) for subject, group in groupby(rows, lambda row: row.subject)]
    return "\n".join([INTRODUCTION.format(nginx=found["nginx"], first=first, stream=stream, **numbers), *tables])


def unfounded(rows: list[Verdict]) -> list[str]:
    """Reasons for rows that are the same or are not there, and rows that differ without a reason."""
    different = {row.key: row for row in rows if not row.same}
    return [
        *(f"no reason for `{key}`: {row.passed} | {row.routed}" for key, row in different.items() if key not in WHY),
        *(f"a reason for `{key}`, which does not differ" for key in (*WHY, *FIRST) if key not in different),
    ]


def table(subject: str, rows: list[Verdict]) -> str:
    """The part of the page about `subject`: what differs (rows that differ alike and for one reason in a line), then what does not."""
    lines = [f"## {subject}\n"]
    alike: dict[tuple[str, str, str], list[str]] = {}
    for row in rows:
        if not row.same:
            alike.setdefault((row.passed, row.routed, WHY[row.key]), []).append(row.name)
    if alike:
        lines += ["| | pass-through port | routed port | why |", "|---|---|---|---|"]
        lines += ["| " + " | ".join(map(_cell, ("; ".join(names), *texts))) + " |" for texts, names in alike.items()]
        lines.append("")
    if same := [row.name for row in rows if row.same]:
        lines.append(f"Same on both: {'; '.join(same)}.\n")
    return "\n".join(lines)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def main(arguments: list[str]) -> int:
    """0. With --write into PAGE, else to the terminal."""
    text = page()
    if "--write" in arguments:
        PAGE.write_text(text, encoding="utf-8")
    else:
        print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
