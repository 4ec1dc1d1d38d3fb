"""Work is done by one process at a time, unless that process is suspended."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import pytest

from benchmarks.cache.file_locks import file_lock
from splitters.methods.protocol import Progress, ignore_progress

_SILENT_AFTER = 0.6


def _hold(lock: Path, pipe: Connection) -> None:
    with file_lock(lock, progress=ignore_progress, stage="test", renew_every=0.05):
        pipe.send("held")
        pipe.recv()
    pipe.send("released")


@contextmanager
def _holder(lock: Path) -> Iterator[tuple[int, Connection]]:
    """Another process that holds ``lock`` until it is sent something: its id, and the connection."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=_hold, args=(lock, there))
    process.start()
    try:
        assert here.poll(60)
        assert here.recv() == "held"
        assert process.pid is not None
        yield process.pid, here
        process.join(60)
        assert process.exitcode == 0
    finally:
        process.kill()


def test_work_of_a_suspended_process_is_done_by_the_one_that_waits(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    waits: list[Progress] = []
    with _holder(lock) as (pid, holder):
        os.kill(pid, signal.SIGSTOP)
        with file_lock(lock, progress=waits.append, stage="weights", silent_after=_SILENT_AFTER):
            assert {wait.stage for wait in waits} == {"weights"}
            os.kill(pid, signal.SIGCONT)
            holder.send("release")
            assert holder.poll(60)
            assert holder.recv() == "released"


def test_a_process_that_lives_is_waited_for(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    waits: list[Progress] = []
    with _holder(lock) as (_, holder):

        def release_late(progress: Progress) -> None:
            waits.append(progress)
            if len(waits) == 8:
                holder.send("release")

        with file_lock(lock, progress=release_late, stage="weights", silent_after=_SILENT_AFTER):
            assert holder.poll(60)
    assert len(waits) >= 8


def test_without_a_limit_a_suspended_process_is_waited_for(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    waits: list[Progress] = []
    with _holder(lock) as (pid, holder):
        os.kill(pid, signal.SIGSTOP)

        def give_up(progress: Progress) -> None:
            waits.append(progress)
            if len(waits) == 8:
                raise TimeoutError

        with (
            pytest.raises(TimeoutError),
            file_lock(lock, progress=give_up, stage="download", silent_after=None),
        ):
            raise AssertionError("the lock was not free")
        os.kill(pid, signal.SIGCONT)
        holder.send("release")


def test_a_heartbeat_ends_with_the_work(tmp_path: Path) -> None:
    lock = tmp_path / "a.lock"
    with file_lock(lock, progress=ignore_progress, stage="test"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["a.lock"]
