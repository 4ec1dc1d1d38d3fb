"""Folders of a user that have the name of one of our packages."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run_python(code: str, *, path: list[Path], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize(
    ("stranger", "imported"), [("benchmarks", "harness"), ("splitters", "benchmarks"), ("splitters", "harness")]
)
@pytest.mark.parametrize("file", ["{}/__init__.py", "{}.py"])
def test_importing_beside_a_package_of_the_same_name_ends_in_a_sentence_with_both_paths(
    stranger: str, imported: str, file: str, tmp_path: Path
) -> None:
    stray = tmp_path / file.format(stranger)
    stray.parent.mkdir(exist_ok=True)
    stray.write_text("")
    done = run_python(f"import {imported}", path=[tmp_path, ROOT], folder=tmp_path)
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 1
    assert last.startswith(f"ImportError: Splitbench needs its own package '{stranger}' from {ROOT / stranger}")
    assert str(tmp_path / stranger) in last


def test_a_folder_that_is_no_package_hides_nothing(tmp_path: Path) -> None:
    (tmp_path / "benchmarks").mkdir()
    done = run_python("import harness; print('fine')", path=[tmp_path, ROOT], folder=tmp_path)
    assert done.stdout == "fine\n", done.stderr
