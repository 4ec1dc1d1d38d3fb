"""What a report is made of: the rows that count, ranked, with the large columns of a sample of cells."""

from __future__ import annotations

import json
import shlex
import textwrap
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool
from numpy.typing import NDArray

from benchmarks.boards import Samples
from benchmarks.boards.samples import Indices, Numbers
from benchmarks.cells import parse_config
from benchmarks.rows.columns import Rows
from benchmarks.rows.row import Row, State
from harness.ranking.budgets.recorded_states import RecordedState, n_states, states_of
from harness.ranking.budgets.steps import Steps, steps_with
from harness.ranking.configuration import Configuration, Members, distinct_configs, groups_of
from harness.ranking.entry import Entry
from harness.ranking.leaderboard import Leaderboard, Section, make_leaderboard
from harness.report.methods import Methods
from harness.store import ResultStore, StoreContents
from harness.store.locations import without_secret
from splitters.errors import UnknownNameError
from splitters.methods.protocol import SPLITTERS

ItemT = TypeVar("ItemT")

_MAX_SETTINGS = 160
"""Characters of settings in one line."""

MAX_DETAILED = 12
"""Cells per method and table whose layers, modules and stages are read; means over more look alike."""


@dataclass(frozen=True, eq=False)
class Measurements:
    """What cells contribute to an entry of a leaderboard.

    Args:
        entry: The entry.
        rows: The index of each cell's row.
        samples: What they measured.
        cells: The indices of each cell's samples.
    """

    entry: Entry
    rows: Indices
    samples: Samples
    cells: Sequence[Members]

    def means(self, measure: str) -> Numbers:
        """Return a measure's mean over each cell's subjects; NaN where it has none."""
        values = self.samples.values.get(measure)
        if values is None:
            return np.full(len(self.cells), np.nan)
        if len(values) == len(self.cells):
            return values
        is_known = ~np.isnan(values)
        known = [values[members[is_known[members]]].tolist() for members in self.cells]
        return np.array([fmean(of_cell) if of_cell else np.nan for of_cell in known])


