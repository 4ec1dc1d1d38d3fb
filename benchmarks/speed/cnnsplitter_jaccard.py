"""``cnnsplitter.jaccard``: the Jaccard distances of all pairs of candidates."""

from __future__ import annotations

import itertools

import torch

from benchmarks.speed.measurement import Measurement, fastest
from benchmarks.speed.plain import plain_distance
from benchmarks.speed.plain_merging import kept_sets
from splitters.networks.masks import jaccard_distances


def measure(*, population: int = 100, kernels: int = 4000) -> Measurement:
    """Compare one product of bit matrices with Python sets.

    Args:
        population: Candidates.
        kernels: Kernels of the network.
    """
    bits = torch.rand(population, kernels, generator=torch.Generator().manual_seed(0)) < 0.6
    sets = kept_sets(bits.numpy())

    def reference() -> list[float]:
        return [plain_distance(one, other) for one, other in itertools.combinations(sets, 2)]

    ours = jaccard_distances(bits)
    pairs = torch.triu_indices(population, population, offset=1)
    torch.testing.assert_close(ours[pairs[0], pairs[1]].tolist(), reference())
    return Measurement(
        "cnnsplitter.jaccard",
        seconds=fastest(lambda: jaccard_distances(bits), runs=10),
        reference_seconds=fastest(reference, runs=3),
        detail=f"all pairs of {population} candidates with {kernels} kernels; reference: Python sets",
    )
