"""Ranks: which splitters are better than which, on the same seeds and beyond the chance of a paired test."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from statistics import fmean

import numpy as np
from jaxtyping import Float
from numpy.typing import NDArray

from harness.ranking.entry import Block, Entry, in_order
from harness.ranking.paired.comparison import MIN_PAIRS, SIGNIFICANCE, Comparison, holm
from harness.ranking.statistics import paired_t_p_values

TEST = f"paired t-test, Holm-corrected, p < {SIGNIFICANCE:g}"
"""The test that separates ranks, for legends."""

_DOUBTFUL = 1e-9
"""Distance from ``SIGNIFICANCE`` within which rounding might decide; such tests are computed exactly."""


def ranked(entries: Sequence[Entry], measure: str, *, higher_is_better: bool) -> list[Entry]:
    """Return a section's entries with their ranks, the best mean first and those without the measure last.

    Seeds differ in how hard they are, so entries are compared on the same seeds only. Entries measured on every seed
    that any entry has are complete, and are ranked first. Incomplete ones follow, whatever their means, and are ranked
    on the seeds that all incomplete entries share.

    Within both groups, the best mean leads a rank. The entries that follow share it until one is worse by a paired
    t-test against the leader over seeds (or target classes, or tasks), corrected after Holm for the number of entries
    behind the leader; that one leads the next rank, which is one more than the number of entries before it.

    With fewer than ``MIN_PAIRS`` pairs there is no test: entries are ordered by their means, without ranks.

    Args:
        entries: The entries.
        measure: What to rank by.
        higher_is_better: Whether larger values of the measure are better.
    """
    all_seeds = frozenset[Block]().union(*(entry.seeds_with(measure) for entry in entries))
    marked = [replace(entry, missing_seeds=in_order(all_seeds - entry.seeds_with(measure))) for entry in entries]
    complete = [entry for entry in marked if measure in entry.estimates and not entry.missing_seeds]
    incomplete = [entry for entry in marked if measure in entry.estimates and entry.missing_seeds]
    shared_seeds = all_seeds.intersection(*(entry.seeds_with(measure) for entry in incomplete))
    return [
        *_ranked_on(all_seeds, complete, measure, higher_is_better, first=1),
        *_ranked_on(shared_seeds, incomplete, measure, higher_is_better, first=1 + len(complete)),
        *(entry for entry in marked if measure not in entry.estimates),
    ]


def ranked_with_first(entries: Sequence[Entry], measure: str) -> list[Entry]:
    """Return the first entry and those that were ranked on the same seeds as it, each with these seeds alone.

    Args:
        entries: The entries of a section that have the measure, after ``ranked``.
        measure: What they were ranked by.
    """
    alike = [entry for entry in entries if bool(entry.missing_seeds) == bool(entries[0].missing_seeds)]
    seeds = frozenset.intersection(*(entry.seeds_with(measure) for entry in alike))
    return [entry.on(seeds) for entry in alike]


def separated_from_first(entries: Sequence[Entry], measure: str) -> tuple[list[Entry], list[Entry]]:
    """Return the entries that the test of ``ranked`` separates from the first one, and those that it does not.

    A later rank alone does not mean that: it may begin at an entry before, which varies less.

    Args:
        entries: What ``ranked_with_first`` returns.
        measure: What they were ranked by.
    """
    tested = [entry for entry in entries if entry.rank is not None]
    if len(tested) < 2:
        return [], []
    seeds = tested[0].seeds_with(measure)
    leader, *values = _by_subject([entry.subject_means(seeds, measure) for entry in tested])
    separated: list[Entry] = []
    rest: list[Entry] = []
    for entry, p_value in zip(tested[1:], _p_values(leader, np.array(values)), strict=True):
        (separated if p_value < SIGNIFICANCE else rest).append(entry)
    return separated, rest


def _ranked_on(
    seeds: Collection[Block], entries: Sequence[Entry], measure: str, higher_is_better: bool, *, first: int
) -> Iterator[Entry]:
    if not seeds:
        yield from entries
        return
    sign = -1 if higher_is_better else 1
    means = [entry.subject_means(seeds, measure) for entry in entries]
    order = sorted(range(len(entries)), key=lambda index: sign * fmean(means[index].values()))
    ordered, values = [entries[index] for index in order], _by_subject([means[index] for index in order])
    position = 0
    while position < len(ordered):
        leader, others = values[position], values[position + 1 :]
        if (~np.isnan(values[position:] - leader)).sum(axis=1).min() < MIN_PAIRS:
            yield from ordered[position:]
            return
        p_values = _p_values(leader, others) if len(others) else []
        sharing = next((n for n, p in enumerate(p_values) if p < SIGNIFICANCE), len(others))
        yield from (replace(entry, rank=first + position) for entry in ordered[position : position + 1 + sharing])
        position += 1 + sharing


def _p_values(
    leader: Float[NDArray[np.float64], " subject"], others: Float[NDArray[np.float64], "other subject"]
) -> list[float]:
    p_values = holm(paired_t_p_values(leader, others).tolist())
    if any(abs(p - SIGNIFICANCE) < _DOUBTFUL for p in p_values):
        p_values = holm([_exact_p_value(leader, other) for other in others])
    return p_values


def _exact_p_value(
    leader: Float[NDArray[np.float64], " subject"], other: Float[NDArray[np.float64], " subject"]
) -> float:
    first, second = np.stack([leader, other])[:, ~np.isnan(leader - other)].tolist()
    return Comparison(tuple(first), tuple(second), higher_is_better=True).p_value or 0.0


def _by_subject(means: Sequence[Mapping[str, float]]) -> Float[NDArray[np.float64], "entry subject"]:
    """Return the values of entries, NaN where one lacks a subject that another one has."""
    place = {subject: index for index, subject in enumerate(dict.fromkeys(name for found in means for name in found))}
    values = np.full((len(means), len(place)), np.nan)
    for line, found in zip(values, means, strict=True):
        line[[place[subject] for subject in found]] = list(found.values())
    return values
