"""Leaderboards: rows in sections of what may be compared, splitters ranked in each."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.boards import BOARDS, MODULARIZATION, Board, Column, Samples
from benchmarks.boards.samples import numbered
from benchmarks.rows.columns import Rows
from benchmarks.rows.published import PublishedFigure, figures_for
from benchmarks.rows.row import Metrics, Row, State
from harness.ranking.budgets.budget import Budget
from harness.ranking.budgets.recorded_states import states_of
from harness.ranking.configuration import (
    ABSENT,
    KeyedRows,
    Members,
    RowConfigurations,
    configurations,
    distinct_names,
    groups_of,
    unknown_key,
)
from harness.ranking.entry import Entry, make_entries
from harness.ranking.paired.ranks import ranked
from harness.ranking.statistics import Estimate
from harness.store import LATEST_COLUMNS
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
    failures: Sequence[Row]

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


def columns_for(budget: Budget | None) -> Collection[str]:
    """Return the columns that a leaderboard is made of; what splitters reported of their steps is read for budgets."""
    return LATEST_COLUMNS - {"figures"} if budget is None else LATEST_COLUMNS


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
        group_by: Keys of ``KeyedRows``, e.g. ``dataset``: a section per scenario and value of these keys, in which
            rows of all other data sets, models and settings are averaged. Entries are still compared on what both were
            measured on.
        budget: Compare at this budget, by the states that were recorded, in the scenarios that measure splits.

    Raises:
        UnknownNameError: If there is no such scenario, measure or key.
        ConfigurationError: If a budget is given, and no row has states.
    """
    rows = Rows.of(latest).sorted_by("scenario", "dataset", "model", "splitter", "seed")
    if scenario is not None:
        known = set(rows.values("scenario"))
        if scenario not in known:
            raise UnknownNameError("scenario in these results", scenario, known, where="--scenario")
        rows = rows.filter(rows.equal("scenario", scenario))
    boards = {name: board_of(name) for name in set(rows.values("scenario"))}
    if budget is not None:
        boards = {name: budget.board() for name, board in boards.items() if board.record is Metrics}
        given = rows
        rows = rows.filter(np.array([name in boards for name in rows.values("scenario")], np.bool_))
        if given and not any(states_of(rows)):
            raise ConfigurationError(
                "--at: no row has states with kernels and loss on select; those of the scenarios 'modularization' and "
                "'selection' have them."
            )
    _check_sort(sort, boards.values())
    made_of, scenarios = configurations(rows), rows.values("scenario")
    groups = groups_of(made_of.sections)
    titles = _section_titles(rows, made_of, [int(members[0]) for members in groups])
    origins = np.empty(len(rows), object)
    for members, title in zip(groups, titles, strict=True):
        origins[members] = title
    if group_by:
        groups, titles = _grouped_by(rows, group_by)
    if budget is not None:
        titles = [f"{title} · {budget.title}" for title in titles]
    sections = [
        _section(
            rows.take(members),
            made_of.take(members),
            title,
            boards[scenarios[members[0]]],
            sort,
            origins[members].tolist(),
        )
        for members, title in zip(groups, titles, strict=True)
    ]
    return Leaderboard(tuple(sections), rows.filter(~rows.equal("state", State.OK.value)))


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
    if scenario in BOARDS:
        return BOARDS[scenario]
    from benchmarks.scenarios.scenario import SCENARIOS  # imports torch

    try:
        return SCENARIOS.get(scenario).board
    except UnknownNameError:
        return MODULARIZATION


def _grouped_by(rows: Rows, group_by: Sequence[str]) -> tuple[list[Members], list[str]]:
    """Return the rows of each section, and the sections' titles."""
    keyed = KeyedRows(rows)
    for key in group_by:
        if key not in keyed.known and len(rows):
            raise unknown_key(key, keyed.known, where="--group-by")

    def parts(key: str) -> list[str]:
        texts = [str(None if value is ABSENT else value) for value in keyed.values(key)]
        return texts if key in ("scenario", "dataset", "model") else [f"{key} {text}" for text in texts]

    numbers, keys = numbered(zip(rows.values("scenario"), *map(parts, group_by), strict=True))
    return groups_of(numbers), [" · ".join(dict.fromkeys(key)) for key in keys]


