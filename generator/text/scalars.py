"""What an unquoted YAML scalar means, and which texts must be quoted: plain text <-> null, bool, int, float, str.

Meaning is YAML 1.2's core schema (spec 1.2.2, section 10.3.2). Where a YAML 1.1 reader (PyYAML, kubectl's go-yaml) sees
something else, reading says `Ambiguous` and writing quotes. Times stay text, as Kubernetes has them.
"""

from __future__ import annotations

import json
import re
from functools import lru_cache
from typing import Final, NamedTuple

Scalar = None | bool | int | float | str


class Ambiguous(NamedTuple):
    """A plain scalar that readers disagree on. `why` is a clause, `instead` is what to write."""

    why: str
    instead: str


_WORDS: Final[dict[str, Scalar]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_YES = frozenset(("y", "Y", "yes", "Yes", "YES", "on", "On", "ON"))
_NO = frozenset(("n", "N", "no", "No", "NO", "off", "Off", "OFF"))

_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_OCTAL_OR_HEX = re.compile(r"0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
# YAML 1.1 (yaml.org/type/int.html, float.html): leading zero, underscores, base 60, base 2, signed hexadecimal
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")
_NUMBER_1_1 = re.compile(
    r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]+|[0-9][0-9_]*(?:\.[0-9_]*(?:[eE][-+]?[0-9]+)?)?|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?)"
    r"|[-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?"
)
_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt \t].*)?")
_TELLING: Final = frozenset("0123456789+-.~nNyYtTfFoO")  # first characters of a plain scalar that may not be text

_SHORT: Final = 80  # up to here answers are kept: a snapshot repeats its short texts thousands of times
MAX_DIGITS: Final = 4000  # below Python's own limit on converting between text and int


def meaning(text: str) -> Scalar | Ambiguous:
    """What the plain scalar `text` is. A number of more than MAX_DIGITS characters is Ambiguous too."""
    return text if text and text[0] not in _TELLING else _short(text) if len(text) < _SHORT else _meaning(text)


def _meaning(text: str) -> Scalar | Ambiguous:
    if text in _WORDS:
        return _WORDS[text]
    if text in _YES or text in _NO:
        return Ambiguous(f"{text} is a boolean to some readers and text to others", f'"{text}" or {"true" if text in _YES else "false"}')
    if not (_NUMBER_1_1.fullmatch(text) or _FLOAT.fullmatch(text) or _OCTAL_OR_HEX.fullmatch(text) or _NOT_FINITE.fullmatch(text)):
        return text
    if len(text) > MAX_DIGITS:
        return Ambiguous(f"this is a number of {len(text)} characters", "it in double quotes")
    if _INT.fullmatch(text):
        return int(text)
    if _OCTAL_OR_HEX.fullmatch(text):
        return int(text, 0)
    if _LEADING_ZERO.fullmatch(text):
        return _leading_zero(text)
    if _FLOAT.fullmatch(text) and (number := float(text)) - number == 0:
        return number
    if _FLOAT.fullmatch(text) or _NOT_FINITE.fullmatch(text):
        return Ambiguous(f"{text} is a number that JSON, and so Kubernetes, does not have", f'"{text}"')
    return Ambiguous(f"{text} is a number to some readers and text to others", f'"{text}", or the number in plain decimal digits')


_short = lru_cache(maxsize=16384)(_meaning)


def _leading_zero(text: str) -> Ambiguous:
    """YAML 1.1 reads 0644 as octal (420), YAML 1.2 as 644."""
    digits = text.lstrip("+-").lstrip("0") or "0"
    sign = "-" if text[0] == "-" else ""
    octal = f", {sign}{int(digits, 8)} (octal)" if set(digits) <= set("01234567") else ""
    return Ambiguous(f"{text} is octal to some readers and decimal to others", f'"{text}"{octal} or {sign}{digits}')


# Text that every reader takes for itself without quotes in a block mapping or sequence: it starts with nothing that
# means something, holds no `: ` and no ` #`, and does not end with a colon or a blank.
_PLAIN = re.compile(r"(?:[A-Za-z0-9_/.$(]|-(?=[A-Za-z0-9]))(?: *[!-~])*")
_NOT_PRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff\ud800-\udfff]")


def quoted(text: str) -> str:
    """`text` as one line of YAML: as it is where all readers agree, else in double quotes with JSON's escapes."""
    return _quoted_short(text) if len(text) < _SHORT else _quoted(text)


def _quoted(text: str) -> str:
    if (
        _PLAIN.fullmatch(text)
        and ": " not in text
        and " #" not in text
        and text[-1] != ":"
        and not text.startswith("...")
        and (text[0] not in _TELLING or (_meaning(text) == text and not _DATE.fullmatch(text)))
    ):
        return text
    return _NOT_PRINTABLE.sub(lambda m: f"\\u{ord(m[0]):04x}", json.dumps(text, ensure_ascii=False))


_quoted_short = lru_cache(maxsize=16384)(_quoted)


def number(value: float) -> str:
    """A finite float as every reader reads it: with a point (YAML 1.1 wants one before an exponent)."""
    mantissa, e, exponent = repr(value).partition("e")
    return mantissa + ("" if "." in mantissa else ".0") + e + exponent
