"""Configurations, and the cells that each is run on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from benchmarks.cells import Cell, SplitterSpec, content_hash
from harness.expand import expand
from harness.suite_cell import SuiteCell
from harness.sweep.checks import selection_scenario
from harness.sweep.file import Sweep
from harness.sweep.space import Space, Values


@dataclass(frozen=True)
class Candidate:
    """A configuration of a splitter.

    Args:
        space: The space that it is a point of.
        values: What it gives the parameters that are active in it.
        spec: The splitter with all its settings.
        items: The cells that it is run on: seed after seed, in each all data sets and models.
    """

    space: Space
    values: Values
    spec: SplitterSpec
    items: tuple[SuiteCell, ...]

    @cached_property
    def key(self) -> str:
        """Identifies the configuration."""
        return configuration_key(self.spec)

    def of_seeds(self, seeds: Sequence[int]) -> list[SuiteCell]:
        """Returns the cells of some seeds."""
        return [item for item in self.items if item.cell.seed in seeds]


def configuration_key(spec: SplitterSpec) -> str:
    """Returns what identifies a splitter with its settings."""
    return content_hash(spec.model_dump(mode="json"))


class Cells:
    """The cells of a sweep, for any configuration.

    Args:
        sweep: The sweep.
    """

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        self._on_select = list(_templates(sweep, selection_scenario(sweep)))
        self._on_test = list(_templates(sweep, sweep.scenario))

    @property
    def selection(self) -> str:
        """The scenario of trials."""
        return self._on_select[0].scenario

    def candidate(self, space: Space, values: Values) -> Candidate:
        """Returns a configuration with its cells.

        Raises:
            ConfigurationError: If the splitter refuses this combination of values.
        """
        return self._candidate(space, values, space.spec(values))

    def read(self, spec: SplitterSpec) -> Candidate | None:
        """Returns the configuration that a splitter's settings are, if they are a point of the sweep's spaces."""
        for space in self._sweep.spaces:
            values = space.read(spec)
            if values is not None:
                return self._candidate(space, values, spec)
        return None

    def scored(self, candidate: Candidate) -> list[SuiteCell]:
        """Returns the cells that score a configuration on test."""
        return list(_with_splitter(self._on_test, candidate.spec, candidate.space.label))

    def _candidate(self, space: Space, values: Values, spec: SplitterSpec) -> Candidate:
        return Candidate(space, values, spec, tuple(_with_splitter(self._on_select, spec, space.label)))


def _templates(sweep: Sweep, scenario: str) -> Iterator[Cell]:
    """Yields the cells that the first splitter would be run on."""
    items = expand(sweep.suite(scenario))
    first = items[0].cell.splitter
    yield from (item.cell for item in items if item.cell.splitter == first)


def _with_splitter(cells: Sequence[Cell], spec: SplitterSpec, label: str) -> Iterator[SuiteCell]:
    shown = None if label == spec.name else label
    for cell in cells:
        yield SuiteCell(cell.model_copy(update={"splitter": spec}), shown)
