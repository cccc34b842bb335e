"""Pictures and tables of docs/benchmarks.md: what all benchmarks share, and the table and picture of generate.py.

python benchmarks/curve.py      draw docs/benchmarks/generate.svg again from the table that stands in the page
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from math import log10
from pathlib import Path
from statistics import median
from typing import NamedTuple

Figures = dict[str, dict[str, dict[int, list[float]]]]
"""Job -> row -> size -> a figure of each round: processor seconds, or MiB where the row is one of IN_MIB."""

PAGE = Path(__file__).parents[1] / "docs/benchmarks.md"
START, END = "<!-- made by benchmarks/generate.py --write -->\n", "<!-- end -->\n"
IN_MIB = ("memory", "text")
UNITS = {"µs": 1e-6, "ms": 1e-3, "s": 1.0, "MiB": 1.0}

LINES = (
    ("First moment of an install", "generate", "generate, first moment", "a"),
    ("Steady state", "generate", "generate, steady state", "b"),
    ("Steady state, all in one namespace", "recompute one target", "recompute, one namespace", "c"),
)
MEMORY_LINES = (("First moment of an install", "memory", "first moment", "a"), ("Steady state", "memory", "steady state", "b"))
AIMS = ((5.0, "aim: 5 s for all of 10,000 Pods"), (0.01, "aim: 10 ms for one target"))
MEMORY_AIMS = ((500e6 / 2**20, "aim: 500 MB"),)

COLORS = {
    "a": ("#0969da", "#4493f8"),
    "b": ("#1a7f37", "#3fb950"),
    "c": ("#8250df", "#ab7df8"),
    "d": ("#0a7b83", "#39c5cf"),
    "e": ("#bf3989", "#db61a2"),
    "f": ("#7d4e00", "#d29922"),
    "g": ("#cf222e", "#ff7b72"),
    "h": ("#57606a", "#b1bac4"),
}
"""Of lines, by style: on white, on black."""

STYLE = f"""
    svg {{ --back: #ffffff; --text: #1f2328; --soft: #59636e; --grid: #d1d9e0; --aim: #bc4c00;
      {"; ".join(f"--{name}: {light}" for name, (light, _) in COLORS.items())} }}
    @media (prefers-color-scheme: dark) {{ svg {{ --back: #0d1117; --text: #f0f6fc; --soft: #9198a1; --grid: #3d444d; --aim: #f0883e;
      {"; ".join(f"--{name}: {dark}" for name, (_, dark) in COLORS.items())} }} }}
    text {{ font: 12px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #1f2328; fill: var(--text) }}
    .soft {{ fill: #59636e; fill: var(--soft) }}
    .back {{ fill: #ffffff; fill: var(--back) }}
    path {{ fill: none; stroke: #d1d9e0; stroke: var(--grid) }}
    .aim {{ stroke: #bc4c00; stroke: var(--aim); stroke-dasharray: 6 4 }}
    text.aim {{ fill: #bc4c00; fill: var(--aim); stroke: none }}""" + "".join(
    f"""
    .{name} {{ stroke: {light}; stroke: var(--{name}); stroke-width: 2 }}
    text.{name} {{ fill: {light}; fill: var(--{name}); stroke: none }}"""
    for name, (light, _) in COLORS.items()
)


class Axis(NamedTuple):
    """ticks: value and label, the ends of the axis first and last."""

    ticks: tuple[tuple[float, str], ...]
    logarithmic: bool = True

    def at(self, value: float) -> float:
        """Where `value` stands: 0 at the first tick, 1 at the last."""
        low, high, here = (log10(v) if self.logarithmic else v for v in (self.ticks[0][0], self.ticks[-1][0], value))
        return (here - low) / (high - low)


Series = tuple[dict[int, float], str, str]
"""Values, label, style."""


def shown(value: float, row: str) -> str:
    """A figure to three digits with its unit."""
    unit = "MiB" if row in IN_MIB else "s" if value >= 0.9995 else "ms" if value >= 0.9995e-3 else "µs"
    scaled = value / UNITS[unit]
    return f"{scaled:.{2 if scaled < 9.995 else 1 if scaled < 99.95 else 0}f} {unit}"


def table(figures: Figures, sizes: Sequence[int]) -> str:
    """Markdown: a line for each row, a column for each size, the least of the rounds; below it, how far the rounds differ."""
    lines = [f"| Pods of targets | {' | '.join(f'{s:,}' for s in sizes)} |", f"|---|{'--:|' * len(sizes)}"]
    spreads = []
    for job, rows in figures.items():
        lines.append(f"| **{job}** |{' |' * len(sizes)}")
        for row, found in rows.items():
            least = {size: min(values) for size, values in found.items()}
            base = least[min(least)] / min(least)
            ratio = {s: "" if row in IN_MIB or s == min(least) else f" ({least[s] / s / base:.2g})" for s in least}
            lines.append(f"| {row} | {' | '.join(shown(least[s], row) + ratio[s] if s in least else '' for s in sizes)} |")
            spreads += [] if row in IN_MIB else [max(values) / min(values) for values in found.values()]
    noise = f"Slowest round against fastest: {median(spreads):.2f} for half of all figures, {max(spreads):.2f} at most."
    return "\n".join([*lines, "", noise]) + "\n"


def write(lines: str, start: str = START) -> None:
    """Put the table where it stands in the page, between the mark `start` and the next END."""
    before, found, rest = PAGE.read_text().partition(start)
    assert found, start
    PAGE.write_text(f"{before}{start}{lines}{END}{rest.partition(END)[2]}")


def figures_of(page: str) -> dict[str, dict[str, dict[int, float]]]:
    """The table in the page: job -> row -> size -> seconds or MiB."""
    found: dict[str, dict[str, dict[int, float]]] = {}
    cells = [
        [c.strip() for c in line.split("|")[1:-1]]
        for line in page.partition(START)[2].partition(END)[0].splitlines()
        if line.startswith("|")
    ]
    sizes = [int(c.replace(",", "")) for c in cells[0][1:]]
    for name, *values in cells[2:]:
        if name.startswith("**"):
            rows = found.setdefault(name.strip("*"), {})
        else:
            parts = {s: re.match(r"([\d.]+) (\S+)", v) for s, v in zip(sizes, values, strict=True)}
            rows[name] = {s: float(m[1]) * UNITS[m[2]] for s, m in parts.items() if m}
    return found


def panel(
    left: int, title: str, across: Axis, up: Axis, below: str, series: Sequence[Series], aims: Sequence[tuple[float, str]]
) -> Iterator[str]:
    """One diagram. below: what `across` counts."""
    width, height, top = 330, 300, 50

    def x(size: float) -> float:
        return left + width * across.at(size)

    def y(value: float) -> float:
        return top + height * (1 - up.at(value))

    yield f'<text x="{left}" y="24">{title}</text>'
    for value, tick in across.ticks:
        yield f'<path d="M{x(value):.1f} {top}v{height}"/>'
        yield f'<text class="soft" text-anchor="middle" x="{x(value):.1f}" y="{top + height + 18}">{tick}</text>'
    for value, tick in up.ticks:
        yield f'<path d="M{left} {y(value):.1f}h{width}"/>'
        yield f'<text class="soft" text-anchor="end" x="{left - 8}" y="{y(value) + 4:.1f}">{tick}</text>'
    for value, label in aims:
        yield f'<path class="aim" d="M{left} {y(value):.1f}h{width}"/>'
        start = up.at(value) > 0.5  # where no line runs
        yield (
            f'<text class="aim" text-anchor="{"start" if start else "end"}" x="{left + 6 if start else left + width - 6}"'
            f' y="{y(value) - 6:.1f}">{label}</text>'
        )
    ends = sorted(((y(values[max(values)]), values, label, style) for values, label, style in series), key=lambda e: e[0])
    at = 0.0
    for end, values, label, style in ends:
        yield f'<path class="{style}" d="M{" L".join(f"{x(s):.1f} {y(v):.1f}" for s, v in sorted(values.items()))}"/>'
        at = max(end + 4, at + 16)
        yield f'<text class="{style}" x="{left + width + 8}" y="{at:.1f}">{label}</text>'
    yield f'<text class="soft" text-anchor="middle" x="{left + width / 2}" y="{top + height + 38}">{below}</text>'


def picture(file: str, width: int, title: str, parts: Iterable[str]) -> None:
    """Write the parts as docs/benchmarks/`file`. title: for those who cannot see it."""
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} 400" role="img">'
    back = f'<rect class="back" width="{width}" height="400"/>'
    path = PAGE.parent / "benchmarks" / file
    path.parent.mkdir(exist_ok=True)
    path.write_text("\n".join([head, f"<title>{title}</title>", f"<style>{STYLE}\n</style>", back, *parts, "</svg>"]) + "\n")


def decades(low: int, *labels: str) -> Axis:
    """A logarithmic axis from 10**low, a label for each power of ten."""
    return Axis(tuple((10.0**power, label) for power, label in enumerate(labels, low)))


def draw() -> None:
    """The picture of the table that stands in the page."""
    found = figures_of(PAGE.read_text())
    seconds = [(found[job][row], label, style) for job, row, label, style in LINES]
    memory = [(found[job][row], label, style) for job, row, label, style in MEMORY_LINES]
    pods, below = decades(1, "10", "100", "1,000", "10,000"), "Pods of targets"
    times = decades(-4, "0.1 ms", "1 ms", "10 ms", "0.1 s", "1 s", "10 s")
    parts = [
        *panel(70, "Processor time", pods, times, below, seconds, AIMS),
        *panel(670, "Peak memory", pods, decades(1, "10 MiB", "100 MiB", "1000 MiB"), below, memory, MEMORY_AIMS),
    ]
    title = "Time and memory of generate against the number of Pods, both axes logarithmic, with the aims"
    picture("generate.svg", 1110, title, parts)


if __name__ == "__main__":
    draw()
