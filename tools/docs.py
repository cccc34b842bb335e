"""Writes the pages of docs/ that are made from code; with --check only says whether they are up to date."""

from __future__ import annotations

import sys
from pathlib import Path

from generator.codes import CODES

DOCS = Path(__file__).parents[1] / "docs"
HEADINGS = {
    "input": "## The input cannot be used\nExit code 2; nothing is written.",
    "refused": "## Refused\nThis bridge or mount is not admitted; its neighbours are.",
    "warning": "## Warnings\nAdmitted; worth knowing.",
}


def problems() -> str:
    """`docs/problems.md`: each problem code with its meaning and cure, by severity, then by name."""
    parts = ["# Problem codes\n\nMade from `generator/codes.py` by `make docs`. A code keeps its meaning for ever."]
    for severity, heading in HEADINGS.items():
        rows = [f"| `{name}` | {code.meaning} | {code.cure} |" for name, code in sorted(CODES.items()) if code.severity == severity]
        parts.append("\n".join([heading, "", "| code | meaning | cure |", "| --- | --- | --- |", *rows]))
    return "\n\n".join(parts) + "\n"


def main(arguments: list[str]) -> int:
    """1 if `--check` was given and a page is stale, else 0."""
    stale = []
    for name, text in {"problems.md": problems()}.items():
        page = DOCS / name
        if "--check" not in arguments:
            page.write_text(text)
        elif not page.exists() or page.read_text() != text:
            stale.append(f"docs/{name}")
    if stale:
        print(f"{', '.join(stale)}: not what the code says now; run `make docs`", file=sys.stderr)
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
