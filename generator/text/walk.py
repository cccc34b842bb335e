"""An untrusted plain object against a table of its fields -> the fields that are right, and a Problem for each that is not."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from generator.errors import Problem

_PLAIN: Final = re.compile(r"[A-Za-z0-9_./-]{1,100}")
_LINE: Final = 100

Kind = type | tuple[str, ...]
"""What a field may hold: a type, `object` for anything, or the texts to choose from."""

_TYPES: Final = {str: "text", int: "a whole number", bool: "true or false", list: "a list", dict: "a mapping"}


@dataclass(frozen=True, slots=True)
class Place:
    """Where the walk is. `problems` is shared by all places of one object and collects what was found."""

    head: str
    problems: list[Problem]
    path: str = ""

    def field(self, name: object) -> Place:
        """The field `name` of the mapping at this place."""
        text = str(name)
        return Place(self.head, self.problems, f"{self.path}.{text if _PLAIN.fullmatch(text) else shown(text)}".lstrip("."))

    def item(self, index: int) -> Place:
        """The item at `index` of the list at this place."""
        return Place(self.head, self.problems, f"{self.path}[{index}]")

    @property
    def reported(self) -> bool:
        """Whether something was found at this very place."""
        return any(problem.place == self.where for problem in self.problems)

    @property
    def where(self) -> str:
        """The place as a Problem names it."""
        return f"{self.head}: {self.path}" if self.path else self.head

    def report(self, code: str, message: str, cure: str) -> None:
        """Add a finding at this place."""
        self.problems.append(Problem(code, self.where, message, cure))


def shown(value: object) -> str:
    """A value for a message: quoted if text, never longer than a line, no control characters."""
    text = repr(value)
    return text if len(text) <= _LINE else f"{text[: _LINE - 3]}..."


def is_a(place: Place, value: object, kind: Kind) -> bool:
    """Whether `value` is of `kind`; WrongType is reported if not."""
    if isinstance(kind, tuple):
        if isinstance(value, str) and value in kind:
            return True
        place.report("WrongType", f"{shown(value)} is not one of {', '.join(kind)}", f"Write {kind[0]}, for example.")
        return False
    if isinstance(value, kind) and not (kind is int and isinstance(value, bool)):
        return True
    quote = f'; in quotes: "{str(value).lower()}"' if kind is str and isinstance(value, int | float) else ""
    place.report("WrongType", f"{shown(value)} is not {_TYPES[kind]}", f"Give {_TYPES[kind]}{quote}.")
    return False


def unknown(place: Place, names: Iterable[object], known: Iterable[str], cure: str = "") -> None:
    """Report each of `names` that is not `known`, with the nearest that is, or with `cure` where there is none."""
    known = sorted(known)
    for name in sorted(map(str, names)):
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            advice = f"Did you mean {near[0]}?" if near else cure or f"Known here: {', '.join(known)}."
            place.field(name).report("UnknownField", f"there is no field {shown(name)}", advice)


def fields(place: Place, value: object, known: Mapping[str, Kind], cure: str = "") -> dict[str, Any]:
    """The fields of the mapping `value` that are `known`, set (not null) and of the right kind."""
    if not is_a(place, value, dict):
        return {}
    assert isinstance(value, dict)
    unknown(place, value, known, cure)
    return {
        name: value[name]
        for name, kind in known.items()
        if value.get(name) is not None and (kind is object or is_a(place.field(name), value[name], kind))
    }
