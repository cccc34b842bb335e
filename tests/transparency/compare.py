"""Two observations of one row become a verdict, by comparing them."""

from __future__ import annotations

from tests.transparency.exchange import Observation
from tests.transparency.message import differences

SAME = "same"


def verdict(direct: Observation, other: Observation) -> str:
    """`same`, or what differs."""
    if direct == other:
        return SAME
    if "refused" in other:
        return f"refused: {other['refused'].removeprefix('HTTP/1.1 ')}"
    found = []
    for name in {**direct, **other}:
        before, after = direct.get(name, ""), other.get(name, "")
        if name in ("request", "answer") and before != after:
            found += [f"{name}: {', '.join(differences(before.encode('latin-1'), after.encode('latin-1')))}"]
        elif before != after:
            found.append(f"{name} {after}{f' (direct: {before})' if before else ''}" if after else f"{name}: no longer {before}")
    return "; ".join(found)
