"""Everything that can go wrong, as data.

    Problem                      one finding: code, place, message, cure
    BasculeError                 the base of what this package raises
    +-- InputError               the input cannot be used; carries every Problem found
    +-- StalePlan                a guarded patch met another object than the one it was made for

A Problem never stops the others: one broken bridge leaves its neighbours alone. Its code is CamelCase because it
is also the `reason` of a status condition (Kubernetes API conventions, "Typical status properties").
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from generator.codes import CODES

Severity = Literal["input", "refused", "warning"]


class Example(NamedTuple):
    """A request that shows a Problem, as `bascule explain` takes it. port: of the container. headers: `name: value`."""

    port: int
    method: str
    url: str
    headers: tuple[str, ...]


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One finding.

    code: a key of `codes.CODES`, stable between releases.
    place: where: file and line, or `Kind namespace/name`, with a field where one is known.
    message: what is wrong, with the value that is.
    cure: what was expected, with an example.
    example: a request that the message names.
    """

    code: str
    place: str
    message: str
    cure: str
    example: Example | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.code not in CODES:
            raise ValueError(f"{self.code!r} is not in generator/codes.py")

    @property
    def severity(self) -> Severity:
        """`input`: the stream cannot be used; `refused`: this bridge or mount is not admitted; `warning`: it is."""
        return CODES[self.code].severity

    def text(self) -> str:
        """The finding as two lines for a terminal."""
        return f"{self.severity} {self.code}: {self.place}: {self.message}\n  {self.cure}"


class BasculeError(Exception):
    """The base of every error this package raises on purpose."""


class InputError(BasculeError):
    """The input cannot be used. Nothing was changed."""

    def __init__(self, *problems: Problem) -> None:
        self.problems = tuple(sorted(problems))
        super().__init__("\n".join(p.text() for p in self.problems))


class StalePlan(BasculeError):
    """A guarded patch met another object than the one it was made for; read again and plan again."""
