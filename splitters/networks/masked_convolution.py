"""Convolutions of N modules' masked inputs, which leave out dropped channels where that saves time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeGuard

import torch
from jaxtyping import Float
from torch import Tensor, nn

from splitters.networks.channels import take_channels

_FEW = 0.8
"""Share of channels up to which slices are cheaper than whole layers; measured with ``benchmarks.speed``."""

_MANY_OPERATIONS = 1 << 28
"""Multiply-adds per module below which whole layers are as fast: those of nets of a quarter of the papers' width."""


def apply_first_masks(x: Tensor, masks: Float[Tensor, "module channel"], axis: int) -> Tensor:
    """Mask a tensor that all modules share: ``[batch, ...]`` becomes ``[module * batch, ...]``."""
    return (x.unsqueeze(0) * _aligned(masks, x, axis)).flatten(0, 1)


def apply_masks(x: Tensor, masks: Float[Tensor, "module channel"], axis: int) -> Tensor:
    """Mask a tensor with the modules folded into its batch: ``[module * batch, ...]``."""
    return (torch.unflatten(x, 0, (masks.shape[0], -1)) * _aligned(masks, x, axis)).flatten(0, 1)


def _aligned(masks: Tensor, x: Tensor, axis: int) -> Tensor:
    """Return masks that broadcast over the modules' copies of a tensor, in its type, which autocast chooses."""
    shape = [masks.shape[0], 1] + [1] * (x.dim() - 1)
    shape[1 + axis] = masks.shape[1]
    return masks.to(x.dtype).view(shape)


def is_sliceable(layer: nn.Module | None) -> TypeGuard[nn.Conv2d]:
    """Return whether a layer is a convolution that ``MaskedConvolution`` can run."""
    return (
        isinstance(layer, nn.Conv2d)
        and layer.groups == 1
        and layer.padding_mode == "zeros"
        and not isinstance(layer.padding, str)
    )


class MaskedConvolution(nn.Module):
    """A convolution of each module's masked inputs; its weights get no gradients.

    Forwards, the inputs that a module drops are left out; backwards, the outputs that it drops, whose gradient is zero.
    What remains is added in the same order, so that on a CPU the results are those of the whole layer.

    Args:
        convolution: The layer, without groups.
        is_first: Whether its inputs are shared by all modules.
    """

    def __init__(self, convolution: nn.Conv2d, *, is_first: bool) -> None:
        super().__init__()
        self.convolution = convolution
        self.is_first = is_first

    def forward(
        self,
        x: Float[Tensor, "images channel height width"],
        gates: Float[Tensor, "module channel"],
        output_gates: Float[Tensor, "module kernel"] | None,
    ) -> Float[Tensor, "module*batch kernel out_height out_width"]:
        """Return the outputs, with the modules folded into the batch axis.

        Args:
            x: The inputs: one batch that all modules share, or the modules' batches, one after the other.
            gates: The factor of each input; 0 drops it.
            output_gates: The factor by which each output will be multiplied; None if all are kept.
        """
        if self._saves_time(x, gates, output_gates):
            sliced: Tensor = _Sliced.apply(x, gates, output_gates, self.convolution, self.is_first)
            return sliced
        masked = apply_first_masks(x, gates, 1) if self.is_first else apply_masks(x, gates, 1)
        whole: Tensor = self.convolution(masked)
        return whole

    def _saves_time(self, x: Tensor, gates: Tensor, output_gates: Tensor | None) -> bool:
        # Counting what is kept would make a GPU wait, and break a compiled network into parts.
        if x.device.type != "cpu" or torch.compiler.is_compiling():
            return False
        batch = len(x) if self.is_first else len(x) // len(gates)
        operations = batch * x.shape[2] * x.shape[3] * self.convolution.weight.numel()
        return operations >= _MANY_OPERATIONS and (_are_few(gates) or _are_few(output_gates))


class _Sliced(torch.autograd.Function):
    """The convolutions module by module."""

    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        gates: Tensor,
        output_gates: Tensor | None,
        convolution: nn.Conv2d,
        is_first: bool,
    ) -> Tensor:
        ctx.save_for_backward(x, gates, output_gates)
        ctx.convolution, ctx.is_first = convolution, is_first
        weight, stride, padding, dilation = _parts(convolution)
        outputs = []
        for images, row in zip(_batches(x, len(gates), is_first=is_first), gates, strict=True):
            kept = _kept(row)
            factors = row[kept]
            inputs = take_channels(images, kept)
            if bool((factors != 1).any()):
                inputs = inputs * factors.to(x.dtype).view(1, -1, 1, 1)
            outputs.append(
                torch.conv2d(inputs, take_channels(weight, kept), convolution.bias, stride, padding, dilation)
            )
        return torch.cat(outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        x, gates, output_gates = ctx.saved_tensors
        weight, stride, padding, dilation = _parts(ctx.convolution)
        # Autocast may have run the layer in another type than its weights'.
        whole = weight.to(gradients[0].dtype)
        to_inputs, to_gates = [], []
        parts = zip(_batches(x, len(gates), is_first=ctx.is_first), gradients[0].chunk(len(gates)), strict=True)
        for index, (images, gradient) in enumerate(parts):
            weight = whole
            if output_gates is not None:
                kept = _kept(output_gates[index])
                gradient, weight = take_channels(gradient, kept), whole.index_select(0, kept)
            to_masked, _, _ = torch.ops.aten.convolution_backward(
                gradient, images.to(gradient.dtype), weight, None, stride, padding, dilation,
                False, [0, 0], 1, [True, False, False],
            )  # fmt: skip
            to_gates.append((to_masked * images).sum((0, 2, 3)))
            if ctx.needs_input_grad[0]:
                to_inputs.append(to_masked * gates[index].to(to_masked.dtype).view(1, -1, 1, 1))
        if not to_inputs:
            return None, torch.stack(to_gates).to(gates.dtype), None, None, None
        to_x = torch.stack(to_inputs).sum(0) if ctx.is_first else torch.cat(to_inputs)
        return to_x, torch.stack(to_gates).to(gates.dtype), None, None, None


def _parts(convolution: nn.Conv2d) -> tuple[Tensor, tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    """Return a layer's weight, stride, padding and dilation."""
    padding = convolution.padding
    assert not isinstance(padding, str), "is_sliceable refuses names of paddings"
    return convolution.weight, convolution.stride, padding, convolution.dilation


def _batches(x: Tensor, n_modules: int, *, is_first: bool) -> Sequence[Tensor]:
    """Return each module's inputs."""
    return [x] * n_modules if is_first else x.chunk(n_modules)


def _are_few(gates: Tensor | None) -> bool:
    return gates is not None and int(gates.count_nonzero()) <= _FEW * gates.numel()


def _kept(gates: Tensor) -> Tensor:
    """Return the channels that a module keeps; where it keeps none, one that it drops, since no layer may be empty."""
    kept = gates.nonzero().squeeze(1)
    return kept if len(kept) else kept.new_zeros(1)
