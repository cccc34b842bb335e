"""What stands in for official images: Debian's own packages, unpacked: Python with what `pip` needs, and OpenSSH's server."""

from __future__ import annotations

import os
import subprocess
import tempfile
from functools import cache
from pathlib import Path

from tests.cluster import images

PYTHON = "localhost/bascule-test/python:3.11"
SSH = "localhost/bascule-test/debian-ssh:12"
_PYTHON = "python3-minimal,libpython3-stdlib,python3-venv,python3-pip-whl,python3-setuptools-whl,busybox-static,ca-certificates"
_SSH = "openssh-server,busybox-static"


@cache
def python() -> Path:
    """The archive of PYTHON."""
    return _debian("python", PYTHON, _PYTHON)


@cache
def ssh() -> Path:
    """The archive of SSH."""
    return _debian("ssh", SSH, _SSH)


def _debian(short: str, name: str, packages: str) -> Path:
    """The archive of an image of these packages. They are kept in the user's cache."""
    kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bascule" / f"{short}-bookworm.tar"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        made = kept.with_suffix(f".{os.getpid()}.tar")
        left_out = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in ("doc", "man", "locale")]
        command = ["mmdebstrap", "--quiet", "--variant=extract", f"--include={packages}", *left_out, "bookworm", str(made)]
        subprocess.run(command, check=True, capture_output=True)
        made.rename(kept)
    with tempfile.TemporaryDirectory() as scratch:
        root = Path(scratch, "root")
        root.mkdir()
        subprocess.run(["tar", "-xf", kept, "-C", root, "--exclude=./dev/*"], check=True)
        Path(scratch, "Containerfile").write_text('FROM scratch\nCOPY root /\nRUN ["/bin/busybox", "--install", "-s", "/bin"]\n')
        return images.build(Path(scratch), name)
