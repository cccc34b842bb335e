"""Kubernetes quantities: "100m", "64Mi", "1e3" <-> exact numbers; and plain numbers that somebody has written as text.

Grammar and canonical form: apimachinery pkg/api/resource/quantity.go. The readers on PyPI come with a whole API client
(kubernetes, lightkube).
"""

from __future__ import annotations

import re
from fractions import Fraction
from math import ceil
from typing import Final

_DECIMAL: Final = {suffix: 3 * n for n, suffix in enumerate(("n", "u", "m", "", "k", "M", "G", "T", "P", "E"), -3)}
_BINARY: Final = {f"{suffix}i": 10 * n for n, suffix in enumerate("KMGTPE", 1)}
_QUANTITY = re.compile(r"([-+]?(?:[0-9]{1,40}\.?[0-9]{0,40}|\.[0-9]{1,40}))(?:([numkMGTPE]?|[KMGTPE]i)|[eE]([-+]?[0-9]{1,2}))")


def parse(text: str | float) -> Fraction:
    """The exact value in the base unit (cores, bytes, pieces). YAML may hold a plain number, which is taken too.

    Raises ValueError with the text if it is not a quantity, or has more than 40 digits or an exponent of more than two.
    """
    found = _QUANTITY.fullmatch(str(text))
    if isinstance(text, bool) or not found:
        raise ValueError(f"{str(text)[:60]!r} is not a quantity; write 100m, 0.5, 64Mi or 1e3")
    mantissa, suffix, exponent = found.groups()
    binary = suffix in _BINARY
    power = _BINARY[suffix] if binary else int(exponent) if exponent else _DECIMAL[suffix]
    scale: Fraction = Fraction(2 if binary else 10) ** power
    return Fraction(mantissa) * scale


def whole(text: str, digits: int) -> int | None:
    """The number that at most so many ASCII digits spell, None for any other text: `str.isdigit` takes "²" too, `int` does not."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= digits else None


def text(value: Fraction, like: str = "") -> str:
    """`value` in canonical form, in the notation of `like` (64Mi: binary, 1e3: exponent, else decimal), rounded up to a billionth.

    Binary notation only has whole numbers; a fraction gets the decimal one, as in Kubernetes.
    """
    value = Fraction(ceil(value * 10**9), 10**9)
    if like.endswith("i") and value.denominator == 1:
        for suffix, power in sorted(_BINARY.items(), key=lambda item: -item[1]):
            if value and value.numerator % 2**power == 0:
                return f"{value.numerator // 2**power}{suffix}"
        return str(value.numerator)
    for suffix, power in sorted(_DECIMAL.items(), key=lambda item: -item[1]):
        scaled = value / Fraction(10) ** power
        if scaled.denominator == 1 and (value or not power):
            exponent = f"e{power}" if power else ""
            return f"{scaled.numerator}{exponent if re.search('[eE][-+0-9]', like) else suffix}"
    raise AssertionError("a billionth is the smallest step")
