"""Trials, as rows tell them: every state and value is derived from rows, so that nothing else need be kept."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from enum import Enum
from functools import cached_property

from benchmarks.cells import SplitterSpec
from benchmarks.records import Row, State
from harness.plan import RETRIED_KINDS
from harness.ranking.statistics import Estimate
from harness.suite_cell import SuiteCell
from harness.sweep.candidates import Candidate, Cells, configuration_key
from harness.sweep.file import Race, Sweep
from harness.sweep.fronts import Point, front_indices
from harness.sweep.objectives import Constraint, Objective, costs, estimate, seed_means
from harness.sweep.racing import is_beaten

STOPPED_EARLY = "stopped_early"
"""The failure kind of a row whose trial was ended because others were better at the same step."""


class TrialState(str, Enum):
    """How far a trial is.

    ``complete``: every cell has a value. ``beaten``: a race ended it. ``stopped``: it lay behind others while it ran.
    ``failed``: a cell failed, or lacks a number that is asked for. ``unfinished``: cells are left to run.
    """

    COMPLETE = "complete"
    BEATEN = "beaten"
    STOPPED = "stopped"
    FAILED = "failed"
    UNFINISHED = "unfinished"


@dataclass(frozen=True)
class Trial:
    """One configuration and what is known of it.

    Args:
        candidate: The configuration.
        rows: The attempt that counts of each of its cells that has one, by cell.
        goals: The sweep's objectives.
        bounds: The sweep's constraints.
        beaten: Whether a race has ended it.
        number: Its place in the study, counted from 0.
    """

    candidate: Candidate
    rows: Mapping[str, Row]
    goals: tuple[Objective, ...]
    bounds: tuple[Constraint, ...]
    beaten: bool = False
    number: int = -1

    @property
    def key(self) -> str:
        """Identifies the configuration."""
        return self.candidate.key

    @cached_property
    def state(self) -> TrialState:
        """How far it is."""
        if any(row.failure_kind == STOPPED_EARLY for row in self.rows.values()):
            return TrialState.STOPPED
        if self.failure is not None:
            return TrialState.FAILED
        if self.beaten:
            return TrialState.BEATEN
        return TrialState.UNFINISHED if self.missing else TrialState.COMPLETE

    @property
    def is_over(self) -> bool:
        """Whether nothing of it is left to run."""
        return self.state is not TrialState.UNFINISHED

    @cached_property
    def failure(self) -> str | None:
        """Why it failed, in one line."""
        for row in self.rows.values():
            if _has_failed(row):
                return f"{row.failure_kind or row.state.value}: {row.reason or ''}".rstrip(": ")
        ok = [row for row in self.rows.values() if row.state is State.OK]
        for column in [*(goal.column for goal in self.goals), *(bound.column for bound in self.bounds)]:
            if ok and seed_means(ok, column) is None:
                return f"its rows have no {column}"
        return None

    @cached_property
    def missing(self) -> list[SuiteCell]:
        """The cells that are left to run."""
        return [item for item in self.candidate.items if not self._is_done(item)]

    def _is_done(self, item: SuiteCell) -> bool:
        row = self.rows.get(item.cell.cell_id)
        return row is not None and row.state.is_final

    @property
    def values(self) -> dict[str, Estimate]:
        """Mean and interval over seeds of each objective; empty where it has no complete seed."""
        return self._estimates([(goal.name, goal.column) for goal in self.goals])

    @property
    def bound_values(self) -> dict[str, Estimate]:
        """The same of each constraint's column, by the constraint's text."""
        return self._estimates([(bound.text, bound.column) for bound in self.bounds])

    def _estimates(self, wanted: Sequence[tuple[str, str]]) -> dict[str, Estimate]:
        rows = [row for rows in self._by_seed.values() for row in rows]
        found = {name: estimate(rows, column) for name, column in wanted}
        return {name: value for name, value in found.items() if value is not None}

    @cached_property
    def _by_seed(self) -> dict[int, list[Row]]:
        """The rows of each seed on which all cells are ``ok``."""
        found: dict[int, list[Row]] = {}
        for seed in dict.fromkeys(item.cell.seed for item in self.candidate.items):
            rows = [self.rows.get(item.cell.cell_id) for item in self.candidate.of_seeds([seed])]
            done = [row for row in rows if row is not None and row.state is State.OK]
            if len(done) == len(rows):
                found[seed] = done
        return found

    @property
    def seeds(self) -> list[int]:
        """The seeds on which it has values."""
        return list(self._by_seed)

    @cached_property
    def seed_costs(self) -> dict[int, Point]:
        """The objectives as costs, by seed."""
        found = {}
        for seed, rows in self._by_seed.items():
            means = {goal.name: (seed_means(rows, goal.column) or {}).get(seed) for goal in self.goals}
            told = {name: value for name, value in means.items() if value is not None}
            if len(told) == len(self.goals):
                found[seed] = costs(self.goals, told)
        return found

    @cached_property
    def point(self) -> Point | None:
        """The objectives' means as costs; None where there are none."""
        values = self.values
        if len(values) < len(self.goals):
            return None
        return costs(self.goals, {name: value.mean for name, value in values.items()})

    @cached_property
    def violations(self) -> dict[str, float]:
        """By how much it breaks each constraint; at most 0 where it keeps it."""
        found = self.bound_values
        return {bound.text: bound.violation(found[bound.text].mean) for bound in self.bounds if bound.text in found}

    @property
    def is_feasible(self) -> bool:
        """Whether it keeps all constraints."""
        return len(self.violations) == len(self.bounds) and all(value <= 0 for value in self.violations.values())

    @property
    def began_at(self) -> datetime:
        """When its first row began."""
        return min((row.started_at for row in self.rows.values()), default=_NEVER)

    @property
    def ended_at(self) -> datetime:
        """When its last row ended."""
        return max((row.started_at + timedelta(seconds=row.seconds) for row in self.rows.values()), default=_NEVER)

    @property
    def seconds(self) -> float:
        """How long its cells took."""
        return sum(row.seconds for row in self.rows.values())

    @property
    def device_seconds(self) -> float:
        """How much of a device's time its cells took."""
        return sum(row.seconds * (row.gpu_share or 1.0) for row in self.rows.values())

    def with_row(self, row: Row) -> Trial:
        """Returns the trial with one more row; a final one stays in its place."""
        earlier = self.rows.get(row.cell_id)
        if earlier is not None and earlier.state.is_final and not row.state.is_final:
            return self
        return replace(self, rows={**self.rows, row.cell_id: row})


