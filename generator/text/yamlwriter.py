"""Kubernetes objects into YAML text as kubectl lays it out, byte for byte the same every time.

Written by hand because ruamel.yaml takes 30 times as long, leaves YAML 1.1's words (yes, 12:30) unquoted and its bytes
depend on whether its C part is installed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from generator.text.scalars import number, quoted

_TOP: Final = ("apiVersion", "kind", "metadata")
_METADATA: Final = ("name", "namespace", "labels", "annotations")
_LONGEST_KEY: Final = 120  # a key before `:` may have 1024 bytes (YAML 1.2.2, section 7.4), with escapes; a longer one gets `? `
_BEYOND_ASCII: Final = "\xa0-\u2027\u202a-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff"  # printable for YAML 1.1 and 1.2
_LITERAL = re.compile(f"[!-~{_BEYOND_ASCII}][\n -~{_BEYOND_ASCII}]*")


def write_yaml(objects: Iterable[Mapping[str, Any]]) -> str:
    """The objects as YAML documents, each after a line `---`, in the given order.

    Keys: apiVersion, kind, metadata (name, namespace, labels, annotations) first, the rest sorted. No aliases, no folded lines; text
    is quoted wherever a reader of YAML 1.1 or 1.2 would take it for something else. `text.read(write_yaml(x))` gives `x`.
    Floats must be finite.
    """
    lines: list[str] = []
    for value in objects:
        lines.append("---")
        _value(value, "", "", lines, _TOP)
    return "\n".join(lines) + "\n" if lines else ""


def _value(value: Any, lead: str, indent: str, lines: list[str], head: tuple[str, ...] = ()) -> None:
    """Append `value`: its first line begins with `lead`, the others with `indent`."""
    if isinstance(value, Mapping) and value:
        keys = sorted(value)
        if head:
            keys = [k for k in head if k in value] + [k for k in keys if k not in head]
        for key in keys:
            _field(key, value[key], lead, indent, lines, _METADATA if head is _TOP and key == "metadata" else ())
            lead = indent
    elif isinstance(value, list | tuple) and value:
        for item in value:
            _value(item, f"{lead}- ", f"{indent}  ", lines)
            lead = indent
    else:
        lines.append(f"{lead}{_scalar(value, indent)}")


def _field(key: str, value: Any, lead: str, indent: str, lines: list[str], head: tuple[str, ...]) -> None:
    name = quoted(key)
    if len(name) <= _LONGEST_KEY:
        start = f"{lead}{name}:"
    else:
        lines.append(f"{lead}? {name}")
        start = f"{indent}:"
    if isinstance(value, Mapping) and value:
        lines.append(start)
        _value(value, f"{indent}  ", f"{indent}  ", lines, head)
    elif isinstance(value, list | tuple) and value:
        lines.append(start)
        _value(value, indent, indent, lines)
    else:
        lines.append(f"{start} {_scalar(value, indent + '  ')}")


def _scalar(value: Any, indent: str) -> str:
    if isinstance(value, str):
        return _literal(value, indent) if "\n" in value else quoted(value)
    if value is None:
        return "null"
    if value is True or value is False:
        return "true" if value else "false"
    if isinstance(value, float):
        return number(value)
    return str(value) if isinstance(value, int) else "{}" if isinstance(value, Mapping) else "[]"


def _literal(text: str, indent: str) -> str:
    """Text of several lines as a block, where that shows it unchanged: no tabs, no blanks at a line's end or before the first."""
    if not _LITERAL.fullmatch(text) or " \n" in text or text.endswith((" ", "\n\n")):
        return quoted(text)
    body = "\n".join(indent + line if line else "" for line in text.removesuffix("\n").split("\n"))
    return f"{'|' if text.endswith(chr(10)) else '|-'}\n{body}"
