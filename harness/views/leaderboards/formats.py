"""Leaderboards as text for other programs: JSON, CSV, Markdown, LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from benchmarks.boards import MODULARIZATION, Column
from harness.ranking.entry import Entry
from harness.ranking.leaderboard import Leaderboard, Section
from harness.suite_cell import ID_LENGTH, row_title
from harness.text import indented_json, markdown_text
from harness.views.leaderboards.entry_text import (
    ARROWS,
    PUBLISHED_TITLE,
    REFERENCE,
    baseline_labels,
    measure_text,
    published_notes,
    rank_text,
    reference_entries,
    seeds_heading,
    seeds_text,
    table_notes,
    variant_texts,
)
from harness.views.leaderboards.tables import (
    LATEX_PREAMBLE,
    TextTable,
    csv_text,
    latex_labels,
    latex_lines,
    markdown_lines,
)


def leaderboard_objects(board: Leaderboard) -> list[dict[str, Any]]:
    """Return one object per entry: means over seeds as fractions, None where nothing was measured.

    Entries of every scenario have the measures of splitting as keys, so that programs can read all of them alike.
    Published figures follow the entries of each section; their ``measured`` is false, and ``source`` names the paper.
    """
    compares = bool(baseline_labels(board))
    return [entry for section in board.sections for entry in _section_objects(section, compares=compares)]


def _section_objects(section: Section, *, compares: bool) -> Iterator[dict[str, Any]]:
    partial = _partial(section)
    for entry in section.entries:
        differences = _differences(section, entry) if compares else {}
        yield {**_object(section, entry, partial), **differences, "measured": True, "published": None, "source": None}
    for reference in section.references:
        if reference.entry.estimates:
            source = {"measured": False, "published": reference.figure.text, "source": reference.figure.source}
            yield {**_object(section, reference.entry, partial), **source}


def _object(section: Section, entry: Entry, partial: Sequence[str]) -> dict[str, Any]:
    """Return an entry's values; ``partial`` names the measures whose seeds are counted."""
    sort = section.board.sort
    ranked = entry.estimates.get(sort)
    others = () if section.shown is not None else MODULARIZATION.measures
    return {
        "rank": entry.rank,
        "splitter": entry.splitter,
        "model": section.model,
        "dataset": section.dataset,
        "scenario": section.scenario,
        "n_seeds": entry.n_seeds,
        "n_failed": entry.n_failed,
        **dict.fromkeys(others),
        **{key: entry.variant.get(key) for key in section.board.variants},
        **{measure: entry.mean(measure) for measure in section.measures},
        **({f"{sort}_half_width": ranked.half_width if ranked else None} if sort in section.measures else {}),
        **{f"{measure}_n_seeds": len(entry.seeds_with(measure)) for measure in partial},
        "label": entry.label,
        "score": entry.score or None,
        "section": section.title,
        "seeds": list(entry.seeds),
        "missing_seeds": list(entry.missing_seeds),
        "n_warnings": entry.n_warnings,
        "cell_ids": list(entry.cell_ids),
    }


def _partial(section: Section) -> list[str]:
    """Return the measures at budgets, which searches may miss, and others that some seeds of an entry lack."""
    return [
        measure
        for measure in section.measures
        if section.board.column(measure).counts_seeds or any(entry.is_partial(measure) for entry in section.entries)
    ]


def _differences(section: Section, entry: Entry) -> dict[str, Any]:
    """Return an entry's differences from the section's baseline; None for each where there is none."""
    values: dict[str, Any] = {"baseline": section.baseline and section.baseline.label}
    for measure in section.measures:
        difference = (entry.differences or {}).get(measure)
        values[f"{measure}_difference"] = difference and difference.mean
        values[f"{measure}_difference_half_width"] = difference and difference.half_width
    return values


def to_json(board: Leaderboard) -> str:
    """Return a JSON list of ``leaderboard_objects``."""
    return indented_json(leaderboard_objects(board))


def to_csv(board: Leaderboard) -> str:
    """Return a heading and a line per entry, without the cells' ids."""
    return csv_text(leaderboard_objects(board), without=frozenset({"cell_ids"}))


def _shown(section: Section) -> list[Column]:
    """Return the columns of text tables: those that were asked for, else all except times."""
    return [column for column in section.columns if column.unit != "time" or section.shown is not None]


def section_lines(board: Leaderboard, section: Section) -> list[list[str]]:
    """Return the cells of a section's lines: its entries, then published figures."""
    lines = [[rank_text(entry), entry.label, *_rest(section, entry)] for entry in section.entries]
    return lines + [[REFERENCE, label, *_rest(section, entry)] for label, entry in reference_entries(board, section)]


def _rest(section: Section, entry: Entry) -> list[str]:
    measures = [measure_text(entry, column) for column in _shown(section)]
    return [*variant_texts(section, entry), seeds_text(entry), *measures]


def section_headings(section: Section) -> list[str]:
    """Return the headings of ``section_lines``, with units and the better direction."""
    headings = ["rank", "splitter", *(key.replace("_", " ") for key in section.variants), seeds_heading(section)]
    for column in _shown(section):
        unit = {"%": " %", "points": ", points"}.get(column.unit, "")
        headings.append(f"{column.heading}{unit} {ARROWS[section.board.better(column.measure)]}".strip())
    return headings


def _section_table(board: Leaderboard, section: Section) -> TextTable:
    headings = section_headings(section)
    n_names = 1 + len(section.variants)
    alignment = "r" + "l" * n_names + "r" * (len(headings) - 1 - n_names)
    return TextTable(section.title, headings, alignment, section_lines(board, section))


def to_markdown(board: Leaderboard) -> str:
    """Return a table per section, and a list of the cells that are not ``ok``."""
    lines = [line for section in board.sections for line in markdown_lines(_section_table(board, section))]
    for note in table_notes(board):
        lines += [markdown_text(note), ""]
    if board.published:
        lines += [PUBLISHED_TITLE, "", *(f"- {markdown_text(note)}" for note in published_notes(board)), ""]
    if board.failures:
        lines += ["Not ok:", ""]
    for row in board.failures:
        reason = row.reason or row.failure_kind or ""
        lines.append(f"- `{row.cell_id[:ID_LENGTH]}` {markdown_text(f'{row_title(row)}: {row.state.value}: {reason}')}")
    return "\n".join(lines).strip()


def to_latex(board: Leaderboard) -> str:
    """Return a ``booktabs`` table per section, each complete: caption, label, notes; failures follow as comments."""
    tables = [replace(_section_table(board, part), notes=_latex_notes(board, part)) for part in board.sections]
    lines = [LATEX_PREAMBLE]
    for table, label in zip(tables, latex_labels(tables), strict=True):
        lines += latex_lines(table, label)
    lines += [f"% not ok: {row.cell_id[:ID_LENGTH]} {row.state.value}" for row in board.failures]
    return "\n".join(lines)


def _latex_notes(board: Leaderboard, section: Section) -> list[str]:
    """Return the notes on a section's table, for a place inside its float."""
    of_section = replace(board, sections=(section,))
    notes = table_notes(of_section)
    if section.baseline is None and (labels := baseline_labels(board)):
        notes.append(f"{' or '.join(labels)} was not measured here: these are values, not differences.")
    if section.references:
        notes += [PUBLISHED_TITLE, *published_notes(board, section)]
    return notes


FORMATS: dict[str, Callable[[Leaderboard], str]] = {
    "json": to_json,
    "md": to_markdown,
    "csv": to_csv,
    "latex": to_latex,
}
"""Text formats by name."""
