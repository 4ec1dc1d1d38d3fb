"""The splitters' rooms: what each may import, how many files it holds, and that it says what it is for."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import splitters

FLOOR = Path(splitters.__file__).parent
ROOMS = ("data", "canonical", "graph", "networks", "files", "modules", "methods", "reuse", "testing")
"""From the lowest to the highest."""

SHARED = {"__init__", "errors", "foreign_code", "registry", "settings", "source_code", "tensor_names"}
"""The files at the floor's top that rooms import."""


def imported(file: Path) -> Iterator[str]:
    """Yield what a file imports from the floor, inside functions too, as ``room.module``."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("splitters"):
            yield node.module.partition(".")[2]
        elif isinstance(node, ast.Import):
            yield from (a.name.partition(".")[2] for a in node.names if a.name.startswith("splitters."))


def test_the_rooms_are_these_and_the_top_holds_only_what_every_room_needs() -> None:
    folders = {path.name for path in FLOOR.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(ROOMS)
    assert {path.stem for path in FLOOR.glob("*.py")} <= SHARED


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_rooms_below_it(room: str) -> None:
    allowed = {*ROOMS[: ROOMS.index(room) + 1], *SHARED}
    wrong = {
        f"{file.relative_to(FLOOR)}: {name}"
        for file in (FLOOR / room).rglob("*.py")
        for name in imported(file)
        if name.partition(".")[0] not in allowed
    }
    assert wrong == set()


def test_the_shared_files_import_no_room() -> None:
    names = {name for stem in SHARED - {"__init__"} for name in imported(FLOOR / f"{stem}.py")}
    assert not {name.partition(".")[0] for name in names} & set(ROOMS)


def test_no_two_files_import_each_other() -> None:
    files = {".".join(path.relative_to(FLOOR).with_suffix("").parts): path for path in FLOOR.rglob("*.py")}
    graph = {name.removesuffix(".__init__"): set(imported(path)) for name, path in files.items() if name != "__init__"}
    finished: set[str] = set()

    def visit(name: str, path: tuple[str, ...]) -> None:
        assert name not in path, f"a circle: {' -> '.join((*path, name))}"
        if name not in finished:
            for other in graph.get(name, ()):
                if other in graph and not name.startswith(f"{other}."):
                    visit(other, (*path, name))
            finished.add(name)

    for name in graph:
        visit(name, ())


@pytest.mark.parametrize("folder", [*ROOMS, "methods/gradsplitter", "methods/cnnsplitter", "reuse/fusion"])
def test_a_folder_holds_three_to_nine_entries_and_says_what_it_is_for(folder: str) -> None:
    path = FLOOR / folder
    entries = {entry.stem for entry in path.iterdir() if entry.suffix == ".py" or (entry / "__init__.py").is_file()}
    assert 3 <= len(entries - {"__init__"}) <= 9
    purpose = ast.get_docstring(ast.parse((path / "__init__.py").read_text()))
    assert purpose is not None
    assert "\n" not in purpose
