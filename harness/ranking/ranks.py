"""Ranks: who is better than whom, on the same seeds and beyond the width of the intervals."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace

from harness.ranking.entry import Entry


def ranked(entries: Sequence[Entry], measure: str, *, higher_is_better: bool) -> list[Entry]:
    """Return a section's entries with their ranks, the best first and those without the measure last.

    Seeds differ in how hard they are, so means are compared on the same seeds only. Entries measured on every seed that
    any entry has are complete, and are ranked by their means. Incomplete ones come after them, whatever their means:
    they are ranked by their means on the seeds that all incomplete entries share; if they share none, nothing can be
    said about their order, and they share a rank.

    Within both groups, the best entry leads a rank. The ones that follow share it as long as their interval overlaps
    the leader's; the first one whose interval does not leads the next rank, which is one more than the number of
    entries before it. A single seed has no interval; its value counts as a point.

    Args:
        entries: The entries.
        measure: What to rank by.
        higher_is_better: Whether larger values of the measure are better.
    """
    all_seeds = frozenset[int]().union(*(entry.seeds_with(measure) for entry in entries))
    marked = [replace(entry, missing_seeds=tuple(sorted(all_seeds - entry.seeds_with(measure)))) for entry in entries]
    complete = [entry for entry in marked if measure in entry.estimates and not entry.missing_seeds]
    incomplete = [entry for entry in marked if measure in entry.estimates and entry.missing_seeds]
    sign = -1 if higher_is_better else 1
    shared_seeds = all_seeds.intersection(*(entry.seeds_with(measure) for entry in incomplete))
    return [
        *_ranked_on(all_seeds, complete, measure, sign, first=1),
        *_ranked_on(shared_seeds, incomplete, measure, sign, first=1 + len(complete)),
        *(entry for entry in marked if measure not in entry.estimates),
    ]


def _ranked_on(
    seeds: Collection[int], entries: Sequence[Entry], measure: str, sign: int, *, first: int
) -> Iterator[Entry]:
    if not seeds:
        yield from (replace(entry, rank=first) for entry in entries)
        return
    compared = [(entry.estimate_on(seeds, measure), entry) for entry in entries]
    leader, rank = None, first
    for position, (estimate, entry) in enumerate(sorted(compared, key=lambda pair: sign * pair[0].mean), start=first):
        if leader is None or not estimate.overlaps(leader):
            leader, rank = estimate, position
        yield replace(entry, rank=rank)
