"""Artefacts are computed once, by whichever process comes first, and again when they are damaged."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save

from benchmarks.cache import artifacts, checkpoints
from benchmarks.cache.artifacts import Artifact, ArtifactCache
from benchmarks.cache.checkpoints import FileCheckpoint
from benchmarks.cache.tensor_file import TensorFile, read_tensor_file, temporary_beside, write_tensor_file
from benchmarks.peak_memory import peak_memory_bytes
from splitters.errors import ConfigurationError
from splitters.methods.protocol import Checkpoint, CheckpointState, Progress

_KEY = {"model": "simcnn", "seed": 1, "rates": [0.1, None]}


class _Make:
    """Returns the same artefact every time, and counts the calls."""

    def __init__(self, wait: Callable[[], object] = int) -> None:
        self.calls = 0
        self._wait = wait

    def __call__(self, checkpoint: Checkpoint) -> CheckpointState:
        self.calls += 1
        self._wait()
        weights = torch.arange(24.0).view(1, 2, 3, 4).to(memory_format=torch.channels_last)
        tensors = {"weights": weights, "tied": weights, "bits": torch.tensor([True, False]), "none": torch.empty(0, 3)}
        return CheckpointState(tensors, {"accuracy": 0.5, "history": [{"loss": 1.0}], "name": "größe"})


def _check(artifact: Artifact) -> None:
    tensors = artifact.state.tensors
    assert torch.equal(tensors["weights"], torch.arange(24.0).view(1, 2, 3, 4))
    assert torch.equal(tensors["tied"], tensors["weights"])
    assert tensors["bits"].tolist() == [True, False]
    assert tensors["none"].shape == (0, 3)
    assert artifact.state.values == {"accuracy": 0.5, "history": [{"loss": 1.0}], "name": "größe"}


@pytest.fixture
def work_clock(clock: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(checkpoints, "time", clock)
    return clock


def test_the_second_time_it_comes_from_the_cache(tmp_path: Path, work_clock: Any) -> None:
    make = _Make(lambda: work_clock.advance(3.0))
    first = ArtifactCache(tmp_path).get_or_make("weights", _KEY, make)
    second = ArtifactCache(tmp_path).get_or_make("weights", dict(reversed(_KEY.items())), make)
    assert make.calls == 1
    assert (first.reused, second.reused) == (False, True)
    assert first.seconds == second.seconds == 3.0
    assert second.peak_memory_bytes == first.peak_memory_bytes
    _check(first)
    _check(second)


def test_another_key_or_kind_is_another_artefact(tmp_path: Path) -> None:
    make = _Make()
    cache = ArtifactCache(tmp_path)
    cache.get_or_make("weights", _KEY, make)
    cache.get_or_make("weights", {**_KEY, "seed": 2}, make)
    cache.get_or_make("splits", _KEY, make)
    assert make.calls == 3
    assert len(list(tmp_path.glob("weights/*.safetensors"))) == 2


@pytest.mark.parametrize("kind", ["", "..", "a/b", "A", ".hidden"])
def test_a_kind_that_is_no_folder_name_is_refused(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="cannot name a kind of artefact"):
        ArtifactCache(tmp_path).get_or_make(kind, _KEY, _Make())


_FOREIGN = save({"x": torch.zeros(1)})
_DAMAGES: list[Callable[[bytes], bytes]] = [
    lambda data: data[: len(data) // 2], lambda data: b"", lambda data: data[:-1], lambda data: _FOREIGN,
]  # fmt: skip


@pytest.mark.parametrize("damage", _DAMAGES)
def test_a_damaged_or_foreign_file_is_computed_again(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    make = _Make()
    cache = ArtifactCache(tmp_path)
    cache.get_or_make("weights", _KEY, make)
    path = next(tmp_path.glob("weights/*.safetensors"))
    path.write_bytes(damage(path.read_bytes()))
    again = cache.get_or_make("weights", _KEY, make)
    assert make.calls == 2
    assert not again.reused
    _check(again)


def test_interrupted_work_resumes_from_its_checkpoint_and_its_seconds_add_up(tmp_path: Path, work_clock: Any) -> None:
    def work(checkpoint: Checkpoint) -> CheckpointState:
        state = checkpoint.load()
        work_clock.advance(3.0)
        if state is None:
            checkpoint.save(CheckpointState({"half": torch.ones(2)}, {"step": 1}))
            raise KeyboardInterrupt
        return CheckpointState({"whole": state.tensors["half"] * 2}, {"step": 2, "from": state.values["step"]})

    cache = ArtifactCache(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        cache.get_or_make("weights", _KEY, work)
    work_clock.advance(100.0)
    assert not list(tmp_path.glob("weights/" + "[0-9a-f]" * 64 + ".safetensors"))
    artifact = cache.get_or_make("weights", _KEY, work)
    assert artifact.state.values == {"step": 2, "from": 1}
    assert artifact.state.tensors["whole"].tolist() == [2, 2]
    assert artifact.seconds == 6.0
    assert not list(tmp_path.glob("weights/*.checkpoint.safetensors"))


def test_the_peak_of_a_process_is_plausible(tmp_path: Path) -> None:
    artifact = ArtifactCache(tmp_path).get_or_make("weights", _KEY, _Make())
    assert artifact.peak_memory_bytes is not None
    assert 50 * 2**20 < artifact.peak_memory_bytes <= peak_memory_bytes("cpu") < 2**40


def test_concurrent_threads_compute_it_once(tmp_path: Path) -> None:
    make, start = _Make(), threading.Barrier(3)

    def get(_: int) -> Artifact:
        start.wait()
        return ArtifactCache(tmp_path).get_or_make("weights", _KEY, make)

    with ThreadPoolExecutor(3) as pool:
        artifacts = list(pool.map(get, range(3)))
    assert make.calls == 1
    assert sorted(artifact.reused for artifact in artifacts) == [False, True, True]
    for artifact in artifacts:
        _check(artifact)


def _hold(root: Path, holding: Event, release: Event) -> None:
    def make(checkpoint: Checkpoint) -> CheckpointState:
        holding.set()
        release.wait(60)
        return CheckpointState({"from": torch.tensor([7])}, {})

    ArtifactCache(root).get_or_make("weights", _KEY, make)


def test_a_second_process_waits_and_a_stop_request_ends_the_wait(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    holding, release = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path, holding, release))
    other.start()
    try:
        assert holding.wait(60)

        def stop(progress: Progress) -> None:
            assert progress.stage == "weights"
            raise KeyboardInterrupt

        make = _Make()
        with pytest.raises(KeyboardInterrupt):
            ArtifactCache(tmp_path).get_or_make("weights", _KEY, make, progress=stop)
        artifact = ArtifactCache(tmp_path).get_or_make("weights", _KEY, make, progress=lambda _progress: release.set())
    finally:
        release.set()
        other.join(60)
    assert other.exitcode == 0
    assert make.calls == 0
    assert artifact.reused
    assert artifact.state.tensors["from"].tolist() == [7]


def test_when_two_compute_the_same_artefact_all_get_the_first_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(artifacts, "file_lock", lambda *_args, **_options: nullcontext())
    cache = ArtifactCache(tmp_path)

    def make(value: int) -> CheckpointState:
        return CheckpointState({"made by": torch.tensor([value])}, {})

    def woken(checkpoint: Checkpoint) -> CheckpointState:
        checkpoint.save(make(1))
        first = cache.get_or_make("weights", _KEY, lambda _checkpoint: make(2))
        assert not first.reused
        checkpoint.save(make(1))
        return make(1)

    late = cache.get_or_make("weights", _KEY, woken)
    assert late.reused
    assert late.state.tensors["made by"].tolist() == [2]
    assert len(list(tmp_path.glob("weights/*"))) == 1


def test_writers_of_one_file_at_the_same_time_do_not_meet(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    contents = [TensorFile(CheckpointState({"a": torch.full((50_000,), i)}, {"i": i}), {}) for i in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda content: write_tensor_file(path, content), contents * 5))
    written = read_tensor_file(path)
    assert written is not None
    assert written.state.tensors["a"].unique().tolist() == [written.state.values["i"]]
    assert list(tmp_path.iterdir()) == [path]


def test_leftovers_of_killed_writers_are_removed_by_the_next_one(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    own = temporary_beside(path)
    killed = [own.with_name(own.name.replace(f".{os.getpid()}@", f".{2**31 - number}@")) for number in (1, 2)]
    killed[0].mkdir()
    elsewhere = own.with_name(f"a.safetensors.{2**31 - 1}@elsewhere.00000000.tmp")
    for file in (own, killed[0] / "images.bin", killed[1], elsewhere):
        file.write_bytes(b"half")
    assert temporary_beside(path) != own
    assert sorted(tmp_path.iterdir()) == sorted([own, elsewhere])


def test_a_checkpoint_is_replaced_completely(tmp_path: Path) -> None:
    checkpoint = FileCheckpoint(tmp_path / "new" / "x.safetensors")
    assert checkpoint.load() is None
    checkpoint.save(CheckpointState({"a": torch.ones(3), "b": torch.ones(1)}, {"step": 1}))
    checkpoint.save(CheckpointState({"a": torch.zeros(2, dtype=torch.int8)}, {"best": None, "list": [1, "x"]}))
    state = FileCheckpoint(checkpoint.path).load()
    assert state is not None
    assert set(state.tensors) == {"a"}
    assert state.tensors["a"].dtype == torch.int8
    assert state.values == {"best": None, "list": [1, "x"]}
    assert [path.name for path in checkpoint.path.parent.iterdir()] == ["x.safetensors"]


@pytest.mark.parametrize("damage", _DAMAGES)
def test_a_damaged_checkpoint_counts_as_absent(damage: Callable[[bytes], bytes], tmp_path: Path) -> None:
    checkpoint = FileCheckpoint(tmp_path / "x.safetensors")
    checkpoint.save(CheckpointState({"a": torch.ones(300)}, {}))
    checkpoint.path.write_bytes(damage(checkpoint.path.read_bytes()))
    assert checkpoint.load() is None


def test_states_are_written_at_intervals_and_the_last_one_on_a_stop(tmp_path: Path) -> None:
    checkpoint = FileCheckpoint(tmp_path / "x.safetensors", every=3600.0)
    history: list[int] = []
    for step in range(3):
        history.append(step)
        checkpoint.save(CheckpointState({"x": torch.full((2,), float(step))}, {"history": history}))
    assert not checkpoint.path.exists()
    history.append(3)
    checkpoint.flush()
    state = FileCheckpoint(checkpoint.path).load()
    assert state is not None
    assert (state.tensors["x"].tolist(), state.values["history"]) == ([2.0, 2.0], [0, 1, 2])


def test_a_state_that_was_changed_after_it_was_saved_is_not_written(tmp_path: Path) -> None:
    checkpoint, tensor = FileCheckpoint(tmp_path / "x.safetensors", every=3600.0), torch.zeros(2)
    checkpoint.save(CheckpointState({"x": tensor}, {}))
    tensor += 1
    checkpoint.flush()
    assert not checkpoint.path.exists()


@pytest.mark.parametrize("how", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_work_that_ends_early_leaves_the_state_that_it_saved_last(how: type[BaseException], tmp_path: Path) -> None:
    def work(checkpoint: Checkpoint) -> CheckpointState:
        for step in range(4):
            checkpoint.save(CheckpointState({}, {"step": step}))
        raise how

    with pytest.raises(how):
        ArtifactCache(tmp_path).get_or_make("weights", _KEY, work)
    (path,) = tmp_path.glob("weights/*.checkpoint.safetensors")
    state = FileCheckpoint(path).load()
    assert state is not None
    assert state.values == {"step": 3}


def test_short_work_writes_no_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def work(checkpoint: Checkpoint) -> CheckpointState:
        for step in range(50):
            checkpoint.save(CheckpointState({"x": torch.zeros(9)}, {"step": step}))
        return CheckpointState({}, {})

    written: list[Path] = []
    write = checkpoints.write_tensor_file
    monkeypatch.setattr(checkpoints, "write_tensor_file", lambda path, file: written.append(path) or write(path, file))
    ArtifactCache(tmp_path).get_or_make("weights", _KEY, work)
    assert written == []
    ArtifactCache(tmp_path, checkpoint_every=0.0).get_or_make("weights", {**_KEY, "seed": 2}, work)
    assert len(written) == 50
