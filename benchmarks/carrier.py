"""What a request costs in the carrier against the number of bridges and the kind of their rules, on real nginx.

    python benchmarks/carrier.py              the tables of docs/benchmarks.md, in ten minutes
    python benchmarks/carrier.py --write      the same, written to the page and its pictures
    python benchmarks/carrier.py --quick      fewer kinds and sizes, one round, in less than a minute

Needs Linux, root or unprivileged user namespaces, and wrk. carrier_cases.py has the rules and requests, carrier_lab.py
measures; each kind runs in an enclosure (tests/enclosure.py) of its own.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from benchmarks.carrier_cases import (
    BOTH,
    BY_BRIDGES,
    BY_KINDS,
    COOKIE,
    EXACT,
    EXACT_UNMATCHED,
    MIXED,
    PREFIX,
    PREFIX_UNMATCHED,
    QUERY,
    REGEX,
    SIGNATURES,
    Kind,
)
from benchmarks.carrier_lab import DIRECT, STREAM
from benchmarks.curve import COLORS, Axis, Series, decades, panel, picture, write
from generator.cli.nginx import find_nginx
from tests.enclosure import enclosed

Found = dict[str, dict[str, dict[str, Any]]]
"""Kind -> case, a size or DIRECT or STREAM -> figures, as carrier_lab.measure has them."""

START = "<!-- made by benchmarks/carrier.py --write -->\n"
BASE = "0"
ROUNDS, SECONDS = 3, 1
QUICK = {EXACT: (0, 1, 10_000), PREFIX: (0, 1, 10_000), EXACT_UNMATCHED: (0, 10_000), REGEX: (0, 100), SIGNATURES: (0, 20)}
COUNTED = {REGEX: "distinct regexes", SIGNATURES: "kinds of rules"}
AIM = 0.9


def gather(kinds: dict[Kind, tuple[int, ...]], rounds: int) -> Found:
    """All figures of the kinds, each at its sizes."""
    found = {}
    for kind, sizes in kinds.items():
        print(f"... {kind.name}", file=sys.stderr)
        job = {"kind": kind.name, "sizes": sizes, "rounds": rounds, "seconds": SECONDS}
        found[kind.name] = enclosed("benchmarks.carrier_lab", job, seconds=600)
    return found


def ratios(of: dict[str, dict[str, Any]], case: str, base: str = BASE) -> list[float]:
    """Requests a second against those of `base`, round by round."""
    return [a / b for a, b in zip(of[case]["rates"], of[base]["rates"], strict=True)]


def added(of: dict[str, dict[str, Any]], case: str) -> list[float]:
    """Processor µs per request more than with 0 bridges, round by round."""
    return [a - b for a, b in zip(of[case]["cpus"], of[BASE]["cpus"], strict=True)]


def spread(values: Sequence[float], form: str) -> str:
    """Median, least and most."""
    return f"{median(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def grid(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A table in Markdown."""
    return [f"| {' | '.join(row)} |" for row in (head, ["---", *["--:"] * (len(head) - 1)], *rows)] + [""]


def sized(of: dict[str, dict[str, Any]]) -> list[str]:
    """The cases that are a number of bridges, 0 first."""
    return [case for case in of if case.isdigit()]


def limits(of: dict[str, dict[str, Any]]) -> list[str]:
    """What the proxy itself costs, before any bridge."""
    names = {DIRECT: "the origin, no carrier", STREAM: "port without rules, passed through", BASE: "HTTP port, 0 bridges"}
    rows = [
        [name, f"{median(of[case]['rates']):,.0f}", spread(ratios(of, case, STREAM), ".2f"), f"{median(of[case]['cpus']):.1f}"]
        for case, name in names.items()
    ]
    return grid(["", "requests a second", "against passed through", "µs of processor per request"], rows)


def routing(found: Found, head: str, kinds: Sequence[Kind]) -> Iterator[str]:
    """Rate and processor time by size. The first of the kinds has all sizes."""
    cases = sized(found[kinds[0].name])[1:]
    rates, cpus = [], []
    for kind in kinds:
        of = found[kind.name]
        rates.append([kind.name, f"{median(of[BASE]['rates']):,.0f}/s", *(spread(ratios(of, c), ".2f") if c in of else "" for c in cases)])
        cpus.append([kind.name, f"{median(of[BASE]['cpus']):.1f}", *(spread(added(of, c), "+.1f") if c in of else "" for c in cases)])
    columns = [f"{int(case):,}" for case in cases]
    yield from grid([f"rate, by {head}", "0", *columns], rates)
    yield from grid([f"added µs, by {head}", "0", *columns], cpus)


