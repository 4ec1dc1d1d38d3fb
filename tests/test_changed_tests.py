"""Which tests ``make check`` runs for a change."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

_FILE = Path(__file__).parents[1] / ".ci" / "changed_tests.py"


@pytest.fixture
def changed_tests() -> ModuleType:
    spec = importlib.util.spec_from_file_location("changed_tests", _FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def project(tmp_path: Path) -> Path:
    for name in ("test_floors", "splitters/graph/test_layout", "splitters/graph/test_tracing", "harness/test_public"):
        file = tmp_path / "tests" / f"{name}.py"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return tmp_path


@pytest.mark.parametrize(
    ("changed", "tests"),
    [
        ("splitters/graph/layout.py", ["tests/splitters/graph/test_layout.py", "tests/test_floors.py"]),
        ("splitters/graph/channel_graph.py", ["tests/splitters/graph", "tests/test_floors.py"]),
        ("harness/__init__.py", ["tests/harness/test_public.py", "tests/test_floors.py"]),
        ("tests/splitters/graph/test_tracing.py", ["tests/splitters/graph/test_tracing.py", "tests/test_floors.py"]),
        ("tests/splitters/graph/test_gone.py", ["tests/test_floors.py"]),
        ("README.md", ["tests/test_floors.py"]),
    ],
)
def test_a_changed_file_leads_to_its_own_test_or_to_its_rooms(
    changed_tests: ModuleType, project: Path, changed: str, tests: list[str]
) -> None:
    assert changed_tests.concerned_tests([changed], project) == tests


def test_a_file_inside_a_folder_that_is_run_is_not_run_twice(changed_tests: ModuleType, project: Path) -> None:
    changed = ["splitters/graph/channel_graph.py", "splitters/graph/layout.py"]
    assert changed_tests.concerned_tests(changed, project) == ["tests/splitters/graph", "tests/test_floors.py"]
