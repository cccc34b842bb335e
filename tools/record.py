"""Writes what a command shows on a terminal as an SVG that plays it again; it ends on the last screen, which is all where nothing moves.

    tools/record.py docs/demo.svg bascule demo

The command runs on a real terminal of 80 columns. Waits are cut to two seconds, and a line stands at least a moment, so that one
can read along; all else is as it was. An interrupted recording (Ctrl-C goes to the command) is written too.
"""

from __future__ import annotations

import codecs
import contextlib
import fcntl
import os
import pty
import re
import signal
import struct
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, NamedTuple
from xml.sax.saxutils import escape

COLUMNS, ROWS = 80, 28
LONGEST, SHORTEST = 2.0, 0.12  # seconds between two frames
END: Final = 4.0  # seconds for which the last screen stands before it begins again
WIDTH, HEIGHT, PAD = 8.4, 18, 14  # px: a monospaced character at 14 px, a line, the edge
COLOURS: Final = {31: "#ff8a80", 32: "#56d364", 33: "#e3b341", 34: "#6cb0ff", 35: "#d2a8ff", 36: "#76e3ea", 90: "#9198a1"}
_TOKEN: Final = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b\][^\x07]*\x07|\x1b[()][A-Z0-9]|([\r\n\b\t])|([^\x00-\x1f\x7f])|.", re.DOTALL)


class Cell(NamedTuple):
    """A character and how it looks. colour: as in COLOURS, 0 for none."""

    char: str
    colour: int
    bold: bool


Line = tuple[Cell, ...]


class Screen:
    """A terminal (ECMA-48): what scrolls out at the top is gone. It knows colour, bold, CR, LF, BS, TAB, and CUU, CUP, ED, EL."""

    def __init__(self) -> None:
        self.lines: list[list[Cell]] = [[]]
        self.row = self.column = self.colour = 0
        self.bold = False

    def write(self, text: str) -> None:
        """What the command prints."""
        for found in _TOKEN.finditer(text):
            numbers, command, control, char = found.groups()
            if char:
                self._put(char)
            elif control:
                self._move(control)
            elif command:
                self._obey(command, [int(n) if n.isdigit() else 0 for n in numbers.split(";")])

    def _put(self, char: str) -> None:
        if self.column >= COLUMNS:
            self._move("\r")
            self._move("\n")
        line = self.lines[self.row]
        line += [Cell(" ", 0, bold=False)] * (self.column + 1 - len(line))
        line[self.column] = Cell(char, self.colour, self.bold)
        self.column += 1

    def _move(self, control: str) -> None:
        if control == "\r":
            self.column = 0
        elif control == "\b":
            self.column = max(0, self.column - 1)
        elif control == "\t":
            self.column = min(COLUMNS - 1, self.column // 8 * 8 + 8)
        else:
            self.row += 1
            if self.row == ROWS:
                self.lines.pop(0)
                self.row -= 1
            self.lines += [[] for _ in range(self.row + 1 - len(self.lines))]

    def _obey(self, command: str, numbers: Sequence[int]) -> None:
        if command == "m":
            for number in numbers:
                self.colour = number if number in COLOURS else 0 if number in (0, 39) else self.colour
                self.bold = number == 1 or (self.bold and number not in (0, 22))
        elif command == "K":
            del self.lines[self.row][self.column :]
        elif command == "A":
            self.row = max(0, self.row - max(1, numbers[0]))
        elif command == "H":
            self.row, self.column = 0, 0
        elif command == "J":
            self.lines = (
                [*self.lines[: self.row + 1], *([] for _ in self.lines[self.row + 1 :])] if numbers[0] == 0 else [[] for _ in self.lines]
            )

    def shown(self) -> tuple[Line, ...]:
        """The lines of now."""
        return tuple(map(tuple, self.lines))


def run(command: list[str]) -> tuple[list[tuple[float, str]], int]:
    """Run a command on a terminal: (seconds since the piece before, text) for each piece that it prints, and its exit code."""
    child, terminal = pty.fork()
    if child == 0:
        os.environ.update(TERM="xterm", COLUMNS=str(COLUMNS), LINES=str(ROWS))
        try:
            os.execvp(command[0], command)
        except OSError as error:
            os.write(2, f"{command[0]}: {error.strerror}\n".encode())
        os._exit(127)
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    signal.signal(signal.SIGINT, lambda *_: os.write(terminal, b"\x03"))
    decoder, pieces, before = codecs.getincrementaldecoder("utf-8")("replace"), [], time.monotonic()
    with contextlib.suppress(OSError):  # EIO: the command has ended
        while raw := os.read(terminal, 65536):
            now = time.monotonic()
            pieces.append((now - before, decoder.decode(raw)))
            before = now
    return pieces, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])


