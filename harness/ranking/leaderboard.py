"""Leaderboards: rows in sections of what may be compared, splitters ranked in each."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from benchmarks.boards import MODULARIZATION, Board, Column
from benchmarks.rows.published import PublishedFigure, figures_for
from benchmarks.rows.row import Metrics, Row, State
from benchmarks.scenarios.scenario import SCENARIOS
from harness.ranking.budgets.budget import Budget
from harness.ranking.budgets.recorded_states import recorded_states
from harness.ranking.configuration import (
    Configuration,
    configurations,
    distinct_names,
    grouped,
    row_values,
    unknown_key,
)
from harness.ranking.entry import Entry, make_entries
from harness.ranking.paired.ranks import ranked
from harness.ranking.statistics import Estimate
from splitters.errors import ConfigurationError, UnknownNameError


@dataclass(frozen=True)
class Reference:
    """A published figure in a table; it was not measured here.

    Args:
        figure: The figure.
        entry: The figure as an entry without a rank.
    """

    figure: PublishedFigure
    entry: Entry

    @classmethod
    def of(cls, figure: PublishedFigure) -> Reference:
        """Return a figure as an entry of a table."""
        label = f"{figure.splitter} on {figure.net}" if figure.net else figure.splitter
        estimates = {measure: Estimate(value, None) for measure, value in figure.values.items()}
        return cls(figure, Entry(figure.splitter, label, estimates=estimates))


@dataclass(frozen=True)
class Section:
    """Everything that may be compared: one scenario, data set and base model, trained and measured in one way.

    Args:
        scenario: The scenario.
        board: The scenario's board.
        sort: The measure that ranks.
        dataset: The data set.
        model: The base model's architecture.
        title: Unique among the leaderboard's sections.
        entries: By rank; those without a rank last.
        references: Published figures that may be shown beside the entries.
        shown: The measures that tables show, in order; None for the board's own columns.
        averaged: If rows that differ in more than the seed are averaged: the keys in which they differ.
        baseline: The entry that the others' differences are from.
    """

    scenario: str
    board: Board
    sort: str
    dataset: str
    model: str
    title: str
    entries: tuple[Entry, ...]
    references: tuple[Reference, ...] = ()
    shown: tuple[str, ...] | None = None
    averaged: tuple[str, ...] = ()
    baseline: Entry | None = None

    @property
    def columns(self) -> tuple[Column, ...]:
        """The columns of tables for people."""
        if self.shown is None:
            return self.board.columns
        return tuple(self.board.column(measure) for measure in self.shown)

    @property
    def measures(self) -> tuple[str, ...]:
        """The measures in formats for programs."""
        return self.board.measures if self.shown is None else self.shown

    @property
    def variants(self) -> list[str]:
        """The columns of text in which the entries differ: keys of variants, and ``score``."""
        columns = (*self.board.variants, "score")
        return [name for name in columns if len({entry.texts.get(name, "") for entry in self.entries}) > 1]


@dataclass(frozen=True)
class Leaderboard:
    """Ranks, and the cells that have no part in them.

    Args:
        sections: One table each.
        failures: Rows of cells whose last attempt is not ``ok``.
    """

    sections: tuple[Section, ...]
    failures: tuple[Row, ...]

    @property
    def has_unranked_entries(self) -> bool:
        """Whether some entries have too few measurements for a rank."""
        return any(
            section.sort in entry.estimates and entry.rank is None
            for section in self.sections
            for entry in section.entries
        )

    @property
    def has_warnings(self) -> bool:
        """Whether some entry's rows have warnings."""
        return any(entry.n_warnings for section in self.sections for entry in section.entries)

    @property
    def has_incomplete_entries(self) -> bool:
        """Whether some entry was measured on fewer seeds than another one of its section."""
        return any(entry.n_seeds and entry.missing_seeds for section in self.sections for entry in section.entries)

    @property
    def published(self) -> list[PublishedFigure]:
        """The published figures of all tables, each once; tables refer to them by position, counted from 1."""
        return list({ref.figure.text: ref.figure for section in self.sections for ref in section.references}.values())


def make_leaderboard(
    latest: Iterable[Row],
    *,
    scenario: str | None = None,
    sort: str | None = None,
    group_by: Sequence[str] = (),
    budget: Budget | None = None,
) -> Leaderboard:
    """Rank splitters.

    Rows that differ in more than the seed are not averaged unless ``group_by`` asks for it: an entry is a splitter with
    one configuration, a section holds the entries for which everything else that determines a result is the same.
    ``harness.ranking.paired.ranks.ranked`` says how the entries of a section are ranked, also where some lack seeds
    that others have.

    Args:
        latest: The attempt that counts of each cell.
        scenario: Show this scenario only.
        sort: The measure to rank by, in scenarios that have it; by default each scenario's own.
        group_by: Keys of ``row_values``, e.g. ``dataset``: a section per scenario and value of these keys, in which
            rows of all other data sets, models and settings are averaged. Entries are still compared on what both were
            measured on.
        budget: Compare at this budget, by the states that were recorded, in the scenarios that measure splits.

    Raises:
        UnknownNameError: If there is no such scenario, measure or key.
        ConfigurationError: If a budget is given, and no row has states.
    """
    rows = sorted(latest, key=lambda row: (row.scenario, row.dataset, row.model, row.splitter, row.seed))
    if scenario is not None:
        known = {row.scenario for row in rows}
        if scenario not in known:
            raise UnknownNameError("scenario in these results", scenario, known, where="--scenario")
        rows = [row for row in rows if row.scenario == scenario]
    boards = {name: board_of(name) for name in {row.scenario for row in rows}}
    if budget is not None:
        boards = {name: budget.board() for name, board in boards.items() if board.record is Metrics}
        given, rows = rows, [row for row in rows if row.scenario in boards]
        if given and not any(recorded_states(row) for row in rows):
            raise ConfigurationError(
                "--at: no row has states with kernels and loss on select; those of the scenarios 'modularization' and "
                "'selection' have them."
            )
    _check_sort(sort, boards.values())
    by_cell = configurations(rows)
    groups = list(grouped(rows, lambda row: by_cell[row.cell_id].section_key).values())
    titles = _section_titles([(members[0], by_cell[members[0].cell_id]) for members in groups])
    origins = {row.cell_id: title for members, title in zip(groups, titles, strict=True) for row in members}
    if group_by:
        keys = _group_keys(rows, group_by)
        groups = list(grouped(rows, lambda row: json.dumps(keys[row.cell_id])).values())
        titles = [" · ".join(dict.fromkeys(keys[members[0].cell_id])) for members in groups]
    if budget is not None:
        titles = [f"{title} · {budget.title}" for title in titles]
    sections = [
        _section(members, by_cell, title, boards[members[0].scenario], sort, origins)
        for members, title in zip(groups, titles, strict=True)
    ]
    failures = [row for row in rows if row.state is not State.OK]
    return Leaderboard(tuple(sections), tuple(failures))


