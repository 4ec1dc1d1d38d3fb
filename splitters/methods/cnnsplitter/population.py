"""The start population of one class."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Bool
from torch import Tensor

from splitters.methods.cnnsplitter.genes import GeneMap


def random_population(genes: GeneMap, size: int, generator: torch.Generator) -> Bool[Tensor, "candidate gene"]:
    """Draws every gene with a chance of one half."""
    drawn = torch.rand(size, genes.n_genes, generator=generator) < 0.5
    return genes.repaired(drawn)


def start_population(
    genes: GeneMap,
    shares: Sequence[Sequence[float]],
    size: int,
    generator: torch.Generator,
    *,
    fall_off: float = 10.0,
) -> Bool[Tensor, "candidate gene"]:
    """Draws a population whose layers keep given shares of their genes, important genes more often.

    Args:
        genes: How channels form genes.
        shares: For each channel group, the shares of active genes of which each candidate draws one.
        size: The number of candidates.
        generator: The class's random stream.
        fall_off: A gene of rank i, of G in its group, is drawn in proportion to exp((G - 1 - i) / fall_off); the
            papers' constant by default.
    """
    population = torch.zeros(size, genes.n_genes, dtype=torch.bool)
    for place, choices, count in zip(genes.group_slices, shares, genes.counts, strict=True):
        drawn = torch.randint(len(choices), (size,), generator=generator)
        active = (torch.tensor(choices)[drawn] * count).round().long().clamp(min=1)
        # The largest values of log-weight plus Gumbel noise are a draw without replacement by weight.
        log_weight = torch.arange(count - 1, -1, -1) / fall_off
        uniform = torch.rand(size, count, generator=generator, dtype=torch.float64).clamp(min=1e-300)
        order = (log_weight - torch.log(-torch.log(uniform))).argsort(dim=1, descending=True, stable=True)
        rank = torch.empty_like(order).scatter_(1, order, torch.arange(count).expand_as(order))
        population[:, place] = rank < active[:, None]
    return population
