"""The syntax tree of a regex, and the tree as text that PCRE2 and Python read alike. `language.py` makes trees out of text."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Bytes:
    """One byte out of `among`, which is never empty."""

    among: frozenset[int]


@dataclass(frozen=True, slots=True)
class Sequence:
    """All `parts`, one after the other; none is the empty text."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Either:
    """One of two or more `branches`."""

    branches: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Repeat:
    """`body` at least `least` and at most `most` (None: any number of) times."""

    body: Node
    least: int
    most: int | None


@dataclass(frozen=True, slots=True)
class Start:
    """Nothing, at the start of the text."""


@dataclass(frozen=True, slots=True)
class End:
    """Nothing, at the end of the text."""


Node = Bytes | Sequence | Either | Repeat | Start | End

ANY: Final = frozenset(range(256))
_DIGITS: Final = frozenset(b"0123456789")
_WORD: Final = _DIGITS | frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_")
_BLANK: Final = frozenset(b" \t\n\v\f\r")
SETS: Final = {"d": _DIGITS, "w": _WORD, "s": _BLANK, "D": ANY - _DIGITS, "W": ANY - _WORD, "S": ANY - _BLANK}


def size(node: Node) -> int:
    """Bytes, classes and anchors in `node` after counts are written out; an empty text counts as one."""
    match node:
        case Sequence(parts):
            return max(1, sum(map(size, parts)))
        case Either(branches):
            return sum(map(size, branches))
        case Repeat(body, least, most):
            return size(body) * (most or max(1, least))
    return 1


def text(node: Node, end: str) -> str:
    """`node` as text that PCRE2 and Python read alike, but for `end`, what `$` is written as."""

    def inner(child: Node, wrap: Callable[[Node], bool]) -> str:
        return f"(?:{text(child, end)})" if wrap(child) else text(child, end)

    match node:
        case Start():
            return "^"
        case End():
            return end
        case Bytes(among):
            return _set_text(among)
        case Sequence(parts):
            return "".join(inner(part, lambda n: isinstance(n, Either)) for part in parts)
        case Either(branches):
            return "|".join(text(branch, end) for branch in branches)
        case Repeat(body, least, most):
            signs = {(0, None): "*", (1, None): "+", (0, 1): "?"}
            count = str(least) if most == least else f"{least},{'' if most is None else most}"
            return inner(body, lambda n: not isinstance(n, Bytes)) + signs.get((least, most), f"{{{count}}}")
    raise AssertionError(node)


def _set_text(among: frozenset[int]) -> str:
    if among == ANY:
        return "."
    for letter, named in SETS.items():
        if among == named:
            return f"\\{letter}"
    if len(among) == 1:
        return _byte_text(min(among), r"\.^$|?*+()[]{}")
    if len(among) > len(ANY) // 2:
        return f"[^{_ranges(ANY - among)}]"
    return f"[{_ranges(among)}]"


def _ranges(among: frozenset[int]) -> str:
    """The members of a class, neighbours as ranges."""
    out = []
    for low in sorted(byte for byte in among if byte - 1 not in among):
        high = next(byte for byte in range(low, 257) if byte + 1 not in among)
        dash = "-" if high > low + 1 else ""
        out.append(_byte_text(low, r"\]^-[") + (dash + _byte_text(high, r"\]^-[") if high > low else ""))
    return "".join(out)


def _byte_text(byte: int, special: str) -> str:
    character = chr(byte)
    if character in special:
        return "\\" + character
    return character if " " <= character <= "~" else f"\\x{byte:02x}"
