"""Artefacts are made once, by whoever comes first, and made again when they are torn."""

import multiprocessing
import threading
import time
from collections.abc import Callable
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest
import torch

from benchmarks.cache import checkpoints
from benchmarks.cache.artifacts import Artifact, ArtifactCache
from benchmarks.cache.checkpoints import FileCheckpoint
from benchmarks.peak_memory import peak_memory_bytes
from splitters.errors import ConfigurationError
from splitters.methods.protocol import Checkpoint, CheckpointState, Progress

_KEY = {"model": "simcnn", "seed": 1, "rates": [0.1, None]}


class _Make:
    """Makes the same artefact every time, and counts how often."""

    def __init__(self, seconds: float = 0.0) -> None:
        self.calls = 0
        self._seconds = seconds

    def __call__(self, checkpoint: Checkpoint) -> CheckpointState:
        self.calls += 1
        time.sleep(self._seconds)
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


def test_the_second_time_it_is_there(tmp_path: Path) -> None:
    make = _Make(0.05)
    first = ArtifactCache(tmp_path).get_or_make("weights", _KEY, make)
    second = ArtifactCache(tmp_path).get_or_make("weights", dict(reversed(_KEY.items())), make)
    assert make.calls == 1
    assert (first.reused, second.reused) == (False, True)
    assert 0.05 <= first.seconds == second.seconds
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


def _halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path: Path) -> None:
    path.write_bytes(b"")


def _drop_last_byte(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def _replace_by_foreign(path: Path) -> None:
    from safetensors.torch import save_file

    save_file({"x": torch.zeros(1)}, path)


@pytest.mark.parametrize("damage", [_halve, _empty, _drop_last_byte, _replace_by_foreign])
def test_a_torn_or_foreign_file_is_made_again(damage: Callable[[Path], None], tmp_path: Path) -> None:
    make = _Make()
    cache = ArtifactCache(tmp_path)
    cache.get_or_make("weights", _KEY, make)
    damage(next(tmp_path.glob("weights/*.safetensors")))
    again = cache.get_or_make("weights", _KEY, make)
    assert make.calls == 2
    assert not again.reused
    _check(again)


def test_interrupted_work_goes_on_from_its_checkpoint_and_its_seconds_add_up(tmp_path: Path) -> None:
    def work(checkpoint: Checkpoint) -> CheckpointState:
        state = checkpoint.load()
        time.sleep(0.1)
        if state is None:
            checkpoint.save(CheckpointState({"half": torch.ones(2)}, {"step": 1}))
            raise KeyboardInterrupt
        return CheckpointState({"whole": state.tensors["half"] * 2}, {"step": 2, "from": state.values["step"]})

    cache = ArtifactCache(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        cache.get_or_make("weights", _KEY, work)
    assert not list(tmp_path.glob("weights/" + "[0-9a-f]" * 64 + ".safetensors"))
    artifact = cache.get_or_make("weights", _KEY, work)
    assert artifact.state.values == {"step": 2, "from": 1}
    assert artifact.state.tensors["whole"].tolist() == [2, 2]
    assert artifact.seconds >= 0.2
    assert not list(tmp_path.glob("weights/*.checkpoint.safetensors"))


def test_the_peak_of_a_process_is_plausible(tmp_path: Path) -> None:
    artifact = ArtifactCache(tmp_path).get_or_make("weights", _KEY, _Make())
    assert artifact.peak_memory_bytes is not None
    assert 50 * 2**20 < artifact.peak_memory_bytes <= peak_memory_bytes("cpu") < 2**40


def test_two_threads_make_it_once(tmp_path: Path) -> None:
    make = _Make(0.3)
    found: list[Artifact] = []
    threads = [
        threading.Thread(target=lambda: found.append(ArtifactCache(tmp_path).get_or_make("weights", _KEY, make)))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert make.calls == 1
    assert sorted(artifact.reused for artifact in found) == [False, True, True]
    for artifact in found:
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


def test_a_checkpoint_is_replaced_as_a_whole(tmp_path: Path) -> None:
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


@pytest.mark.parametrize("damage", [_halve, _empty])
def test_a_torn_checkpoint_counts_as_absent(damage: Callable[[Path], None], tmp_path: Path) -> None:
    checkpoint = FileCheckpoint(tmp_path / "x.safetensors")
    checkpoint.save(CheckpointState({"a": torch.ones(300)}, {}))
    damage(checkpoint.path)
    assert checkpoint.load() is None


def test_states_are_written_by_time_and_the_last_one_on_a_stop(tmp_path: Path) -> None:
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


def test_work_that_ends_well_in_less_than_that_time_writes_its_result_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
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