def with_measures(board: Leaderboard, measures: Sequence[str]) -> Leaderboard:
    """Return a leaderboard that shows these measures, each section those that it has, of the sections that have any.

    Raises:
        UnknownNameError: If no section has a measure.
    """
    known = {measure for section in board.sections for measure in section.board.measures}
    for measure in measures:
        if measure not in known and board.sections:
            raise UnknownNameError("measure", measure, known, where="--columns")
    sections = [
        replace(section, shown=tuple(measure for measure in measures if measure in section.board.measures))
        for section in board.sections
    ]
    return replace(board, sections=tuple(section for section in sections if section.shown))


def without_references(board: Leaderboard) -> Leaderboard:
    """Return a leaderboard without published figures."""
    return replace(board, sections=tuple(replace(section, references=()) for section in board.sections))


def board_of(scenario: str) -> Board:
    """Return a scenario's board; that of ``modularization`` for a scenario that is not installed here."""
    try:
        return SCENARIOS.get(scenario).board
    except UnknownNameError:
        return MODULARIZATION


def _group_keys(rows: Sequence[Row], group_by: Sequence[str]) -> dict[str, list[str]]:
    """Return the title's parts of the section of each cell."""
    values = {row.cell_id: row_values(row) for row in rows}
    known = {key for of_row in values.values() for key in of_row}
    for key in group_by:
        if key not in known and rows:
            raise unknown_key(key, known, where="--group-by")

    def part(row: Row, key: str) -> str:
        value = values[row.cell_id].get(key)
        return str(value) if key in ("scenario", "dataset", "model") else f"{key} {value}"

    return {row.cell_id: [row.scenario, *(part(row, key) for key in group_by)] for row in rows}


def _check_sort(sort: str | None, boards: Iterable[Board]) -> None:
    known = {name for board in boards for name in board.sortable()} or set(MODULARIZATION.sortable())
    if sort is not None and sort not in known:
        raise UnknownNameError("measure", sort, known, where="--sort")


def _section_titles(sections: Sequence[tuple[Row, Configuration]]) -> list[str]:
    names = [f"{row.dataset} · {row.model}" for row, _ in sections]
    if len({row.scenario for row, _ in sections}) > 1:
        names = [f"{row.scenario} · {name}" for (row, _), name in zip(sections, names, strict=True)]
    return distinct_names(names, [configuration.rest for _, configuration in sections])


def _section(
    rows: Sequence[Row],
    by_cell: Mapping[str, Configuration],
    title: str,
    board: Board,
    sort: str | None,
    origins: Mapping[str, str],
) -> Section:
    averaged = _differing_keys([by_cell[row.cell_id].rest for row in rows])

    def origin(row: Row) -> str:
        return origins[row.cell_id] if averaged else ""

    groups = list(grouped(rows, lambda row: by_cell[row.cell_id].splitter_key).values())
    names = [next((row.splitter_label for row in group if row.splitter_label), group[0].splitter) for group in groups]
    labels = distinct_names(names, [by_cell[group[0].cell_id].splitter for group in groups])
    entries = [
        entry
        for group, label in zip(groups, labels, strict=True)
        for entry in make_entries(group, label, board, origin=origin)
    ]
    measure = sort if sort in board.sortable() else board.sort
    first = rows[0]
    dataset, model = (", ".join(dict.fromkeys(getattr(row, key) for row in rows)) for key in ("dataset", "model"))
    is_own = board is board_of(first.scenario)
    figures = figures_for(first.scenario, dataset=dataset, model=model) if is_own else []
    return Section(
        scenario=first.scenario,
        board=board,
        sort=measure,
        dataset=dataset,
        model=model,
        title=title,
        entries=tuple(ranked(entries, measure, higher_is_better=board.better(measure) == "higher")),
        references=tuple(Reference.of(figure) for figure in figures),
        averaged=averaged,
    )


def _differing_keys(configurations: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the keys in which configurations differ, sorted."""
    first, *others = configurations
    keys = sorted({key for values in configurations for key in values})
    return tuple(key for key in keys if any(values.get(key) != first.get(key) for values in others))
