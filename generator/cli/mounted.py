"""Mounted files on this machine: laid out below a folder of the user's own, for as long as a program runs or to stay."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from generator.errors import InputError, Problem
from generator.mounted import File

ROOT: Final = "BASCULE_ROOT"
"""The variable that names the folder: what the container has at /etc/web is at $BASCULE_ROOT/etc/web."""
_TYPED: Final = ("SIGINT", "SIGQUIT")
"""What a terminal gives to the program itself, too."""
_PASSED_ON: Final = (*_TYPED, "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2")


def keep(folder: Path, files: Mapping[str, File]) -> Path:
    """Write all files below a new or empty folder, or nothing; its absolute path. Raises InputError (FileNotWritable).

    An empty folder stays the one that it is, for it may be somebody's current one, and takes up the files.
    """
    try:
        folder = folder.resolve()
        there = os.path.lexists(folder)
        if there and not (folder.is_dir() and not any(folder.iterdir())):
            cure = "Remove it, or give a folder that is new or empty."
            raise InputError(Problem("FileNotWritable", str(folder), "is there and is no empty folder", cure))
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".bascule-", dir=folder if there else folder.parent) as beside:
            whole = Path(beside, "files")
            whole.mkdir(0o700)
            _lay(whole, files)
            if there:
                _move(whole, folder)
            else:
                whole.rename(folder)
    except (OSError, RuntimeError) as error:  # RuntimeError: links that lead to each other
        raise _unwritable(folder, error) from error
    return folder


def _move(whole: Path, folder: Path) -> None:
    """What is in one folder into another one: all of it, or nothing, where one of its names has come to be there."""
    moved: list[str] = []
    try:
        for name in sorted(path.name for path in whole.iterdir()):
            if os.path.lexists(folder / name):
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(folder / name))
            (whole / name).rename(folder / name)
            moved.append(name)
    except OSError:
        for name in moved:
            (folder / name).rename(whole / name)
        raise


def run(path: str, program: tuple[str, ...], variables: Mapping[str, str], files: Mapping[str, File]) -> int:
    """Run a program with the files below a folder that is gone when it ends; its exit code, 128 + the signal that ended it.

    Raises InputError (FileNotWritable), OSError when the program cannot be started.
    """
    started: list[subprocess.Popen[bytes]] = []
    came: list[int] = []

    def pass_on(number: int, _frame: object) -> None:
        came.append(number)
        if started and not (signal.Signals(number).name in _TYPED and _in_foreground()):
            started[0].send_signal(number)

    with _handled(pass_on), _laid(files) as root:
        if came:
            return 128 + came[0]
        child = subprocess.Popen(program, executable=path, env={**variables, ROOT: root}, close_fds=False)  # noqa: S603  # that is what it is for
        started.append(child)
        for number in came:
            child.send_signal(number)
        code = child.wait()
        return code if code >= 0 else 128 - code


@contextmanager
def _laid(files: Mapping[str, File]) -> Iterator[str]:
    """The files below a folder that is gone at the end."""
    with ExitStack() as until:
        try:
            root = until.enter_context(tempfile.TemporaryDirectory(prefix="bascule-", ignore_cleanup_errors=True))
            _lay(Path(root), files)
        except OSError as error:
            raise _unwritable(Path(tempfile.gettempdir()), error) from error
        yield root


def _lay(root: Path, files: Mapping[str, File]) -> None:
    """Into an empty folder, for nobody else to enter. Owners may always read; what group and others might is not taken over."""
    for name, file in files.items():
        path = root / name
        if not path.is_relative_to(root):
            raise OSError(0, "leads out of the folder", name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(0o600, exist_ok=False)
        path.write_bytes(file.content)
        path.chmod(file.mode & 0o700 | 0o400)
    for path in filter(Path.is_dir, root.iterdir()):
        path.chmod(0o700)


def _unwritable(folder: Path, error: Exception) -> InputError:
    place, why = (error.filename, error.strerror) if isinstance(error, OSError) else (None, None)
    cure = "Give a folder that is new or empty; a temporary one is made where TMPDIR says."
    return InputError(Problem("FileNotWritable", str(place or folder), why or str(error), cure))


@contextmanager
def _handled(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Signals that would end this process go to the handler; one that is ignored stays so, as `nohup` wants it."""
    numbers = [n for name in _PASSED_ON if (n := getattr(signal, name, None)) and signal.getsignal(n) is not signal.SIG_IGN]
    before = {n: signal.signal(n, handler) for n in numbers}
    try:
        yield
    finally:
        for n, each in before.items():
            signal.signal(n, each)


def _in_foreground() -> bool:
    """Whether a terminal gives its keys to our process group, and so to the program as well."""
    try:
        with Path("/dev/tty").open("rb") as terminal:
            return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except OSError:
        return False
