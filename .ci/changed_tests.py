"""Prints the test paths that a change concerns: changed tests, and the tests of each room with a changed file.

``python .ci/changed_tests.py [BASE]`` compares the working tree with BASE, by default the last commit. The tests mirror
floors and rooms, so a room's tests are found by its path.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("splitters", "benchmarks", "harness")
ALWAYS = "tests/test_floors.py"


def changed_files(base: str) -> list[str]:
    """Return the files that differ from a commit, and those that git does not track yet."""
    commands = (["git", "diff", "--name-only", base], ["git", "ls-files", "--others", "--exclude-standard"])
    outputs = [subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True) for command in commands]
    return sorted({line for done in outputs for line in done.stdout.splitlines()})


def concerned_tests(changed: Iterable[str], root: Path = ROOT) -> list[str]:
    """Return the test files and folders to run for some changed files, relative to the project's root."""
    found = {ALWAYS}
    for name in changed:
        path = Path(name)
        if path.parts[0] == "tests" and path.name.startswith("test_"):
            found.add(name)
        elif path.suffix in (".py", ".yaml", ".toml") and path.parts[0] in FLOORS:
            found.update(_tests_of(path, root))
    existing = {name for name in found if (root / name).exists()}
    return sorted(name for name in existing if not any(str(parent) in existing for parent in Path(name).parents))


def _tests_of(path: Path, root: Path) -> list[str]:
    """Return a file's own test, else the folder of tests nearest to it."""
    own = Path("tests") / path.parent / f"test_{path.stem}.py"
    if (root / own).exists():
        return [str(own)]
    folder = next((parent for parent in own.parents if (root / parent).is_dir()), Path("tests"))
    # A floor's folder as a whole would be nearly all tests: its own files are enough.
    return (
        [str(folder)]
        if len(folder.parts) > 2
        else [str(f.relative_to(root)) for f in (root / folder).glob("test_*.py")]
    )


if __name__ == "__main__":
    print("\n".join(concerned_tests(changed_files(sys.argv[1] if len(sys.argv) > 1 else "HEAD"))))
