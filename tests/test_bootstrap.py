"""tools/bootstrap.sh: brings what is missing as root on Debian, says it in one line anywhere else."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "tools" / "bootstrap.sh"
GOOD = "#!/bin/sh\n"
BAD = "#!/bin/sh\nexit 1\n"


@pytest.fixture
def bin_folder(tmp_path: Path) -> Path:
    """The only folder on PATH: a machine that lacks `ip` and has all else."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("bash", "env", "sort", "tr", "touch", "chmod"):
        found = shutil.which(name)
        assert found
        (folder / name).symlink_to(found)
    tools = {
        "python3": GOOD,
        "git": GOOD,
        "unshare": GOOD,
        "openssl": GOOD,
        "ssh": GOOD,
        "mount": GOOD,
        "busybox": GOOD,
        "chromium-headless-shell": GOOD,
        "gcc": GOOD,
        "pkg-config": GOOD,
        "buildah": GOOD,
        "mmdebstrap": GOOD,
        "nft": GOOD,
        "go": "#!/bin/sh\necho go1.26.8\n",
        "id": "#!/bin/sh\necho 0\n",
        "uname": "#!/bin/sh\necho Linux\n",
    }
    for name, text in tools.items():
        write(folder / name, text)
    return folder


def write(path: Path, text: str) -> None:
    """An executable."""
    path.write_text(text)
    path.chmod(0o755)


def run(folder: Path, goal: str) -> subprocess.CompletedProcess[str]:
    """The script, with nothing of this machine in sight."""
    return subprocess.run([folder / "bash", SCRIPT, goal], env={"PATH": str(folder)}, capture_output=True, text=True, check=False)


def test_brings_only_what_is_missing(bin_folder: Path) -> None:
    """On Debian, as root, the missing package is installed, and only that."""
    write(bin_folder / "apt-get", f'#!/bin/sh\necho "$@" >> {bin_folder}/calls\ntouch {bin_folder}/ip\nchmod +x {bin_folder}/ip\n')

    result = run(bin_folder, "test")

    assert (result.returncode, result.stdout) == (0, "")
    assert (bin_folder / "calls").read_text().splitlines() == ["-qq update", "-qq install -y --no-install-recommends iproute2"]


def test_second_run_installs_nothing(bin_folder: Path) -> None:
    """With everything there, no package manager is asked."""
    write(bin_folder / "ip", GOOD)
    write(bin_folder / "apt-get", BAD)

    assert run(bin_folder, "test").returncode == 0


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("id", "#!/bin/sh\necho 1000\n", "iproute2"),
        ("apt-get", None, "iproute2"),
        ("go", "#!/bin/sh\necho go1.25.9\n", "Go 1.26"),
        ("go", BAD, "Go 1.26"),
        ("uname", "#!/bin/sh\necho Darwin\n", "Linux"),
    ],
    ids=["not-root", "not-debian", "old-go", "no-go", "mac"],
)
def test_says_in_one_line_what_to_install(bin_folder: Path, name: str, text: str | None, said: str) -> None:
    """Where nothing can be brought: exit 2, and one line that names it."""
    write(bin_folder / "apt-get", GOOD)
    if text is None:
        (bin_folder / name).unlink()
    else:
        write(bin_folder / name, text)

    result = run(bin_folder, "test")

    assert result.returncode == 2
    assert said in result.stderr.splitlines()[-1]


def test_finds_a_python_under_another_name(bin_folder: Path) -> None:
    """`python3` may be too old, and a newer one beside it."""
    write(bin_folder / "python3", BAD)
    write(bin_folder / "python3.12", GOOD)

    assert run(bin_folder, "python").stdout.strip() == str(bin_folder / "python3.12")


def test_python_that_cannot_make_an_environment_is_missing(bin_folder: Path) -> None:
    """Debian's python3 without python3-venv: the package is named."""
    write(bin_folder / "python3", BAD)

    result = run(bin_folder, "python")

    assert result.returncode == 2
    assert "python3-venv" in result.stderr
