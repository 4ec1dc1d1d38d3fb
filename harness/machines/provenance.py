"""The provenance of a row: versions, commit, machine."""

from __future__ import annotations

import platform
import subprocess
from functools import cache
from importlib import metadata
from pathlib import Path

from benchmarks.rows.row import Provenance

_GIT_SECONDS = 10.0

COMMIT_FILE = "harness/built_from.txt"
"""Holds the commit in a wheel that 'splitbench submit' built, since a wheel is outside of any checkout."""


def provenance(device: str = "cpu") -> Provenance:
    """Return the provenance of rows that this process computes on a torch device.

    Args:
        device: The device that the cell ran on (``cpu``, ``cuda:0``).
    """
    import torch

    from benchmarks.cache.numeric_environment import device_name

    on_gpu = device.startswith("cuda") and torch.cuda.is_available()
    return Provenance(
        splitbench_version=package_version(),
        git_commit=git_commit(),
        python_version=platform.python_version(),
        torch_version=torch.__version__,
        cuda_version=torch.version.cuda if on_gpu else None,
        device_name=device_name(device),
        hostname=platform.node() or "unknown",
        platform=_platform(),
    )


@cache
def package_version() -> str:
    """Return the version of the installed package, or a placeholder in a checkout that is not installed."""
    try:
        return metadata.version("splitbench")
    except metadata.PackageNotFoundError:
        return "0+checkout"


@cache
def git_commit() -> str | None:
    """Return the commit of this package's checkout, with ``+dirty`` if it has changes, or else that of its wheel."""
    folder = Path(__file__).resolve().parent
    root = folder.parents[1]
    commit = _git(folder, "rev-parse", "HEAD")
    tracked = _git(folder, "ls-files", "--error-unmatch", Path(__file__).name)
    # A package inside somebody else's checkout (an environment in a project's folder) is not that project's code.
    if not commit or not tracked:
        return _built_from(root)
    return f"{commit}+dirty" if _git(root, "status", "--porcelain", "--untracked-files=no") else commit


def _built_from(root: Path) -> str | None:
    try:
        return (root / COMMIT_FILE).read_text(encoding="utf-8").strip() or None
    except OSError:
        return None


def _git(folder: Path, *arguments: str) -> str:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_GIT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


@cache
def _platform() -> str:
    return platform.platform()
