"""Drawing images in proportion to their classes."""

from __future__ import annotations

import torch
from jaxtyping import Int64
from torch import Tensor


def stratified_order(labels: Int64[Tensor, " sample"], generator: torch.Generator) -> Int64[Tensor, " sample"]:
    """Return all indices in a random order, any beginning of which has the classes in their shares.

    The first image of every class comes before all second ones.
    """
    labels = labels.cpu()
    position = torch.empty(len(labels), dtype=torch.float64)
    shuffled = torch.randperm(len(labels), generator=generator)
    for label in labels.unique():
        members = shuffled[labels[shuffled] == label]
        position[members] = torch.arange(len(members), dtype=torch.float64) / len(members)
    return shuffled[position[shuffled].argsort(stable=True)]
