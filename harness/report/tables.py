"""The report's tables: cells with a text, a key to sort by, and what marks them."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from benchmarks.boards import Column
from benchmarks.rows.columns import Rows
from benchmarks.rows.row import Provenance
from harness.ranking.budgets.budget import Budget
from harness.ranking.entry import Entry
from harness.ranking.leaderboard import Leaderboard, Section, make_leaderboard
from harness.report.charts.pareto import measure_scale
from harness.report.data import ItemT, ReportData
from harness.suite_cell import ID_LENGTH, row_title
from harness.text import printable
from harness.views.leaderboards.entry_text import (
    ARROWS,
    PUBLISHED_TITLE,
    REFERENCE,
    measure_text,
    partial_text,
    published_notes,
    rank_text,
    reference_entries,
    seeds_text,
    table_notes,
    variant_texts,
)
from splitters.errors import ConfigurationError

MAX_ENTRIES = 200
"""Lines of one leaderboard."""

BUDGET = "retention=30%,50%,70%"
"""The shares of kernels of the table at equal retention."""

MAX_REASONS = 200
"""Failures, and warnings, that are listed."""

_SPECIFICS = re.compile(r"'[^']*'(, '[^']*')*|\d+(\.\d+)?")
"""What tells warnings of one kind apart."""

_INTERVAL_WIDTH = 110
_INTERVAL_MARGIN = 5


@dataclass(frozen=True)
class Interval:
    """A mean and its confidence interval as a small drawing: positions in pixels."""

    low: float
    mean: float
    high: float
    zero: float | None
    colour: str


@dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Args:
        text: What it says.
        key: What it is sorted by; its text if None.
        half: Half the width of the confidence interval, as text.
        colour: The CSS colour of a method's dot.
        interval: A drawing.
        is_number: Whether it is aligned to the right.
        is_code: Whether it is a command or an id.
    """

    text: str
    key: float | str | None = None
    half: str = ""
    colour: str = ""
    interval: Interval | None = None
    is_number: bool = False
    is_code: bool = False


@dataclass(frozen=True)
class Heading:
    """A column's heading, its unit, and whether its cells are numbers."""

    text: str
    unit: str = ""
    is_number: bool = False
    title: str = ""


@dataclass(frozen=True)
class Table:
    """A table.

    Args:
        title: Its caption.
        headings: Its columns.
        lines: Its lines.
        note: How to read it, and what is left out; may be empty.
    """

    title: str
    headings: Sequence[Heading]
    lines: Sequence[Sequence[Cell]]
    note: str = ""


def leaderboard_tables(data: ReportData) -> list[Table]:
    """Return a table per section: every column of the scenario's board, with intervals."""
    return [_leaderboard(data, data.board, section) for section in data.sections]


def leaderboard_notes(data: ReportData) -> list[str]:
    """Return what the tables' marks mean, and the sources of published figures."""
    published = [PUBLISHED_TITLE, *published_notes(data.board)] if data.board.published else []
    return [*table_notes(data.board), *published]


def budget_tables(data: ReportData) -> list[Table]:
    """Return a table per section of splitters at equal retention; none where no row has recorded states."""
    try:
        board = make_leaderboard(data.rows, budget=Budget.parse(BUDGET))
    except ConfigurationError:
        return []
    return [_leaderboard(data, board, section) for section in board.sections]


def _columns(section: Section) -> list[Column]:
    """Return a section's columns, the one that ranks first."""
    return sorted(section.board.columns, key=lambda column: column.measure != section.sort)


def _leaderboard(data: ReportData, board: Leaderboard, section: Section) -> Table:
    headings: list[Heading] = []
    for column in _columns(section):
        arrow = ARROWS[section.board.better(column.measure)]
        unit = {"time": "", "count": "", "ratio": "×"}.get(column.unit, column.unit)
        headings.append(Heading(f"{column.heading} {arrow}".strip(), unit, True, column.measure.replace("_", " ")))
        if column.measure == section.sort:
            headings.append(
                Heading("95 % interval", title=f"{section.sort.replace('_', ' ')}, mean and 95 % t-interval")
            )
    names = [Heading("rank", is_number=True), Heading("splitter")]
    texts = [Heading(key.replace("_", " ")) for key in section.variants]
    seeds = Heading("seeds", is_number=True, title="Seeds that succeeded, out of how many if some failed")
    headings = _in_order(section, names, texts, seeds, headings)
    entries = section.entries[:MAX_ENTRIES]
    span = _span(section, entries)
    lines = [_line(data, section, entry, span) for entry in entries]
    for label, entry in reference_entries(board, section):
        first = [Cell(REFERENCE, key=1e9, is_number=True), Cell(label)]
        variants = list(map(Cell, variant_texts(section, entry)))
        measures = list(_measures(data, section, entry, span))
        lines.append(_in_order(section, first, variants, Cell("–", is_number=True), measures))
    left_out = len(section.entries) - len(entries)
    notes = [section.board.note] if section.board.note else []
    notes += [f"{left_out:,} more entries: splitbench leaderboard {shlex.quote(data.results)}"] if left_out else []
    return Table(section.title, headings, lines, " ".join(notes))


