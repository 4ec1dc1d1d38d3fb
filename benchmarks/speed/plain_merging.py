"""Merging in plain Python: every pair's scores are concatenated, and the arg max compared with the labels."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

import numpy as np

from benchmarks.speed.plain import Labels, Row, plain_accuracy_inside, plain_mean_distance

Members = Mapping[int, int]
"""The candidate of each class in a composition."""

_PAIRS_TRIED = 5_000
"""Of merges with more pairs, so many are tried, evenly spread, and the time is multiplied accordingly."""


@dataclass
class PlainMerging:
    """Merges as the paper describes it, without regard to speed.

    Args:
        rows: The scores of each class's candidates.
        labels: The images' classes.
        kept: The kept kernels of each class's candidates.
        most: Compositions that a merge keeps.
        seconds: How long all merges take so far, pairs that were left out included.
    """

    rows: Mapping[int, Sequence[Row]]
    labels: Labels
    kept: Mapping[int, Sequence[AbstractSet[int]]]
    most: int
    seconds: float = 0.0

    def run(self) -> float:
        """Merges all classes in order, and returns the best composition's fitness."""
        pools: list[list[Members]] = [[{c: i} for i in range(len(rows))] for c, rows in self.rows.items()]
        while len(pools) > 1:
            merged = [self._merge(pools[i], pools[i + 1]) for i in range(0, len(pools) - 1, 2)]
            pools = merged + pools[len(merged) * 2 :]
        began = time.perf_counter()
        best = max(self._fitness(members) for members in pools[0])
        self.seconds += time.perf_counter() - began
        return best

    def _merge(self, one: Sequence[Members], other: Sequence[Members]) -> list[Members]:
        stride = max(1, len(one) * len(other) // _PAIRS_TRIED)
        began = time.perf_counter()
        inside = np.isin(self.labels, [*one[0], *other[0]])
        labels = self.labels[inside]
        rows = {c: [row[inside] for row in self.rows[c]] for c in (*one[0], *other[0])}
        found: list[tuple[float, int, Members]] = []
        for number in range(0, len(one) * len(other), stride):
            members = {**one[number // len(other)], **other[number % len(other)]}
            accuracy = plain_accuracy_inside({c: rows[c][i] for c, i in members.items()}, labels)
            found.append((-accuracy, number, members))
        kept = [members for _, _, members in sorted(found, key=lambda item: item[:2])[: self.most]]
        self.seconds += (time.perf_counter() - began) * stride
        return kept

    def _fitness(self, members: Members) -> float:
        accuracy = plain_accuracy_inside({c: self.rows[c][i] for c, i in members.items()}, self.labels)
        return 0.9 * accuracy + 0.1 * plain_mean_distance([self.kept[c][i] for c, i in members.items()])


def kept_sets(bits: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> list[set[int]]:
    """Returns rows of bits as sets of the positions that are set."""
    return [set(np.flatnonzero(row).tolist()) for row in bits]
