"""A leaderboard's entries as differences from one of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from harness.ranking.entry import Entry
from harness.ranking.leaderboard import Leaderboard, Section
from harness.ranking.statistics import Estimate
from splitters.errors import ConfigurationError, UnknownNameError


def with_baseline(board: Leaderboard, name: str) -> Leaderboard:
    """Return a leaderboard whose entries know their differences from a baseline.

    Differences are taken on the seeds (classes, tasks) on which both have the measure, between entries of the same
    variant; without such a seed or variant there are none. Published figures, which have no such pairs, are left out.
    Sections without the baseline stay as they are.

    Args:
        board: The leaderboard.
        name: The baseline's label or name; a label is preferred.

    Raises:
        UnknownNameError: If no section has such an entry.
        ConfigurationError: If it has no measurement.
    """
    sections = [_with_baseline(section, name) for section in board.sections]
    if board.sections and not any(section.baseline for section in sections):
        known = {
            text for section in board.sections for entry in section.entries for text in (entry.label, entry.splitter)
        }
        if name in known:
            raise ConfigurationError(f"--baseline {name}: it has no cell that is ok, so nothing differs from it.")
        raise UnknownNameError("splitter in these results", name, known, where="--baseline")
    return replace(board, sections=tuple(sections))


def _with_baseline(section: Section, name: str) -> Section:
    named = [entry for entry in section.entries if entry.label == name]
    named = named or [entry for entry in section.entries if entry.splitter == name]
    measured = [entry for entry in named if entry.estimates]
    if not measured:
        return section
    baselines = {tuple(entry.variant.items()): entry for entry in reversed(measured)}

    def compared(entry: Entry) -> Entry:
        baseline = baselines.get(tuple(entry.variant.items()))
        if entry is baseline:
            return entry
        return replace(entry, differences={} if baseline is None else _differences(entry, baseline))

    return replace(section, entries=tuple(map(compared, section.entries)), references=(), baseline=measured[0])


def _differences(entry: Entry, baseline: Entry) -> Mapping[str, Estimate]:
    differences = {}
    for measure in entry.estimates:
        shared = entry.seeds_with(measure) & baseline.seeds_with(measure)
        ours, theirs = entry.subject_means(shared, measure), baseline.subject_means(shared, measure)
        values = [ours[subject] - theirs[subject] for subject in ours if subject in theirs]
        if values:
            differences[measure] = Estimate.of(values)
    return differences
