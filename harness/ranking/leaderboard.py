"""From rows to ranks: means over seeds, intervals, and shared ranks where intervals overlap."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean
from typing import Any

from benchmarks.boards import MODULARIZATION, Board, Sample
from benchmarks.cells import content_hash
from benchmarks.published import PublishedFigure, figures_for
from benchmarks.records import Row, State
from benchmarks.scenarios.base import SCENARIOS
from harness.ranking.statistics import Estimate
from splitters.errors import UnknownNameError


@dataclass(frozen=True)
class Entry:
    """One splitter with one configuration, on one base model and data set.

    Args:
        rank: Its rank in its section, shared where intervals overlap; None if no seed succeeded.
        splitter: The splitter's name.
        variant: What tells it from other entries of the same splitter, e.g. the fusion rule.
        label: Its label or name, and settings where others' are alike; with the variant, it tells entries apart.
        n_seeds: Seeds that succeeded.
        n_failed: Seeds whose last attempt did not.
        estimates: Mean and interval of each measure over the subjects (seeds, target classes) that have it.
        cell_ids: The cells that it stands for.
    """

    rank: int | None
    splitter: str
    variant: Mapping[str, str]
    label: str
    n_seeds: int
    n_failed: int
    estimates: Mapping[str, Estimate]
    cell_ids: tuple[str, ...]

    def mean(self, measure: str) -> float | None:
        """Returns a measure's mean over seeds, or None if no seed has it."""
        estimate = self.estimates.get(measure)
        return None if estimate is None else estimate.mean


@dataclass(frozen=True)
class Reference:
    """A published figure in a table; it was not measured here.

    Args:
        figure: The figure.
        entry: The same as an entry without a rank.
    """

    figure: PublishedFigure
    entry: Entry

    @classmethod
    def of(cls, figure: PublishedFigure) -> Reference:
        """Returns a figure as an entry of a table."""
        name = f"{figure.splitter} on {figure.net}" if figure.net else figure.splitter
        estimates = {measure: Estimate(value, None) for measure, value in figure.values.items()}
        entry = Entry(
            rank=None,
            splitter=figure.splitter,
            variant={},
            label=name,
            n_seeds=0,
            n_failed=0,
            estimates=estimates,
            cell_ids=(),
        )
        return cls(figure, entry)


@dataclass(frozen=True)
class Section:
    """All that may be compared: one scenario, data set and base model, trained and measured in one way.

    Args:
        scenario: The scenario.
        board: What the scenario shows.
        sort: The measure that ranks.
        dataset: The data set.
        model: The base model's architecture.
        title: What tells it from other sections.
        entries: By rank; those without a rank last.
        references: Published figures that may stand beside them.
    """

    scenario: str
    board: Board
    sort: str
    dataset: str
    model: str
    title: str
    entries: tuple[Entry, ...]
    references: tuple[Reference, ...] = ()

    @property
    def variants(self) -> list[str]:
        """The keys of variants in which the entries differ."""
        return [key for key in self.board.variants if len({entry.variant.get(key, "") for entry in self.entries}) > 1]


@dataclass(frozen=True)
class Leaderboard:
    """Ranks, and all that is not ranked.

    Args:
        sections: One table each.
        failures: Rows of cells whose last attempt is not ``ok``.
    """

    sections: tuple[Section, ...]
    failures: tuple[Row, ...]

    @property
    def has_single_seeds(self) -> bool:
        """Whether some entry rests on a single seed, and so has no interval."""
        over_seeds = (section for section in self.sections if section.board.subjects == "seeds")
        return any(entry.n_seeds == 1 for section in over_seeds for entry in section.entries)

    @property
    def published(self) -> list[PublishedFigure]:
        """The published figures of all tables, each once; tables refer to them by their place, counted from 1."""
        return list({ref.figure.text: ref.figure for section in self.sections for ref in section.references}.values())


