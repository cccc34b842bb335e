r"""The regexes a rule may hold: text -> syntax tree -> the same regex for nginx (PCRE2) and for Python.

    literals        any printable character; `\` before ASCII punctuation takes its meaning away; `\t` is a tab
    .               any one byte
    [a-z_-] [^...]  classes of ASCII characters: ranges, negation, a `-` at either end, escapes as below
    \d \w \s       ASCII digits, word characters, white space; \D \W \S are the other bytes
    ^ $             start and end of the text (PCRE and Python also let `$` match before a last newline: not here)
    ( ) (?: )       groups; nothing is captured
    |               alternatives
    * + ? {n} {n,} {n,m}    counts up to 255; lazy forms (`+?`) are read and mean the same here

A regex is *searched* for in the bytes of a field, `.` matches each of them, and characters beyond ASCII are their UTF-8
bytes. So `é+` repeats both bytes, but `.` and `[^a]` match one byte, half of an é; a class cannot hold é, since it would
hold two bytes. Everything else is refused with a caret: what RE2 (github.com/google/re2/wiki/Syntax) has no
equivalent for (back-references, look-around, possessive), what engines read differently (`\b`, `\p`, `{,n}`, flags,
nested classes), and control characters.

Repeats that can explode in a backtracking engine are refused too: see `regex_loops.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NoReturn

from generator.errors import BasculeError
from generator.rules.regex_loops import explodes
from generator.rules.regex_tree import ANY, SETS, Bytes, Either, End, Node, Repeat, Sequence, Start, size, text

MAX_COUNT: Final = 255
MAX_DEPTH: Final = 50
"""Groups in groups; PCRE2's own limit is 250 (pcre2api, "Setting the parenthesis nesting limit")."""
MAX_SIZE: Final = 1000
"""Bytes or classes after counts are written out; PCRE2 stops at 64 KiB of compiled code, and a class takes 33 bytes."""