def costs(found: Found) -> list[str]:
    """What a configuration costs besides requests."""
    rows = []
    for name, of in found.items():
        if name in (EXACT_UNMATCHED.name, PREFIX_UNMATCHED.name):
            continue  # the same configurations as those above
        for case in sized(of):
            f = of[case]
            times = (f"{f[what]:.3g}" if f[what] < 100 else f"{f[what]:,.0f}" for what in ("render", "test", "reload"))
            sizes = (f"{f[what]:.1f}" for what in ("master", "worker", "peak"))
            rows.append([name, f"{int(case):,}", f"{f['bytes']:,}", *times, *sizes, f"{median(f['faults']):.1f}"])
    head = [
        "",
        "size",
        "bytes",
        "render ms",
        "`nginx -t` ms",
        "reload ms",
        "master MiB",
        "worker MiB",
        "all in a reload MiB",
        "page faults",
    ]
    return grid(head, rows)


def report(found: Found) -> str:
    """All tables."""
    names = {kind.name: kind for kind in (*BY_BRIDGES, *BY_KINDS) if kind.name in found}
    every = [figures for of in found.values() for figures in of.values()]

    def total(what: str) -> int:
        return sum(figures[what] for figures in every)

    swings = [max(f["rates"]) / min(f["rates"]) for f in every]
    lines = [
        *limits(found[EXACT.name]),
        *routing(found, "bridges", [kind for kind in BY_BRIDGES if kind.name in names]),
        *(line for kind in BY_KINDS if kind.name in names for line in routing(found, COUNTED[kind], [kind])),
        *costs(found),
        "{:,} requests under load, 0 errors, 0 answered by another than they wanted; before that, one by one,".format(total("requests")),
        "{:,} that match a bridge and {:,} that match none.".format(total("matched"), total("unmatched")),
        f"The same nginx in its fastest round against its slowest: {median(swings):.2f} for half of all, {max(swings):.2f} at most.",
    ]
    return "\n".join(lines) + "\n"


def curves(found: Found, kinds: Sequence[Kind], labels: Sequence[str]) -> tuple[list[Series], list[Series]]:
    """Medians by size of the rate's ratio and of the added time, a line for each kind."""
    both: list[list[Series]] = []
    for figure in (ratios, added):
        values = [{int(case): median(figure(found[kind.name], case)) for case in sized(found[kind.name])[1:]} for kind in kinds]
        both.append(list(zip(values, labels, COLORS, strict=False)))
    return both[0], both[1]


def steps(step: float, last: float, form: str = "g") -> Axis:
    """A linear axis from 0."""
    return Axis(tuple((n * step, f"{n * step:{form}}") for n in range(round(last / step) + 1)), logarithmic=False)


def draw(found: Found) -> None:
    """docs/benchmarks/carrier.svg by the number of bridges, carrier-kinds.svg by the number of things looked at."""
    aims = [(AIM, f"aim: {AIM}")]
    names = ("header", "prefix", "header, unmatched", "prefix, unmatched", "header AND prefix", "cookie", "query", "mixed")
    drawn = (EXACT, PREFIX, EXACT_UNMATCHED, PREFIX_UNMATCHED, BOTH, COOKIE, QUERY, MIXED)
    for file, kinds, labels, across, below in (
        ("carrier.svg", drawn, names, decades(0, "1", "10", "100", "1,000", "10,000"), "bridges"),
        ("carrier-kinds.svg", BY_KINDS, ("regexes", "kinds of rules"), decades(0, "1", "10", "100", "1,000"), "regexes or kinds of rules"),
    ):
        rates, cpus = curves(found, kinds, labels)
        most = max(max(values.values()) for values, _, _ in cpus)
        step = next(s for s in (1, 2, 5, 10, 20, 50, 100, 200, 500) if 8 * s >= most)
        parts = [
            *panel(70, "Requests a second against 0 bridges", across, steps(0.2, 1.2, ".1f"), below, rates, aims),
            *panel(640, "Added µs of processor per request", across, steps(step, 8 * step), below, cpus, []),
        ]
        picture(file, 1140, f"Rate against 0 bridges, and added processor time, against the number of {below}", parts)


def main(arguments: list[str]) -> None:
    """All of it, or a glance."""
    quick = "--quick" in arguments
    rounds = 1 if quick else ROUNDS
    found = gather(QUICK if quick else {kind: kind.sizes for kind in (*BY_BRIDGES, *BY_KINDS)}, rounds)
    lines = f"nginx {'.'.join(map(str, find_nginx()[1]))}, rounds: {rounds}.\n\n{report(found)}"
    print(lines)
    if "--write" in arguments and not quick:
        write(lines, START)
        draw(found)


if __name__ == "__main__":
    main(sys.argv[1:])
