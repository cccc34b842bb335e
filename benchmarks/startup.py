"""What `bascule --help` takes beside an empty Python program, by turns in one run.

python benchmarks/startup.py
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from statistics import median

RUNS = 31
COMMANDS = {"python -c pass": ["-c", "pass"], "bascule --help": ["-m", "generator", "--help"]}


def wall(arguments: list[str]) -> float:
    """Seconds until Python has ended."""
    start = time.perf_counter()
    subprocess.run([sys.executable, *arguments], cwd=Path(__file__).parents[1], stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - start


def main() -> None:
    """Print a Markdown table. The first turn writes the bytecode and does not count."""
    turns = [{name: wall(arguments) for name, arguments in COMMANDS.items()} for _ in range(RUNS + 1)][1:]
    print("| | fastest | median | slowest |\n|---|--:|--:|--:|")
    for name in COMMANDS:
        found = [turn[name] for turn in turns]
        print(f"| `{name}` | {' | '.join(f'{f(found) * 1000:.0f} ms' for f in (min, median, max))} |")
    empty, full = (median(turn[name] for turn in turns) for name in COMMANDS)
    print(f"\nMedian against median: {full / empty:.1f}")


if __name__ == "__main__":
    main()
