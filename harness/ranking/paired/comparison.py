"""Paired comparisons: which of two splitters is better on the same seeds, classes or tasks, and how surely."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.ranking.statistics import Estimate, difference, paired_t_p_value, wilcoxon_p_value

SIGNIFICANCE = 0.05
"""Corrected p-value below which two splitters differ."""

MIN_PAIRS = 3
"""With fewer pairs a t-test has one degree of freedom or none, and separates nothing that a reader would believe."""

MIN_SIGNED_RANKS = 6
"""With fewer pairs Wilcoxon's test cannot reach p < 0.05, whatever the differences."""


@dataclass(frozen=True)
class Comparison:
    """Two sets of measurements of the same subjects.

    Args:
        first: The first splitter's values, one per subject.
        second: The second one's, in the same order.
        higher_is_better: Whether larger values are better.
    """

    first: tuple[float, ...]
    second: tuple[float, ...]
    higher_is_better: bool

    @property
    def n_pairs(self) -> int:
        """Number of subjects that both were measured on."""
        return len(self.first)

    @property
    def is_testable(self) -> bool:
        """Whether there are enough pairs for a test."""
        return self.n_pairs >= MIN_PAIRS

    @property
    def difference(self) -> Estimate:
        """The mean of first minus second, with the 95 % t-interval of the paired differences."""
        return Estimate.of([a - b for a, b in zip(self.first, self.second, strict=True)])

    @property
    def p_value(self) -> float | None:
        """The p-value of the two-sided paired t-test; None with fewer than ``MIN_PAIRS`` pairs."""
        if not self.is_testable:
            return None
        one_sided = paired_t_p_value(self.first, self.second)
        return min(1.0, 2 * min(one_sided, 1 - one_sided))

    @property
    def wilcoxon_p_value(self) -> float | None:
        """The p-value of Wilcoxon's signed-rank test; None with fewer than ``MIN_SIGNED_RANKS`` pairs."""
        if self.n_pairs < MIN_SIGNED_RANKS:
            return None
        return wilcoxon_p_value([difference(a, b) for a, b in zip(self.first, self.second, strict=True)])

    @property
    def first_is_better(self) -> bool:
        """Whether the first one's mean is the better one."""
        return (self.difference.mean > 0) == self.higher_is_better

    @property
    def probability_of_superiority(self) -> float:
        """The share of pairs in which the first one is better, ties counted half.

        Source: the probability of improvement of Agarwal et al., *Deep Reinforcement Learning at the Edge of the
        Statistical Precipice*, NeurIPS 2021, section 4.3. They compare all runs of both methods; runs of one seed share
        their base model and images, so here each is compared with its own pair.
        """
        sign = 1 if self.higher_is_better else -1
        gains = [sign * difference(a, b) for a, b in zip(self.first, self.second, strict=True)]
        return sum(1.0 if gain > 0 else 0.5 if gain == 0 else 0.0 for gain in gains) / len(gains)


def holm(p_values: Sequence[float]) -> list[float]:
    """Return p-values adjusted for the number of tests, in the order given.

    Source: Holm, *A Simple Sequentially Rejective Multiple Test Procedure*, 1979: the k-th smallest of n is multiplied
    by n - k + 1, and none may end below a smaller one.
    """
    adjusted = [0.0] * len(p_values)
    highest = 0.0
    for position, index in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        highest = max(highest, min(1.0, (len(p_values) - position) * p_values[index]))
        adjusted[index] = highest
    return adjusted


def holm_where_tested(p_values: Sequence[float | None]) -> list[float | None]:
    """Return p-values after ``holm``; None, where nothing was tested, stays and does not count."""
    adjusted = iter(holm([p_value for p_value in p_values if p_value is not None]))
    return [None if p_value is None else next(adjusted) for p_value in p_values]
