"""The example package adds a splitter, a scenario and a data set, once it is installed beside Splitbench."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "docs" / "examples" / "plugin"
GUIDE = ROOT / "docs" / "own-splitter.md"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder in which the package was installed by pip, without network."""
    folder = tmp_path_factory.mktemp("plugin")
    shutil.copytree(EXAMPLE, folder / "source")
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--disable-pip-version-check")
    command = [sys.executable, "-m", "pip", "install", *options, "--target", str(folder / "target"), "."]
    subprocess.run(command, cwd=folder / "source", check=True)
    return folder / "target"


def run(installed: Path, *arguments: str, cache: Path) -> str:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), str(installed)]),
        "SPLITBENCH_CACHE": str(cache),
    }
    done = subprocess.run(
        [sys.executable, "-m", *arguments], cwd=cache.parent, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_splitter_its_scenario_and_its_data_set_make_rows_on_a_board(installed: Path, tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    run(
        installed, "harness", "run", str(EXAMPLE / "suite.yaml"), "--backend", "inline", "--results", "results",
        cache=cache,
    )  # fmt: skip
    board = run(installed, "harness", "leaderboard", "results", "--format", "json", cache=cache)
    full, contrast = sorted(json.loads(board), key=lambda entry: -entry["kernel_retention"])
    assert [(entry["splitter"], entry["scenario"], entry["dataset"]) for entry in (full, contrast)] == [
        ("full", "noise", "stripes"),
        ("contrast", "noise", "stripes"),
    ]
    assert full["accuracy_loss"] == 0
    assert contrast["kernel_retention"] == pytest.approx(0.6, abs=0.05)
    assert contrast["composed_accuracy"] > 0.8


@pytest.mark.parametrize("name", ["contrast", "noise", "stripes"])
def test_the_guide_shows_its_code(name: str) -> None:
    """The guide leaves out docstrings, annotations and settings, and nothing else."""
    whole = ast.parse((EXAMPLE / "splitbench_example" / f"{name}.py").read_text(encoding="utf-8"))
    blocks = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    parts = {_essence(part) for part in whole.body}
    shown = [[_essence(part) for part in ast.parse(block).body] for block in blocks]
    assert [block for block in shown if parts.issuperset(block)], name


def _essence(part: ast.stmt) -> str:
    """Return a definition's code without docstrings and the annotations of functions."""
    for node in ast.walk(part):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            del node.body[0]
        if isinstance(node, ast.FunctionDef):
            node.returns = None
        if isinstance(node, ast.arg):
            node.annotation = None
    return ast.unparse(part)


def test_its_own_tests_pass(installed: Path, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE / "tests", tmp_path / "tests")
    run(installed, "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path / "tests"), cache=tmp_path / "cache")
