"""The golden cases: a folder of golden/ each, with an input and what the commands print for it, byte for byte.

README.md     `# title`, and a line that says what the case shows
input.yaml    first line `# now: 2026-11-24T23:00:00Z`, then the objects, as kubectl prints them
the outputs   COMMANDS and nginx.conf; a command that prints nothing has no file
"""

from __future__ import annotations

import contextlib
import difflib
import os
import re
from pathlib import Path
from unittest import mock

from click.testing import CliRunner

GOLDEN = Path(__file__).parents[1] / "golden"
CURE = "If the new output is right: `make golden`, then read `git diff golden/`."

# file: the command that prints it; `-f input.yaml --now TIME` is added
COMMANDS = {
    "desired.yaml": ("render",),
    "patches.json": ("diff", "-o", "json"),
    "plan.txt": ("plan",),
    "nginx.conf": ("plan", "-o", "nginx"),
    "problems.txt": ("check",),
}
WITH_ERRORS = "problems.txt"  # also what is on standard error: why there is no report
INPUTS = ("README.md", "input.yaml")

# All that a command may see: nothing of the machine or the person who runs it
ENVIRONMENT = {"COLUMNS": "80", "KUBECONFIG": os.devnull, "LANG": "C.UTF-8", "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def cases() -> list[Path]:
    """The case folders, by name."""
    return sorted(path for path in GOLDEN.iterdir() if path.is_dir())


def outputs(folder: Path) -> dict[str, str]:
    """File name -> text, as the command line prints it for `folder`/input.yaml. Only the input is read."""
    from generator.cli import main  # noqa: PLC0415  # the harness must work, and be tested, without it

    first = (folder / "input.yaml").read_text().partition("\n")[0]
    now = re.fullmatch(r"# now: (\S+)", first)
    assert now, f"{folder.name}/input.yaml must begin with a line like `# now: 2026-11-24T23:00:00Z`, not {first!r}"
    texts = {}
    with contextlib.chdir(folder), mock.patch.dict(os.environ, ENVIRONMENT, clear=True):
        for name, command in COMMANDS.items():
            arguments = [*command, "-f", "input.yaml", "--now", now[1]]
            result = CliRunner().invoke(main, arguments, prog_name="bascule")
            if result.exception is not None and not isinstance(result.exception, SystemExit):
                raise result.exception
            assert not result.stderr.startswith("Usage:"), f"bascule {' '.join(arguments)}: {result.stderr}"
            texts[name] = result.output if name == WITH_ERRORS else result.stdout
    return {name: text for name, text in texts.items() if text}


def findings(folder: Path, actual: dict[str, str], *, update: bool = False) -> list[str]:
    """What differs between `folder` and `actual`, one text each.

    update: also write it down. An unknown file is never removed; a stale output is.
    """
    found = []
    there = {path.name for path in folder.iterdir()}
    known = {*INPUTS, *COMMANDS}
    found += [f"{folder.name}/{name}: missing; write it by hand" for name in INPUTS if name not in there]
    found += [f"{folder.name}/{name}: not part of a case; remove it" for name in sorted(there - known)]
    for name in sorted(known - {*INPUTS}):
        path = folder / name
        old = path.read_text() if name in there else None
        new = actual.get(name)
        if old == new:
            continue
        if old is None:
            found.append(f"{folder.name}/{name}: missing")
        elif new is None:
            found.append(f"{folder.name}/{name}: stale, nothing is printed for it any more")
        else:
            diff = difflib.unified_diff(old.splitlines(), new.splitlines(), "recorded", "printed now", lineterm="", n=2)
            found.append(f"{folder.name}/{name}: differs\n" + "\n".join(list(diff)[:60]))
        if update and new is None:
            path.unlink()
        elif update and new is not None:
            path.write_text(new)
    return found


def reversed_input(text: str) -> str:
    """`text` with its documents, and the items of each List as kubectl prints it, in reverse order."""
    first, _, rest = text.partition("\n")
    documents = [part.rstrip("\n") + "\n" for part in re.split(r"(?m)^---[ \t]*\n", rest) if part.strip()]
    return f"{first}\n" + "---\n".join(_reversed_items(document) for document in reversed(documents))


def _reversed_items(document: str) -> str:
    item = r"- .*\n(?:[ ].*\n|\n)*"
    block = re.search(rf"(?m)^items:\n((?:{item})+)", document)
    if not block:
        return document
    return document[: block.start(1)] + "".join(reversed(re.findall(item, block[1]))) + document[block.end(1) :]
