"""``cnnsplitter.merge``: merging the scores of all candidates to the surviving compositions."""

from __future__ import annotations

import torch

from benchmarks.speed.cnnsplitter.plain_merging import PlainMerging, kept_sets
from benchmarks.speed.measurement import Measurement, middle, timed
from splitters.methods.cnnsplitter.merging import Compositions, Merger, StageLimits, stage_sizes
from splitters.networks.masks import jaccard_distances

_TOLERANCE = 0.01
"""Tolerance of the best accuracies: of equal compositions, the two keep different ones when a pool is full."""


def measure(
    *,
    classes: int = 10,
    population: int = 50,
    images: int = 2000,
    kernels: int = 1000,
    pool_size: int = 500,
    repeats: int = 5,
    device: str = "cpu",
) -> Measurement:
    """Compare merging by keys with concatenating scores pair by pair.

    Args:
        classes: Number of classes.
        population: Candidates per class.
        images: Images on which compositions are scored.
        kernels: Kernels of the network.
        pool_size: Compositions that a merge keeps, at most.
        repeats: Timed runs of ours; the reference runs once.
        device: Where ours runs.
    """
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(images) % classes
    is_own_class = labels == torch.arange(classes)[:, None, None]
    scores = torch.randn(classes, population, images, generator=generator) + 2.5 * is_own_class
    bits = torch.rand(classes, population, kernels, generator=generator) < 0.6
    # A threshold of 0 fills every pool: the most work that the settings allow.
    stages = [StageLimits(0.0, 1, pool_size)] * len(stage_sizes(classes))
    merger = Merger(labels.to(device), classes)
    scores_on_device, bits_on_device = scores.to(device), bits.to(device)

    def merge() -> Compositions:
        distances = jaccard_distances(bits_on_device.flatten(0, 1)).view(classes, population, classes, population)
        return merger.merge(scores_on_device, distances, class_order=range(classes), stages=stages)

    plain = PlainMerging(
        scores={c: list(scores[c].numpy()) for c in range(classes)},
        labels=labels.numpy(),
        kept={c: kept_sets(bits[c].numpy()) for c in range(classes)},
        pool_size=pool_size,
    )
    seconds = middle(merge, runs=repeats, device=device)
    reference_seconds = timed(plain.run)
    torch.testing.assert_close(float(merge().accuracy.max()), plain.best_accuracy, atol=_TOLERANCE, rtol=0)
    return Measurement(
        "cnnsplitter.merge",
        seconds=seconds,
        reference_seconds=reference_seconds,
        detail=f"{classes} classes, population {population}, {images} images, pools of {pool_size}; "
        "reference: arg max pair by pair",
        ours=merge,
        repeats=repeats,
    )
