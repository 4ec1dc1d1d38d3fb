"""Ranks: which splitters are better than which, on the same seeds and beyond the chance of a paired test."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from harness.ranking.entry import Block, Entry, in_order
from harness.ranking.paired.comparison import SIGNIFICANCE, Comparison, holm

TEST = f"paired t-test, Holm-corrected, p < {SIGNIFICANCE:g}"
"""The test that separates ranks, for legends."""


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


def _ranked_on(
    seeds: Collection[Block], entries: Sequence[Entry], measure: str, higher_is_better: bool, *, first: int
) -> Iterator[Entry]:
    if not seeds:
        yield from entries
        return
    sign = -1 if higher_is_better else 1
    ordered = sorted(entries, key=lambda entry: sign * entry.estimate_on(seeds, measure).mean)
    position = 0
    while position < len(ordered):
        leader, *others = ordered[position:]
        comparisons = [compared(leader, other, measure, seeds, higher_is_better=higher_is_better) for other in others]
        if not all(comparison.is_testable for comparison in comparisons) or not _has_pairs(leader, measure, seeds):
            yield from ordered[position:]
            return
        p_values = holm([comparison.p_value or 0.0 for comparison in comparisons])
        sharing = next((n for n, p in enumerate(p_values) if p < SIGNIFICANCE), len(others))
        yield from (replace(entry, rank=first + position) for entry in ordered[position : position + 1 + sharing])
        position += 1 + sharing


def _has_pairs(entry: Entry, measure: str, seeds: Collection[Block]) -> bool:
    """Return whether an entry alone has enough values for a claim about its rank."""
    return compared(entry, entry, measure, seeds, higher_is_better=True).is_testable


def compared(
    first: Entry, second: Entry, measure: str, seeds: Collection[Block], *, higher_is_better: bool
) -> Comparison:
    """Return two entries' values of a measure on the subjects that both have, over some seeds."""
    ours, theirs = first.subject_means(seeds, measure), second.subject_means(seeds, measure)
    subjects = [subject for subject in ours if subject in theirs]
    return Comparison(
        tuple(ours[subject] for subject in subjects), tuple(theirs[subject] for subject in subjects), higher_is_better
    )
