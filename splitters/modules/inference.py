"""A module's scores of image sets."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from splitters.data import ImageSet
from splitters.modules.module import Module
from splitters.networks.execution.precision import run_network


@torch.no_grad()
def module_scores(
    module: Module, images: ImageSet, *, adapter: Callable[[Tensor], Tensor] | None = None, batch_size: int = 256
) -> Float[Tensor, " sample"]:
    """Return a module's scores of all images, in order; its network computes in the current precision.

    Args:
        module: The module, on the images' device.
        images: The images.
        adapter: Turns normalised batches into the module's input; None where they are.
        batch_size: Images per forward pass.
    """
    batches = images.batches(batch_size)
    inputs = batches if adapter is None else map(adapter, batches)
    return torch.cat([module.score(run_network(module.network, batch)) for batch in inputs])
