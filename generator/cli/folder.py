"""`--output-dir`: file names and texts -> a folder that holds them all, or is as it was.

`.bascule-files` in the folder lists what a run has written. Only these may be overwritten or removed by the next one.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path

import click

from generator import names
from generator.cluster.snapshot import Key
from generator.errors import InputError, Problem

INDEX = ".bascule-files"
_PART = ".bascule-part"


def named(_: click.Context, __: click.Parameter, given: str | None) -> Path | None:
    """The folder that an option names. A callback of click."""
    if given is not None and (not given or "\0" in given):
        raise click.BadParameter(f"{given!r} is no folder's name, as in ./files")
    return None if given is None else Path(given)


def file_name(key: Key) -> str:
    """`kind-namespace-name.yaml` in lower case. What is no plain name gets a digest, so that none leads out of the folder."""
    written = "-".join(filter(None, key)).lower()
    plain = re.sub(r"[^a-z0-9.-]", "_", written)
    stem = names.fit(plain if plain == written else f"{plain}-{names.digest(written)}", 200)
    return f"{stem}.yaml"


def file_names(keys: Iterable[Key]) -> dict[Key, str]:
    """A file name for each key; two that would share one (a-b/c and a/b-c) get a digest of the key."""
    found = {key: file_name(key) for key in keys}
    times = Counter(found.values())
    return {key: f"{name.removesuffix('.yaml')}-{names.digest(str(key))}.yaml" if times[name] > 1 else name for key, name in found.items()}


def write(folder: Path, files: Mapping[str, str]) -> list[str]:
    """Write all files or none; remove those of an earlier run that are no longer there, and give their names.

    Raises InputError (FileNotWritable) when a file is there that no earlier run wrote, or the folder cannot be written.
    """
    try:
        return _write(folder, files)
    except OSError as error:
        cure = "Give a folder that is empty, or that an earlier run wrote."
        raise InputError(Problem("FileNotWritable", str(error.filename or folder), error.strerror or str(error), cure)) from error


def _write(folder: Path, files: Mapping[str, str]) -> list[str]:
    index = folder / INDEX
    before = set(index.read_text(encoding="utf-8", errors="replace").splitlines()) if index.exists() else set()
    before = {name for name in before if name and "/" not in name and "\\" not in name and (folder / name).is_file()}
    foreign = [str(folder / name) for name in sorted(files) if name not in before and os.path.lexists(folder / name)]
    if foreign:
        cure = f"Remove it, or give another folder. Files that bascule wrote are listed in {INDEX}."
        raise InputError(*(Problem("FileNotWritable", name, "is there and was not written by bascule", cure) for name in foreign))
    folder.mkdir(parents=True, exist_ok=True)
    parts = {folder / f"{name}{_PART}": folder / name for name in sorted(files)}
    try:
        for part, path in parts.items():
            _fresh(part, files[path.name])
        _note(index, before | set(files))  # first, so that a run that is cut off here can be repeated
        for part, path in parts.items():
            part.replace(path)
    finally:
        for part in parts:
            part.unlink(missing_ok=True)
    stale = sorted(before - set(files))
    for name in stale:
        (folder / name).unlink()
    _note(index, set(files))
    return stale


def _note(index: Path, known: set[str]) -> None:
    part = index.with_name(INDEX + _PART)
    _fresh(part, "".join(f"{name}\n" for name in sorted(known)))
    part.replace(index)


def _fresh(part: Path, text: str) -> None:
    """A file of that name, whatever was there; a link leads nobody elsewhere."""
    part.unlink(missing_ok=True)
    part.touch(exist_ok=False)
    part.write_text(text, encoding="utf-8", newline="\n")
