"""JSON text into plain values, with the line and column of what is wrong with it: the fast way for large snapshots."""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import Any, Final, NoReturn

from generator.errors import Problem
from generator.text.yamlreader import MAX_DEPTH, TOO_DEEP, Document, excerpt, position

_LOOKS_LIKE_JSON = re.compile(r'\s*(?:\{\s*["}]|\[\s*[{\[\]])')
_GAP: Final = re.compile(r"(?:\s|---)*")
_TOKEN = re.compile(r'("(?:[^"\\]|\\.)*")(\s*:)?|[{}\[\]]')


class _DuplicateKey(Exception):
    pass


class _NoSuchNumber(Exception):
    pass


def looks_like_json(text: str) -> bool:
    """Whether `text` begins as JSON does; `{name: web}` is YAML."""
    return _LOOKS_LIKE_JSON.match(text) is not None


def documents(text: str, source: str) -> tuple[list[Document], tuple[Problem, ...]]:
    """The JSON values in `text`, one after the other, with or without `---` between them, up to the first that cannot be read.

    source: its name in problems. Problems: YamlSyntax, DuplicateKey. No error is raised.
    """
    found: list[Document] = []
    end, line = 0, 1
    while True:
        gap = _GAP.match(text, end)
        start = gap.end() if gap else end
        line += text.count("\n", end, start)
        if start == len(text):
            return found, ()
        value, end, wrong = _one(text, start)
        if wrong:
            code, offset, message, cure = wrong
            row, column = position(text, offset)
            place = f"{source}, document {len(found) + 1}, line {row + 1}, column {column + 1}"
            return found, (Problem(code, place, f"{message}: `{excerpt(text, row, column)}`", cure),)
        found.append(Document(value, len(found) + 1, line))
        line += text.count("\n", start, end)


def _one(text: str, start: int) -> tuple[Any, int, tuple[str, int, str, str] | None]:
    """The value at `start`, where it ends, and what is wrong: code, offset, message, cure."""
    too_deep = ("YamlSyntax", start, f"nested deeper than {MAX_DEPTH} levels", TOO_DEEP)
    try:
        value, end = _DECODER.raw_decode(text, start)
    except json.JSONDecodeError as error:
        return None, start, ("YamlSyntax", error.pos, f"not JSON: {error.msg}", "Mend the JSON here, or write YAML without braces.")
    except _DuplicateKey:
        key, offset = _second_key(text, start)
        return None, start, ("DuplicateKey", offset, f"the key {key} stands here a second time", f"Keep one of the two {key}.")
    except _NoSuchNumber as error:
        return None, start, ("YamlSyntax", start, f"{error} is no number in JSON", f'Write it in double quotes: "{error}".')
    except RecursionError:
        return None, start, too_deep
    except ValueError:  # Python's own limit on the digits of an integer
        return None, start, ("YamlSyntax", start, "a number has thousands of digits", "Write it in double quotes.")
    return value, end, too_deep if _deep(value) else None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) != len(pairs):
        raise _DuplicateKey
    return result


def _finite(text: str) -> float:
    if not isfinite(value := float(text)):
        raise _NoSuchNumber(text[:60])
    return value


def _no_such_number(text: str) -> NoReturn:
    raise _NoSuchNumber(text)


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_float=_finite, parse_constant=_no_such_number)


def _deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [c for v in level for c in (v.values() if isinstance(v, dict) else v) if isinstance(c, dict | list)]
        if not level:
            return False
    return True


def _second_key(text: str, start: int) -> tuple[str, int]:
    """The first key that stands twice in its object, in the JSON text from `start` on, and where it stands the second time."""
    seen: list[set[str]] = []
    for token in _TOKEN.finditer(text, start):
        if token[2]:
            key = json.loads(token[1])
            if key in seen[-1]:
                return key, token.start()
            seen[-1].add(key)
        elif token[0] in "{[":
            seen.append(set())
        elif token[0] in "}]":
            seen.pop()
    return "", start
