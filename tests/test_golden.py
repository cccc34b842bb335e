"""Each case of golden/ is what the commands print today, and the harness that says so can fail."""

from __future__ import annotations

import functools
from pathlib import Path

import pytest

from tests import golden

CASES = golden.cases()
outputs = functools.cache(golden.outputs)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_prints_what_is_recorded(case: Path, request: pytest.FixtureRequest) -> None:
    """Every output of a case is byte for byte the recorded one; nothing is missing, stale or unknown."""
    found = golden.findings(case, outputs(case), update=request.config.getoption("--update-golden"))

    if found:
        pytest.fail("\n".join([*found, golden.CURE]), pytrace=False)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_order_of_the_input_changes_nothing(case: Path, tmp_path: Path) -> None:
    """The same objects in reverse order give the same bytes.

    An input that cannot be used still cannot; its problems name lines, which have moved.
    """
    text = (case / "input.yaml").read_text()
    turned = golden.reversed_input(text)
    (tmp_path / "input.yaml").write_text(turned)
    expected, actual = outputs(case), golden.outputs(tmp_path)

    assert turned != text, "the input holds one object only: nothing to turn round"
    assert actual == expected if "desired.yaml" in expected else set(actual) == set(expected)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_says_what_it_shows(case: Path) -> None:
    """A reader of golden/ learns from the README of a case why it is there."""
    lines = (case / "README.md").read_text().splitlines()

    assert lines[0].startswith("# ")
    assert len([line for line in lines[1:] if line.strip()]) >= 1


def test_there_are_cases() -> None:
    """A folder that went missing is noticed."""
    assert len(CASES) >= 25


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A small case, as recorded from RECORDED."""
    folder = tmp_path / "case"
    folder.mkdir()
    for name, text in {"README.md": "# Case\n\nA case.\n", "input.yaml": "# now: 2026-11-24T23:00:00Z\n", **RECORDED}.items():
        (folder / name).write_text(text)
    return folder


RECORDED = {"desired.yaml": "---\nkind: Pod\n", "patches.json": "[]\n", "plan.txt": "nothing to do\n"}


def test_harness_accepts_an_untouched_case(copy: Path) -> None:
    """No finding without a difference."""
    assert golden.findings(copy, RECORDED) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "plan.txt").write_text("nothing to do"), "plan.txt: differs"),
        (lambda folder: (folder / "patches.json").unlink(), "patches.json: missing"),
        (lambda folder: (folder / "nginx.conf").write_text("events {}\n"), "nginx.conf: stale"),
        (lambda folder: (folder / "notes.txt").write_text(""), "notes.txt: not part of a case"),
        (lambda folder: (folder / "README.md").unlink(), "README.md: missing"),
    ],
    ids=["tampered", "missing", "stale", "extra", "no-readme"],
)
def test_harness_finds(copy: Path, change: object, said: str) -> None:
    """A tampered, missing, stale or extra file is one finding, which names it."""
    assert callable(change)
    change(copy)

    assert [said in finding for finding in golden.findings(copy, RECORDED)] == [True]


def test_update_writes_all_and_still_reports(copy: Path) -> None:
    """One run mends everything that a command prints, but is no success: somebody has to read the difference."""
    (copy / "plan.txt").write_text("old\n")
    (copy / "desired.yaml").unlink()
    (copy / "nginx.conf").write_text("old\n")

    assert len(golden.findings(copy, RECORDED, update=True)) == 3
    assert golden.findings(copy, RECORDED) == []


def test_reverse_turns_documents_and_items() -> None:
    """Documents and the items of a List change places whole, comments and block texts with them."""
    text = "# now: T\na: 1\n---\nitems:\n- b: |\n    x\n\n    y\n- c: 2\nkind: List\n---\n# about d\nd: 3"

    assert golden.reversed_input(text) == "# now: T\n# about d\nd: 3\n---\nitems:\n- c: 2\n- b: |\n    x\n\n    y\nkind: List\n---\na: 1\n"
