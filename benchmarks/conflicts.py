"""What it takes to compare the rules of many bridges on one port.

python benchmarks/conflicts.py
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any

from carrier2.dispatch import Condition
from generator.asked.bridge import Bridge, decode_bridge
from generator.asked.conflicts import Standing
from generator.rules.analysis import relation, shape

ROUNDS = 5

Match = list[dict[str, Any]]


def header(value: str, match: str = "exact", name: str = "x-user") -> dict[str, Any]:
    """A header condition."""
    return {"matchHeader": {"name": name, "value": value, "type": match}}


def path(value: str) -> dict[str, Any]:
    """A path prefix."""
    return {"matchPath": {"path": value, "type": "prefix"}}


def mixed(n: int) -> Match:
    """Four kinds of rules by turns."""
    return ([header(f"user-{n}")], [path(f"/service/{n}")], [header(f"user-{n}"), path("/api")], [header("1", name=f"x-{n}")])[n % 4]


KINDS: dict[str, tuple[int, Callable[[int], Match]]] = {
    "a header each": (1000, lambda n: [header(f"user-{n}")]),
    "a path prefix each": (1000, lambda n: [path(f"/service/{n}")]),
    "header and path prefix": (1000, lambda n: [header(f"user-{n}"), path(f"/service/{n % 10}")]),
    "half headers, half prefixes: every second pair overlaps": (1000, lambda n: [header(f"user-{n}") if n % 2 else path(f"/service/{n}")]),
    "a header name each: every pair overlaps": (1000, lambda n: [header("1", name=f"x-{n}")]),
    "four kinds mixed": (1000, mixed),
    "anchored regexes": (200, lambda n: [header(f"^user-{n}-[a-z]+$", "regex")]),
    "unanchored regexes: every pair overlaps": (200, lambda n: [header(f"u{n}-[a-z]+", "regex")]),
}

EXPLODING = [
    ("^.*a.{90}b.{90}$", "^.*c.{90}d.{90}$"),
    ("^.*a.{20}$", "^.*[ab].{20}$"),
    ("^(?:a|b.)*a(?:a|b.){40}$", "^(?:b|a.)*b(?:b|a.){40}$"),
    ("^a.*b.*c.*d.*e.*f.{99}$", "^a.*e.*d.*c.*b.{98}$"),
]


def bridge(number: int, match: Match) -> Bridge:
    """A bridge with one rule, each a second younger than the one before."""
    born = f"2026-11-25T{number // 3600:02}:{number // 60 % 60:02}:{number % 60:02}Z"
    metadata = {"name": f"b{number:04}", "namespace": "gefyra", "uid": str(number), "creationTimestamp": born}
    rest = {"client": f"user-{number}", "target": "deployment/web", "targetNamespace": "shop", "portMappings": ["3000:8080"]}
    kind = {"apiVersion": "gefyra.dev/v1", "kind": "GefyraBridge", "metadata": metadata}
    made, problems = decode_bridge({**kind, **rest, "providerParameter": {"rules": [{"match": match}]}})
    assert made, problems
    return made


def one_kind(name: str) -> None:
    """Print seconds for all, and for one more beside all: in a process of its own, so that no cache is warm."""
    count, match = KINDS[name]
    bridges = [bridge(number, match(number)) for number in range(count + 1)]
    standing, start = Standing(8080), time.process_time()
    for each in bridges[:-1]:
        assert all(p.severity == "warning" for p in standing.problems(each))
        standing.add(each)
    everyone, start = time.process_time() - start, time.process_time()
    standing.problems(bridges[-1])
    print(everyone, time.process_time() - start)


def explode(number: int) -> None:
    """Print seconds for a pair of regexes that would take very long."""
    one, other = (shape((Condition("header", "regex", text, "x-user"),)) for text in EXPLODING[number])
    start = time.process_time()
    found, _ = relation(one, other)
    print(time.process_time() - start, found)


def again(*arguments: str) -> list[list[str]]:
    """What this program prints for `arguments`, in each of some processes."""
    command = [sys.executable, __file__, *arguments]
    run = [subprocess.run(command, cwd=Path(__file__).parents[1], capture_output=True, text=True, check=True).stdout for _ in range(ROUNDS)]
    return [text.split() for text in run]


def main() -> None:
    """Print Markdown tables: medians, and the slowest."""
    print("| rules | bridges | all pairs | one more |\n|---|--:|--:|--:|")
    for name, (count, _) in KINDS.items():
        found = [[float(word) for word in words] for words in again("kind", name)]
        everyone, more = ([row[column] for row in found] for column in (0, 1))
        cells = f"{median(everyone):.2f} s ({max(everyone):.2f}) | {median(more) * 1000:.1f} ms ({max(more) * 1000:.1f})"
        print(f"| {name} | {count:,} | {cells} |")
    print("\n| two regexes | time | answer |\n|---|--:|---|")
    for number, pair in enumerate(EXPLODING):
        rows = again("explode", str(number))
        times = [float(words[0]) * 1000 for words in rows]
        shown = ", ".join(f"`{text}`" for text in pair).replace("|", "\\|")
        print(f"| {shown} | {median(times):.0f} ms ({max(times):.0f}) | {rows[0][1]} |")


if __name__ == "__main__":
    if sys.argv[1:2] == ["kind"]:
        one_kind(sys.argv[2])
    elif sys.argv[1:2] == ["explode"]:
        explode(int(sys.argv[2]))
    else:
        main()
