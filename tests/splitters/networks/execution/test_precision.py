"""Networks in bf16: within its rounding of float32, with float32 at the borders."""

import pytest
import torch
from torch import Tensor, nn

from splitters.errors import ConfigurationError
from splitters.methods.protocol import make_splitter
from splitters.networks.execution.precision import computing_in, current_precision, run_network
from splitters.networks.inference import module_logits, network_logits
from splitters.networks.masked_network import masked_network
from splitters.networks.masks import KernelMasks
from splitters.networks.shared_forward import SharedForward
from splitters.testing import tiny_task

_TOLERANCE = 0.02
"""Relative to the largest logit: bf16 keeps 8 bits, and the tiny network has four layers."""


class _Types(nn.Module):
    """Records the types in which a convolution computes."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 2, 1)
        self.seen: list[torch.dtype] = []

    def forward(self, images: Tensor) -> Tensor:
        x = self.convolution(images)
        self.seen.append(x.dtype)
        return x.mean((2, 3))


def _close(found: Tensor, expected: Tensor) -> bool:
    assert found.dtype == torch.float32
    return 0 < float((found - expected).abs().max()) < _TOLERANCE * float(expected.abs().max())


def test_only_the_network_computes_in_bf16() -> None:
    network, images = _Types(), torch.rand(2, 3, 4, 4)
    with computing_in("bf16", "cpu"):
        logits = run_network(network, images)
        product = torch.ones(1, 300) @ torch.ones(300, 1)
    assert network.seen == [torch.bfloat16]
    assert (logits.dtype, product.item()) == (torch.float32, 300)
    assert current_precision() == "float32"
    logits.sum().backward()
    assert network.convolution.weight.grad.dtype == torch.float32


def test_float32_is_the_plain_network() -> None:
    network, images = _Types(), torch.rand(2, 3, 4, 4)
    with computing_in("float32", "cpu"):
        assert torch.equal(run_network(network, images), network(images))
    assert network.seen == [torch.float32] * 2


def test_tf32_is_refused_on_the_cpu() -> None:
    with pytest.raises(ConfigurationError, match="tf32 is for GPUs"), computing_in("tf32", "cpu"):
        pass
    assert current_precision() == "float32"


def test_bf16_gives_the_logits_of_float32_within_its_rounding() -> None:
    task = tiny_task()
    graph, images = task.trace(), task.select
    bits = torch.ones(3, graph.layout.n_channels, dtype=torch.bool)
    bits[torch.arange(3), torch.arange(3)] = False
    masks, network = KernelMasks(graph.layout, bits), masked_network(graph)
    batch = next(images.batches(len(images)))
    classes = torch.arange(3)

    def everything() -> list[Tensor]:
        shared = SharedForward(graph, batch_size=64, memory_bytes=1 << 30)
        gates = bits.float().requires_grad_()
        logits = run_network(network, batch, gates)
        (gradients,) = torch.autograd.grad(logits.square().mean(), gates)
        return [
            network_logits(graph.network, images),
            module_logits(graph, masks, images),
            shared.class_logits(bits, classes, images),
            logits.detach(),
            gradients,
        ]

    expected = everything()
    with computing_in("bf16", "cpu"):
        found = everything()
    assert [_close(one, other) for one, other in zip(found, expected, strict=True)] == [True] * 5


@pytest.mark.parametrize("method", ["gradsplitter", "scalesplitter"])
def test_a_search_in_bf16_finds_modules_like_those_of_float32(method: str) -> None:
    settings = {"preset": "fast", "rounds": 2, "mask_phase": "12 steps", "alpha": 0.5, "mask_learning_rate": 0.1}
    expected = make_splitter(method, settings).split(tiny_task())
    with computing_in("bf16", "cpu"):
        found = make_splitter(method, settings).split(tiny_task())
    assert found.masks.retention == pytest.approx(expected.masks.retention, abs=0.1)
    assert found.history[-1]["accuracy"] == pytest.approx(expected.history[-1]["accuracy"], abs=0.1)
    assert {tensor.dtype for tensor in found.scores.tensors().values()} == {torch.float32}
