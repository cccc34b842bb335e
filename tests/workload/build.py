"""The application under test and the load, built from the Go module beside this file.

built() / "app", built() / "load"            # in a test: both run anywhere, for they are static
python -m tests.workload.build               # prints the folder: the root of the image too (Containerfile)
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path

MODULE = Path(__file__).parent


@cache
def built() -> Path:
    """A folder with `app`, `load` and `bin/`, a static busybox under each of its names; kept in the user's cache.

    Raises AssertionError with what is missing or what Go says.
    """
    busybox = shutil.which("busybox")
    assert busybox, "busybox is missing: apt-get install busybox-static"
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bascule" / "workload" / _digest(Path(busybox))
    if folder.exists():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        made = Path(scratch) / "root"
        (made / "bin").mkdir(parents=True)
        _compile(made)
        _install(Path(busybox), made / "bin")
        if not folder.exists():  # another run may have been faster
            made.rename(folder)
    return folder


def _digest(busybox: Path) -> str:
    digest = hashlib.sha256()
    for file in [*sorted(MODULE.rglob("*.go")), MODULE / "go.mod", MODULE / "go.sum", MODULE / "build.py", busybox]:
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:16]


def _compile(folder: Path) -> None:
    command = ["go", "build", "-trimpath", "-buildvcs=false", "-ldflags=-s -w", "-o", f"{folder}/", "./app", "./load"]
    done = subprocess.run(command, cwd=MODULE, env={**os.environ, "CGO_ENABLED": "0"}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}: {done.stderr}"


def _install(busybox: Path, folder: Path) -> None:
    shutil.copy(busybox, folder / "busybox")
    names = subprocess.run([busybox, "--list"], capture_output=True, text=True, check=True).stdout.split()
    for name in set(names) - {"busybox"}:
        (folder / name).symlink_to("busybox")


if __name__ == "__main__":
    print(built())  # noqa: T201  # its answer
