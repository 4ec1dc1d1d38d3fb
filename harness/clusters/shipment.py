"""What a job needs on a cluster: this version of Splitbench, the suite's file and its plugins, but never data."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from harness.machines.provenance import COMMIT_FILE, git_commit
from splitters.errors import ConfigurationError

_ROOT = Path(__file__).resolve().parents[2]
_SOURCES = ("pyproject.toml", "README.md", "LICENSE", "harness", "benchmarks", "splitters")
_BUILD_SECONDS = 600.0

CALL_FILE = "splitbench-call.json"
"""Holds the arguments of ``splitbench`` on the cluster; ``harness.cli.clusters.job`` reads them."""


@dataclass(frozen=True)
class Shipment:
    """A folder to upload.

    Args:
        folder: The folder.
        commit: The commit of Splitbench in it; None for an installed version whose commit is unknown.
        files: Paths in the folder that do not belong to Splitbench.
        n_bytes: Total size.
    """

    folder: Path
    commit: str | None
    files: tuple[str, ...]
    n_bytes: int


def pack(folder: Path, arguments: Sequence[str], *, suite: Path | None, plugins: Sequence[str] = ()) -> Shipment:
    """Fill a folder with what a job needs.

    Args:
        folder: An empty folder.
        arguments: The arguments of ``splitbench`` on the cluster.
        suite: The suite's file, which keeps its name; None for a suite of the package.
        plugins: Plugin modules. Those beside the suite's file are included; others must be installed on the cluster.

    Raises:
        ConfigurationError: If no wheel can be built of this checkout.
    """
    commit = git_commit()
    if (_ROOT / "pyproject.toml").is_file():
        _unpack_wheel_of_checkout(folder, commit)
    else:
        _copy_installed(folder)
    added = [CALL_FILE]
    (folder / CALL_FILE).write_text(json.dumps(list(arguments)), encoding="utf-8")
    if suite is not None:
        added += [suite.name, *_copy_plugins(suite.resolve().parent, plugins, folder)]
        shutil.copy(suite, folder / suite.name)
    n_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    return Shipment(folder, commit, tuple(added), n_bytes)


def _unpack_wheel_of_checkout(folder: Path, commit: str | None) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        source, wheels = Path(temporary) / "source", Path(temporary) / "wheels"
        for path in _tracked_files() if commit is not None else _all_files():
            target = source / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(_ROOT / path, target)
        if commit is not None:
            (source / COMMIT_FILE).write_text(commit, encoding="utf-8")
        command = [
            sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps",
            "--wheel-dir", str(wheels), str(source),
        ]  # fmt: skip
        built = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=False)
        if built.returncode:
            last = (built.stderr.strip().splitlines() or ["pip said nothing"])[-1]
            raise ConfigurationError(
                f"no wheel could be built of the checkout at {_ROOT}: {last} Building fetches setuptools from the "
                "package index; is it reachable?"
            )
        (wheel,) = wheels.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(folder)


def _tracked_files() -> Iterator[Path]:
    """Yield the files of the checkout that make up the package, including new ones but not ignored ones."""
    command = ["git", "-C", str(_ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *_SOURCES]
    listed = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_SECONDS, check=True)
    yield from (Path(name) for name in listed.stdout.split("\0") if name and (_ROOT / name).is_file())


def _all_files() -> Iterator[Path]:
    """Yield the files of a copy of the sources that has no git history."""
    for name in _SOURCES:
        for path in [_ROOT / name, *(_ROOT / name).rglob("*")]:
            if path.is_file() and "__pycache__" not in path.parts:
                yield path.relative_to(_ROOT)


def _copy_installed(folder: Path) -> None:
    for file in metadata.files("splitbench") or []:
        if ".." in file.parts or file.suffix == ".pyc":
            continue
        target = folder / file
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(str(file.locate()), target)


def _copy_plugins(beside: Path, plugins: Sequence[str], folder: Path) -> list[str]:
    added = []
    for name in plugins:
        top = name.partition(".")[0]
        module, package = beside / f"{top}.py", beside / top
        if module.is_file():
            shutil.copy(module, folder / module.name)
            added.append(module.name)
        elif (package / "__init__.py").is_file():
            shutil.copytree(package, folder / top, ignore=shutil.ignore_patterns("__pycache__"), dirs_exist_ok=True)
            added.append(f"{top}/")
    return added
