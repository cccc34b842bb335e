"""nginx's configuration as a tree of directives, and the only place where text is quoted.

An argument that comes from outside goes through `key`, `value` or `regex`; what is left is a literal of ours, which
`token` quotes when it must. So no value can add, end or change a directive, whatever bytes it holds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from carrier2.contract import MAX_TOKEN

COLUMN = "\t"
"""Between the parts of a composite key. Safe, since no part may hold a control character."""

DOLLAR = "$c2_dollar"
"""A variable whose value is `$`: nginx has no escape for it (`geo`, ngx_http_geo_module)."""

_CONTROL = re.compile("[\x00-\x1f\x7f\ud800-\udfff]")
_PLAIN = re.compile(r"[A-Za-z0-9_./:@=$()\[\]-]+")
_REGEX_PART = re.compile(r"\\.|\[\^?\]?(?:\\.|\[:\^?\w+:\]|[^\]\\])*\]|\(\?P?[<'](?![=!])|\(\*|\$", re.DOTALL)


class Unquotable(ValueError):
    """Text that an nginx configuration cannot hold; `args[0]` says which and why."""


class Quoted(str):
    """Text that is written as it stands."""

    __slots__ = ()


@dataclass(frozen=True, slots=True)
class Directive:
    """`name args;` or `name args { block }`, under a comment line when there is a `note`."""

    name: str
    args: tuple[str, ...] = ()
    block: tuple[Directive, ...] | None = None
    note: str = ""


def simple(name: str, *args: str | int, note: str = "") -> Directive:
    """A directive without a block."""
    return Directive(name, tuple(a if isinstance(a, str) else str(a) for a in args), note=note)


def block(name: str, *args: str, of: Iterable[Directive], note: str = "") -> Directive:
    """A directive with a block."""
    return Directive(name, args, tuple(of), note)


def mapping(source: str, variable: str, *entries: tuple[str, str], note: str = "") -> Directive:
    """`map source variable { key value; ... }`; an entry is (`default`, `""`, `key(...)` or `regex(...)`, value)."""
    return block("map", source, variable, of=(Directive(k, (v,)) for k, v in entries), note=note)


def render(directives: Iterable[Directive], indent: str = "") -> str:
    """The text of `directives`, each on lines of its own. Raises Unquotable."""
    out = []
    for each in directives:
        if each.note:
            out.append(f"{indent}# {_checked(each.note)}\n")
        words = " ".join(a if isinstance(a, Quoted) else token(a) for a in (each.name, *each.args))
        out.append(f"{indent}{words};\n" if each.block is None else f"{indent}{words} {{\n{render(each.block, indent + '  ')}{indent}}}\n")
    return "".join(out)


def token(text: str) -> Quoted:
    """A literal of ours, quoted unless it is plain. `$name` in it stays a variable, COLUMN is allowed."""
    return Quoted(text) if _PLAIN.fullmatch(text) else _quoted("".join(COLUMN if c == COLUMN else _checked(c) for c in text))


def key(*columns: str) -> Quoted:
    r"""The key of a `map` that matches exactly these columns, ASCII case apart.

    The leading backslash takes the meaning from `~`, `default`, `include` and a backslash of the text's own
    (ngx_http_map_module: "prefixed with the `\` character").
    """
    return _quoted("\\" + COLUMN.join(map(_checked, columns)))


def value(*lines: Sequence[str]) -> Quoted:
    """Text where nginx replaces variables, with none replaced: columns in lines. A plain `str` is one line of one column."""
    columns = ((line,) if isinstance(line, str) else line for line in lines)
    return _quoted("\n".join(COLUMN.join(map(_checked, line)) for line in columns), dollar=True)


def regex(pattern: str) -> Quoted:
    """The key of a `map` that finds `pattern` (PCRE) anywhere, on bytes, with case; `.` is any byte, `$` the very end.

    Raises Unquotable for a named group, which would define an nginx variable, and for a `(*VERB)`.
    """

    def part(match: re.Match[str]) -> str:
        if match[0].startswith("("):
            raise Unquotable(f"{pattern!r}: named groups and verbs are not allowed (at {match.start()})")
        return r"\z" if match[0] == "$" else match[0]

    return _quoted("~(?s)" + _REGEX_PART.sub(part, _checked(pattern)))


def _checked(text: str) -> str:
    if found := _CONTROL.search(text):
        raise Unquotable(f"{text!r}: control character or lone surrogate at {found.start()}")
    return text


def _quoted(text: str, *, dollar: bool = False) -> Quoted:
    for plain, escaped in (("\\", "\\\\"), ('"', '\\"'), ("\t", "\\t"), ("\n", "\\n")):
        text = text.replace(plain, escaped)
    if dollar:
        text = text.replace("$", f"${{{DOLLAR[1:]}}}")
    if (size := len(text.encode())) > MAX_TOKEN:
        raise Unquotable(f"{text[:40]!r}...: {size} bytes, nginx reads at most {MAX_TOKEN}")
    return Quoted(f'"{text}"')
