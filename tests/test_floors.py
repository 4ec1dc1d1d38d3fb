"""The layout: floors and rooms import only what lies below them, and CONTRIBUTING.md shows them as they are."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("splitters", "benchmarks", "harness")
FORBIDDEN = {
    "splitters": {"ray", "optuna", "pyarrow", "click", "rich"},
    "benchmarks": {"ray", "optuna", "rich"},
    "harness": set(),
}
HEAVY = {"torch", "ray", "pyarrow", "optuna", "pydantic", "splitters", "benchmarks"}


@pytest.fixture(scope="module")
def rooms() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("rooms", ROOT / ".ci" / "rooms.py")
    module = sys.modules["rooms"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    yield module
    del sys.modules["rooms"]


def test_floors_and_rooms_import_only_what_lies_below_them_and_are_of_a_size(rooms: ModuleType) -> None:
    assert rooms.violations() == []


def test_the_picture_in_contributing_is_up_to_date(rooms: ModuleType) -> None:
    page = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert rooms.with_picture(page) == page, "run: python .ci/rooms.py --write CONTRIBUTING.md"


@pytest.fixture
def small_house(rooms: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(rooms, "ROOMS", {"splitters": ("low", "high"), "benchmarks": ("cells",), "harness": ("cli",)})
    for floor, names in rooms.ROOMS.items():
        (tmp_path / floor).mkdir()
        (tmp_path / floor / "__init__.py").write_text('"""A floor."""\n')
        for name in names:
            (tmp_path / floor / name).mkdir()
            (tmp_path / floor / name / "__init__.py").write_text('"""A room."""\n')
            for file in ("a", "b", "c"):
                (tmp_path / floor / name / f"{file}.py").write_text("")
    return tmp_path


def test_a_tidy_house_breaks_no_rule(rooms: ModuleType, small_house: Path) -> None:
    (small_house / "splitters/high/a.py").write_text("from splitters.low import b\n")
    (small_house / "harness/cli/a.py").write_text("def f():\n    import splitters.high.a\n")
    assert rooms.violations(small_house) == []


@pytest.mark.parametrize(
    ("file", "text", "complaint"),
    [
        ("splitters/low/a.py", "from splitters.high import b\n", "splitters/low/a.py:1: low must not import high"),
        (
            "splitters/low/a.py",
            "def f():\n    from splitters.high.b import g\n",
            "splitters/low/a.py:2: low must not import high",
        ),
        ("splitters/top.py", "import splitters.low.a\n", "splitters/top.py:1: the top must not import low"),
        (
            "splitters/low/a.py",
            "import harness.cli\n",
            "splitters/low/a.py:1: splitters must not import harness.cli",
        ),
        ("splitters/low/__init__.py", "", "splitters/low/__init__.py: no docstring that states the room's purpose"),
        (
            "splitters/attic/a.py",
            "",
            "splitters/attic: in the list of rooms, or on disk, but not in both",
        ),
    ],
)
def test_what_breaks_a_rule_is_named(
    rooms: ModuleType, small_house: Path, file: str, text: str, complaint: str
) -> None:
    (small_house / file).parent.mkdir(exist_ok=True)
    (small_house / file).write_text(text)
    assert rooms.violations(small_house) == [complaint]


def test_the_init_of_a_floor_may_import_rooms_and_its_other_top_files_may_not(
    rooms: ModuleType, small_house: Path
) -> None:
    (small_house / "splitters/__init__.py").write_text('"""A floor."""\nfrom splitters.low.a import f\n')
    (small_house / "splitters/top.py").write_text("from splitters.low.a import f\n")
    assert rooms.violations(small_house) == ["splitters/top.py:1: the top must not import low"]


def test_two_test_files_of_one_name_are_named(rooms: ModuleType, small_house: Path) -> None:
    for folder in ("tests/low", "tests/high"):
        (small_house / folder).mkdir(parents=True)
        (small_house / folder / "test_a.py").write_text("")
    complaint = "tests/high/test_a.py and tests/low/test_a.py: one name for two test files"
    assert rooms.violations(small_house) == [complaint]


def test_modules_that_import_one_another_when_they_are_loaded_are_named(rooms: ModuleType, small_house: Path) -> None:
    low = small_house / "splitters/low"
    (low / "a.py").write_text("from splitters.low import b\n")
    (low / "b.py").write_text("try:\n    from splitters.low.c import f\nexcept ImportError:\n    pass\n")
    (low / "c.py").write_text("class C:\n    import splitters.low.a\n")
    message = "splitters: splitters.low.a, splitters.low.b, splitters.low.c import one another"
    assert rooms.violations(small_house) == [message]
    (low / "c.py").write_text(
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import splitters.low.a\n"
        "def f():\n    import splitters.low.a\n"
    )
    assert rooms.violations(small_house) == []


def test_a_module_may_not_take_a_name_from_its_package_that_takes_one_from_it(
    rooms: ModuleType, small_house: Path
) -> None:
    low = small_house / "splitters/low"
    (low / "__init__.py").write_text('"""A room."""\nfrom splitters.low.a import f\nfrom splitters.low.b import g\n')
    (low / "a.py").write_text("from splitters.low.b import g\n")
    assert rooms.violations(small_house) == []
    (low / "a.py").write_text("from splitters.low import g\n")
    assert rooms.violations(small_house) == ["splitters: splitters.low, splitters.low.a import one another"]


def test_a_room_of_too_many_files_is_named(rooms: ModuleType, small_house: Path) -> None:
    for number in range(8):
        (small_house / f"benchmarks/cells/more{number}.py").write_text("")
    assert rooms.violations(small_house) == ["benchmarks/cells: 11 files and 0 folders; 3 to 9 make a room"]


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imported(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def imported_at_load(tree: ast.Module) -> set[str]:
    """Return what a module imports as soon as it is imported itself: nothing in functions or for type checkers."""
    statements = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom)]
    return {name for statement in statements for name in imported(statement)}


@pytest.mark.parametrize("floor", FLOORS)
def test_a_floor_uses_no_library_that_belongs_to_a_higher_one(floor: str) -> None:
    wrong = {
        str(file.relative_to(ROOT)): sorted(found)
        for file in files(floor)
        if (found := set(imported(ast.parse(file.read_text()))) & FORBIDDEN[floor])
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


VERBS = [file for file in files("harness/cli") if "@click.command" in file.read_text()]


@pytest.mark.parametrize("file", VERBS, ids=lambda file: file.stem)
def test_a_verb_loads_what_is_heavy_only_when_it_runs(file: Path) -> None:
    assert imported_at_load(ast.parse(file.read_text())) & HEAVY == set()
