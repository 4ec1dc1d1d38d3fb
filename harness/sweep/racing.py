"""When a configuration has shown on some seeds that it need not run on the others."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean, stdev

from harness.ranking.statistics import t_quantile

SeedCosts = Mapping[int, Sequence[float]]
"""The objectives as costs, by seed."""


def is_beaten(candidate: SeedCosts, rivals: Sequence[SeedCosts], *, confidence: float) -> bool:
    """Says whether some rival is better in every objective, beyond the chance of the seeds.

    The test is paired, for seeds share base models and images: of each objective, the candidate's value less the
    rival's on the same seed. The candidate is beaten if for one rival every objective's mean difference is above 0 by a
    one-sided t-test. Rivals are not corrected for their number: the more there are, the more easily one beats a
    candidate by chance, which costs a configuration that at best was as good. Two seeds are the least that can tell.

    Args:
        candidate: The configuration's costs on the seeds that it has run on.
        rivals: Those of configurations that have run on all seeds.
        confidence: Of the one-sided test of each objective, between 0.5 and 1.
    """
    return any(_is_worse(candidate, rival, confidence) for rival in rivals)


def _is_worse(candidate: SeedCosts, rival: SeedCosts, confidence: float) -> bool:
    seeds = sorted(set(candidate) & set(rival))
    if len(seeds) < 2:
        return False
    pairs = [[a - b for a, b in zip(candidate[seed], rival[seed], strict=True)] for seed in seeds]
    return all(_is_positive(differences, confidence) for differences in zip(*pairs, strict=True))


def _is_positive(differences: Sequence[float], confidence: float) -> bool:
    quantile = t_quantile(len(differences) - 1, 2 * confidence - 1)
    return fmean(differences) > quantile * stdev(differences) / math.sqrt(len(differences))
