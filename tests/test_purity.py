"""The core is pure: what import contracts cannot see, and that the contracts see every module."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOORS = ("cli", "live")  # the rooms of generator/ with a door to the world
GENERATOR = sorted(path for path in (ROOT / "generator").rglob("*.py") if path.parent.name not in DOORS and path.name != "__main__.py")
PURE = [*GENERATOR, *sorted((ROOT / "carrier2").rglob("*.py"))]

IMPURE_CALLS = {"open", "input", "print", "eval", "exec", "compile", "__import__", "globals", "breakpoint", "hash"}
IMPURE_METHODS = {"now", "today", "utcnow", "getenv"}
ORDERED_BY = {"list", "tuple", "enumerate", "join", "dict", "iter", "next", "zip", "map"}


def name_of(call: ast.AST) -> str:
    """`f` for f(...) and for x.f(...), else nothing."""
    if not isinstance(call, ast.Call):
        return ""
    return call.func.id if isinstance(call.func, ast.Name) else call.func.attr if isinstance(call.func, ast.Attribute) else ""


def is_set(node: ast.AST) -> bool:
    """Whether the expression is visibly a set, whose order differs from run to run."""
    if isinstance(node, ast.BinOp):
        return is_set(node.left) or is_set(node.right)
    return isinstance(node, ast.Set | ast.SetComp) or name_of(node) in ("set", "frozenset")


def impurities(source: str) -> Iterator[str]:
    """What in `source` could make the same input give another output, or touch the world: `line: what`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call):
            name = name_of(node)
            if name in (IMPURE_CALLS if isinstance(node.func, ast.Name) else IMPURE_METHODS):
                yield f"{node.lineno}: {name}("
            if name in ORDERED_BY and any(is_set(argument) for argument in node.args):
                yield f"{node.lineno}: {name}( over a set"
        elif isinstance(node, ast.For) and is_set(node.iter):
            yield f"{node.lineno}: for over a set"
        elif isinstance(node, ast.ListComp | ast.DictComp) and any(is_set(loop.iter) for loop in node.generators):
            yield f"{node.lineno}: comprehension over a set"
        elif isinstance(node, ast.Global | ast.Nonlocal):
            yield f"{node.lineno}: {type(node).__name__.lower()}"


@pytest.mark.parametrize("path", PURE, ids=lambda path: str(path.relative_to(ROOT)))
def test_is_pure(path: Path) -> None:
    """No clock, file, terminal, evaluated code, process-wide state, or order of a set in a pure module."""
    assert list(impurities(path.read_text())) == []


@pytest.mark.parametrize(
    "source",
    [
        "datetime.now(tz)",
        "date.today()",
        "open(path)",
        "print(1)",
        "eval('1')",
        "__import__('os')",
        "hash('a')",
        "for x in {1, 2}: pass",
        "[x for x in set(y)]",
        "list(set(x) - {1})",
        "', '.join({'a', 'b'})",
        "def f():\n    global x",
    ],
)
def test_impurity_is_seen(source: str) -> None:
    """Each thing that test_is_pure promises to see, it sees."""
    assert len(list(impurities(source))) == 1


@pytest.mark.parametrize(
    "source", ["sorted(set(x))", "{x for x in set(y)}", "a in {1, 2}", "len(set(x))", "text.format(now)", "self.open(x)"]
)
def test_pure_code_is_let_be(source: str) -> None:
    """What cannot leak an order or touch the world is allowed."""
    assert list(impurities(source)) == []


def test_contract_names_every_pure_module() -> None:
    """A new module directly in generator/ is pure from its first day: it stands in the import contract, or this fails."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (named,) = [contract["source_modules"] for contract in contracts if contract["name"].startswith("the core is pure")]

    rooms = {path.relative_to(ROOT / "generator").parts[0].removesuffix(".py") for path in GENERATOR} - {"__init__"}
    assert named == ["carrier2", *sorted(f"generator.{room}" for room in rooms)]
