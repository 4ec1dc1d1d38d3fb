"""What a report is made of: the rows that count, ranked, with the large columns of a sample of cells."""

from __future__ import annotations

import json
import shlex
import textwrap
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import fmean
from typing import Any, TypeVar

import numpy as np

from benchmarks.boards import Samples
from benchmarks.cells import parse_config
from benchmarks.rows.columns import Rows
from benchmarks.rows.row import Row, State
from harness.ranking.configuration import Configuration, groups_of
from harness.ranking.entry import Entry
from harness.ranking.leaderboard import Leaderboard, Section, make_leaderboard
from harness.report.methods import Methods
from harness.store import ResultStore, StoreContents
from harness.suite_cell import ID_LENGTH
from splitters.errors import UnknownNameError
from splitters.methods.protocol import SPLITTERS

ItemT = TypeVar("ItemT")

_MAX_SETTINGS = 160
"""Characters of settings in one line."""

MAX_DETAILED = 12
"""Cells per method and table whose layers, modules and stages are read; means over more look alike."""


@dataclass(frozen=True)
class Measurement:
    """What one cell contributes to one entry of a leaderboard.

    Args:
        row: The cell's row.
        entry: The entry.
        values: Means over the cell's subjects, by measure; without the measures that it lacks.
    """

    row: Row
    entry: Entry
    values: Mapping[str, float]


@dataclass(frozen=True)
class _Keys:
    """What two cells have in common if it is equal.

    Args:
        splitter: The splitter with its settings.
        split: Everything that determines the split.
    """

    splitter: str
    split: str

    @classmethod
    def of(cls, row: Row) -> _Keys:
        config = parse_config(row.config)
        split = {name: value for name, value in config.items() if name not in ("scenario", "scenario_settings")}
        return cls(
            json.dumps([method_of(row), config.get("splitter")], sort_keys=True), json.dumps(split, sort_keys=True)
        )


class ReportData:
    """The rows of a results folder, as charts and tables need them.

    Args:
        store: The results.
        contents: Their content.
    """

    def __init__(self, store: ResultStore, contents: StoreContents) -> None:
        self.store = store
        self.contents = contents
        self.results = store.location
        self.columns: Rows = contents.latest()
        self.rows: Sequence[Row] = list(self.columns)
        self.board: Leaderboard = make_leaderboard(self.columns)
        self.methods = Methods(method_of(row) for row in self.rows)
        self._by_id = {row.cell_id: row for row in self.rows}
        self._index = {row.cell_id: index for index, row in enumerate(self.rows)}

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
            entry.label: method_of(self._by_id[entry.cell_ids[0]])
            for section in self.sections
            for entry in section.entries
            if entry.cell_ids
        }

    def rows_of(self, entry: Entry) -> list[Row]:
        """Return the rows of an entry's cells that succeeded."""
        rows = (self._by_id[cell_id] for cell_id in entry.cell_ids)
        return [row for row in rows if row.state is State.OK]

    def measurements(self, section: Section) -> Iterator[Measurement]:
        """Yield what each cell of a section measured, once per variant."""
        for entry in section.entries:
            rows = self.rows_of(entry)
            samples = self._samples(section, tuple(row.cell_id for row in rows))
            variant = tuple(entry.variant.values())
            of_variant = np.flatnonzero([samples.variants[number] == variant for number in samples.variant.tolist()])
            for members in groups_of(samples.row[of_variant]):
                samples_of_row = samples.take(of_variant[members])
                found = {measure: values[~np.isnan(values)] for measure, values in samples_of_row.values.items()}
                means = {measure: fmean(values.tolist()) for measure, values in found.items() if len(values)}
                if means:
                    yield Measurement(rows[int(samples_of_row.row[0])], entry, means)

    def _samples(self, section: Section, cell_ids: tuple[str, ...]) -> Samples:
        """Return what cells measured; the entries of one splitter's variants share them."""
        if cell_ids not in self._known_samples:
            indices = np.array([self._index[cell_id] for cell_id in cell_ids], np.int64)
            self._known_samples[cell_ids] = section.board.samples_of(self.columns.take(indices))
        return self._known_samples[cell_ids]

    @cached_property
    def _known_samples(self) -> dict[tuple[str, ...], Samples]:
        return {}

    def by_method(self, section: Section) -> dict[str, list[Row]]:
        """Return a section's successful rows by method, each row once."""
        found: defaultdict[str, dict[str, Row]] = defaultdict(dict)
        for entry in section.entries:
            for row in self.rows_of(entry):
                found[method_of(row)][row.cell_id] = row
        return {name: list(found[name].values()) for name in self.methods.names if name in found}

    @cached_property
    def detailed(self) -> Mapping[str, Row]:
        """Rows with all columns, by cell, for a sample of each section's methods."""
        ids = {
            row.cell_id: None
            for section in self.sections
            for rows in self.by_method(section).values()
            for row in spread(rows, MAX_DETAILED)
        }
        return {row.cell_id: row for row in self.contents.in_full(ids)}

    def detailed_by_method(self, section: Section) -> dict[str, list[Row]]:
        """Return the rows of ``by_method`` that are read with all columns."""
        return {
            name: [self.detailed[row.cell_id] for row in rows if row.cell_id in self.detailed]
            for name, rows in self.by_method(section).items()
        }

    @cached_property
    def settings(self) -> Mapping[str, str]:
        """By cell, its splitter's settings in one line.

        Where the report's cells of one method differ in their settings, these; else those that are not the defaults.
        """
        settings: dict[str, Mapping[str, Any]] = {}
        by_method: defaultdict[str, dict[str, Row]] = defaultdict(dict)
        for row in self.rows:
            key = self._keys[row.cell_id].splitter
            if key not in settings:
                settings[key] = Configuration.parse(row.config).splitter
            by_method[method_of(row)].setdefault(key, row)
        texts = {}
        for alike in by_method.values():
            names = sorted({name for key in alike for name in settings[key]} - {"name", "version", "code"})
            differing = [name for name in names if len({json.dumps(settings[key].get(name)) for key in alike}) > 1]
            for key, row in alike.items():
                shown = differing or _names_unlike_defaults(row.splitter, settings[key], names)
                given = [f"{name}={_brief(settings[key][name])}" for name in shown if name in settings[key]]
                texts[key] = textwrap.shorten(", ".join(given), _MAX_SETTINGS, placeholder=" …") or "defaults"
        return {cell_id: texts[keys.splitter] for cell_id, keys in self._keys.items()}

    @cached_property
    def first_of_split(self) -> Collection[str]:
        """One cell per split: scenarios that reuse a split repeat what its splitter reported."""
        found: dict[str, str] = {}
        for row in sorted(self.rows, key=lambda row: row.scenario != "modularization"):
            found.setdefault(self._keys[row.cell_id].split, row.cell_id)
        return frozenset(found.values())

    @cached_property
    def _keys(self) -> Mapping[str, _Keys]:
        return {row.cell_id: _Keys.of(row) for row in self.rows}

    def rerun(self, cell_id: str) -> str:
        """Return the command that runs a cell again."""
        return f"splitbench rerun {cell_id[:ID_LENGTH]} {self.results_option}"

    @property
    def results_option(self) -> str:
        """The option that names the results in commands."""
        return f"--results {shlex.quote(self.results)}"


def method_of(row: Row) -> str:
    """Return the name under which a row's splitter appears."""
    return row.splitter_label or row.splitter


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
