"""Trials as rows describe them: states and values are derived from rows, and nothing else is stored."""

from __future__ import annotations

import json
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from enum import Enum
from functools import cached_property

from benchmarks.cells import SplitterSpec, content_hash
from benchmarks.rows.row import Row, State
from harness.planning.plan import RETRIED_KINDS
from harness.ranking.budgets.fronts import Point, front_indices
from harness.ranking.statistics import Estimate
from harness.suite_cell import SuiteCell
from harness.sweep.definition.file import Sweep
from harness.sweep.definition.objectives import Constraint, Objective, estimates, seed_means
from harness.sweep.definition.space import Space, Values

STOPPED_EARLY = "stopped_early"
BEATEN = "beaten"
"""Failure kinds of the row that early stopping or a race writes for the cell at which it ends a trial. The verdict is
stored, not recomputed: a trial that was ended stays ended when the rule is taken away, or seeds are added."""


class TrialState(str, Enum):
    """State of a trial.

    ``complete``: every cell has a value. ``beaten``: a race ended it. ``stopped``: early stopping ended it.
    ``failed``: a cell failed, or lacks a value that is needed. ``unfinished``: cells are left to run.
    """

    COMPLETE = "complete"
    BEATEN = "beaten"
    STOPPED = "stopped"
    FAILED = "failed"
    UNFINISHED = "unfinished"


@dataclass(frozen=True)
class Configuration:
    """A configuration of a splitter, and the cells of its trial: seed after seed, each on all data sets and models."""

    space: Space
    values: Values
    spec: SplitterSpec
    items: tuple[SuiteCell, ...]

    @cached_property
    def key(self) -> str:
        """Identifies the configuration."""
        return _key(self.spec)

    @property
    def is_default(self) -> bool:
        """Whether these are the default settings."""
        return self.spec == self.space.base


def _key(spec: SplitterSpec) -> str:
    return content_hash(spec.model_dump(mode="json"))


class Configurations:
    """Makes the configurations of a sweep, and their cells."""

    def __init__(self, sweep: Sweep) -> None:
        self._sweep = sweep
        first = sweep.cells[0].cell.splitter
        items = [item for item in sweep.cells if item.cell.splitter == first]
        self._selection = [item for item in items if item.cell.scenario == sweep.selection_scenario]
        self._test = [item for item in items if item.cell.scenario == sweep.scenario]

    def at(self, space: Space, values: Values) -> Configuration:
        """Return the configuration at a point.

        Raises:
            ConfigurationError: If the splitter refuses this combination.
        """
        return self._make(space, values, space.spec(values))

    def default(self, space: Space) -> Configuration:
        """Return the configuration of a splitter's default settings, whether or not the space contains it."""
        return self._make(space, space.default or {}, space.base)

    def read(self, spec: SplitterSpec) -> Configuration | None:
        """Return the configuration with these settings; None if no space of the sweep contains it."""
        found = ((space, space.read(spec)) for space in self._sweep.spaces)
        return next((self._make(space, values, spec) for space, values in found if values is not None), None)

    def all_items(self, configuration: Configuration) -> list[SuiteCell]:
        """Return the cells of a configuration's trial, and those that score it on test."""
        return [*configuration.items, *self.test_items(configuration)]

    def test_items(self, configuration: Configuration) -> list[SuiteCell]:
        """Return the cells that score a configuration on test."""
        return _with_splitter(self._test, configuration.spec, configuration.space.label)

    def _make(self, space: Space, values: Values, spec: SplitterSpec) -> Configuration:
        return Configuration(space, values, spec, tuple(_with_splitter(self._selection, spec, space.label)))


def _with_splitter(items: Sequence[SuiteCell], spec: SplitterSpec, label: str) -> list[SuiteCell]:
    shown = None if label == spec.name else label
    return [replace(item, cell=item.cell.model_copy(update={"splitter": spec}), label=shown) for item in items]


