"""One forward pass for modules that all still keep every channel, as they do until the first mask drops below 0."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from splitters.networks.execution.precision import run_network

_MANY_OPERATIONS = 1 << 29
"""Operations of a module's forward pass below which one batch of all modules is as fast; see docs/speed.md."""


def are_whole(gates: Float[Tensor, "module maskable"]) -> bool:
    """Return whether no module drops or scales a channel."""
    return bool((gates == 1).all())


def sharing_pays(network: nn.Module, images: Tensor, gates: Tensor) -> bool:
    """Return whether a forward pass is long enough for the backward passes to run module by module.

    Args:
        network: See ``masked_network``.
        images: A batch.
        gates: Of at least one module.
    """
    from torch.utils.flop_counter import FlopCounterMode  # here, because importing it takes a quarter of a second

    counter = FlopCounterMode(display=False)
    with torch.no_grad(), counter:
        network(images[:1], gates[:1].detach())
    return len(images) * counter.get_total_flops() >= _MANY_OPERATIONS


def whole_logits(
    network: Callable[..., Tensor],
    images: Float[Tensor, "batch channel height width"],
    gates: Float[Tensor, "module maskable"],
) -> Float[Tensor, "module batch class"]:
    """Return every module's logits, computed once; gradients flow to each module's gates.

    The backward passes differ by module, as each module's head sends another gradient back, and so do the gradients of
    the gates. They run one after the other, with the memory of one.

    Args:
        network: See ``masked_network``.
        images: A batch.
        gates: All of them 1.
    """
    logits: Tensor = _WholeModules.apply(gates, images, network)
    return logits


class _WholeModules(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, gates: Tensor, images: Tensor, network: Callable[..., Tensor]) -> Tensor:
        with torch.enable_grad():
            ctx.gates = gates[:1].detach().requires_grad_()
            logits = run_network(network, images, ctx.gates)
        ctx.logits = logits
        return logits.detach().repeat(len(gates), 1, 1)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        *others, last = gradients[0].split(1)
        rows = [torch.autograd.grad(ctx.logits, ctx.gates, gradient, retain_graph=True)[0] for gradient in others]
        # The last one frees the activations.
        rows.append(torch.autograd.grad(ctx.logits, ctx.gates, last)[0])
        return torch.cat(rows), None, None
