"""The memory order of a network: ``channels_last``, in which convolutions are fastest, if its forward takes that."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.models.inference import evaluating
from benchmarks.seeding import seeded


def in_fastest_order(network: nn.Module, input_shape: tuple[int, int, int]) -> nn.Module:
    """Return the network itself, with its weights in the fastest memory order in which it runs.

    A forward with ``x.view(len(x), -1)`` fails in ``channels_last`` order. Such a network stays in torch's default
    order, and so that no convolution changes it, its images are brought into it before they are read.

    Args:
        network: On the CPU.
        input_shape: Channels, height and width of its images.
    """
    # One image alone would not do: with a single one, orders are ambiguous.
    images = torch.zeros(2, *input_shape).to(memory_format=torch.channels_last)
    network.to(memory_format=torch.channels_last)
    try:
        with seeded(0), evaluating(network), torch.no_grad():
            network(images)
    except RuntimeError:
        network.to(memory_format=torch.contiguous_format)
        network.register_forward_pre_hook(_contiguous)
    return network


def _contiguous(_network: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
    # A copy: images of one channel are contiguous in any order, but convolutions go by their strides.
    order = torch.contiguous_format
    return tuple(value.clone(memory_format=order) if isinstance(value, Tensor) else value for value in inputs)
