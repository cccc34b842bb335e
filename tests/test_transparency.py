"""docs/transparency.md says what the carrier changes; here it is measured again."""

from __future__ import annotations

from difflib import unified_diff

import pytest

from tests.transparency.compare import verdict
from tests.transparency.exchange import Observation
from tools.transparency import PAGE, Verdict, page, unfounded


def test_the_page_is_what_is_measured() -> None:
    """Each row of the page, on real nginx, between a real client and origin. The difference is shown by row."""
    written, measured = PAGE.read_text(encoding="utf-8").splitlines(), page().splitlines()
    changes = [line for line in unified_diff(written, measured, "docs/transparency.md", "measured", lineterm="", n=0) if line[:2] != "@@"]
    assert not changes, "run `python tools/transparency.py --write`\n" + "\n".join(changes)


@pytest.mark.parametrize(
    ("direct", "other", "expected"),
    [
        ({"request": "GET / HTTP/1.1\r\nA: 1\r\n\r\n"}, {"request": "GET / HTTP/1.1\r\na: 1\r\n\r\n"}, "request: `A: 1` becomes `a: 1`"),
        (
            {"request": "GET / HTTP/1.1\r\nB: 1\r\nC: 1\r\nA: 1\r\n\r\n"},
            {"request": "GET / HTTP/1.1\r\nA: 1\r\nB: 1\r\nC: 1\r\n\r\n"},
            "request: order: `A` moved",
        ),
        ({"answer": "HTTP/1.1 200 OK\r\n\r\nab"}, {"answer": "HTTP/1.1 200 OK\r\n\r\nac"}, "answer: body `ab` becomes `ac`"),
        ({"answer": "HTTP/1.1 200 OK\r\n\r\n"}, {"answer": ""}, "answer: nothing instead"),
        ({"request": "x"}, {"refused": "HTTP/1.1 400 Bad Request"}, "refused: 400 Bad Request"),
        ({"the client sees": "closed"}, {"the client sees": "reset"}, "the client sees reset (direct: closed)"),
        ({"a": "1"}, {"a": "1"}, "same"),
    ],
)
def test_a_difference_of_one_byte_is_seen(direct: Observation, other: Observation, expected: str) -> None:
    """A verdict is a comparison of bytes."""
    assert verdict(direct, other) == expected


def test_a_reason_and_a_difference_belong_together() -> None:
    """No reason for what is the same, no difference without a reason."""
    said = unfounded([Verdict("Request line", "TRACE", "same", "same"), Verdict("Request line", "new", "same", "refused: 400")])
    assert "a reason for `Request line: TRACE`, which does not differ" in said
    assert "no reason for `Request line: new`: same | refused: 400" in said