@dataclass(frozen=True)
class Trial:
    """One configuration, numbered from 0, and the row that counts of each of its cells that has one, by cell id."""

    configuration: Configuration
    rows: Mapping[str, Row]
    goals: tuple[Objective, ...]
    bounds: tuple[Constraint, ...]
    number: int = -1

    @property
    def key(self) -> str:
        """Identifies the configuration."""
        return self.configuration.key

    @property
    def label(self) -> str:
        """The splitter's name on screen."""
        return self.configuration.space.label

    @cached_property
    def state(self) -> TrialState:
        """The trial's state."""
        kinds = {row.failure_kind for row in self.rows.values()}
        if STOPPED_EARLY in kinds:
            return TrialState.STOPPED
        if BEATEN in kinds:
            return TrialState.BEATEN
        if self.failure is not None:
            return TrialState.FAILED
        return TrialState.UNFINISHED if self.missing else TrialState.COMPLETE

    @property
    def is_finished(self) -> bool:
        """Whether nothing of it is left to run."""
        return self.state is not TrialState.UNFINISHED

    @cached_property
    def failure(self) -> str | None:
        """Why it failed, in one line; None if it did not."""
        for row in self.rows.values():
            # Interruptions and faults of the infrastructure leave the cell to be run again.
            if row.state not in (State.OK, State.INTERRUPTED) and row.failure_kind not in RETRIED_KINDS:
                return f"{row.failure_kind or row.state.value}: {row.reason or ''}".rstrip(": ")
        measured = [row for row in self.rows.values() if row.state is State.OK]
        for column in [*(goal.column for goal in self.goals), *(bound.column for bound in self.bounds)]:
            if measured and seed_means(measured, column) is None:
                return f"its rows have no {column}"
        return None

    @property
    def reason(self) -> str | None:
        """Why it is not complete, in one line."""
        return self.failure or next((row.reason for row in self.rows.values() if row.reason), None)

    @cached_property
    def missing(self) -> list[SuiteCell]:
        """The cells that are left to run."""
        final = {cell_id for cell_id, row in self.rows.items() if row.state.is_final}
        return [item for item in self.configuration.items if item.cell.cell_id not in final]

    @cached_property
    def _measured(self) -> dict[int, list[Row]]:
        """The rows of each seed that is ``ok`` on all data sets and models."""
        by_seed: dict[int, list[Row | None]] = {}
        for item in self.configuration.items:
            by_seed.setdefault(item.cell.seed, []).append(self.rows.get(item.cell.cell_id))
        return {
            seed: [row for row in rows if row is not None]
            for seed, rows in by_seed.items()
            if all(row is not None and row.state is State.OK for row in rows)
        }

    @property
    def seeds(self) -> list[int]:
        """The seeds on which it has values."""
        return list(self._measured)

    @cached_property
    def values(self) -> dict[str, Estimate]:
        """Mean and interval over seeds of each objective; empty without a complete seed."""
        return estimates(self._measured_rows, {goal.name: goal.column for goal in self.goals})

    @cached_property
    def bound_values(self) -> dict[str, Estimate]:
        """Mean and interval over seeds of each constraint's column, by the constraint's text."""
        return estimates(self._measured_rows, {bound.text: bound.column for bound in self.bounds})

    @property
    def _measured_rows(self) -> list[Row]:
        return [row for rows in self._measured.values() for row in rows]

    @cached_property
    def seed_costs(self) -> dict[int, Point]:
        """The objectives as costs, by seed."""
        means = [(goal, seed_means(self._measured_rows, goal.column) or {}) for goal in self.goals]
        seeds = [seed for seed in self._measured if all(seed in values for _, values in means)]
        return {seed: tuple(goal.cost(values[seed]) for goal, values in means) for seed in seeds}

    @cached_property
    def point(self) -> Point | None:
        """The objectives' means as costs; None without a complete seed."""
        if len(self.values) < len(self.goals):
            return None
        return tuple(goal.cost(self.values[goal.name].mean) for goal in self.goals)

    @cached_property
    def violations(self) -> dict[str, float]:
        """By how much it violates each constraint; zero or negative where it satisfies it."""
        means = self.bound_values
        return {bound.text: bound.violation(means[bound.text].mean) for bound in self.bounds if bound.text in means}

    @property
    def is_feasible(self) -> bool:
        """Whether it satisfies all constraints."""
        return len(self.violations) == len(self.bounds) and all(value <= 0 for value in self.violations.values())

    @property
    def started_at(self) -> datetime:
        """When its first row began."""
        return min((row.started_at for row in self.rows.values()), default=_NEVER)

    @property
    def ended_at(self) -> datetime:
        """When its last row ended."""
        return max((row.started_at + timedelta(seconds=row.seconds) for row in self.rows.values()), default=_NEVER)

    @property
    def seconds(self) -> float:
        """Time of its cells."""
        return sum(row.seconds for row in self.rows.values())

    def with_row(self, row: Row) -> Trial:
        """Return the trial with one more row; a final row is not replaced by one that is not."""
        earlier = self.rows.get(row.cell_id)
        if earlier is not None and earlier.state.is_final and not row.state.is_final:
            return self
        return replace(self, rows={**self.rows, row.cell_id: row})