def make_leaderboard(latest: Iterable[Row], *, scenario: str | None = None, sort: str | None = None) -> Leaderboard:
    """Ranks splitters.

    Rows that differ in more than the seed are never averaged: an entry is a splitter with one configuration, a section
    is everything else that determines a result. Within a section, entries are sorted by the mean of ``sort``. The best
    one leads rank 1; the entries that follow share its rank as long as their 95 % t-interval overlaps the leader's;
    the first one that does not overlap leads the next rank, which is one more than the number of entries before it.
    An entry with a single seed has no interval: its value counts as a point.

    Args:
        latest: The attempt that counts of each cell.
        scenario: Leaves out other scenarios.
        sort: The measure that ranks, in scenarios that have it; by default each scenario's own.

    Raises:
        UnknownNameError: If there is no such scenario or measure.
    """
    rows = sorted(latest, key=lambda row: (row.scenario, row.dataset, row.model, row.splitter, row.seed))
    if scenario is not None:
        known = {row.scenario for row in rows}
        if scenario not in known:
            raise UnknownNameError("scenario in these results", scenario, known, where="--scenario")
        rows = [row for row in rows if row.scenario == scenario]
    boards = {name: board_of(name) for name in {row.scenario for row in rows}}
    _check_sort(sort, boards.values())
    settings = _configurations(rows)
    groups = _grouped(rows, lambda row: settings[row.cell_id].section_key)
    titles = _section_titles([(members[0], settings[members[0].cell_id]) for members in groups.values()])
    sections = [
        _section(members, settings, title, boards[members[0].scenario], sort)
        for members, title in zip(groups.values(), titles, strict=True)
    ]
    failures = [row for row in rows if row.state is not State.OK]
    return Leaderboard(tuple(sections), tuple(failures))


def board_of(scenario: str) -> Board:
    """Returns what a scenario shows; the usual numbers for one that is not installed here."""
    try:
        return SCENARIOS.get(scenario).board
    except UnknownNameError:
        return MODULARIZATION


def _check_sort(sort: str | None, boards: Iterable[Board]) -> None:
    known = {name for board in boards for name in board.sortable()} or set(MODULARIZATION.sortable())
    if sort is not None and sort not in known:
        raise UnknownNameError("measure", sort, known, where="--sort")


@dataclass(frozen=True)
class _Configuration:
    """What determines a row's result, apart from its seed, as flat keys.

    Args:
        splitter: The splitter's settings and version.
        rest: Everything else.
    """

    splitter: dict[str, Any]
    rest: dict[str, Any]

    @classmethod
    def of(cls, row: Row) -> _Configuration:
        config = json.loads(row.config)
        config.pop("seed", None)
        splitter = config.pop("splitter", {})
        flat = {**_flat(splitter.get("settings", {})), "version": splitter.get("version")}
        return cls({"name": splitter.get("name"), **flat}, _flat(config))

    @property
    def section_key(self) -> str:
        return content_hash(self.rest)

    @property
    def splitter_key(self) -> str:
        return content_hash(self.splitter)


def _configurations(rows: Sequence[Row]) -> dict[str, _Configuration]:
    """Returns what determines each cell's result, by cell.

    A suite does not say which images a data set's name stood for, nor on what kind of device ``auto`` ran. Where rows
    that are otherwise alike differ in these, they count as part of the configuration. Failures go with the first kind.
    """
    found = {row.cell_id: _Configuration.of(row) for row in rows}
    for members in _grouped(rows, lambda row: found[row.cell_id].section_key).values():
        told = {row.cell_id: _surroundings(row) for row in members if row.state is State.OK}
        kinds = list(dict.fromkeys(told.values()))
        for row in members if len(kinds) > 1 else ():
            images, device = told.get(row.cell_id, kinds[0])
            found[row.cell_id].rest.update({"images": images, "ran on": device})
    return found


def _surroundings(row: Row) -> tuple[str, str]:
    return (row.dataset_hash or "")[:8], "cpu" if row.cuda_version is None else "gpu"


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _grouped(rows: Iterable[Row], key: Any) -> dict[str, list[Row]]:
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return dict(groups)


def _section_titles(sections: Sequence[tuple[Row, _Configuration]]) -> list[str]:
    names = [f"{row.dataset} · {row.model}" for row, _ in sections]
    if len({row.scenario for row, _ in sections}) > 1:
        names = [f"{row.scenario} · {name}" for (row, _), name in zip(sections, names, strict=True)]
    return _told_apart(names, [configuration.rest for _, configuration in sections])


