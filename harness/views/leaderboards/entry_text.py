"""How leaderboards for people write an entry: the text of its cells, and the notes below the tables."""

from __future__ import annotations

import re

from benchmarks.boards import Column
from harness.ranking.configuration import setting_name
from harness.ranking.entry import Entry
from harness.ranking.leaderboard import Leaderboard, Reference, Section
from harness.ranking.paired.ranks import TEST
from harness.ranking.statistics import Estimate
from harness.views.quantities import duration_text, points_text

ARROWS = {"higher": "↑", "lower": "↓", None: ""}
"""Arrows towards the better direction."""

REFERENCE = "ref"
"""Shown instead of a rank for figures that were not measured here."""

INCOMPLETE_MARK = "*"

WARNING_MARK = "!"

WARNING_NOTE = (
    f"{WARNING_MARK} rows with warnings: 'splitbench show CELL_ID' shows them, 'splitbench plan SUITE' lists the ids."
)

RANK_NOTE = f"A rank begins where a {TEST}, separates an entry from the first one of the rank above."

UNRANKED_NOTE = "Too few seeds, classes or tasks to tell entries apart: no ranks."

UNRANKED_ENTRY_NOTE = "– too few seeds, classes or tasks in common with the entries above to rank the entry."

INCOMPLETE_NOTE = (
    f"{INCOMPLETE_MARK} has no value on seeds on which other entries have one: ranked after the complete entries, "
    "on the seeds that all such entries share."
)

PARTIAL_NOTE = "2/3 after a value: measured on two of three seeds."

PUBLISHED_TITLE = "ref: published figures, not measured here, of other networks and training:"


_MAX_KEYS = 3
"""Keys named in the note on what is averaged."""


def variant_texts(section: Section, entry: Entry) -> list[str]:
    """Return an entry's texts in the columns in which the section's entries differ."""
    return [entry.texts.get(name, "–") for name in section.variants]


def described_variant(section: Section, entry: Entry) -> str:
    """Return an entry's texts in these columns as one, each with its column's name; empty if there are none."""
    names = (name.replace("_", " ") for name in section.variants)
    return ", ".join(map(" ".join, zip(names, variant_texts(section, entry), strict=True)))


def reference_entries(board: Leaderboard, section: Section) -> list[tuple[str, Entry]]:
    """Return a section's published figures, if any of their numbers is shown, with labels that refer to the notes."""
    numbers = _note_numbers(board)
    return [
        (f"{reference.entry.label} [{numbers[reference.figure.text]}]", reference.entry)
        for reference in _shown_references(section)
    ]


def published_notes(board: Leaderboard, section: Section | None = None) -> list[str]:
    """Return a line per published figure of a leaderboard or of one of its sections: what is reported, and where.

    A figure has a number if a table has a row of it.
    """
    numbers = _note_numbers(board)
    figures = board.published if section is None else [reference.figure for reference in section.references]
    return [
        f"{f'[{numbers[figure.text]}] ' if figure.text in numbers else ''}"
        f"{figure.splitter}: {figure.text} ({figure.source})"
        for figure in sorted(figures, key=lambda figure: numbers.get(figure.text, len(numbers) + 1))
    ]


def _note_numbers(board: Leaderboard) -> dict[str, int]:
    """Return the numbers, from 1, of the published figures of which some table has a row, by their texts."""
    texts = (reference.figure.text for section in board.sections for reference in _shown_references(section))
    return {text: number for number, text in enumerate(dict.fromkeys(texts), start=1)}


def _shown_references(section: Section) -> list[Reference]:
    shown = {column.measure for column in section.columns}
    return [reference for reference in section.references if shown & set(reference.entry.estimates)]


def seeds_text(entry: Entry) -> str:
    """Return how many seeds succeeded, out of how many if some failed; a dash for what was not measured here.

    Entries that lack seeds which others of their section have are marked, and so are those with warnings.
    """
    if not entry.cell_ids:
        return "–"
    counts = f"{entry.n_seeds}/{entry.n_seeds + entry.n_failed}" if entry.n_failed else str(entry.n_seeds)
    counts += INCOMPLETE_MARK if entry.n_seeds and entry.missing_seeds else ""
    return counts + WARNING_MARK if entry.n_warnings else counts


