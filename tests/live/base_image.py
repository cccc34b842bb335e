"""What stands in for the official Python image: Debian's own Python, unpacked from its packages, with what `pip` needs."""

from __future__ import annotations

import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from tests.cluster import images

PYTHON = "localhost/bascule-test/python:3.11"
_PACKAGES = "python3-minimal,libpython3-stdlib,python3-venv,python3-pip-whl,python3-setuptools-whl,busybox-static,ca-certificates"


@cache
def python() -> Path:
    """The archive of PYTHON. Debian's packages are kept in the user's cache."""
    kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bascule" / "python-bookworm.tar"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        made = kept.with_suffix(f".{os.getpid()}.tar")
        left_out = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "man", "locale")]
        command = ["mmdebstrap", "--quiet", "--variant=extract", f"--include={_PACKAGES}", *left_out, "bookworm", str(made)]
        subprocess.run(command, check=True, capture_output=True)
        made.rename(kept)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch, "root")
        root.mkdir()
        subprocess.run(["tar", "-xf", kept, "-C", root, "--exclude=./dev/*"], check=True)
        Path(scratch, "Containerfile").write_text('FROM scratch\nCOPY root /\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\n')
        return images.build(Path(scratch), PYTHON)
