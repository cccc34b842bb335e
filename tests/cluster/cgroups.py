"""The control groups of a cluster: one folder in each hierarchy of the machine, of version 1 or 2, below which kubelet makes its own."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterator
from pathlib import Path

_PATIENCE = 20.0


def name_for(folder: Path) -> str:
    """The name of the control groups of the cluster in `folder`."""
    return f"bascule-{hashlib.sha256(bytes(folder)).hexdigest()[:12]}"


def make(name: str) -> None:
    """Make `name` in every hierarchy. In version 2 the controllers must be handed down for that, and stay so."""
    for root in _hierarchies():
        offered = root / "cgroup.controllers"
        if offered.exists():
            (root / "cgroup.subtree_control").write_text("".join(f"+{each} " for each in offered.read_text().split()))
        (root / name).mkdir()


def remove(name: str) -> None:
    """Remove `name` and all below it; no process may be left there. A missing one is none to remove.

    The kernel takes a moment to let go of a group whose last process has died. Raises OSError if it does not.
    """
    for root in _hierarchies():
        for folder in sorted((root / name).glob("**/"), reverse=True):  # the deepest first
            end = time.monotonic() + _PATIENCE
            while True:
                try:
                    folder.rmdir()
                    break
                except FileNotFoundError:
                    break
                except OSError:
                    if time.monotonic() > end:
                        raise
                    time.sleep(0.05)


def _hierarchies() -> Iterator[Path]:
    for line in Path("/proc/self/mounts").read_text().splitlines():
        _, where, kind, *_ = line.split()
        if kind in ("cgroup", "cgroup2"):
            yield Path(where)
