"""``cnnsplitter.merge``: from the scores of all candidates to the compositions that survive."""

from __future__ import annotations

import torch

from benchmarks.speed.measurement import Measurement, fastest, timed
from benchmarks.speed.plain_merging import PlainMerging, kept_sets
from splitters.methods.cnnsplitter.merging import Compositions, Merger, StageLimits, stage_sizes
from splitters.networks.masks import jaccard_distances

_ALIKE = 0.01
"""How far the best accuracies may lie apart: of equal compositions, the two keep different ones when a pool is full."""


def measure(
    *, classes: int = 10, population: int = 50, images: int = 2000, kernels: int = 1000, most: int = 500
) -> Measurement:
    """Compares merging by keys with concatenated scores, pair by pair.

    Args:
        classes: Number of classes.
        population: Candidates per class.
        images: Images on which compositions are scored.
        kernels: Kernels of the network.
        most: Compositions that a merge keeps.
    """
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(images) % classes
    own = labels == torch.arange(classes)[:, None, None]
    scores = torch.randn(classes, population, images, generator=generator) + 2.5 * own
    bits = torch.rand(classes, population, kernels, generator=generator) < 0.6
    # A threshold of 0 fills every pool: the most work that the settings allow.
    stages = [StageLimits(0.0, 1, most)] * len(stage_sizes(classes))
    merger = Merger(labels, classes)

    def merge() -> Compositions:
        distances = jaccard_distances(bits.flatten(0, 1)).view(classes, population, classes, population)
        return merger.merge(scores, distances, class_order=range(classes), stages=stages)

    plain = PlainMerging(
        rows={c: list(scores[c].numpy()) for c in range(classes)},
        labels=labels.numpy(),
        kept={c: kept_sets(bits[c].numpy()) for c in range(classes)},
        most=most,
    )
    seconds = fastest(merge, runs=5)
    reference_seconds = timed(plain.run)
    torch.testing.assert_close(float(merge().accuracy.max()), plain.best_accuracy, atol=_ALIKE, rtol=0)
    return Measurement(
        "cnnsplitter.merge",
        seconds=seconds,
        reference_seconds=reference_seconds,
        detail=f"{classes} classes, population {population}, {images} images, pools of {most}; reference: arg max pair "
        "by pair",
    )
