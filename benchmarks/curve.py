"""The figures of generate.py as the table in docs/benchmarks.md, and that table as docs/benchmarks/generate.svg.

python benchmarks/curve.py      draw the picture again from the table that stands in the page
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import log10
from pathlib import Path
from statistics import median

Figures = dict[str, dict[str, dict[int, list[float]]]]
"""Job -> row -> size -> a figure of each round: processor seconds, or MiB where the row is one of IN_MIB."""

PAGE = Path(__file__).parents[1] / "docs/benchmarks.md"
PICTURE = PAGE.parent / "benchmarks/generate.svg"
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

STYLE = """
    svg { --back: #ffffff; --text: #1f2328; --soft: #59636e; --grid: #d1d9e0; --a: #0969da; --b: #1a7f37; --c: #8250df; --aim: #bc4c00 }
    @media (prefers-color-scheme: dark) { svg { --back: #0d1117; --text: #f0f6fc; --soft: #9198a1; --grid: #3d444d; --a: #4493f8;
      --b: #3fb950; --c: #ab7df8; --aim: #f0883e } }
    text { font: 12px ui-monospace, "DejaVu Sans Mono", Menlo, Consolas, monospace; fill: #1f2328; fill: var(--text) }
    .soft { fill: #59636e; fill: var(--soft) }
    .back { fill: #ffffff; fill: var(--back) }
    path { fill: none; stroke: #d1d9e0; stroke: var(--grid) }
    .a { stroke: #0969da; stroke: var(--a); stroke-width: 2 }
    .b { stroke: #1a7f37; stroke: var(--b); stroke-width: 2 }
    .c { stroke: #8250df; stroke: var(--c); stroke-width: 2 }
    .aim { stroke: #bc4c00; stroke: var(--aim); stroke-dasharray: 6 4 }
    text.a { fill: #0969da; fill: var(--a); stroke: none }
    text.b { fill: #1a7f37; fill: var(--b); stroke: none }
    text.c { fill: #8250df; fill: var(--c); stroke: none }
    text.aim { fill: #bc4c00; fill: var(--aim); stroke: none }"""


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


def write(lines: str) -> None:
    """Put the table where it stands in the page."""
    before, _, rest = PAGE.read_text().partition(START)
    PAGE.write_text(f"{before}{START}{lines}{END}{rest.partition(END)[2]}")


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
    left: int,
    title: str,
    low: int,
    high: int,
    ticks: Sequence[str],
    series: Sequence[tuple[dict[int, float], str, str]],
    aims: Sequence[tuple[float, str]],
) -> Iterator[str]:
    """One diagram, both axes logarithmic, 10 to 10,000 Pods across and 10**low to 10**high up. series: values, label, style."""
    width, height, top = 330, 300, 50

    def x(size: float) -> float:
        return left + width * (log10(size) - 1) / 3

    def y(value: float) -> float:
        return top + height * (high - log10(value)) / (high - low)

    yield f'<text x="{left}" y="24">{title}</text>'
    for power in range(1, 5):
        yield f'<path d="M{x(10**power):.1f} {top}v{height}"/>'
        yield f'<text class="soft" text-anchor="middle" x="{x(10**power):.1f}" y="{top + height + 18}">{10**power:,}</text>'
    for power, tick in zip(range(low, high + 1), ticks, strict=True):
        yield f'<path d="M{left} {y(10.0**power):.1f}h{width}"/>'
        yield f'<text class="soft" text-anchor="end" x="{left - 8}" y="{y(10.0**power) + 4:.1f}">{tick}</text>'
    for value, label in aims:
        yield f'<path class="aim" d="M{left} {y(value):.1f}h{width}"/>'
        start = log10(value) > (low + high) / 2  # where no line runs
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
    yield f'<text class="soft" text-anchor="middle" x="{left + width / 2}" y="{top + height + 38}">Pods of targets</text>'


def draw() -> None:
    """The picture of the table that stands in the page."""
    found = figures_of(PAGE.read_text())
    seconds = [(found[job][row], label, style) for job, row, label, style in LINES]
    memory = [(found[job][row], label, style) for job, row, label, style in MEMORY_LINES]
    parts = [
        *panel(70, "Processor time", -4, 1, ("0.1 ms", "1 ms", "10 ms", "0.1 s", "1 s", "10 s"), seconds, AIMS),
        *panel(670, "Peak memory", 1, 3, ("10 MiB", "100 MiB", "1000 MiB"), memory, MEMORY_AIMS),
    ]
    head = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1110 400" role="img">'
    title = "<title>Time and memory of generate against the number of Pods, both axes logarithmic, with the aims</title>"
    back = '<rect class="back" width="1110" height="400"/>'
    PICTURE.parent.mkdir(exist_ok=True)
    PICTURE.write_text("\n".join([head, title, f"<style>{STYLE}\n</style>", back, *parts, "</svg>"]) + "\n")


if __name__ == "__main__":
    draw()
