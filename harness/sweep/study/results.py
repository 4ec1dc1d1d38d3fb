"""The results of a study: its front on select and on test, the best of each splitter, hypervolume, importances."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from benchmarks.rows.row import Row, State
from harness.config.trust import Consent
from harness.ranking.budgets.fronts import Point, hypervolume
from harness.ranking.statistics import Estimate
from harness.store import LATEST_COLUMNS, ResultStore
from harness.sweep.definition.file import Sweep
from harness.sweep.definition.objectives import estimates
from harness.sweep.study.record import began_at, find_study, read_studies
from harness.sweep.study.trials import Configurations, Trial, Trials, read_trials

Importances = dict[str, dict[str, dict[str, float]]]
"""By splitter, objective and setting: shares of the objective's variance."""

_MIN_TRIALS = 4
"""Importances of fewer trials say nothing."""


@dataclass(frozen=True)
class SweepResults:
    """A study as its rows describe it; ``rows`` are those of the store that count, ``others`` its other studies."""

    study: str
    sweep: Sweep
    configurations: Configurations
    trials: Trials
    rows: Sequence[Row]
    others: Sequence[str] = ()

    @cached_property
    def front(self) -> list[Trial]:
        """The front on select, by the first objective."""
        return sorted(self.trials.front, key=lambda trial: trial.point or ())

    @cached_property
    def reference(self) -> Point:
        """The reference point of the hypervolume, as costs: the file's, or else the worst values possible or seen."""
        return tuple(self._reference(index) for index in range(len(self.sweep.goals)))

    def _reference(self, index: int) -> float:
        goal = self.sweep.goals[index]
        value = self.sweep.reference.get(goal.name, goal.worst)
        if value is not None:
            return goal.cost(value)
        return max((trial.point[index] for trial in self.trials.complete if trial.point), default=0.0)

    def volume(self, trials: Iterable[Trial]) -> float:
        """Return the hypervolume of the feasible ones of some trials."""
        return hypervolume([trial.point for trial in trials if trial.is_feasible and trial.point], self.reference)

    @property
    def defaults(self) -> list[Trial]:
        """The complete trials of the splitters' default settings."""
        return [trial for trial in self.trials.complete if trial.configuration.is_default]

    @cached_property
    def over_time(self) -> list[tuple[Trial, datetime, float]]:
        """The complete trials in the order in which they ended, with the hypervolume from then on."""
        ended = sorted(self.trials.complete, key=lambda trial: trial.ended_at)
        return [(trial, trial.ended_at, self.volume(ended[: index + 1])) for index, trial in enumerate(ended)]

    @cached_property
    def best(self) -> dict[str, Trial]:
        """The best feasible trial of each splitter, by label.

        It has the largest hypervolume by itself; where none is below the reference point, the least sum of costs.
        """
        best: dict[str, Trial] = {}
        for trial in sorted(self.trials.complete, key=lambda t: (-self.volume([t]), sum(t.point or ()), t.number)):
            if trial.is_feasible:
                best.setdefault(trial.label, trial)
        return {space.label: best[space.label] for space in self.sweep.spaces if space.label in best}

    @property
    def chosen(self) -> list[Trial]:
        """The trials to score on test: the front, the best of each splitter, and the defaults for comparison."""
        chosen = {trial.number: trial for trial in [*self.front, *self.best.values(), *self.defaults]}
        return [chosen[number] for number in sorted(chosen)]

    @cached_property
    def _by_id(self) -> Mapping[str, Row]:
        return {row.cell_id: row for row in self.rows}

    def test_rows(self, trial: Trial) -> list[Row]:
        """Return the rows that score a trial's configuration on test."""
        ids = [item.cell.cell_id for item in self.configurations.test_items(trial.configuration)]
        return [self._by_id[cell_id] for cell_id in ids if cell_id in self._by_id]

    def test_values(self, trial: Trial) -> dict[str, Estimate]:
        """Return the objectives on test, over all seeds; empty before they are scored."""
        rows = [row for row in self.test_rows(trial) if row.state is State.OK]
        if len(rows) < len(trial.configuration.items):
            return {}
        return estimates(rows, {goal.name: goal.name for goal in self.sweep.goals})

    def importances(self) -> Importances:
        """Return how much each setting matters, by fANOVA, for each splitter with enough trials.

        Conditional settings are left out: Optuna compares the parameters that all trials have.
        """
        from optuna.importance import FanovaImportanceEvaluator, get_param_importances

        from harness.sweep.study.optuna_trials import frozen_trial, new_study, quiet

        found: Importances = {}
        for space in self.sweep.spaces:
            trials = [trial for trial in self.trials.complete if trial.label == space.label]
            if len(trials) < _MIN_TRIALS or not space.parameters:
                continue
            study = new_study(space.label, self.sweep.goals)
            study.add_trials([frozen_trial(trial) for trial in trials])
            shares: dict[str, dict[str, float]] = {goal.name: {} for goal in self.sweep.goals}
            for index, goal in enumerate(self.sweep.goals):
                if len({trial.values[goal.name].mean for trial in trials}) > 1:
                    with quiet(), warnings.catch_warnings():
                        warnings.simplefilter("ignore")
                        shares[goal.name] = get_param_importances(
                            study,
                            evaluator=FanovaImportanceEvaluator(seed=0),
                            target=lambda trial, index=index: trial.values[index],  # type: ignore[misc]
                        )
            found[space.label] = shares
        return found


def read_results(store: ResultStore, study: str | None = None, *, consent: Consent | None = None) -> SweepResults:
    """Return the results of a study.

    Args:
        store: Its store.
        study: The beginning of its id; the study that was asked for last by default.
        consent: See ``read_studies``.

    Raises:
        ConfigurationError: If there is no such study, or it names code that is not trusted here.
    """
    known = read_studies(store, consent=consent)
    record = find_study(known, study, where=store.location)
    sweep, contents = record.sweep, store.read(columns=LATEST_COLUMNS)
    configurations, rows = Configurations(sweep), list(contents.latest())
    trials = read_trials(
        sweep, configurations, rows, first_starts=contents.first_starts(), since=began_at(record.study, known)
    )
    others = sorted({other.study for other in known} - {record.study})
    return SweepResults(record.study, sweep, configurations, trials, rows, others)