def frames(command: Sequence[str], pieces: Sequence[tuple[float, str]]) -> Iterator[tuple[float, tuple[Line, ...]]]:
    """Each screen, and the second at which it begins: first the command, then a frame for each line that comes."""
    screen, second = Screen(), 0.0
    screen.write(f"\x1b[1m$ {' '.join(command)}\x1b[0m\r\n")
    yield second, screen.shown()
    for waited, text in pieces:
        for i, line in enumerate(text.splitlines(keepends=True)):
            second += min(max(waited if i == 0 else 0.0, SHORTEST), LONGEST)
            screen.write(line)
            yield second, screen.shown()


def svg(title: str, shown: Sequence[tuple[float, tuple[Line, ...]]]) -> str:
    """The screens one below the other, and a window that steps from one to the next; where motion is not wanted, only the last."""
    end = shown[-1][0] + END
    lines = {line: f"l{i}" for i, line in enumerate(dict.fromkeys(line for _, screen in shown for line in screen if line))}
    tall = max(len(screen) for _, screen in shown) * HEIGHT + 2 * PAD
    wide = round(COLUMNS * WIDTH + 2 * PAD)
    drawn = (
        f'<use href="#{lines[line]}" y="{i * tall + n * HEIGHT}"/>'
        for i, (_, screen) in enumerate(shown)
        for n, line in enumerate(screen)
        if line
    )
    steps = (f"{second / end:.4%} {{ transform: translateY({-i * tall}px) }}" for i, (second, _) in enumerate(shown))
    last = -(len(shown) - 1) * tall
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{tall}" viewBox="0 0 {wide} {tall}" role="img">',
            f"<title>{escape(title)}</title>",
            "<style>",
            'text { font: 14px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #f0f6fc; white-space: pre }',
            ".bold { font-weight: 700 }",
            *(f".c{number} {{ fill: {colour} }}" for number, colour in COLOURS.items()),
            f"#film {{ transform: translateY({last}px) }}",
            f"@media (prefers-reduced-motion: no-preference) {{ #film {{ animation: film {end:.2f}s step-end infinite }} }}",
            f"@keyframes film {{ {' '.join(steps)} 100% {{ transform: translateY({last}px) }} }}",
            "</style>",
            f"<defs>{''.join(_defined(name, line) for line, name in lines.items())}</defs>",
            f'<rect width="{wide}" height="{tall}" rx="8" fill="#0d1117"/>',
            f'<g id="film">{"".join(drawn)}</g>',
            "</svg>\n",
        ]
    )


def _defined(name: str, line: Line) -> str:
    return f'<text id="{name}" y="{PAD + 14}" xml:space="preserve">{_spans(line)}</text>'


def _spans(line: Line) -> str:
    """Pieces of a line that look alike."""
    spans, start = [], 0
    for i in range(1, len(line) + 1):
        if i == len(line) or line[i][1:] != line[start][1:]:
            words = escape("".join(cell.char for cell in line[start:i]))
            styles = [f"c{line[start].colour}"] * bool(line[start].colour) + ["bold"] * line[start].bold
            spans.append(f'<tspan x="{PAD + start * WIDTH:g}"' + (f' class="{" ".join(styles)}">' if styles else ">") + f"{words}</tspan>")
            start = i
    return "".join(spans)


def main(output: str, *command: str) -> int:
    """Record, and write what was seen; the exit code is the command's."""
    pieces, code = run(list(command))
    Path(output).write_text(svg(" ".join(command), list(frames(command, pieces))), encoding="utf-8")
    return code


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit("usage: tools/record.py FILE.svg COMMAND [ARGUMENT]...")
    sys.exit(main(*sys.argv[1:]))
