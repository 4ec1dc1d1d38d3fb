"""Temporary folders of this process, and those that killed processes of this machine have left behind."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from harness.runs.record import process_started


@contextmanager
def temporary_folder(purpose: str) -> Iterator[Path]:
    """Makes a folder for the block in the system's temporary folder, and removes those of dead processes first.

    Args:
        purpose: A word that names it: ``splitbench-PURPOSE-PID-START-xxxxxxxx``.
    """
    parent = Path(tempfile.gettempdir())
    _remove_abandoned(parent, purpose)
    pid = os.getpid()
    folder = Path(tempfile.mkdtemp(prefix=f"splitbench-{purpose}-{pid}-{_started(pid)}-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_abandoned(parent: Path, purpose: str) -> None:
    for folder in parent.glob(f"splitbench-{purpose}-*-*-*"):
        owner = re.fullmatch(rf"splitbench-{re.escape(purpose)}-(\d+)-(\d+)-\w+", folder.name)
        if owner is None or _started(int(owner[1])) == int(owner[2]):
            continue
        # Another process may be removing it. Other users' folders are theirs to remove, and a link is nobody's folder.
        with suppress(FileNotFoundError):
            if not folder.is_symlink() and folder.stat().st_uid == os.getuid():
                shutil.rmtree(folder, ignore_errors=True)


def _started(pid: int) -> int:
    """Returns when a process began, as ``process_started`` counts; 0 if there is none."""
    return int(process_started(pid) or 0)
