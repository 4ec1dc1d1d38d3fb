"""The Optuna side of a sweep: one study per splitter, in memory, rebuilt from trials whenever a sweep begins.

A study of its own for each splitter, because what splitters have in common is no parameter: samplers that model several
parameters together (NSGA-II, Gaussian processes, importances) see only those that all trials share.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from harness.sweep.file import SamplerSpec
from harness.sweep.objectives import Objective
from harness.sweep.parameters import Parameter
from harness.sweep.space import Space
from harness.sweep.trials import Trial, TrialState

HAS_CONSTRAINTS = hasattr(optuna.trial.Trial, "set_constraint")
"""Optuna 5 keeps constraints with the trial; before that, samplers were given a function that returns them."""

_CONSTRAINTS = "splitbench:constraints"

_GENERATION = "NSGAIISampler:generation"
"""Where Optuna's NSGA-II looks for a trial's generation. One that it does not find there makes a generation anew."""

STATES = {
    TrialState.COMPLETE: OptunaState.COMPLETE,
    # A race ends a configuration on fewer seeds than the others; their mean is an honest estimate all the same.
    TrialState.BEATEN: OptunaState.COMPLETE,
    TrialState.STOPPED: OptunaState.PRUNED,
    TrialState.FAILED: OptunaState.FAIL,
}
"""What each state of a trial that is over is to Optuna."""


class SplitterStudy:
    """Proposals of one splitter's configurations.

    Args:
        space: The splitter's space.
        objectives: The sweep's objectives.
        sampler: How configurations are proposed.
        n_trials: How many trials this splitter may expect, for the samplers' defaults.
        is_parallel: Whether trials run at the same time.
        has_constraints: Whether the sweep has constraints.
        known: Trials of this splitter that are over.
    """

    def __init__(
        self,
        space: Space,
        objectives: Sequence[Objective],
        sampler: SamplerSpec,
        *,
        n_trials: int,
        is_parallel: bool,
        has_constraints: bool = False,
        known: Sequence[Trial] = (),
    ) -> None:
        self.space = space
        self._objectives = objectives
        with quiet():
            # The seed moves on with what is known, or a resumed study would propose its first configurations again.
            chosen = make_sampler(
                sampler,
                seed=sampler.seed + len(known),
                n_trials=n_trials,
                is_parallel=is_parallel,
                has_constraints=has_constraints,
            )
            self.study = new_study(space.label, objectives, chosen)
            trials = [frozen_trial(trial) for trial in known]
            if isinstance(chosen, optuna.samplers.NSGAIISampler):
                _note_generations(trials, int(chosen.population_size or 1))
            self.study.add_trials(trials)

    def ask(self) -> tuple[optuna.trial.Trial, dict[str, Any]]:
        """Returns a new Optuna trial and the values that it proposes."""
        with quiet():
            trial = self.study.ask()
            return trial, self._values(trial)

    def ask_for(self, values: Mapping[str, Any]) -> tuple[optuna.trial.Trial, dict[str, Any]]:
        """Returns a new Optuna trial with these values."""
        with quiet():
            self.study.enqueue_trial({parameter.name: _to_optuna(parameter, values[parameter.name])
                                      for parameter in self.space.parameters if parameter.name in values})  # fmt: skip
            trial = self.study.ask()
            if isinstance(self.study.sampler, optuna.samplers.NSGAIISampler):
                # It notes a trial's generation when it proposes one; what it does not propose would belong to none.
                _ = trial.relative_params
            return trial, self._values(trial)

    def _values(self, trial: optuna.trial.Trial) -> dict[str, Any]:
        return self.space.choose(lambda parameter: _suggest(trial, parameter))

    def tell(self, asked: optuna.trial.Trial, trial: Trial) -> None:
        """Tells how a trial went; ``state=None``, so that what is no number is told as failed and never left running.

        Args:
            asked: The Optuna trial.
            trial: What became of it.
        """
        with quiet():
            _set_constraints(asked, trial.violations)
            if trial.state is TrialState.STOPPED:
                self.study.tell(asked, state=OptunaState.PRUNED)
                return
            values = trial.values if STATES.get(trial.state) is OptunaState.COMPLETE else {}
            means = [values[goal.name].mean if goal.name in values else float("nan") for goal in self._objectives]
            self.study.tell(asked, means)

    def refuse(self, asked: optuna.trial.Trial) -> None:
        """Tells that a proposal cannot be run."""
        with quiet():
            self.study.tell(asked, state=OptunaState.FAIL)


def close_running(study: optuna.Study) -> int:
    """Fails every trial that is left running, so that no sampler takes it for work under way; returns how many."""
    running = study.get_trials(deepcopy=False, states=(OptunaState.RUNNING,))
    for trial in running:
        study.tell(trial.number, state=OptunaState.FAIL)
    return len(running)


def new_study(
    name: str, objectives: Sequence[Objective], sampler: BaseSampler | None = None, *, storage: Any = None
) -> optuna.Study:
    """Returns an empty study.

    Args:
        name: Its name.
        objectives: What it is for.
        sampler: How it proposes; none for a study that is only looked at.
        storage: Where it is kept; in memory by default.
    """
    directions: list[Any] = ["minimize" if goal.direction == "min" else "maximize" for goal in objectives]
    with quiet():
        study = optuna.create_study(study_name=name, directions=directions, sampler=sampler, storage=storage)
        study.set_metric_names([goal.name for goal in objectives])
    return study


def frozen_trial(trial: Trial, *, prefix: str = "", shared: Mapping[str, Sequence[str]] | None = None) -> FrozenTrial:
    """Returns a trial that is over as Optuna keeps one.

    Args:
        trial: The trial.
        prefix: Put before the names of parameters.
        shared: Further choices, with all their values; the trial's own is its splitter.
    """
    state = STATES.get(trial.state, OptunaState.FAIL)
    parameters = [p for p in trial.candidate.space.parameters if p.name in trial.candidate.values]
    values = {prefix + p.name: _to_optuna(p, trial.candidate.values[p.name]) for p in parameters}
    distributions: dict[str, BaseDistribution] = {prefix + p.name: distribution(p) for p in parameters}
    for name, choices in (shared or {}).items():
        values[name] = trial.candidate.space.label
        distributions[name] = CategoricalDistribution(tuple(choices))
    means = [trial.values[goal.name].mean for goal in trial.goals] if state is OptunaState.COMPLETE else None
    old = {"system_attrs": {"constraints": list(trial.violations.values())}} if trial.violations else {}
    keyword: dict[str, Any] = {"constraints": trial.violations} if HAS_CONSTRAINTS else old
    frozen = optuna.trial.create_trial(
        state=state,
        values=means,
        params=values,
        distributions=distributions,
        user_attrs={_CONSTRAINTS: list(trial.violations.values()), **_facts(trial)},
        **keyword,
    )
    rows = trial.rows.values()
    if rows:
        # Optuna's clock has no zone: it means the machine's own.
        begun, ended = (
            moment.astimezone().replace(tzinfo=None)
            for moment in (
                min(row.started_at for row in rows),
                max(row.started_at + timedelta(seconds=row.seconds) for row in rows),
            )
        )
        frozen.datetime_start, frozen.datetime_complete = begun, ended
    return frozen


def _note_generations(trials: Sequence[FrozenTrial], population: int) -> None:
    """Notes which generation each trial was of, as NSGA-II does itself when it proposes one."""
    complete = [trial for trial in trials if trial.state is OptunaState.COMPLETE]
    for index, trial in enumerate(complete):
        trial.system_attrs = {**trial.system_attrs, _GENERATION: index // population}


def _facts(trial: Trial) -> dict[str, Any]:
    """Returns what people want to know of a trial in a dashboard."""
    return {
        "number": trial.number,
        "state": trial.state.value,
        "seeds": trial.seeds,
        "cell_ids": [item.cell.cell_id for item in trial.candidate.items],
        "seconds": round(trial.seconds, 3),
        **({"failure": trial.failure} if trial.failure else {}),
        **{f"{name} ±": value.half_width for name, value in trial.values.items() if value.half_width is not None},
    }


def _set_constraints(asked: optuna.trial.Trial, violations: Mapping[str, float]) -> None:
    # Before the trial is told: what is told without them counts as feasible for good.
    asked.set_user_attr(_CONSTRAINTS, list(violations.values()))
    if HAS_CONSTRAINTS:
        for name, value in violations.items():
            asked.set_constraint(name, value)


def distribution(parameter: Parameter) -> BaseDistribution:
    """Returns what Optuna draws a parameter from."""
    if parameter.kind == "choice":
        return CategoricalDistribution(tuple(_to_optuna(parameter, choice) for choice in parameter.choices))
    if parameter.kind == "int":
        step = int(parameter.step or 1)
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log, step=step)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)


def _suggest(trial: optuna.trial.Trial, parameter: Parameter) -> Any:
    if parameter.kind == "choice":
        texts = {_to_optuna(parameter, choice): choice for choice in parameter.choices}
        return texts[trial.suggest_categorical(parameter.name, list(texts))]
    if parameter.kind == "int":
        low, high, step = int(parameter.low), int(parameter.high), int(parameter.step or 1)
        return trial.suggest_int(parameter.name, low, high, log=parameter.log, step=step)
    return trial.suggest_float(parameter.name, parameter.low, parameter.high, log=parameter.log, step=parameter.step)


def _to_optuna(parameter: Parameter, value: Any) -> Any:
    # Optuna's categories are plain values; lists and mappings go by their text.
    is_plain = parameter.kind != "choice" or value is None or isinstance(value, bool | int | float | str)
    return value if is_plain else json.dumps(value)


def make_sampler(
    spec: SamplerSpec, *, seed: int, n_trials: int, is_parallel: bool, has_constraints: bool
) -> BaseSampler:
    """Returns Optuna's sampler.

    Args:
        spec: What the sweep asks for.
        seed: Seeds it.
        n_trials: Trials to expect, for defaults that fit them.
        is_parallel: Whether trials run at the same time, so that one should keep away from what others try.
        has_constraints: Whether trials have constraints.
    """
    startup = spec.startup or max(4, n_trials // 3)
    takes_function = has_constraints and not HAS_CONSTRAINTS
    old: dict[str, Any] = {"constraints_func": _old_constraints} if takes_function else {}
    if spec.name == "tpe":
        return optuna.samplers.TPESampler(
            seed=seed,
            n_startup_trials=startup,
            multivariate=True,
            group=True,
            constant_liar=is_parallel,
            **old,
        )
    if spec.name == "nsga2":
        return optuna.samplers.NSGAIISampler(seed=seed, population_size=spec.population or max(4, n_trials // 4), **old)
    if spec.name == "gp":
        return optuna.samplers.GPSampler(seed=seed, n_startup_trials=startup, **old)
    return optuna.samplers.RandomSampler(seed=seed)


def _old_constraints(trial: FrozenTrial) -> Sequence[float]:
    found: list[float] = trial.user_attrs.get(_CONSTRAINTS, [])
    return found


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps Optuna from telling that what is used here is new, and that a value which is no number has failed."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            warnings.filterwarnings("ignore", message=".*is not acceptable.*")
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
