r"""A second reader of nginx.conf, written from nginx's own (ngx_conf_file.c, ngx_conf_read_token), to see what nginx would see.

    read(b'map $a $b { "\\\\x" 1; }') == [Read(b"map", (b"$a", b"$b"), (Read(b"\\x", (b"1",)),))]

Blanks are space, tab, CR and LF. A token ends at a blank, `;` or `{`; `${` does not end it. One that begins with a quote ends
at the next such quote, after which a blank, `;`, `{` or `)` must come. A backslash takes the meaning from the next character, and
`\" \' \\ \t \r \n` are what they stand for; every other backslash stays. `#` where a token could begin starts a comment.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

BUFFER = 4096
"""ngx_conf_file.c, NGX_CONF_BUFFER: no token reaches this size."""

_BLANKS = b" \t\r\n"
_ESCAPE = re.compile(rb"\\([\"'\\trn])")
_ESCAPED = {b"t": b"\t", b"r": b"\r", b"n": b"\n"}
_VARIABLE = re.compile(rb"\$(?:([A-Za-z0-9_]+)|\{([A-Za-z0-9_]+)\}|)")


class Misread(ValueError):
    """Text at which nginx stops."""


class Read(NamedTuple):
    """A directive; an entry of a `map` is one too, whose name is the key."""

    name: bytes
    args: tuple[bytes, ...]
    block: tuple[Read, ...] | None = None


def read(text: bytes) -> tuple[Read, ...]:
    """The directives of a whole file. Raises Misread."""
    return tuple(_directives(_tokens(text), inside=False))


def variables(argument: bytes) -> list[bytes]:
    """The names that nginx replaces in an argument (ngx_http_script_compile); a `$` without one is an empty name."""
    return [a or b for a, b in _VARIABLE.findall(argument)]


def walk(directives: Iterable[Read], *above: bytes) -> Iterator[tuple[tuple[bytes, ...], Read]]:
    """Every directive with the names of the blocks around it."""
    for each in directives:
        yield above, each
        yield from walk(each.block or (), *above, each.name)


Token = tuple[str, bytes]
"""("word", its text) or (";", ""), ("{", ""), ("}", "")."""


def _directives(tokens: Iterator[Token], *, inside: bool) -> Iterator[Read]:
    words: list[bytes] = []
    for kind, text in tokens:
        if kind == "word":
            words.append(text)
        elif kind == "}":
            if words or not inside:
                raise Misread('unexpected "}"')
            return
        elif not words:
            raise Misread(f'unexpected "{kind}"')
        else:
            block = tuple(_directives(tokens, inside=True)) if kind == "{" else None
            yield Read(words[0], tuple(words[1:]), block)
            words = []
    if words or inside:
        raise Misread("unexpected end of file")


def _tokens(text: bytes) -> Iterator[Token]:
    at = 0
    while at < len(text):
        letter = text[at : at + 1]
        if letter in _BLANKS:
            at += 1
        elif letter in b";{}":
            at += 1
            yield letter.decode(), b""
        elif letter == b"#":
            at = text.find(b"\n", at) % (len(text) + 1)
        elif letter in b"\"'":
            end = _end_of_quote(text, at)
            yield "word", _word(text[at + 1 : end])
            at = end + 1
            if text[at : at + 1] not in (b" ", b"\t", b"\r", b"\n", b";", b"{", b")"):
                raise Misread(f"unexpected {text[at : at + 1]!r} after a quote")
        else:
            end = _end_of_word(text, at)
            yield "word", _word(text[at:end])
            at = end


def _end_of_quote(text: bytes, at: int) -> int:
    quote, at = text[at], at + 1
    while at < len(text) and text[at] != quote:
        at += 2 if text[at : at + 1] == b"\\" else 1
    if at >= len(text):
        raise Misread("unexpected end of file in a quote")
    return at


def _end_of_word(text: bytes, at: int) -> int:
    while at < len(text) and text[at : at + 1] not in (b" ", b"\t", b"\r", b"\n", b";", b"{"):
        at += 2 if text[at : at + 1] == b"\\" or text[at : at + 2] == b"${" else 1
    return at


def _word(raw: bytes) -> bytes:
    if len(raw) >= BUFFER:
        raise Misread("too long parameter")
    return _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), raw)
