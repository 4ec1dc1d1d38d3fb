"""``cnnsplitter.merge``: from the scores of all candidates to the compositions that survive."""

from __future__ import annotations

import torch

from benchmarks.speed.measurement import Measurement, fastest, timed
from benchmarks.speed.plain_merging import PlainMerging, kept_sets
from splitters.cnnsplitter.merging import Merger, StageLimits, stage_sizes
from splitters.masks import jaccard_distances

_CLASSES, _POPULATION, _IMAGES, _KERNELS, _MOST = 10, 50, 2000, 1000, 500


def measure() -> Measurement:
    """Compares merging by keys with concatenated scores, pair by pair."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(_IMAGES) % _CLASSES
    own = labels == torch.arange(_CLASSES)[:, None, None]
    scores = torch.randn(_CLASSES, _POPULATION, _IMAGES, generator=generator) + 2.5 * own
    bits = torch.rand(_CLASSES, _POPULATION, _KERNELS, generator=generator) < 0.6
    distances = jaccard_distances(bits.flatten(0, 1)).view(_CLASSES, _POPULATION, _CLASSES, _POPULATION)
    # A threshold of 0 fills every pool: the most work that the settings allow.
    stages = [StageLimits(0.0, 1, _MOST)] * len(stage_sizes(_CLASSES))
    merger = Merger(labels, _CLASSES)
    seconds = fastest(lambda: merger.merge(scores, distances, class_order=range(_CLASSES), stages=stages), runs=5)
    plain = PlainMerging(
        rows={c: list(scores[c].numpy()) for c in range(_CLASSES)},
        labels=labels.numpy(),
        kept={c: kept_sets(bits[c].numpy()) for c in range(_CLASSES)},
        most=_MOST,
    )
    return Measurement(
        "cnnsplitter.merge",
        seconds=seconds,
        reference_seconds=timed(plain.run),
        detail=f"{_CLASSES} classes, population {_POPULATION}, {_IMAGES} images, pools of {_MOST}; reference: arg max "
        "pair by pair",
    )
