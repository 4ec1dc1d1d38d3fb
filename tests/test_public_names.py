"""Each package hands on the names that it lists, and completes them in an interpreter."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FLOORS = ("splitters", "benchmarks", "harness")


@pytest.mark.parametrize("floor", FLOORS)
def test_a_package_hands_on_its_public_names(floor: str) -> None:
    package = importlib.import_module(floor)
    assert dir(package) == sorted(package.__all__)
    assert all(getattr(package, name) is not None for name in package.__all__)
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = package.nothing


def test_importing_the_packages_does_not_load_torch() -> None:
    command = f"import sys, {', '.join(FLOORS)}; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", command]).returncode == 0


@pytest.mark.parametrize("verb", ["status", "leaderboard", "rows"])
def test_a_command_that_reads_rows_does_not_load_torch(verb: str) -> None:
    call = f"main(['{verb}', 'docs/results/many-classes'], standalone_mode=False)"
    command = f"import sys; from harness.cli import main; {call}; print('torch' in sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", command], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr.splitlines()[-1]) == (0, "False"), done.stderr
