"""CNNSplitter's merging in plain Python: concatenate each pair's scores, and compare the arg max with the labels."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np

from benchmarks.speed.cnnsplitter.plain import Labels, Scores, plain_accuracy_inside, plain_mean_distance

Members = Mapping[int, int]
"""The candidate of each class in a composition."""


@dataclass
class PlainMerging:
    """Merging as the paper describes it, without regard to speed.

    Args:
        scores: The scores of each class's candidates.
        labels: The images' classes.
        kept: The kept kernels of each class's candidates.
        pool_size: Compositions that a merge keeps, at most.
        best_accuracy: The best accuracy among the compositions of all classes in the last run.
    """

    scores: Mapping[int, Sequence[Scores]]
    labels: Labels
    kept: Mapping[int, Sequence[AbstractSet[int]]]
    pool_size: int
    best_accuracy: float = 0.0

    def run(self) -> float:
        """Merge all classes in order. Return the best fitness of a composition; store the best accuracy."""
        pools: list[list[Members]] = [[{c: i} for i in range(len(candidates))] for c, candidates in self.scores.items()]
        while len(pools) > 1:
            merged = [self._merge(pools[i], pools[i + 1]) for i in range(0, len(pools) - 1, 2)]
            pools = merged + pools[len(merged) * 2 :]
        accuracies = [self._accuracy(members) for members in pools[0]]
        self.best_accuracy = max(accuracies)
        return max(map(self._fitness, pools[0], accuracies))

    def _merge(self, one: Sequence[Members], other: Sequence[Members]) -> list[Members]:
        inside = np.isin(self.labels, [*one[0], *other[0]])
        labels = self.labels[inside]
        scores = {c: [row[inside] for row in self.scores[c]] for c in (*one[0], *other[0])}
        merged: list[tuple[float, int, Members]] = []
        for number, (left, right) in enumerate(itertools.product(one, other)):
            members = {**left, **right}
            accuracy = plain_accuracy_inside({c: scores[c][i] for c, i in members.items()}, labels)
            merged.append((-accuracy, number, members))
        return [members for _, _, members in sorted(merged, key=lambda item: item[:2])[: self.pool_size]]

    def _accuracy(self, members: Members) -> float:
        return plain_accuracy_inside({c: self.scores[c][i] for c, i in members.items()}, self.labels)

    def _fitness(self, members: Members, accuracy: float) -> float:
        return 0.9 * accuracy + 0.1 * plain_mean_distance([self.kept[c][i] for c, i in members.items()])


def kept_sets(bits: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> list[set[int]]:
    """Return each row of bits as the set of its kept indices."""
    return [set(np.flatnonzero(row).tolist()) for row in bits]