_PUNCTUATION: Final = frozenset("!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~")
_GROUPS: Final = (
    ("(?=", "look-ahead"),
    ("(?!", "look-ahead"),
    ("(?<=", "look-behind"),
    ("(?<!", "look-behind"),
    ("(?P=", "a back-reference"),
    ("(?P", "a named group; write (...)"),
    ("(?<", "a named group; write (...)"),
    ("(?>", "an atomic group"),
    ("(?#", "a comment"),
)
_COUNT: Final = re.compile(r"\{([0-9]+)(?:(,)([0-9]*))?\}")


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a pattern is not in the subset. offset: in characters; caret: two lines, the pattern and `^` under the place."""

    offset: int
    reason: str
    caret: str


class Unsupported(BasculeError):
    """A pattern outside the subset."""

    def __init__(self, pattern: str, offset: int, reason: str) -> None:
        shown = "".join(c if c.isprintable() else "?" for c in pattern)
        self.refusal = Refusal(offset, reason, f"{shown}\n{' ' * offset}^")
        super().__init__(f"{reason}\n{self.refusal.caret}")


def check(pattern: str) -> Refusal | None:
    """Why `pattern` is refused, or None when every function of this module takes it."""
    try:
        parse(pattern)
    except Unsupported as refused:
        return refused.refusal
    return None


@lru_cache(maxsize=4096)
def parse(pattern: str) -> Node:
    """The syntax tree of `pattern`. Raises Unsupported."""
    return _Parser(pattern).whole()


def pcre(pattern: str) -> str:
    r"""`pattern` for PCRE2 without UTF mode, behind `(?s)`: ASCII only, no captures, `\z` for `$`. Raises Unsupported."""
    return text(parse(pattern), r"\z")


@lru_cache(maxsize=4096)
def compile_regex(pattern: str) -> re.Pattern[bytes]:
    """`pattern` for Python: `.search(field)` finds what nginx finds. Raises Unsupported."""
    return re.compile(text(parse(pattern), r"\Z").encode(), re.DOTALL)


class _Parser:
    """Recursive descent over `pattern`; `at` is the next character."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.at = 0

    def refuse(self, reason: str, at: int | None = None) -> NoReturn:
        raise Unsupported(self.pattern, self.at if at is None else at, reason)

    def next(self) -> str:
        """The next character, "" at the end."""
        return self.pattern[self.at : self.at + 1]

    def whole(self) -> Node:
        if not self.pattern:
            self.refuse("the regex is empty")
        for at, character in enumerate(self.pattern):
            if character < " " or character == "\x7f":
                self.refuse(r"a control character; a tab is written \t", at)
            if "\ud800" <= character <= "\udfff":
                self.refuse("half a character (a lone surrogate)", at)
        node = self.either(0)
        if self.next():
            self.refuse(r"a ) without its (; for the character write \)")
        if size(node) > MAX_SIZE:
            self.refuse(f"too long: more than {MAX_SIZE} characters after counts are written out", 0)
        return node

    def either(self, depth: int) -> Node:
        branches = [self.sequence(depth)]
        while self.next() == "|":
            self.at += 1
            branches.append(self.sequence(depth))
        return branches[0] if len(branches) == 1 else Either(tuple(branches))

    def sequence(self, depth: int) -> Node:
        parts: list[Node] = []
        while self.next() not in ("", "|", ")"):
            parts.append(self.repeated(depth))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def repeated(self, depth: int) -> Node:
        body = self.atom(depth)
        mark = self.at
        bounds = self.count()
        if bounds is None:
            return body
        if isinstance(body, Start | End):
            self.refuse("there is nothing to repeat before this", mark)
        if self.next() == "+":
            self.refuse("a possessive repeat")
        if self.next() == "?":
            self.at += 1
        if self.next() in ("*", "+", "?") or _COUNT.match(self.pattern, self.at):
            self.refuse("a second repeat right after another")
        node = Repeat(body, *bounds)
        if node.most is None or node.most > 1:
            reason = explodes(body)
            if reason:
                self.refuse(reason, mark)
        if size(node) > MAX_SIZE:
            self.refuse(f"more than {MAX_SIZE} characters after counts are written out", mark)
        return node

    def count(self) -> tuple[int, int | None] | None:
        simple: dict[str, tuple[int, int | None]] = {"*": (0, None), "+": (1, None), "?": (0, 1)}
        if self.next() in simple:
            self.at += 1
            return simple[self.pattern[self.at - 1]]
        found = _COUNT.match(self.pattern, self.at)
        if not found:
            return None
        least, most = found[1], found[3] or (None if found[2] else found[1])
        if any(len(n) > len(str(MAX_COUNT)) or int(n) > MAX_COUNT for n in (least, most or "0")):
            self.refuse(f"a count above {MAX_COUNT}")
        if most is not None and (int(most) < int(least) or int(most) == 0):
            self.refuse("a count that is zero or runs backwards")
        self.at = found.end()
        return int(least), None if most is None else int(most)

    def atom(self, depth: int) -> Node:
        start, character = self.at, self.next()
        if character == "(":
            return self.group(depth)
        if character == "[":
            return Bytes(self.class_())
        if character == "\\":
            return Bytes(self.escape())
        if character in ("*", "+", "?"):
            self.refuse("there is nothing to repeat before this")
        if character == "{":
            self.refuse(r"a { that is no count {n}, {n,} or {n,m}; for the character write \{")
        self.at = start + 1
        if character == "^":
            return Start()
        if character == "$":
            return End()
        if character == ".":
            return Bytes(ANY)
        encoded = tuple(Bytes(frozenset((byte,))) for byte in character.encode())
        return encoded[0] if len(encoded) == 1 else Sequence(encoded)

    def group(self, depth: int) -> Node:
        start = self.at
        for opening, what in _GROUPS:
            if self.pattern.startswith(opening, start):
                self.refuse(what)
        if self.pattern.startswith("(?", start) and not self.pattern.startswith("(?:", start):
            self.refuse("flags in the regex")
        if depth == MAX_DEPTH:
            self.refuse(f"more than {MAX_DEPTH} groups in each other")
        self.at += 3 if self.pattern.startswith("(?:", start) else 1
        node = self.either(depth + 1)
        if self.next() != ")":
            self.refuse(r"a ( without its ); for the character write \(", start)
        self.at += 1
        return node

    def escape(self) -> frozenset[int]:
        character = self.pattern[self.at + 1 : self.at + 2]
        if not character:
            self.refuse(r"a \ at the end; for the character write \\")
        if character not in SETS and character != "t" and character not in _PUNCTUATION:
            self.refuse(_unknown_escape(character))
        self.at += 2
        return SETS.get(character) or frozenset(b"\t" if character == "t" else character.encode())

    def class_(self) -> frozenset[int]:
        start = self.at
        self.at += 1
        negated = self.next() == "^"
        self.at += negated
        found: frozenset[int] = frozenset()
        first = True
        while self.next() != "]" or first:
            if self.next() == "":
                self.refuse(r"a [ without its ]; for the character write \[", start)
            if self.next() == "-" and not first and self.pattern[self.at + 1 : self.at + 2] != "]":
                self.refuse(r"a - that is neither a range nor at an end of the class; write \-")
            low = self.member()
            if self.next() == "-" and self.pattern[self.at + 1 : self.at + 2] not in ("]", ""):
                mark = self.at
                self.at += 1
                high = self.member()
                if len(low) != 1 or len(high) != 1:
                    self.refuse(r"a range needs one character on each side; for the character write \-", mark)
                if min(low) > min(high):
                    self.refuse("a range that runs backwards", mark)
                low = frozenset(range(min(low), min(high) + 1))
            found |= low
            first = False
        self.at += 1
        if negated:
            found = ANY - found
        if not found:
            self.refuse("a class that no character is in", start)
        return found

    def member(self) -> frozenset[int]:
        character = self.next()
        if character == "\\":
            return self.escape()
        if character in ("[", "]"):
            self.refuse(f"a {character} inside a class; write \\{character}")
        if not character.isascii():
            self.refuse("a character beyond ASCII in a class is several bytes; write (?:é|ü)")
        self.at += 1
        return frozenset(character.encode())


def _unknown_escape(character: str) -> str:
    if character.isdigit():
        return "a back-reference"
    known = {
        "b": r"\b, a word boundary",
        "B": r"\B, a word boundary",
        "p": r"\p, a Unicode class",
        "P": r"\P, a Unicode class",
        "A": r"\A; write ^",
        "z": r"\z; write $",
        "Z": r"\Z; write $",
    }
    return known.get(character, f"the escape \\{character}" if character.isprintable() else "an unknown escape")
