"""generator/cluster/quantity.py: Kubernetes quantities as exact numbers."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generator.cluster import quantity


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("100m", Fraction(1, 10)),
        ("64Mi", 64 * 2**20),
        ("1.5Gi", 3 * 2**29),
        ("1e3", 1000),
        ("1E3", 1000),
        ("1E", 10**18),
        ("1e-3", Fraction(1, 1000)),
        ("0.5", Fraction(1, 2)),
        (".5", Fraction(1, 2)),
        ("5.", 5),
        ("-2k", -2000),
        ("+1n", Fraction(1, 10**9)),
        ("3u", Fraction(3, 10**6)),
        (2, 2),
        (0.5, Fraction(1, 2)),
        ("0", 0),
    ],
)
def test_quantities(text: str | float, value: Fraction) -> None:
    """Each notation of apimachinery's quantity.go has its exact value."""
    assert quantity.parse(text) == value


@pytest.mark.parametrize(
    "text", ["", "m", "1 Gi", "1gi", "1K", "1mi", "1ei", "0x1", "1e3m", "1_000", ".", "1e999", "9" * 100, "\u0661", "NaN", True, None]
)
def test_what_is_no_quantity(text: object) -> None:
    """Anything else is a ValueError that shows the text, also numbers made to be huge."""
    with pytest.raises(ValueError, match="is not a quantity"):
        quantity.parse(text)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("value", "like", "text"),
    [
        (Fraction(3, 2), "500m", "1500m"),
        (128 * 2**20, "64Mi", "128Mi"),
        (2**30, "64Mi", "1Gi"),
        (1000, "64Mi", "1000"),
        (Fraction(1, 2), "64Mi", "500m"),
        (2000, "1k", "2k"),
        (2000, "1e3", "2e3"),
        (10**18, "1E", "1E"),
        (3, "", "3"),
        (0, "1Mi", "0"),
        (0, "1", "0"),
        (-2048, "1Ki", "-2Ki"),
        (Fraction(1, 3), "1", "333333334n"),
    ],
)
def test_canonical_form(value: Fraction, like: str, text: str) -> None:
    """Written as Kubernetes would: no fraction, the largest suffix that loses nothing, rounded up to a billionth."""
    assert quantity.text(Fraction(value), like) == text


@settings(max_examples=200)
@given(st.integers(-(10**24), 10**24), st.sampled_from(["1", "1m", "1Ki", "1e3", ""]))
def test_no_value_is_lost(billionths: int, like: str) -> None:
    """Whatever is written reads back as the same number, in any notation."""
    value = Fraction(billionths, 10**9)
    assert quantity.parse(quantity.text(value, like)) == value
