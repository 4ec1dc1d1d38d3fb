"""Locks between processes; waiting for one can be stopped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from splitters.methods.protocol import Progress, ProgressCallback

_POLL_SECONDS = 0.2


@contextmanager
def file_lock(path: Path, *, progress: ProgressCallback, stage: str) -> Iterator[None]:
    """Hold an exclusive lock among all processes and threads of the machine.

    Args:
        path: The lock file; its folder is created if absent. The file is left behind, since removing it would race.
        progress: Called while another process holds the lock. It may raise, which ends the wait.
        stage: The stage of the progress reports.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path)
    while not lock.is_locked:
        try:
            lock.acquire(timeout=_POLL_SECONDS, poll_interval=_POLL_SECONDS / 4)
        except Timeout:
            progress(Progress(stage=stage, step=0))
    try:
        yield
    finally:
        lock.release()
