"""tools/record.py: what a command shows on a terminal, as an SVG."""

from __future__ import annotations

import re
import subprocess
import sys
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest

from tools import record

ROOT = Path(__file__).parents[1]
SVG = "{http://www.w3.org/2000/svg}"


def recorded(file: Path, *command: str) -> int:
    """The exit code of a recording."""
    return subprocess.run([sys.executable, ROOT / "tools/record.py", file, *command], check=False).returncode


def drawn(file: Path) -> list[list[str]]:
    """The lines of each screen of a recording."""
    root = ET.parse(file).getroot()
    texts = {f"#{each.get('id')}": "".join(each.itertext()) for each in root.iter(f"{SVG}text")}
    tall, screens = int(root.get("height", "")), dict[int, list[str]]()
    for use in root.iter(f"{SVG}use"):
        screens.setdefault(int(use.get("y", "")) // tall, []).append(texts[use.get("href", "")])
    return [screens[i] for i in sorted(screens)]


def lines(text: str) -> list[str]:
    """What a screen shows after a text."""
    screen = record.Screen()
    screen.write(text)
    return ["".join(cell.char for cell in line) for line in screen.shown()]


def test_records_a_real_terminal(tmp_path: Path) -> None:
    """The command sees a terminal of 80 columns; each line it prints is a screen more, markup stays text; its exit code is kept."""
    script = "test -t 1 && stty size | cut -d' ' -f2; echo '<b>&'; printf '\\033[31mred\\033[0m\\n'; exit 3"

    assert recorded(tmp_path / "a.svg", "sh", "-c", script) == 3

    screens = drawn(tmp_path / "a.svg")
    assert screens[0][0].startswith("$ sh -c")
    assert screens[-1][-3:] == ["80", "<b>&", "red"]
    assert [len(after) - len(before) for before, after in pairwise(screens)] == [1, 1, 1]


def test_a_command_that_is_not_there(tmp_path: Path) -> None:
    """It is said in the recording, and 127 is its exit code, as a shell has it."""
    assert recorded(tmp_path / "a.svg", "no-such-command") == 127
    assert "no-such-command: No such file or directory" in drawn(tmp_path / "a.svg")[-1]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\r\nb", ["a", "b"]),
        ("waiting\rdone\x1b[K\r\n", ["done", ""]),
        ("old\r\nold\x1b[H\x1b[2J\x1b[3Jnew", ["new", ""]),
        ("ab\b\bc\td", ["cb      d"]),
        ("one\r\ntwo\x1b[1Athree", ["onethree", "two"]),
        ("x" * 81, ["x" * 80, "x"]),
        ("".join(f"{n}\r\n" for n in range(40)), [*map(str, range(13, 40)), ""]),
        ("\x1b]0;title\x07\x1b[?25la", ["a"]),
    ],
)
def test_screen(text: str, shown: list[str]) -> None:
    """Carriage returns, clearing, going up, wrapping and scrolling do what a terminal does."""
    assert lines(text) == shown


def test_the_recording_is_of_now() -> None:
    """docs/demo.svg ends as the demo does."""
    last = drawn(ROOT / "docs/demo.svg")[-1]

    assert re.fullmatch(r"(\d+) of \1 requests went where `bascule explain` says \(nginx [0-9.]+\)\.", last[-1])
