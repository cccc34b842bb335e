"""The programs of a Kubernetes node, built from the Go modules pinned beside this file and kept in the user's cache.

    python -m tests.cluster.build      prints the folder that holds them

Cold it takes ten minutes on two cores, and a network that has the Go modules; later it takes no time. Each folder with a go.mod is one
upstream project, since what they depend on clashes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.cluster import images

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bascule" / "kubernetes"
PAUSE = "localhost/bascule-test/pause:1"
"""The image of each Pod's first container; its archive is pause.tar beside the folder of programs."""

_STAMP = "k8s.io/component-base/version"
_WITHOUT_LIBRARIES = "no_btrfs no_devmapper no_zfs"


def kubernetes_version() -> str:
    """The pinned version, such as v1.36.3."""
    found = re.search(r"k8s\.io/kubernetes (v\S+)", (HERE / "kubernetes" / "go.mod").read_text())
    assert found
    return found[1]


def binaries() -> Path:
    """The folder with the tools of each go.mod, and pause. It is whole: it gets its name by a rename, once all is built.

    Raises subprocess.CalledProcessError when a build fails; what it had to say is on standard error.
    """
    pins = [Path(__file__), *sorted(HERE.glob("*/go.*"))]
    folder = CACHE / hashlib.sha256(b"\0".join(pin.read_bytes() for pin in pins)).hexdigest()[:16]
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        with (CACHE / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.exists():
                part = CACHE / "part"
                shutil.rmtree(part, ignore_errors=True)
                _build(part / "bin")
                part.rename(folder)
    return folder / "bin"


def _build(into: Path) -> None:
    version = kubernetes_version()
    print(f"building Kubernetes {version} for the tests: ten minutes, once", file=sys.stderr)  # noqa: T201
    major, minor, _ = version[1:].split(".", 2)
    stamp = f"-X {_STAMP}.gitVersion={version} -X {_STAMP}.gitMajor={major} -X {_STAMP}.gitMinor={minor}"
    into.mkdir(parents=True)
    _go("kubernetes", f"{into}/", ldflags=stamp)
    _go("etcd", into / "etcd")
    _go("containerd", f"{into}/", tags=_WITHOUT_LIBRARIES)
    _go("runc", f"{into}/", tags="seccomp", cgo=True)
    listed = ["go", "list", "-m", "-f", "{{.Dir}}", "k8s.io/kubernetes"]
    sources = subprocess.run(listed, cwd=HERE / "kubernetes", capture_output=True, text=True, check=True).stdout.strip()
    subprocess.run(["gcc", "-Os", "-static", "-o", into / "pause", f"{sources}/build/pause/linux/pause.c"], check=True)
    with tempfile.TemporaryDirectory() as scratch:
        shutil.copy(into / "pause", scratch)
        Path(scratch, "Containerfile").write_text('FROM scratch\nCOPY pause /\nENTRYPOINT ["/pause"]\n')
        images.build(Path(scratch), PAUSE, archive=into.parent / "pause.tar")


def _go(module: str, output: Path | str, *, ldflags: str = "", tags: str = "", cgo: bool = False) -> None:
    """Build every tool that the go.mod of `module` names."""
    command = ["go", "build", "-trimpath", "-tags", tags, "-ldflags", f"-s -w {ldflags}", "-o", str(output), "tool"]
    subprocess.run(command, cwd=HERE / module, env={**os.environ, "CGO_ENABLED": str(int(cgo))}, check=True)


if __name__ == "__main__":
    print(binaries())  # noqa: T201