def _line(data: ReportData, section: Section, entry: Entry, span: tuple[float, float] | None) -> list[Cell]:
    rank = Cell(rank_text(entry), key=1e6 if entry.rank is None else entry.rank, is_number=True)
    name = Cell(entry.label, colour=_colour(data, entry))
    variants = [Cell(text) for text in variant_texts(section, entry)]
    seeds = Cell(seeds_text(entry), key=entry.n_seeds, is_number=True)
    return _in_order(section, [rank, name], variants, seeds, list(_measures(data, section, entry, span)))


def _in_order(
    section: Section, names: list[ItemT], texts: list[ItemT], seeds: ItemT, measures: list[ItemT]
) -> list[ItemT]:
    """Return the columns of a line in their order: what ranks stands near the names, where phones show it."""
    n_variants = sum(key != "score" for key in section.variants)
    return [*names, *texts[:n_variants], *measures[:2], *texts[n_variants:], seeds, *measures[2:]]


def _measures(data: ReportData, section: Section, entry: Entry, span: tuple[float, float] | None) -> Iterator[Cell]:
    for column in _columns(section):
        yield _measure(section, entry, column)
        if column.measure == section.sort:
            yield _interval(data, section, entry, span)


def _measure(section: Section, entry: Entry, column: Column) -> Cell:
    estimate = entry.estimates.get(column.measure)
    if estimate is None:
        return Cell("–", key=1e300, is_number=True)
    partial = partial_text(entry, column.measure)
    text, _, half = measure_text(entry, column).removesuffix(partial).partition(" ±")
    if not half and estimate.half_width is not None and column.unit in ("%", "ratio", "count"):
        scale = measure_scale(section.board, column.measure)
        half = f"{scale * estimate.half_width:.{2 if column.unit == 'ratio' else 1}f}"
    text = text.removesuffix("x") if column.unit == "ratio" else text
    return Cell(text + ("" if half else partial), estimate.mean, half + (partial if half else ""), is_number=True)


def _span(section: Section, entries: Sequence[Entry]) -> tuple[float, float] | None:
    """Return the ends of the axis on which a section's intervals are drawn."""
    estimates = [entry.estimates[section.sort] for entry in entries if section.sort in entry.estimates]
    if not estimates:
        return None
    low = min(estimate.mean - (estimate.half_width or 0) for estimate in estimates)
    high = max(estimate.mean + (estimate.half_width or 0) for estimate in estimates)
    return min(low, 0.0), max(high, 0.0)


def _interval(data: ReportData, section: Section, entry: Entry, span: tuple[float, float] | None) -> Cell:
    estimate = entry.estimates.get(section.sort)
    if estimate is None or span is None or span[0] == span[1]:
        return Cell("", key=1e300)
    half = estimate.half_width or 0.0

    def place(value: float) -> float:
        inner = _INTERVAL_WIDTH - 2 * _INTERVAL_MARGIN
        return round(_INTERVAL_MARGIN + inner * (value - span[0]) / (span[1] - span[0]), 1)

    drawn = Interval(
        place(estimate.mean - half), place(estimate.mean), place(estimate.mean + half), place(0.0), _colour(data, entry)
    )
    return Cell("", estimate.mean, interval=drawn)


def _colour(data: ReportData, entry: Entry) -> str:
    method = data.method_named(entry.label)
    return data.methods.colour(method) if method in data.methods.names else "var(--mark)"


def failure_table(data: ReportData) -> Table | None:
    """Return the cells that are not ``ok``, with reasons; None if there are none."""
    failures = Rows.of(data.board.failures)
    if not failures:
        return None
    lines = [
        [
            Cell(row.state.value.replace("_", " ")),
            Cell(row_title(row)),
            Cell(": ".join(dict.fromkeys(part for part in (row.failure_kind, row.reason) if part))),
            Cell(f"splitbench show {row.cell_id[:ID_LENGTH]} {data.results_option}", is_code=True),
        ]
        for row in failures[:MAX_REASONS]
    ]
    kinds = Counter(kind or state for kind, state in zip(*map(failures.values, ("failure_kind", "state")), strict=True))
    note = ", ".join(f"{kind}: {count:,}" for kind, count in kinds.most_common(8))
    if len(failures) > MAX_REASONS:
        note += f". The first {MAX_REASONS} are listed."
    headings = [Heading("state"), Heading("cell"), Heading("reason"), Heading("everything about it")]
    return Table("Cells that did not succeed", headings, lines, note)