def rank_text(entry: Entry) -> str:
    """Return an entry's rank, or a dash."""
    return "–" if entry.rank is None else str(entry.rank)


def table_notes(board: Leaderboard) -> list[str]:
    """Return the test that separates ranks, if there are any, and the explanations of the marks in the tables."""
    ranked = any(entry.rank is not None for section in board.sections for entry in section.entries)
    notes = [RANK_NOTE] if ranked else []
    notes += [note for note in (_averaged_note(board), _baseline_note(board)) if note]
    if board.has_unranked_entries:
        notes.append(UNRANKED_ENTRY_NOTE if ranked else UNRANKED_NOTE)
    if board.has_incomplete_entries:
        notes.append(INCOMPLETE_NOTE)
    if any(_has_partial_values(section) for section in board.sections):
        notes.append(PARTIAL_NOTE)
    if board.has_warnings:
        notes.append(WARNING_NOTE)
    return notes + list(dict.fromkeys(section.board.note for section in board.sections if section.board.note))


def _has_partial_values(section: Section) -> bool:
    """Return whether a value is shown with its number of seeds; boards that always do so explain it in their note."""
    measures = [column.measure for column in section.columns if not column.counts_seeds]
    shown = [entry for entry in section.entries if entry.differences is None]
    return any(entry.is_partial(measure) for entry in shown for measure in measures)


def _averaged_note(board: Leaderboard) -> str:
    averaged = [key for section in board.sections for key in section.averaged]
    keys = list(dict.fromkeys(setting_name(key.removesuffix(".name")) for key in averaged))
    if not keys:
        return ""
    named = ", ".join(keys[:_MAX_KEYS]) + (", ..." if len(keys) > _MAX_KEYS else "")
    return f"Rows that differ in {named} are averaged; entries are compared on what both were measured on."


def _baseline_note(board: Leaderboard) -> str:
    baselines = baseline_labels(board)
    if not baselines:
        return ""
    without = [section.title for section in board.sections if section.baseline is None]
    note = f"Differences from {' or '.join(baselines)}, whose own values are shown, on the seeds that both have."
    return f"{note} It was not measured in: {'; '.join(without)}." if without else note


def baseline_labels(board: Leaderboard) -> list[str]:
    """Return the labels of the baselines that a leaderboard shows differences from."""
    return list(dict.fromkeys(section.baseline.label for section in board.sections if section.baseline))


def seeds_heading(section: Section) -> str:
    """Return the heading of the column with the number of measurements."""
    return "cells" if section.averaged else "seeds"


def measure_text(entry: Entry, column: Column) -> str:
    """Return a measure's mean in its column's unit, or its difference from the baseline; a dash if there is none."""
    values = entry.estimates if entry.differences is None else entry.differences
    estimate = values.get(column.measure)
    if estimate is None:
        return "–"
    if entry.differences is not None:
        size = _in_unit(Estimate(abs(estimate.mean), estimate.half_width), column)
        is_zero = not re.search("[1-9]", size.partition(" ±")[0])
        return size if is_zero else f"{'-' if estimate.mean < 0 else '+'}{size}"
    return _in_unit(estimate, column) + partial_text(entry, column.measure)


def partial_text(entry: Entry, measure: str) -> str:
    """Return on how many of an entry's seeds a measure was measured, where not on all."""
    return f" {len(entry.seeds_with(measure))}/{entry.n_seeds}" if entry.is_partial(measure) else ""


def _in_unit(estimate: Estimate, column: Column) -> str:
    if column.unit == "time":
        return duration_text(estimate.mean)
    if column.unit == "points":
        return points_text(estimate)
    if column.unit == "ratio":
        return f"{estimate.mean:.2f}x"
    return f"{100 * estimate.mean:.1f}" if column.unit == "%" else f"{estimate.mean:.1f}"
