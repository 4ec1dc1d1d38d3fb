"""Dendrograms: what is alike, step by step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Dendrogram:
    """A tree of things that are joined at their average distance.

    Args:
        leaves: The things' indices, in an order without crossing lines and with alike neighbours.
        merges: For each merge, a line over four points: up from one branch, across, and down to the other. A point is a
            place among the leaves, 0 for the first, and a distance.
    """

    leaves: Sequence[int]
    merges: Sequence[Sequence[tuple[float, float]]]

    @classmethod
    def of(cls, distances: Sequence[Sequence[float]]) -> Dendrogram:
        """Return the tree of a symmetric matrix of distances: average linkage, optimal leaf order."""
        from scipy.cluster.hierarchy import dendrogram, linkage
        from scipy.spatial.distance import squareform

        tree = linkage(squareform(distances, checks=False), method="average", optimal_ordering=True)
        drawn = dendrogram(tree, no_plot=True)
        # SciPy draws leaves at 5, 15, 25, ...
        merges = [
            [((at - 5) / 10, float(distance)) for at, distance in zip(*line, strict=True)]
            for line in zip(drawn["icoord"], drawn["dcoord"], strict=True)
        ]
        return cls([int(leaf) for leaf in drawn["leaves"]], merges)