_NEVER = datetime.max.replace(tzinfo=timezone.utc)


def _has_failed(row: Row) -> bool:
    """Says whether a row ends its trial: the method failed, or took too long; nothing was measured."""
    return row.state not in (State.OK, State.INTERRUPTED) and row.failure_kind not in RETRIED_KINDS


@dataclass(frozen=True)
class TrialBook:
    """All trials of a study.

    Args:
        trials: In the order of their numbers.
        race: The rule of the race, if there is one.
    """

    trials: tuple[Trial, ...] = ()
    race: Race | None = None
    by_key: Mapping[str, Trial] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Looks up trials by configuration."""
        object.__setattr__(self, "by_key", {trial.key: trial for trial in self.trials})

    @property
    def over(self) -> list[Trial]:
        """Those that have ended, one way or the other."""
        return [trial for trial in self.trials if trial.is_over]

    @property
    def unfinished(self) -> list[Trial]:
        """Those of which cells are left to run, the most promising first."""
        left = [trial for trial in self.trials if not trial.is_over]
        known = [trial for trial in left if trial.point is not None]
        best = {known[i].key for i in front_indices([t.point for t in known if t.point is not None])}
        return sorted(left, key=lambda trial: (trial.key not in best, trial.number))

    @property
    def complete(self) -> list[Trial]:
        """Those with a value from every seed: the ones that may be compared."""
        return [trial for trial in self.trials if trial.state is TrialState.COMPLETE]

    @property
    def front(self) -> list[Trial]:
        """The complete trials that keep the constraints and that no other such trial dominates."""
        able = [trial for trial in self.complete if trial.is_feasible]
        return [able[index] for index in front_indices([trial.point for trial in able if trial.point is not None])]

    def judged(self, trial: Trial) -> Trial:
        """Returns a trial with the race's verdict on it; only rivals that keep the constraints can beat it."""
        if self.race is None or not trial.missing or len(trial.seed_costs) < self.race.after:
            return trial
        rivals = [rival.seed_costs for rival in self.complete if rival.is_feasible and rival.key != trial.key]
        beaten = is_beaten(trial.seed_costs, rivals, confidence=self.race.confidence)
        return replace(trial, beaten=True) if beaten else trial

    def with_trial(self, trial: Trial) -> TrialBook:
        """Returns the book with a trial, new or in the place of what was known of it, and the race's verdict on it."""
        known = self.by_key.get(trial.key)
        number = known.number if known is not None else len(self.trials)
        placed = self.judged(replace(trial, number=number))
        return TrialBook((*self.trials[:number], placed, *self.trials[number + 1 :]), self.race)


def read_trials(sweep: Sweep, cells: Cells, rows: Iterable[Row]) -> TrialBook:
    """Returns the trials that rows tell of: all configurations of the sweep's spaces that have a row of its cells.

    They are numbered in the order in which they began.

    Args:
        sweep: The sweep.
        cells: Its cells.
        rows: The attempt that counts of each known cell.
    """
    by_id = {row.cell_id: row for row in rows if row.scenario == cells.selection}
    found = []
    for spec in _splitters(by_id.values(), {space.splitter for space in sweep.spaces}):
        candidate = cells.read(spec)
        if candidate is None:
            continue
        ids = [item.cell.cell_id for item in candidate.items]
        own = {cell_id: by_id[cell_id] for cell_id in ids if cell_id in by_id}
        if own:
            found.append(Trial(candidate, own, sweep.goals, sweep.bounds))
    found.sort(key=lambda trial: (trial.began_at, trial.key))
    numbered = TrialBook(tuple(replace(trial, number=number) for number, trial in enumerate(found)), sweep.race)
    return TrialBook(tuple(numbered.judged(trial) for trial in numbered.trials), sweep.race)


def _splitters(rows: Iterable[Row], names: set[str]) -> Iterator[SplitterSpec]:
    """Yields each splitter configuration that has rows, once."""
    seen: set[str] = set()
    for row in rows:
        if row.splitter not in names:
            continue
        spec = SplitterSpec.model_validate(json.loads(row.config)["splitter"])
        key = configuration_key(spec)
        if key not in seen:
            seen.add(key)
            yield spec
