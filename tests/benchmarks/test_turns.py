"""Turns among machines: what one makes, the others wait for, and nobody waits for the dead."""

from __future__ import annotations

import hashlib
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import fsspec
import pytest
from pyarrow import fs

from benchmarks import turns
from benchmarks.artifacts import ArtifactCache
from benchmarks.mirror import Mirror
from benchmarks.turns import turn
from splitters.methods.protocol import Checkpoint, CheckpointState, Progress, ignore_progress

KEY = {"seed": 1}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "_WAIT_SECONDS", 0.1)
    monkeypatch.setattr(turns, "_GLANCE_SECONDS", 0.03)
    monkeypatch.setattr(turns, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(turns, "LEASE_SECONDS", 0.5)


@pytest.fixture(params=["folder", "objects"])
def mirror(request: pytest.FixtureRequest, tmp_path: Path) -> Mirror:
    if request.param == "folder":
        return Mirror(str(tmp_path / "shared"))
    # Not fsspec's memory: there, two that read a file at the same time share one position in it.
    objects = fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem("file")))
    return Mirror(str(tmp_path / "objects"), filesystem=objects)


OTHER = f"{turns.FOLDER}/{hashlib.sha256(b'weights').hexdigest()[:32]}-other"


def markers(mirror: Mirror) -> list[str]:
    return mirror.names(turns.FOLDER)


def test_of_machines_that_need_it_at_the_same_time_one_makes_it(mirror: Mirror, tmp_path: Path) -> None:
    made: Counter[str] = Counter()
    together = threading.Barrier(4)

    def work(machine: str) -> bool:
        def make(checkpoint: Checkpoint) -> CheckpointState:
            made[machine] += 1
            time.sleep(1.0)
            return CheckpointState({}, {"step": 1})

        together.wait()
        return ArtifactCache(tmp_path / machine, mirror=mirror).get_or_make("weights", KEY, make).reused

    with ThreadPoolExecutor(4) as threads:
        reused = Counter(threads.map(work, "abcd"))
    assert made.total() == 1, "longer than the lease, for its marker is renewed"
    assert reused == {True: 3, False: 1}


def test_two_markers_at_the_same_time_are_both_taken_back_and_one_gets_its_turn(
    mirror: Mirror, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, together, in_turn, most = mirror.write, threading.Barrier(2), 0, 0
    lock, first = threading.Lock(), Counter[int]()

    def write_together(name: str, data: bytes) -> None:
        write(name, data)
        first[threading.get_ident()] += 1
        if first[threading.get_ident()] == 1 and data == b"0":
            together.wait(5)

    def work() -> None:
        nonlocal in_turn, most
        with turn(mirror, "weights", has_come=lambda: False, progress=ignore_progress, stage="train"):
            with lock:
                in_turn += 1
                most = max(most, in_turn)
            time.sleep(0.3)
            with lock:
                in_turn -= 1

    monkeypatch.setattr(mirror, "write", write_together)
    with ThreadPoolExecutor(2) as threads:
        for ended in [threads.submit(work), threads.submit(work)]:
            ended.result()
    assert most == 1
    assert markers(mirror) == []


def test_a_maker_that_died_is_not_waited_for_longer_than_its_lease(mirror: Mirror) -> None:
    mirror.write(OTHER, b"7")
    heard: list[Progress] = []
    began = time.monotonic()
    with turn(mirror, "weights", has_come=lambda: False, progress=heard.append, stage="train") as is_ours:
        assert is_ours
        assert OTHER not in markers(mirror)
    assert 0.5 < time.monotonic() - began < 5
    assert {progress.stage for progress in heard} == {"train"}


def test_of_those_that_wait_for_a_maker_that_dies_one_takes_its_place(mirror: Mirror, tmp_path: Path) -> None:
    made: Counter[str] = Counter()
    together, died = threading.Barrier(4), threading.Event()

    def work(machine: str) -> None:
        def make(checkpoint: Checkpoint) -> CheckpointState:
            made[machine] += 1
            # Longer than the lease: by then, the others' markers of the beginning are old.
            time.sleep(1.0)
            if made.total() == 1:
                raise MemoryError
            return CheckpointState({}, {"step": 1})

        together.wait()
        try:
            ArtifactCache(tmp_path / machine, mirror=mirror).get_or_make("weights", KEY, make)
        except MemoryError:
            died.set()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, "abcd"))
    assert died.is_set()
    assert made.total() == 2


def test_a_stop_request_ends_the_wait_and_leaves_no_marker(mirror: Mirror) -> None:
    mirror.write(OTHER, b"1")

    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt

    with (
        pytest.raises(KeyboardInterrupt),
        turn(mirror, "weights", has_come=lambda: False, progress=stop, stage="train"),
    ):
        raise AssertionError("not our turn")
    assert markers(mirror) == [OTHER]


def test_what_came_between_the_last_look_and_the_turn_is_not_made_again(mirror: Mirror) -> None:
    with turn(mirror, "weights", has_come=lambda: True, progress=ignore_progress, stage="train") as is_ours:
        assert not is_ours
    assert markers(mirror) == []


def test_a_mirror_that_fails_makes_nobody_wait(mirror: Mirror, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args: object) -> list[str]:
        raise OSError("503 Slow Down")

    for request in ("names", "write", "read"):
        with monkeypatch.context() as patch:
            mirror.write(OTHER, b"1")
            patch.setattr(mirror, request, fail)
            if request == "write":
                mirror.remove(OTHER)
            with turn(mirror, "weights", has_come=lambda: False, progress=ignore_progress, stage="train") as is_ours:
                assert is_ours, request