_NEVER = datetime.max.replace(tzinfo=timezone.utc)


def device_seconds(rows: Iterable[Row]) -> float:
    """Return the device time of rows: seconds, times the share of the GPU where they had one."""
    return sum(row.seconds * (row.gpu_share or 1.0) for row in rows)


@dataclass(frozen=True)
class Trials:
    """All trials of a study, in the order of their numbers."""

    all: tuple[Trial, ...] = ()
    by_key: Mapping[str, Trial] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Index the trials by configuration."""
        object.__setattr__(self, "by_key", {trial.key: trial for trial in self.all})

    @property
    def finished(self) -> list[Trial]:
        """The trials with nothing left to run."""
        return [trial for trial in self.all if trial.is_finished]

    @property
    def unfinished(self) -> list[Trial]:
        """The trials with cells left to run, those on the provisional front first."""
        left = [trial for trial in self.all if not trial.is_finished]
        front = {trial.key for trial in _front(left)}
        return sorted(left, key=lambda trial: trial.key not in front)

    @property
    def complete(self) -> list[Trial]:
        """The trials with values from every seed; only these are compared."""
        return [trial for trial in self.all if trial.state is TrialState.COMPLETE]

    @property
    def front(self) -> list[Trial]:
        """The complete, feasible trials that no other such trial dominates."""
        return _front(trial for trial in self.complete if trial.is_feasible)

    def without(self, attempts: Container[str]) -> Trials:
        """Return the same trials without the rows of some attempts."""
        return Trials(
            tuple(
                replace(trial, rows={key: row for key, row in trial.rows.items() if row.attempt_id not in attempts})
                for trial in self.all
            )
        )

    def with_trial(self, trial: Trial) -> Trials:
        """Return the trials with one added, or replaced by a newer version."""
        known = self.by_key.get(trial.key)
        number = known.number if known is not None else len(self.all)
        return Trials((*self.all[:number], replace(trial, number=number), *self.all[number + 1 :]))


def _front(trials: Iterable[Trial]) -> list[Trial]:
    able = [(trial, trial.point) for trial in trials if trial.point is not None]
    return [able[index][0] for index in front_indices([point for _, point in able])]


def read_trials(
    sweep: Sweep,
    configurations: Configurations,
    rows: Iterable[Row],
    *,
    first_starts: Mapping[str, datetime] | None = None,
    since: datetime | None = None,
) -> Trials:
    """Return the trials that rows describe: every configuration of the sweep's spaces with a row of its cells.

    Args:
        sweep: The sweep.
        configurations: Its configurations.
        rows: The attempt that counts of each cell of the store.
        first_starts: When the first attempt at each cell began, by which trials are numbered: a cell that runs again
            does not change its trial's number.
        since: When the study began; verdicts before that are those of another study, with another meaning.
    """
    splitters = {space.splitter for space in sweep.spaces}
    by_id = {
        row.cell_id: row
        for row in rows
        if row.scenario == sweep.selection_scenario
        and row.splitter in splitters
        and not (since is not None and row.failure_kind in (STOPPED_EARLY, BEATEN) and row.started_at < since)
    }
    specs = [SplitterSpec.model_validate(json.loads(row.config)["splitter"]) for row in by_id.values()]
    trials = []
    for spec in {_key(spec): spec for spec in specs}.values():
        configuration = configurations.read(spec)
        ids = [item.cell.cell_id for item in configuration.items] if configuration is not None else []
        own = {cell_id: by_id[cell_id] for cell_id in ids if cell_id in by_id}
        if configuration is not None and own:
            trials.append(Trial(configuration, own, sweep.goals, sweep.bounds))
    began = {row.cell_id: row.started_at for row in by_id.values()} | dict(first_starts or {})
    trials.sort(key=lambda trial: (min(began[cell_id] for cell_id in trial.rows), trial.key))
    return Trials(tuple(replace(trial, number=number) for number, trial in enumerate(trials)))
