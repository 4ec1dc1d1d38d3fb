"""Masked passes in chunks: the same logits and gradients, with no more modules in memory than fit."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from pretended_gpu import pretended_gpu
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from benchmarks.cells import ModelSpec
from benchmarks.models import build_model
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.protocol import make_splitter
from splitters.networks.execution import module_chunks
from splitters.networks.execution.module_chunks import ChunkedNetwork
from splitters.networks.execution.precision import computing_in
from splitters.networks.masked_network import masked_network
from splitters.testing import tiny_task

_N_MODULES = 5


def _step(memory: float | None, *, in_thread: bool = False) -> tuple[Tensor, Tensor, list[int]]:
    """Return logits, the gates' gradients, and how many modules each pass ran.

    Args:
        memory: For how many modules there is memory; None for no limit.
        in_thread: Whether the backward pass has a thread of its own, as it has on a GPU.
    """
    task = tiny_task()
    graph = task.trace()
    images = next(task.train.batches(16))
    gates = torch.rand(_N_MODULES, graph.layout.n_channels, generator=torch.Generator().manual_seed(0))
    network = masked_network(graph)
    per_module = ChunkedNetwork(network).bytes_per_module(images, gates)
    sizes: list[int] = []
    network.register_forward_pre_hook(lambda _, inputs: sizes.append(len(inputs[1])))
    chunked = ChunkedNetwork(network, None if memory is None else int(memory * per_module))
    logits = chunked(images, gates.requires_grad_())
    loss = logits.logsumexp(0).sum()
    if in_thread:
        with ThreadPoolExecutor(1) as other:
            other.submit(loss.backward).result()
    else:
        loss.backward()
    return logits.detach(), gates.grad, sizes


@pytest.mark.parametrize("in_thread", [False, True])
@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_chunks_give_the_same_logits_and_gradients(precision: str, in_thread: bool) -> None:
    with computing_in(precision, "cpu"):
        logits, gradients, sizes = _step(None)
        in_chunks, same_gradients, chunks = _step(2.5, in_thread=in_thread)
    assert sizes == [5]
    assert chunks == [1, 2, 2, 1, 1, 2, 2], "one module to measure, forward, and again in the backward pass"
    torch.testing.assert_close(in_chunks, logits, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(same_gradients, gradients, rtol=1e-4, atol=1e-5)


def test_without_memory_for_a_module_modules_run_one_by_one() -> None:
    assert _step(0.01)[2] == [1] + [1] * 2 * _N_MODULES


def test_chunks_have_about_the_same_size() -> None:
    assert _step(4)[2] == [1, 3, 2, 2, 3]


def test_with_enough_memory_nothing_is_computed_twice() -> None:
    assert _step(5)[2] == [1, 5]


def test_the_memory_of_a_module_is_that_of_its_activations() -> None:
    task = tiny_task()
    graph = task.trace()
    chunked, gates = ChunkedNetwork(masked_network(graph)), torch.ones(1, graph.layout.n_channels)
    small, large = (chunked.bytes_per_module(next(task.train.batches(size)), gates) for size in (10, 20))
    floats_per_image = 6 * 8 * 8 + 2 * 8 * 4 * 4
    assert 10 * 4 * floats_per_image < small < 10 * 40 * floats_per_image
    assert large == pytest.approx(2 * small, rel=0.05)


def test_a_hundred_modules_at_full_width_fit_a_gpu_of_16_gb(monkeypatch: pytest.MonkeyPatch) -> None:
    """Checks the size of the chunks and the estimate behind it; only one module is run."""
    chunks: list[int] = []

    def recorded(run: Callable[..., Tensor], images: Tensor, gates: Tensor, **_: bool) -> Tensor:
        chunks.append(len(gates))
        return torch.zeros(len(gates), len(images), 100)

    monkeypatch.setattr(module_chunks, "checkpoint", recorded)
    model = build_model(ModelSpec(name="simcnn"), n_classes=100, input_shape=(3, 32, 32), seed=0).eval()
    graph = ChannelGraph.trace(model, torch.zeros(2, 3, 32, 32))
    with pretended_gpu(memory_bytes=16 << 30) as device:
        network = masked_network(graph).to(device)
        images = torch.zeros(64, 3, 32, 32, device=device)
        gates = torch.ones(100, graph.layout.n_channels, device=device)
        chunked = ChunkedNetwork(network)
        chunked(images, gates)
        per_module = chunked.bytes_per_module(images, gates)
    assert chunks == [50, 50]
    assert 50 * per_module < 0.8 * (16 << 30) < 100 * per_module
    pixels = [32**2] * 2 + [16**2] * 2 + [8**2] * 3 + [4**2] * 3 + [2**2] * 3
    kernels = [layer.kernels for layer in graph.layout.layers]
    outputs = 64 * 4 * sum(count * size for count, size in zip(kernels, pixels, strict=True))
    assert 2 * outputs < per_module < 3 * outputs, "held after ReLUs and behind gates, and the largest one's gradients"


@pytest.mark.parametrize("method", ["gradsplitter", "scalesplitter"])
def test_a_search_with_little_memory_finds_the_same(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"preset": "fast", "rounds": 1, "mask_phase": "4 steps", "mask_learning_rate": 0.5}
    expected = make_splitter(method, settings).split(tiny_task())
    chunks: list[Tensor] = []

    def recorded(run: Callable[..., Tensor], images: Tensor, gates: Tensor, **options: bool) -> Tensor:
        chunks.append(gates)
        return checkpoint(run, images, gates, **options)

    monkeypatch.setattr(module_chunks, "checkpoint", recorded)
    monkeypatch.setattr(ChunkedNetwork, "bytes_per_module", lambda *_: (1 << 20) // 2)
    found = make_splitter(method, {**settings, "memory_mb": 1}).split(tiny_task())
    assert {len(gates) for gates in chunks} == {2, 1}, "three modules, two at a time"
    assert torch.equal(found.masks.bits, expected.masks.bits)
    for name, values in expected.scores.tensors().items():
        torch.testing.assert_close(found.scores.tensors()[name], values, rtol=1e-3, atol=1e-4)
