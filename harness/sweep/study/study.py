"""The study of a sweep, with Optuna's ask-and-tell interface.

One Optuna study per splitter, in memory and rebuilt from the trials at every start: samplers that model several
parameters jointly see only the parameters that all trials share, and splitters share none.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from itertools import chain, islice
from random import Random

import optuna
from optuna.samplers import BaseSampler
from optuna.trial import TrialState as OptunaState

from benchmarks.rows.row import Row
from harness.sweep.definition.file import SamplerSpec, Sweep
from harness.sweep.definition.space import Space, Values
from harness.sweep.study.optuna_trials import (
    STATES,
    frozen_trial,
    new_study,
    objective_values,
    quiet,
    suggest,
    to_optuna,
)
from harness.sweep.study.trials import Configuration, Configurations, Trial, Trials
from splitters.errors import ConfigurationError

MAX_DUPLICATES = 30
"""After this many duplicates or refused configurations, a splitter's next one is sampled at random."""

_MAX_RANDOM = 10_000
"""After this many random points without a new one, a space counts as exhausted."""


_Proposal = tuple[optuna.trial.Trial, Configuration]


class SplitterStudy:
    """Proposes configurations of one splitter, its default first.

    A space with no more points than the splitter's share of the trials is tried point by point in random order, as is
    any space whose sampler finds nothing new; ``grid`` tries all points in order.

    Args:
        space: The splitter's space.
        sweep: The sweep.
        configurations: Its configurations.
        known: The finished trials of this splitter.
    """

    def __init__(self, space: Space, sweep: Sweep, configurations: Configurations, known: Sequence[Trial] = ()) -> None:
        self.space = space
        self.is_exhausted = False
        self.duplicates = 0
        self.refusals: Counter[str] = Counter()
        self._configurations = configurations
        share = -(-sweep.trials // len(sweep.spaces))
        random = Random(f"{sweep.sampler.seed} {space.label} {len(known)}")
        self._random = space.random_points(random)
        points: Iterable[Values] = ()
        if sweep.sampler.name == "grid":
            points = space.points()
        elif space.size is not None and space.size <= share:
            points = random.sample(listed := list(space.points()), len(listed))
        self._samples = not points
        self._points = chain([] if space.default is None else [space.default], points)
        with quiet():
            # A new seed for every start, or a resumed study would propose its first configurations again.
            sampler = make_sampler(sweep.sampler, seed=sweep.sampler.seed + len(known), n_trials=share)
            self.optuna = new_study(space.label, sweep.goals, sampler)
            self.optuna.add_trials([frozen_trial(trial) for trial in known])

    def propose(self, trials: Trials) -> _Proposal | None:
        """Return a configuration that no trial has; None if there is none left, or none can be found."""
        found = self._new_point(self._points, trials)
        if found is None and self._samples:
            found = self._sampled(trials) or self._new_point(islice(self._random, _MAX_RANDOM), trials)
        self.is_exhausted = found is None
        return found

    def enqueue(self, values: Values) -> optuna.trial.Trial:
        """Return a new Optuna trial with these values."""
        parameters = [parameter for parameter in self.space.parameters if parameter.name in values]
        with quiet():
            self.optuna.enqueue_trial({p.name: to_optuna(p, values[p.name]) for p in parameters})
            return self._ask()[0]

    def tell(self, pending: optuna.trial.Trial, trial: Trial | None) -> None:
        """Tell Optuna how a trial ended; None for a configuration that cannot be run."""
        state = STATES[trial.state] if trial is not None else OptunaState.FAIL
        values = objective_values(trial) if trial is not None else None
        with quiet():
            # Constraints first: a trial that is told without them counts as feasible for good.
            for name, violation in (trial.violations if trial is not None else {}).items():
                pending.set_constraint(name, violation)
            if values is not None:
                # Without a state, so that a value such as NaN fails the trial instead of leaving it running forever.
                self.optuna.tell(pending, values)
            else:
                self.optuna.tell(pending, state=state if state is OptunaState.PRUNED else OptunaState.FAIL)

    def _ask(self) -> tuple[optuna.trial.Trial, Values]:
        with quiet():
            pending = self.optuna.ask()
            return pending, self.space.choose(lambda parameter: suggest(pending, parameter))

    def _sampled(self, trials: Trials) -> _Proposal | None:
        for _ in range(MAX_DUPLICATES):
            pending, values = self._ask()
            configuration = self._configuration(values)
            if configuration is not None and configuration.key not in trials.by_key:
                return pending, configuration
            self.duplicates += configuration is not None
            self.tell(pending, trials.by_key[configuration.key] if configuration is not None else None)
        return None

    def _new_point(self, points: Iterator[Values], trials: Trials) -> _Proposal | None:
        for values in points:
            configuration = self._configuration(values)
            if configuration is not None and configuration.key not in trials.by_key:
                return self.enqueue(values), configuration
        return None

    def _configuration(self, values: Values) -> Configuration | None:
        try:
            return self._configurations.at(self.space, values)
        except ConfigurationError as error:
            self.refusals[str(error)] += 1
            return None


class Study:
    """All trials of a sweep: what to run next, and what rows say so far.

    Unfinished trials come first, then new ones; splitters take turns. A trial that was asked for counts among the
    sweep's number of trials, even if a machine failed it for good: then the next start finishes it.

    Args:
        sweep: The sweep.
        configurations: Its configurations.
        trials: The trials that rows describe at the start.
        elsewhere: Cells that other runs have declared. Trials with such cells left to run count, and are not run.
    """

    def __init__(
        self, sweep: Sweep, configurations: Configurations, trials: Trials, *, elsewhere: Container[str] = ()
    ) -> None:
        self._sweep = sweep
        self.trials = trials
        self._pending: dict[str, optuna.trial.Trial] = {}
        self._resumable = [trial.key for trial in trials.unfinished]
        self._ended: set[str] = set()
        self._elsewhere = elsewhere
        self.left_to_others: list[str] = []
        """The cells of trials that are not run, because other runs have declared them."""
        self.splitters = {
            space.label: SplitterStudy(
                space, sweep, configurations, [trial for trial in trials.finished if trial.label == space.label]
            )
            for space in sweep.spaces
        }

    @property
    def n_left(self) -> int:
        """Number of trials that are still to be asked for."""
        finished = {trial.key for trial in self.trials.finished}
        return max(0, self._sweep.trials - len(finished | self._pending.keys() | self._ended))

    def ask(self) -> Trial | None:
        """Return the next trial to run; None if there are enough, or all spaces are exhausted."""
        while self.n_left and (trial := self._next()) is not None:
            elsewhere = [item.cell.cell_id for item in trial.missing if item.cell.cell_id in self._elsewhere]
            if not elsewhere:
                return trial
            self.left_to_others += elsewhere
            self.tell(trial.key)
        return None

    def _next(self) -> Trial | None:
        """Return the next trial: an unfinished one, or one with a new configuration."""
        if self._resumable:
            trial = self.trials.by_key[self._resumable.pop(0)]
            self._pending[trial.key] = self.splitters[trial.label].enqueue(trial.configuration.values)
            return trial
        while (splitter := self._next_splitter()) is not None:
            proposal = splitter.propose(self.trials)
            if proposal is not None:
                pending, configuration = proposal
                self.trials = self.trials.with_trial(Trial(configuration, {}, self._sweep.goals, self._sweep.bounds))
                self._pending[configuration.key] = pending
                return self.trials.by_key[configuration.key]
        return None

    def add_row(self, key: str, row: Row) -> Trial:
        """Add a row to a trial, and return the trial."""
        self.trials = self.trials.with_trial(self.trials.by_key[key].with_row(row))
        return self.trials.by_key[key]

    def tell(self, key: str) -> None:
        """Tell Optuna how a trial that was asked for has ended, as its rows say."""
        if (pending := self._pending.pop(key, None)) is not None:
            trial = self.trials.by_key[key]
            self.splitters[trial.label].tell(pending, trial)
            self._ended.add(key)

    def tell_all(self) -> None:
        """End every trial that is still running, as at the end of an interrupted sweep."""
        for key in list(self._pending):
            self.tell(key)

    def _next_splitter(self) -> SplitterStudy | None:
        """Return the splitter with the fewest trials, among those whose spaces are not exhausted."""
        counts = Counter(trial.label for trial in self.trials.all)
        able = [splitter for splitter in self.splitters.values() if not splitter.is_exhausted]
        return min(able, key=lambda splitter: counts[splitter.space.label], default=None)


def make_sampler(spec: SamplerSpec, *, seed: int, n_trials: int) -> BaseSampler:
    """Return Optuna's sampler.

    Args:
        spec: The sweep's sampler.
        seed: Its seed.
        n_trials: Expected number of trials, for defaults.
    """
    startup = spec.startup or max(4, n_trials // 3)
    if spec.name == "tpe":
        return optuna.samplers.TPESampler(
            seed=seed, n_startup_trials=startup, multivariate=True, group=True, constant_liar=True
        )
    if spec.name == "nsga2":
        return optuna.samplers.NSGAIISampler(seed=seed, population_size=spec.population or max(4, n_trials // 4))
    if spec.name == "gp":
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup)
    return optuna.samplers.RandomSampler(seed=seed)
