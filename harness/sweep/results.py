"""What a study has found: its front, the best of each splitter, volume, and what the settings matter."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from benchmarks.records import Row, State
from harness.ranking.statistics import Estimate
from harness.store import ResultStore, StoreContents
from harness.sweep.candidates import Cells
from harness.sweep.definitions import Definition, find_definition, read_definitions
from harness.sweep.file import Sweep
from harness.sweep.fronts import Point, hypervolume
from harness.sweep.objectives import estimate
from harness.sweep.trials import Trial, TrialBook, read_trials
from harness.trust import Consent


@dataclass(frozen=True)
class SweepResults:
    """A study, as its rows tell it.

    Args:
        study: Names the study.
        sweep: What was asked for.
        cells: Its cells.
        book: Its trials.
        rows: All rows of the store that count, those that score on test among them.
        others: Further studies in the store.
    """

    study: str
    sweep: Sweep
    cells: Cells
    book: TrialBook
    rows: Sequence[Row]
    others: Sequence[str] = ()

    @property
    def front(self) -> list[Trial]:
        """The front on select, by the first objective."""
        return sorted(self.book.front, key=lambda trial: trial.point or ())

    @cached_property
    def reference(self) -> Point:
        """The corner from which volume is measured, as costs: the file's, or the worst value that there is."""
        return tuple(self._corner(index) for index in range(len(self.sweep.goals)))

    def _corner(self, index: int) -> float:
        goal = self.sweep.goals[index]
        named = self.sweep.reference.get(goal.name, goal.worst)
        if named is not None:
            return goal.cost(named)
        return max((point[index] for point in map(_point, self.book.complete)), default=0.0)

    def volume(self, trials: Iterable[Trial]) -> float:
        """Returns the hypervolume that trials cover together; those that break a constraint cover none."""
        points = [trial.point for trial in trials if trial.is_feasible and trial.point is not None]
        return hypervolume(points, self.reference)

    @property
    def hypervolume(self) -> float:
        """The hypervolume of the front."""
        return self.volume(self.book.front)

    @property
    def defaults(self) -> list[Trial]:
        """The complete trials of the settings that the file gives where nothing is searched."""
        specs = [space.base for space in self.sweep.spaces]
        return [trial for trial in self.book.complete if trial.candidate.spec in specs]

    @property
    def over_time(self) -> list[tuple[Trial, datetime, float]]:
        """The complete trials in the order in which they ended, and the hypervolume from then on."""
        ended = sorted(self.book.complete, key=lambda trial: trial.ended_at)
        return [(trial, trial.ended_at, self.volume(ended[: index + 1])) for index, trial in enumerate(ended)]

    @property
    def best(self) -> dict[str, Trial]:
        """Of each splitter, by label, the trial that keeps the constraints and alone covers the largest volume.

        Where none lies below the reference, that with the least sum of costs is the best.
        """
        found = {}
        for space in self.sweep.spaces:
            able = [t for t in self.book.complete if t.is_feasible and t.candidate.space.label == space.label]
            if able:
                found[space.label] = min(able, key=self._badness)
        return found

    def _badness(self, trial: Trial) -> tuple[float, float, int]:
        return -self.volume([trial]), sum(_point(trial)), trial.number

    @property
    def chosen(self) -> list[Trial]:
        """What is scored on test: the front, the best of each splitter, and the defaults to hold them against."""
        wanted = {trial.number: trial for trial in [*self.front, *self.best.values(), *self.defaults]}
        return [wanted[number] for number in sorted(wanted)]

    @cached_property
    def _by_id(self) -> Mapping[str, Row]:
        return {row.cell_id: row for row in self.rows}

    def test_rows(self, trial: Trial) -> list[Row]:
        """Returns the rows that score a trial's configuration on test."""
        ids = [item.cell.cell_id for item in self.cells.scored(trial.candidate)]
        return [self._by_id[cell_id] for cell_id in ids if cell_id in self._by_id]

    def test_values(self, trial: Trial) -> dict[str, Estimate]:
        """Returns the objectives as scored on test, over all seeds; empty before they are."""
        rows = [row for row in self.test_rows(trial) if row.state is State.OK]
        if len(rows) < len(trial.candidate.items):
            return {}
        found = {goal.name: estimate(rows, goal.name) for goal in self.sweep.goals}
        return {name: value for name, value in found.items() if value is not None}


def _point(trial: Trial) -> Point:
    return trial.point or ()


def read_results(store: ResultStore, study: str | None = None, *, consent: Consent | None = None) -> SweepResults:
    """Returns a study as a store tells it.

    Args:
        store: Where its rows are.
        study: The beginning of its name; that which was asked for last by default.
        consent: See ``read_definitions``.

    Raises:
        ConfigurationError: If there is no such study, or it names code that is not trusted here.
    """
    known = read_definitions(store, consent=consent)
    found = find_definition(known, study, where=store.location)
    others = sorted({other.study for other in known} - {found.study})
    return results_of(found, store.read(), others=others)


def results_of(definition: Definition, contents: StoreContents, *, others: Sequence[str] = ()) -> SweepResults:
    """Returns a study as rows tell it.

    Args:
        definition: What was asked for.
        contents: The store's rows.
        others: Further studies in the store.
    """
    sweep, cells, rows = definition.sweep, Cells(definition.sweep), contents.latest()
    return SweepResults(definition.study, sweep, cells, read_trials(sweep, cells, rows), rows, others)
