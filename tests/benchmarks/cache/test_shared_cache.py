"""Machines without a common disk share weights and checkpoints; a shared cache that fails does no harm."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fsspec
import pytest
from pyarrow import fs

from benchmarks.cache.artifacts import ArtifactCache
from benchmarks.cache.checkpoints import FileCheckpoint
from benchmarks.cache.shared_cache import SharedCache
from splitters.errors import ConfigurationError
from splitters.methods.protocol import Checkpoint, CheckpointState

KEY = {"seed": 1}


class Make:
    def __init__(self, *, stop_at: int | None = None) -> None:
        self.begun_at: list[int] = []
        self._stop_at = stop_at

    def __call__(self, checkpoint: Checkpoint) -> CheckpointState:
        state = checkpoint.load()
        step = 0 if state is None else int(state.values["step"])
        self.begun_at.append(step)
        while step < 10:
            step += 1
            checkpoint.save(CheckpointState({}, {"step": step}))
            if step == self._stop_at:
                raise KeyboardInterrupt
        return CheckpointState({}, {"step": step})


def shared_caches(tmp_path: Path) -> list[SharedCache]:
    memory = fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem("memory")))
    return [SharedCache(str(tmp_path / "shared")), SharedCache(f"/{tmp_path.name}", filesystem=memory)]


@pytest.mark.parametrize("kind", [0, 1])
def test_an_artefact_of_one_machine_is_reused_on_another(tmp_path: Path, kind: int) -> None:
    shared_cache, make = shared_caches(tmp_path)[kind], Make()
    first = ArtifactCache(tmp_path / "one", shared_cache=shared_cache).get_or_make("weights", KEY, make)
    second = ArtifactCache(tmp_path / "two", shared_cache=shared_cache).get_or_make("weights", KEY, make)
    assert make.begun_at == [0]
    assert (first.reused, second.reused) == (False, True)
    assert second.state.values == {"step": 10}


@pytest.mark.parametrize("kind", [0, 1])
def test_work_resumes_on_another_machine_from_its_last_checkpoint(tmp_path: Path, kind: int) -> None:
    shared_cache, make = shared_caches(tmp_path)[kind], Make(stop_at=6)
    with pytest.raises(KeyboardInterrupt):
        ArtifactCache(tmp_path / "one", shared_cache=shared_cache).get_or_make("splits", KEY, make)
    again = Make()
    ArtifactCache(tmp_path / "two", shared_cache=shared_cache).get_or_make("splits", KEY, again)
    # Publishing is rate-limited, so the last steps may be missing there.
    assert 1 <= again.begun_at[0] <= 6
    assert not list((tmp_path / "shared").rglob("*checkpoint*")), "finished work needs no checkpoint"


def test_of_two_checkpoints_the_one_of_more_work_counts(
    tmp_path: Path, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("benchmarks.cache.checkpoints.time", clock)
    shared_cache = SharedCache(str(tmp_path / "shared"))
    here, elsewhere = (
        FileCheckpoint(tmp_path / name / "c.safetensors", shared_cache=shared_cache, name="splits/c.safetensors")
        for name in ("here", "elsewhere")
    )
    clock.advance(5.0)
    here.save(CheckpointState({}, {"step": 1}))
    clock.advance(45.0)
    elsewhere.save(CheckpointState({}, {"step": 2}))
    for path in ("here", "third"):
        fresh = FileCheckpoint(
            tmp_path / path / "c.safetensors", shared_cache=shared_cache, name="splits/c.safetensors"
        )
        state = fresh.load()
        assert state is not None
        assert state.values["step"] == 2
        assert fresh.seconds == 50.0


def test_a_shared_cache_that_fails_fails_no_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    shared_cache = SharedCache(str(tmp_path / "file" / "shared"))
    make = Make()
    artifact = ArtifactCache(tmp_path / "one", shared_cache=shared_cache).get_or_make("weights", KEY, make)
    assert artifact.state.values == {"step": 10}


def test_a_damaged_file_in_the_shared_cache_is_computed_again(tmp_path: Path) -> None:
    shared_cache, make = SharedCache(str(tmp_path / "shared")), Make()
    ArtifactCache(tmp_path / "one", shared_cache=shared_cache).get_or_make("weights", KEY, make)
    (file,) = (tmp_path / "shared" / "weights").iterdir()
    file.write_bytes(file.read_bytes()[:-1])
    assert not ArtifactCache(tmp_path / "two", shared_cache=shared_cache).get_or_make("weights", KEY, make).reused
    assert make.begun_at == [0, 0]
    assert ArtifactCache(tmp_path / "three", shared_cache=shared_cache).get_or_make("weights", KEY, make).reused


def test_an_unknown_kind_of_location_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="nope://x: no such location to share a cache in"):
        SharedCache("nope://x")


class Unsteady(fs.FSSpecHandler):
    """Every second request fails."""

    requests = 0

    def _maybe_fail(self) -> None:
        Unsteady.requests += 1
        if Unsteady.requests % 2:
            raise OSError("503 Slow Down")

    def open_output_stream(self, path: str, metadata: object) -> object:
        self._maybe_fail()
        return super().open_output_stream(path, metadata)

    def open_input_stream(self, path: str) -> object:
        self._maybe_fail()
        return super().open_input_stream(path)


def test_a_request_that_fails_is_repeated(tmp_path: Path) -> None:
    unsteady = fs.PyFileSystem(Unsteady(fsspec.filesystem("memory")))
    shared_cache, make = SharedCache(f"/{tmp_path.name}-unsteady", filesystem=unsteady), Make()
    for machine in ("one", "two"):
        ArtifactCache(tmp_path / machine, shared_cache=shared_cache).get_or_make("weights", KEY, make)
    assert make.begun_at == [0]
    assert Unsteady.requests >= 4
