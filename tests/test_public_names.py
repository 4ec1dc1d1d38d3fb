"""Each package hands on the names that it lists, and completes them in an interpreter."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

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
