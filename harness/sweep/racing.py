"""When a configuration has shown on some seeds that it need not run on the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.ranking.statistics import paired_t_p_value

SeedCosts = Mapping[int, Sequence[float]]
"""The objectives as costs, by seed."""


def is_beaten(candidate: SeedCosts, rivals: Sequence[SeedCosts], *, confidence: float) -> bool:
    """Return whether some rival is significantly better in every objective.

    The test is paired, because seeds share base models and images: for each objective, a one-sided t-test on the seeds
    that both have run. It is not corrected for the number of rivals: the more there are, the more easily one beats a
    candidate by chance, which costs a configuration that at best was as good. Fewer than two shared seeds decide
    nothing. If an objective's differences are the same on all shared seeds, any positive difference is significant.

    Args:
        candidate: Its costs on the seeds that it has run on.
        rivals: The costs of configurations that have run on all seeds.
        confidence: Of the one-sided test of each objective, between 0.5 and 1.
    """
    return any(_is_worse(candidate, rival, confidence) for rival in rivals)


def _is_worse(candidate: SeedCosts, rival: SeedCosts, confidence: float) -> bool:
    seeds = sorted(set(candidate) & set(rival))
    if len(seeds) < 2:
        return False
    candidate_costs = zip(*(candidate[seed] for seed in seeds), strict=True)
    rival_costs = zip(*(rival[seed] for seed in seeds), strict=True)
    pairs = zip(candidate_costs, rival_costs, strict=True)
    return all(paired_t_p_value(worse, better) < 1 - confidence for worse, better in pairs)
