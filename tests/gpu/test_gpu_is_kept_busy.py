"""Phases of training neither wait for a GPU nor take more of its memory than they may."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.cache.artifacts import ArtifactCache
from benchmarks.cells import ModelSpec, TrainingSpec
from benchmarks.data.roles import Roles
from benchmarks.models import build_model
from benchmarks.training.base_model import train_base_model
from splitters.data import IMAGENET, ImageSet
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.gradsplitter import GradSplitterSettings
from splitters.methods.gradsplitter.trainer import Trainer as GradTrainer
from splitters.methods.mask_training.trainer import MaskTrainer
from splitters.methods.scalesplitter import ScaleSplitterSettings
from splitters.methods.scalesplitter.trainer import Trainer as ScaleTrainer
from splitters.networks.execution.module_chunks import ChunkedNetwork
from splitters.networks.execution.precision import computing_in
from splitters.networks.masked_network import masked_network
from splitters.networks.shared_forward import SharedForward
from splitters.settings import Length
from splitters.testing import tiny_task


def _waits(work: Callable[[], object]) -> int:
    """Return how often the CPU waits for the GPU."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            work()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    return sum("called a synchronizing CUDA operation" in str(warning.message) for warning in caught)


def _trainer(method: str, steps: int) -> MaskTrainer:
    task = replace(tiny_task(), device=torch.device("cuda:0")).on_device()
    settings = {"mask_phase": f"{steps} steps", "batch_size": 20, "mask_learning_rate": 0.5}
    generator = torch.Generator().manual_seed(0)
    if method == "scalesplitter":
        return ScaleTrainer(task, task.trace(), ScaleSplitterSettings.parse(settings, where="test"), generator)
    return GradTrainer(task, task.trace(), GradSplitterSettings.parse(settings, where="test"), generator)


def test_waits_are_counted() -> None:
    assert _waits(lambda: torch.ones(2, device="cuda").sum().item()) == 1


@pytest.mark.parametrize("method", ["gradsplitter", "scalesplitter"])
def test_no_step_of_a_mask_phase_waits(method: str) -> None:
    waits = []
    for steps in (2, 2, 8):  # the first one loads kernels
        trainer = _trainer(method, steps)
        waits.append(_waits(lambda trainer=trainer: list(trainer.mask_phase())))
    assert waits[1] == waits[2]


@pytest.mark.parametrize("method", ["gradsplitter", "scalesplitter"])
def test_no_step_of_a_head_or_tune_phase_waits(method: str) -> None:
    waits = []
    for steps in (2, 2, 8):
        trainer, length = _trainer(method, 1), Length(count=steps, unit="steps")
        waits.append(_waits(lambda trainer=trainer, length=length: trainer.score_phase(length, 0.01)))
    assert waits[1] == waits[2]


def _noise(count: int) -> ImageSet:
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return ImageSet(images, torch.arange(count) % 10, tuple(map(str, range(10))), IMAGENET)


def test_no_step_of_base_training_waits(tmp_path: Path) -> None:
    few = _noise(20)
    roles = Roles(train=_noise(60), select=few, test=few)

    def train(batch_size: int) -> None:
        train_base_model(
            ModelSpec(name="simcnn", settings={"width": 0.1}),
            TrainingSpec(recipe="one_cycle", epochs=1, batch_size=batch_size, crop_padding=1),
            roles,
            dataset_hash="0",
            flips=True,
            seed=batch_size,
            threads=1,
            cache=ArtifactCache(tmp_path),
            device="cuda:0",
        )

    train(60)
    assert _waits(lambda: train(30)) == _waits(lambda: train(6))


def test_candidates_never_wait() -> None:
    task = replace(tiny_task(), device=torch.device("cuda:0")).on_device()
    graph = task.trace()
    forward = SharedForward(graph, batch_size=16, memory_bytes=1 << 20)
    bits = torch.ones(40, graph.layout.n_channels, dtype=torch.bool)
    waits = []
    for count in (40, 4, 40):  # the first one loads kernels
        classes = torch.zeros(count, dtype=torch.int64)
        some = bits[:count]
        waits.append(_waits(lambda some=some, classes=classes: forward.class_logits(some, classes, task.select)))
    assert waits[1:] == [0, 0]


def test_candidates_take_no_more_memory_than_they_may() -> None:
    device = torch.device("cuda:0")
    select = _noise(256).to(device)
    spec = ModelSpec(name="simcnn", settings={"width": 0.5})
    model = build_model(spec, n_classes=10, input_shape=(3, 32, 32), seed=0).to(device).eval()
    graph = ChannelGraph.trace(model, select.normalise(select.images[:2]))
    bits = torch.ones(20, graph.layout.n_channels, dtype=torch.bool)
    forward = SharedForward(graph, batch_size=128, memory_bytes=256 << 20)
    forward.class_logits(bits, torch.arange(20) % 10, select)  # loads kernels, and their work space
    torch.cuda.reset_peak_memory_stats()
    held = torch.cuda.memory_allocated()
    forward.class_logits(bits, torch.arange(20) % 10, select)
    assert 64 << 20 < torch.cuda.max_memory_allocated() - held < 1.25 * (256 << 20)


def test_modules_in_chunks_take_less_memory() -> None:
    device = torch.device("cuda:0")
    spec = ModelSpec(name="simcnn", settings={"width": 0.5})
    model = build_model(spec, n_classes=10, input_shape=(3, 32, 32), seed=0).to(device).eval()
    images = torch.rand(64, 3, 32, 32, device=device)
    graph = ChannelGraph.trace(model, images[:2])
    network = masked_network(graph).to(device)
    gates = torch.ones(10, graph.layout.n_channels, device=device)
    per_module = ChunkedNetwork(network).bytes_per_module(images, gates)

    def step(memory_bytes: int) -> tuple[torch.Tensor, int]:
        leaf = gates.clone().requires_grad_()
        torch.cuda.reset_peak_memory_stats()
        held = torch.cuda.memory_allocated()
        ChunkedNetwork(network, memory_bytes)(images, leaf).logsumexp(0).sum().backward()
        assert leaf.grad is not None
        return leaf.grad, torch.cuda.max_memory_allocated() - held

    with computing_in("float32", device):  # chunks may run other kernels, which round apart in TF32
        step(100 * per_module)  # loads kernels, and their work space
        expected, whole = step(100 * per_module)
        found, in_chunks = step(2 * per_module)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-4)
    assert in_chunks < whole / 2
    assert whole < 15 * per_module