class ReportData:
    """The rows of a results folder, as charts and tables need them.

    Rows are given by their indices; models are made of a sample only.

    Args:
        store: The results.
        contents: Their content.
    """

    def __init__(self, store: ResultStore, contents: StoreContents) -> None:
        self.store = store
        self.contents = contents
        self.results = without_secret(store.location)
        self.rows: Rows = contents.latest()
        self.cell_ids: Sequence[str] = self.rows.values("cell_id")
        self.board: Leaderboard = make_leaderboard(self.rows)
        names = zip(self.rows.values("splitter_label"), self.rows.values("splitter"), strict=True)
        self.method_of_rows: Sequence[str] = [label or splitter for label, splitter in names]
        self.methods = Methods(self.method_of_rows)
        self.seeds: Sequence[int] = self.rows.values("seed")
        self._index = {cell_id: index for index, cell_id in enumerate(self.cell_ids)}

    @cached_property
    def sections(self) -> Sequence[Section]:
        """The leaderboard's tables, those on splitting itself before those on the use of modules."""
        return sorted(self.board.sections, key=lambda section: section.scenario != "modularization")

    def method_named(self, label: str) -> str:
        """Return the method of a leaderboard's label, which may have settings behind the name."""
        return self._methods_by_label.get(label, label)

    @cached_property
    def _methods_by_label(self) -> Mapping[str, str]:
        return {
            entry.label: self.method_of_rows[self._index[entry.cell_ids[0]]]
            for section in self.sections
            for entry in section.entries
            if entry.cell_ids
        }

    @cached_property
    def succeeded(self) -> Bool[NDArray[np.bool_], " row"]:
        """Whether each row is of a cell that succeeded."""
        return self.rows.equal("state", State.OK.value)

    def rows_of(self, entry: Entry) -> Indices:
        """Return the rows of an entry's cells that succeeded."""
        rows = np.array([self._index[cell_id] for cell_id in entry.cell_ids], np.int64)
        return rows[self.succeeded[rows]]

    def measurements(self, section: Section) -> Iterator[Measurements]:
        """Yield what the cells of each of a section's entries measured."""
        for entry in section.entries:
            rows = self.rows_of(entry)
            samples = self._samples(section, entry, rows)
            variant = tuple(entry.variant.values())
            of_variant = np.flatnonzero(np.array([known == variant for known in samples.variants])[samples.variant])
            of_entry = samples.take(of_variant)
            cells = groups_of(of_entry.row)
            firsts = np.array([members[0] for members in cells], np.int64)
            yield Measurements(entry, rows[of_entry.row[firsts]], of_entry, cells)

    def _samples(self, section: Section, entry: Entry, rows: Indices) -> Samples:
        """Return what an entry's rows measured; the entries of one splitter's variants share them."""
        if entry.cell_ids not in self._known_samples:
            self._known_samples[entry.cell_ids] = section.board.samples_of(self.rows.take(rows))
        return self._known_samples[entry.cell_ids]

    @cached_property
    def _known_samples(self) -> dict[tuple[str, ...], Samples]:
        return {}

    def by_method(self, section: Section) -> dict[str, list[int]]:
        """Return a section's successful rows by method, each row once."""
        found: defaultdict[str, dict[int, None]] = defaultdict(dict)
        for entry in section.entries:
            for row in self.rows_of(entry).tolist():
                found[self.method_of_rows[row]][row] = None
        return {name: list(found[name]) for name in self.methods.names if name in found}

    def models(self, rows: Sequence[int]) -> list[Row]:
        """Return the models of a few rows, without the largest columns."""
        return list(self._take(rows))

    def patches(self, rows: Sequence[int]) -> pa.Table:
        """Return the patches of some rows, with the columns of ``PatchRecord``."""
        records = pc.list_flatten(self._take(rows).arrow("patches"))
        return pa.Table.from_arrays(records.flatten(), names=[field.name for field in records.type])

    def index(self, row: Row) -> int:
        """Return the index of a row."""
        return self._index[row.cell_id]

    def _take(self, rows: Sequence[int]) -> Rows:
        return self.rows.take(np.array(rows, np.int64))

    @cached_property
    def detailed(self) -> Mapping[str, Row]:
        """Rows with all columns, by cell, for a sample of each section's methods."""
        ids = {
            self.cell_ids[row]: None
            for section in self.sections
            for rows in self.by_method(section).values()
            for row in spread(rows, MAX_DETAILED)
        }
        return {row.cell_id: row for row in self.contents.in_full(ids)}

    def detailed_by_method(self, section: Section) -> dict[str, list[Row]]:
        """Return the rows of ``by_method`` that are read with all columns."""
        return {
            name: [self.detailed[cell_id] for row in rows if (cell_id := self.cell_ids[row]) in self.detailed]
            for name, rows in self.by_method(section).items()
        }

    @cached_property
    def n_states(self) -> Indices:
        """The number of states that each row's search recorded."""
        return n_states(self.rows)

    def recorded_states(self, rows: Sequence[int]) -> Iterator[list[RecordedState]]:
        """Yield the states that the searches of some rows recorded."""
        return states_of(self._take(rows))

    def steps(self, rows: Sequence[int], *figures: str) -> Steps:
        """Return the steps of some rows' searches that have all of some figures."""
        return steps_with(self._take(rows), *figures)

    def n_steps(self, *figures: str) -> Indices:
        """Return for each row how many steps of its search have all of some figures."""
        if figures not in self._known_steps:
            self._known_steps[figures] = steps_with(self.rows, *figures).count(len(self.rows))
        return self._known_steps[figures]

    @cached_property
    def _known_steps(self) -> dict[tuple[str, ...], Indices]:
        return {}

    @cached_property
    def settings(self) -> Sequence[str]:
        """Each row's splitter's settings in one line.

        Where the report's cells of one method differ in their settings, these; else those that are not the defaults.
        """
        of_rows, configs = self._configs
        parsed = [parse_config(config).get("splitter") for config in configs]
        kinds = list(zip(self.method_of_rows, of_rows.tolist(), strict=True))
        splitter_of = dict(zip(kinds, self.rows.values("splitter"), strict=True))
        settings: dict[str, Mapping[str, Any]] = {}
        by_method: defaultdict[str, dict[str, str]] = defaultdict(dict)
        keys: dict[tuple[str, int], str] = {}
        for (method, config), splitter in splitter_of.items():
            key = keys[method, config] = json.dumps([method, parsed[config]], sort_keys=True)
            if key not in settings:
                settings[key] = Configuration.parse(configs[config]).splitter
            by_method[method].setdefault(key, splitter)
        texts = {}
        for alike in by_method.values():
            names = sorted({name for key in alike for name in settings[key]} - {"name", "version", "code"})
            differing = [name for name in names if len({json.dumps(settings[key].get(name)) for key in alike}) > 1]
            for key, splitter in alike.items():
                shown = differing or _names_unlike_defaults(splitter, settings[key], names)
                given = [f"{name}={_brief(settings[key][name])}" for name in shown if name in settings[key]]
                texts[key] = textwrap.shorten(", ".join(given), _MAX_SETTINGS, placeholder=" …") or "defaults"
        return [texts[keys[kind]] for kind in kinds]

    @cached_property
    def is_first_of_split(self) -> Bool[NDArray[np.bool_], " row"]:
        """Whether each row stands for its split: scenarios that reuse a split repeat what its splitter reported."""
        of_rows, configs = self._configs
        splits = [_split_of(config) for config in configs]
        keys = [(splits[config], seed) for config, seed in zip(of_rows.tolist(), self.seeds, strict=True)]
        first: dict[tuple[str, int], int] = {}
        for row in np.argsort(~self.rows.equal("scenario", "modularization"), kind="stable").tolist():
            first.setdefault(keys[row], row)
        found = np.zeros(len(self.rows), dtype=bool)
        found[list(first.values())] = True
        return found

    @cached_property
    def _configs(self) -> tuple[Indices, list[str]]:
        """The index of each row's configuration, whatever its seed, and the configurations."""
        return distinct_configs(self.rows)

    @property
    def results_option(self) -> str:
        """The option that names the results in commands."""
        return f"--results {shlex.quote(self.results)}"


def _split_of(config: str) -> str:
    """Return everything in a cell's configuration that determines its split, but for the seed."""
    split = {
        name: value
        for name, value in parse_config(config).items()
        if name not in ("scenario", "scenario_settings", "scenario_version", "scenario_code", "seed")
    }
    return json.dumps(split, sort_keys=True)


def spread(items: Sequence[ItemT], at_most: int) -> list[ItemT]:
    """Return items at even distances, the first and the last among them; all if there are few."""
    if len(items) <= at_most:
        return list(items)
    step = (len(items) - 1) / (at_most - 1)
    return [items[round(index * step)] for index in range(at_most)]


def _names_unlike_defaults(splitter: str, settings: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Return the names of settings that are not the splitter's defaults; all if it is not installed here."""
    try:
        model = SPLITTERS.get(splitter).Settings
    except UnknownNameError:
        return list(names)
    defaults = model.model_construct().model_dump(mode="json", warnings=False)
    return [name for name in names if name in defaults and settings.get(name) != defaults[name]]


def _brief(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
