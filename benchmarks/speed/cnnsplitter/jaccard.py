"""``cnnsplitter.jaccard``: the Jaccard distances of all pairs of candidates."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from benchmarks.speed.cnnsplitter.plain import plain_distance
from benchmarks.speed.cnnsplitter.plain_merging import kept_sets
from benchmarks.speed.measurement import Measurement, in_turns
from splitters.networks.masks import jaccard_distances


def measure(*, population: int = 100, kernels: int = 4000, repeats: int = 5, device: str = "cpu") -> Measurement:
    """Compare one product of bit matrices with Python sets.

    Args:
        population: Candidates.
        kernels: Kernels of the network.
        repeats: Timed runs of ours.
        device: Where ours runs.
    """
    bits = torch.rand(population, kernels, generator=torch.Generator().manual_seed(0)) < 0.6
    sets = kept_sets(bits.numpy())

    def reference() -> list[float]:
        return [plain_distance(one, other) for one, other in itertools.combinations(sets, 2)]

    bits_on_device = bits.to(device)

    def ours() -> Tensor:
        return jaccard_distances(bits_on_device)

    pairs = torch.triu_indices(population, population, offset=1)
    torch.testing.assert_close(ours().cpu()[pairs[0], pairs[1]].tolist(), reference())
    seconds, reference_seconds = in_turns(ours, reference, repeats=repeats, device=device)
    return Measurement(
        "cnnsplitter.jaccard",
        seconds=seconds,
        reference_seconds=reference_seconds,
        detail=f"all pairs of {population} candidates with {kernels} kernels; reference: Python sets",
        ours=ours,
        repeats=repeats,
    )