def warning_table(data: ReportData) -> Table | None:
    """Return what cells warn of, one line for texts that differ in numbers and quoted names alone; None without any."""
    cells: dict[str, list[int]] = {}
    first_texts: dict[str, str] = {}
    warnings = data.rows.values("warnings")
    for row in np.flatnonzero(data.succeeded).tolist():
        for text in warnings[row]:
            kind = _SPECIFICS.sub("…", text)
            first_texts.setdefault(kind, text)
            if row not in cells.setdefault(kind, [])[-1:]:
                cells[kind].append(row)
    if not cells:
        return None
    lines = [
        [
            Cell(f"{len(rows):,}", key=len(rows), is_number=True),
            Cell(first_texts[kind]),
            Cell("; ".join(map(row_title, data.models(rows[:2]))) + (" …" if len(rows) > 2 else "")),
            Cell(f"splitbench show {data.cell_ids[rows[0]][:ID_LENGTH]} {data.results_option}", is_code=True),
        ]
        for kind, rows in list(cells.items())[:MAX_REASONS]
    ]
    headings = [Heading("cells", is_number=True), Heading("warning"), Heading("for example"), Heading("show")]
    left_out = len(cells) - len(lines)
    note = "Warnings that differ only in numbers and quoted names share a line, with the text of the first."
    note += f" {left_out:,} more are left out." if left_out else ""
    return Table("Warnings of cells that succeeded", headings, lines, note)


def provenance_table(data: ReportData) -> Table:
    """Return the software and machines that computed the rows, one line per combination."""
    names = [*Provenance.model_fields, "threads"]
    columns = ([str(value or "–") for value in data.rows.values(name)] for name in names)
    kinds = Counter(zip(*columns, strict=True))
    headings = [Heading("cells", is_number=True), *(Heading(name.replace("_", " ")) for name in names)]
    lines = [
        [Cell(f"{count:,}", count, is_number=True), *(Cell(_short(value)) for value in values)]
        for values, count in kinds.most_common(MAX_REASONS)
    ]
    return Table("Software and machines", headings, lines)


def source_table(data: ReportData) -> Table:
    """Return the images and base models behind the rows, by their hashes."""
    names = ("dataset", "dataset_hash", "model", "base", "base_model_hash", "seed")
    kinds = Counter(
        (dataset, images or "–", model, base or "trained", weights or "–", seed)
        for dataset, images, model, base, weights, seed in zip(
            *map(data.rows.filter(data.succeeded).values, names), strict=True
        )
        if images or weights
    )
    headings = [
        Heading(name) for name in ("data set", "images, SHA-256", "base model", "weights from", "weights, SHA-256")
    ]
    headings += [Heading("seed", is_number=True), Heading("cells", is_number=True)]
    lines = [
        [
            Cell(dataset), Cell(images[:12], is_code=True), Cell(model), Cell(base),
            Cell(weights[:12], is_code=True), Cell(str(seed), seed, is_number=True),
            Cell(f"{count:,}", count, is_number=True),
        ]
        for (dataset, images, model, base, weights, seed), count in sorted(kinds.items())[:MAX_REASONS]
    ]  # fmt: skip
    left_out = len(kinds) - len(lines)
    return Table("Images and base models", headings, lines, f"{left_out:,} more." if left_out else "")


def cell_index(data: ReportData) -> Mapping[str, Any]:
    """Return every cell in the compact form from which the page makes its table.

    Repeated texts are stored once: ``texts`` holds them, and each line of ``lines`` refers to them by position, but for
    the cell's id, its seed and its seconds.
    """
    texts: dict[str, int] = {}

    @cache
    def number(text: str) -> int:
        return texts.setdefault(printable(text), len(texts))

    rows = data.rows
    scenarios, datasets, models, states, seconds = map(
        rows.values, ("scenario", "dataset", "model", "state", "seconds")
    )
    order = list(zip(scenarios, datasets, models, data.method_of_rows, data.seeds, strict=True))
    lines = [
        [
            data.cell_ids[row][:ID_LENGTH],
            number(scenarios[row]),
            number(data.method_of_rows[row]),
            number(data.settings[row]),
            number(models[row]),
            number(datasets[row]),
            data.seeds[row],
            number(states[row].replace("_", " ")),
            round(seconds[row], 1),
        ]
        for row in sorted(range(len(rows)), key=order.__getitem__)
    ]
    return {"texts": list(texts), "lines": lines, "options": data.results_option}


def _short(value: str) -> str:
    is_hash = len(value) >= 40 and all(character in "0123456789abcdef" for character in value[:40])
    return value[:10] + value[40:] if is_hash else value
