"""What every test shares. Warnings are errors (pyproject.toml)."""

from __future__ import annotations

import pytest
from hypothesis import settings

# No deadline: the speed of a shared machine is no property of the code. With CI=true Hypothesis itself takes fixed examples.
settings.register_profile("bascule", settings.default, deadline=None)
settings.load_profile("bascule")


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--update-golden`, as `make golden` says it."""
    parser.addoption("--update-golden", action="store_true", help="write golden/ from what is printed now; still fails if a file changed")
