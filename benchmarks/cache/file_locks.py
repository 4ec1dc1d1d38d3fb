"""Locks between processes that keep them from doing the same work; no result depends on them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from splitters.methods.protocol import Progress, ProgressCallback

_POLL_SECONDS = 0.2

RENEW_SECONDS = 5.0
"""How often the holder of a lock renews its heartbeat."""

SILENT_SECONDS = 60.0
"""A holder without a heartbeat for this long is taken for suspended, and its work is done by somebody else."""


@contextmanager
def file_lock(
    path: Path,
    *,
    progress: ProgressCallback,
    stage: str,
    renew_every: float = RENEW_SECONDS,
    silent_after: float | None = SILENT_SECONDS,
) -> Iterator[None]:
    """Wait until no other process or thread does the work that ``path`` stands for, and keep others from starting it.

    Not quite exclusive: a suspended process (Ctrl+Z, SIGSTOP) keeps its lock, and whoever waits for it goes ahead after
    ``silent_after`` seconds. What runs inside must therefore be safe with a second writer at any time.

    Args:
        path: The lock file; its folder is created if absent. The file is left behind, since removing it would race.
            The heartbeat is the time of a second file, with the suffix ``.alive``.
        progress: Called while another process holds the lock. It may raise, which ends the wait.
        stage: The stage of the progress reports.
        renew_every: Seconds between two heartbeats.
        silent_after: Go ahead after this many seconds without a heartbeat; None waits for as long as it takes.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    heartbeat = path.with_suffix(".alive")
    lock = FileLock(path)
    _wait(lock, heartbeat, progress=progress, stage=stage, silent_after=silent_after)
    try:
        with _renewed(heartbeat, renew_every):
            yield
    finally:
        lock.release()


def _wait(
    lock: FileLock, heartbeat: Path, *, progress: ProgressCallback, stage: str, silent_after: float | None
) -> None:
    """Return once the lock is acquired, or its holder has been silent for too long."""
    # Counted in polls: by the clock, a waiter that was suspended together with the holder would find it silent.
    silence, last_renewed = 0.0, _renewed_at(heartbeat)
    while silent_after is None or silence < silent_after:
        try:
            lock.acquire(timeout=_POLL_SECONDS, poll_interval=_POLL_SECONDS / 4)
        except Timeout:
            progress(Progress(stage=stage, step=0))
        else:
            return
        renewed = _renewed_at(heartbeat)
        silence = silence + _POLL_SECONDS if renewed == last_renewed else 0.0
        last_renewed = renewed


def _renewed_at(heartbeat: Path) -> int | None:
    try:
        return heartbeat.stat().st_mtime_ns
    except OSError:
        return None


@contextmanager
def _renewed(heartbeat: Path, every: float) -> Iterator[None]:
    """Keep a heartbeat while the body runs."""
    done = threading.Event()

    def renew() -> None:
        while True:
            # Without a heartbeat the work may be done twice, with the same result.
            with suppress(OSError):
                heartbeat.touch()
            if done.wait(every):
                return

    thread = threading.Thread(target=renew, name="lock-heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
        with suppress(OSError):
            heartbeat.unlink()