def _section(
    rows: list[Row], settings: Mapping[str, _Configuration], title: str, board: Board, sort: str | None
) -> Section:
    groups = list(_grouped(rows, lambda row: settings[row.cell_id].splitter_key).values())
    names = [next((row.splitter_label for row in group if row.splitter_label), group[0].splitter) for group in groups]
    labels = _told_apart(names, [settings[group[0].cell_id].splitter for group in groups])
    entries = [entry for group, label in zip(groups, labels, strict=True) for entry in _entries(group, label, board)]
    chosen = sort if sort in board.sortable() else board.sort
    first = rows[0]
    ranked = tuple(_ranked(entries, chosen, board))
    figures = figures_for(first.scenario, dataset=first.dataset, model=first.model)
    references = tuple(Reference.of(figure) for figure in figures)
    return Section(first.scenario, board, chosen, first.dataset, first.model, title, ranked, references)


def _entries(rows: list[Row], label: str, board: Board) -> Iterator[Entry]:
    """Yields an entry per variant that the rows of one configuration hold; one without numbers if they hold none."""
    succeeded = [row for row in rows if row.state is State.OK]
    samples: defaultdict[tuple[str, ...], list[Sample]] = defaultdict(list)
    for row in succeeded:
        for sample in _comparable(row, board):
            samples[tuple(sample.variant[key] for key in board.variants)].append(sample)
    for variant, measured in (samples or {(): []}).items():
        told = dict(zip(board.variants, variant, strict=False))
        yield Entry(
            rank=None,
            splitter=rows[0].splitter,
            variant=told,
            label=label,
            n_seeds=len(succeeded),
            n_failed=sum(not row.state.is_final for row in rows),
            estimates=_estimates(measured, board.measures),
            cell_ids=tuple(row.cell_id for row in rows),
        )


def _comparable(row: Row, board: Board) -> Iterator[Sample]:
    """Yields what a row measured, without times where it shared its GPU with another cell."""
    times = {column.measure for column in board.columns if column.unit == "time"} if 0 < row.gpu_share < 1 else set()
    for sample in board.samples(row):
        values = {name: None if name in times else value for name, value in sample.values.items()}
        yield replace(sample, values=values) if times else sample


def _estimates(samples: Sequence[Sample], measures: Iterable[str]) -> dict[str, Estimate]:
    estimates = {}
    for measure in measures:
        by_subject: defaultdict[str, list[float]] = defaultdict(list)
        for sample in samples:
            value = sample.values[measure]
            if value is not None:
                by_subject[sample.subject].append(value)
        if by_subject:
            estimates[measure] = Estimate.of([fmean(values) for values in by_subject.values()])
    return estimates


def _ranked(entries: list[Entry], sort: str, board: Board) -> list[Entry]:
    sign = -1 if board.better(sort) == "higher" else 1
    rankable = sorted(
        (entry for entry in entries if sort in entry.estimates), key=lambda e: sign * e.estimates[sort].mean
    )
    ranked: list[Entry] = []
    leader, rank = None, 0
    for position, entry in enumerate(rankable, start=1):
        estimate = entry.estimates[sort]
        if leader is None or not estimate.overlaps(leader):
            leader, rank = estimate, position
        ranked.append(Entry(**{**vars(entry), "rank": rank}))
    return ranked + [entry for entry in entries if sort not in entry.estimates]


_MOST_SHOWN = 3
"""So many differing settings still make a readable name."""


def _told_apart(names: Sequence[str], settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns names that differ: where several are alike, the settings that differ are added."""
    apart = []
    for name, own in zip(names, settings, strict=True):
        alike = [other for other_name, other in zip(names, settings, strict=True) if other_name == name]
        keys = {key for other in alike for key in other} if len(alike) > 1 else set()
        differing = sorted(key for key in keys if len({json.dumps(other.get(key)) for other in alike}) > 1)
        given = [key for key in differing if own.get(key) is not None]
        told = [key for key in given if own[key] not in ([], "")] or given
        shown = ", ".join(f"{key.rpartition('.')[2]}={own[key]}" for key in told)
        if len(differing) > _MOST_SHOWN or (differing and not shown):
            shown = f"#{content_hash(own)[:6]}"
        apart.append(f"{name} ({shown})" if shown else name)
    return apart