def _check_sort(sort: str | None, boards: Iterable[Board]) -> None:
    known = {name for board in boards for name in board.sortable()} or set(MODULARIZATION.sortable())
    if sort is not None and sort not in known:
        raise UnknownNameError("measure", sort, known, where="--sort")


def _section_titles(rows: Rows, made_of: RowConfigurations, firsts: Sequence[int]) -> list[str]:
    """Return the titles of sections, each given by its first row."""
    scenarios, datasets, models = (rows.values(name) for name in ("scenario", "dataset", "model"))
    names = [f"{datasets[row]} · {models[row]}" for row in firsts]
    if len({scenarios[row] for row in firsts}) > 1:
        names = [f"{scenarios[row]} · {name}" for row, name in zip(firsts, names, strict=True)]
    return distinct_names(names, [made_of.distinct[made_of.of_rows[row]].rest for row in firsts])


def _section(
    rows: Rows,
    made_of: RowConfigurations,
    title: str,
    board: Board,
    sort: str | None,
    origins: NDArray[np.object_],
) -> Section:
    averaged = _differing_keys([configuration.rest for configuration in made_of.used])
    parts = groups_of(made_of.splitters)
    entries = [
        entry
        for part, samples, label in zip(parts, _samples(rows, board, parts), _labels(rows, made_of, parts), strict=True)
        for entry in make_entries(
            rows.take(part), samples, label, board, origins=[origins[row] for row in part] if averaged else None
        )
    ]
    scenario = rows.first("scenario")
    measure = sort if sort in board.sortable() else board.sort
    dataset, model = (", ".join(dict.fromkeys(rows.values(key))) for key in ("dataset", "model"))
    is_own = board is board_of(scenario)
    figures = figures_for(scenario, dataset=dataset, model=model) if is_own else []
    return Section(
        scenario=scenario,
        board=board,
        sort=measure,
        dataset=dataset,
        model=model,
        title=title,
        entries=tuple(ranked(entries, measure, higher_is_better=board.better(measure) == "higher")),
        references=tuple(Reference.of(figure) for figure in figures),
        averaged=averaged,
    )


def _labels(rows: Rows, made_of: RowConfigurations, parts: Sequence[Members]) -> list[str]:
    """Return the label of each entry: the splitter's own or its name, with settings that tell it apart."""
    labels, names = rows.values("splitter_label"), rows.values("splitter")
    own = [next((labels[row] for row in part if labels[row]), names[part[0]]) for part in parts]
    return distinct_names(own, [made_of.distinct[made_of.of_rows[part[0]]].splitter for part in parts])


def _samples(rows: Rows, board: Board, parts: Sequence[Members]) -> list[Samples]:
    """Return what the successful rows of each part measured, without times where a cell shared its GPU."""
    succeeded = np.flatnonzero(rows.equal("state", State.OK.value))
    samples = board.samples_of(rows.take(succeeded))
    row, values = succeeded[samples.row], dict(samples.values)
    shares = rows.numbers("gpu_share")[row]
    for measure in {column.measure for column in board.columns if column.unit == "time"}:
        values[measure] = np.where((shares > 0) & (shares < 1), np.nan, values[measure])
    number, place = np.empty((2, len(rows)), np.int64)
    for index, part in enumerate(parts):
        number[part], place[part] = index, np.arange(len(part))
    order = np.argsort(number[row], kind="stable")
    ends = np.searchsorted(number[row][order], np.arange(1, len(parts)))
    found = replace(samples, row=place[row], values=values)
    return [found.take(members) for members in np.split(order, ends)]


def _differing_keys(configurations: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return the keys in which configurations differ, sorted."""
    first, *others = configurations
    keys = sorted({key for values in configurations for key in values})
    return tuple(key for key in keys if any(values.get(key) != first.get(key) for values in others))
