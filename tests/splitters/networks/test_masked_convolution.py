"""Convolutions that leave out dropped channels: their outputs and gradients are those of whole layers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from splitters.networks import masked_convolution
from splitters.networks.masked_convolution import MaskedConvolution, apply_first_masks, apply_masks, is_sliceable

_N, _BATCH, _INPUTS, _KERNELS = 3, 2, 6, 5


def _layer(*, bias: bool, stride: int) -> nn.Conv2d:
    layer = nn.Conv2d(_INPUTS, _KERNELS, 3, padding=1, stride=stride, bias=bias)
    return layer.to(memory_format=torch.channels_last).requires_grad_(False)


def _gates(channels: int, share: float, generator: torch.Generator) -> Tensor:
    bits = (torch.rand(_N, channels, generator=generator) < share).float()
    return bits * (0.5 + torch.rand(_N, channels, generator=generator))


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 2**32), share=st.floats(0, 0.7), is_first=st.booleans(), bias=st.booleans(),
    stride=st.integers(1, 2),
)  # fmt: skip
def test_outputs_and_gradients_are_those_of_whole_layers(
    seed: int, share: float, is_first: bool, bias: bool, stride: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    layer = _layer(bias=bias, stride=stride)
    x = torch.randn(_BATCH if is_first else _N * _BATCH, _INPUTS, 6, 6, generator=generator)
    gates, output_gates = _gates(_INPUTS, share, generator), _gates(_KERNELS, share, generator)

    def run(convolve: Callable[[Tensor, Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        inputs, factors = x.clone().requires_grad_(), gates.clone().requires_grad_()
        y = convolve(inputs, factors)
        # As the next layer masks them, outputs that a module drops have no gradient.
        masked = y.unflatten(0, (_N, -1)) * output_gates[:, None, :, None, None]
        to_x, to_gates = torch.autograd.grad(masked.square().sum(), (inputs, factors))
        return y.detach(), to_x, to_gates

    mask = apply_first_masks if is_first else apply_masks
    sliced = MaskedConvolution(layer, is_first=is_first)
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(masked_convolution, "_MANY_OPERATIONS", 0)
        found = run(lambda inputs, factors: sliced(inputs, factors, output_gates))
    expected = run(lambda inputs, factors: layer(mask(inputs, factors, 1)))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)


def test_dropped_channels_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masked_convolution, "_MANY_OPERATIONS", 0)
    widths: list[int] = []
    convolve = torch.conv2d

    def counting(x: Tensor, *args: object) -> Tensor:
        widths.append(x.shape[1])
        return convolve(x, *args)

    monkeypatch.setattr(torch, "conv2d", counting)
    gates = torch.tensor([[1.0, 0, 0, 0, 0, 0], [1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]])
    MaskedConvolution(_layer(bias=True, stride=1), is_first=True)(torch.randn(2, _INPUTS, 4, 4), gates, None)
    assert widths == [1, 2, 1]


def test_small_layers_and_nearly_whole_modules_run_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(masked_convolution, "_MANY_OPERATIONS", 0)
    monkeypatch.delattr(torch, "conv2d")
    layer, x = MaskedConvolution(_layer(bias=True, stride=1), is_first=True), torch.randn(2, _INPUTS, 4, 4)
    few, many = torch.eye(_N, _INPUTS), torch.ones(_N, _INPUTS)
    assert layer(x, many, torch.ones(_N, _KERNELS)).shape == (_N * 2, _KERNELS, 4, 4)
    monkeypatch.setattr(masked_convolution, "_MANY_OPERATIONS", 10**9)
    assert layer(x, few, None).shape == (_N * 2, _KERNELS, 4, 4)


@pytest.mark.parametrize(
    "layer",
    [nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 4, 3, padding="same"), nn.ConvTranspose2d(4, 4, 3), nn.Linear(4, 4)],
)
def test_other_layers_are_masked_as_ever(layer: nn.Module) -> None:
    assert not is_sliceable(layer)
