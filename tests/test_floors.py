"""The house has three floors; a floor imports only floors below it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("splitters", "benchmarks", "harness")
FORBIDDEN = {
    "splitters": {"ray", "optuna", "pyarrow", "click", "rich"},
    "benchmarks": {"ray", "optuna", "rich"},
    "harness": set(),
}
LIGHT = {"torch", "ray", "pyarrow", "optuna", "pydantic", "splitters", "benchmarks"}


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def imported_at_once(tree: ast.Module) -> set[str]:
    """Returns what a module imports when it is imported itself: nothing in functions, nothing for type checkers."""
    statements = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return {name for statement in statements for name in imported(statement)}


@pytest.mark.parametrize("floor", FLOORS)
def test_a_floor_imports_only_floors_below_it(floor: str) -> None:
    above = set(FLOORS[FLOORS.index(floor) + 1 :]) | FORBIDDEN[floor]
    wrong = {
        str(file.relative_to(ROOT)): sorted(found)
        for file in files(floor)
        if (found := set(imported(ast.parse(file.read_text()))) & above)
    }
    assert wrong == {}


@pytest.mark.parametrize("floor", FLOORS)
def test_only_the_command_line_prints(floor: str) -> None:
    prints = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in files(floor)
        if "cli" not in file.relative_to(ROOT).parts
        for node in ast.walk(ast.parse(file.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "print"
    ]
    assert prints == []


@pytest.mark.parametrize(
    "name",
    [
        "__init__",
        "errors",
        "options",
        "run",
        "plan",
        "leaderboard",
        "ls",
        "show",
        "sweep",
        "front",
        "rerun",
        "export_study",
        "doctor",
        "submit",
        "status",
        "fetch",
    ],
)
def test_the_verbs_load_what_is_heavy_when_they_are_called(name: str) -> None:
    tree = ast.parse((ROOT / "harness" / "cli" / f"{name}.py").read_text())
    assert imported_at_once(tree) & LIGHT == set()
