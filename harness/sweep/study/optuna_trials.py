"""Our trials and parameters in Optuna's terms."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial
from optuna.trial import TrialState as OptunaState

from harness.sweep.definition.objectives import Objective
from harness.sweep.definition.parameter import Parameter
from harness.sweep.study.trials import Trial, TrialState

STATES = {
    TrialState.COMPLETE: OptunaState.COMPLETE,
    # The mean over the seeds before a race ended it is an honest estimate all the same.
    TrialState.BEATEN: OptunaState.COMPLETE,
    TrialState.STOPPED: OptunaState.PRUNED,
    TrialState.FAILED: OptunaState.FAIL,
    TrialState.UNFINISHED: OptunaState.FAIL,
}


def new_study(
    name: str, objectives: Sequence[Objective], sampler: BaseSampler | None = None, *, storage: Any = None
) -> optuna.Study:
    """Return an empty Optuna study, in memory unless a storage is given."""
    directions: list[Any] = ["minimize" if goal.direction == "min" else "maximize" for goal in objectives]
    with quiet():
        study = optuna.create_study(study_name=name, directions=directions, sampler=sampler, storage=storage)
        study.set_metric_names([goal.name for goal in objectives])
    return study


def objective_values(trial: Trial) -> list[float] | None:
    """Return a trial's objectives for Optuna; None unless it is complete in Optuna's sense."""
    if STATES[trial.state] is not OptunaState.COMPLETE or trial.point is None:
        return None
    return [trial.values[goal.name].mean for goal in trial.goals]


def frozen_trial(trial: Trial, *, prefix: str = "", shared: Mapping[str, Sequence[str]] | None = None) -> FrozenTrial:
    """Return a finished trial as Optuna stores it.

    Args:
        trial: The trial.
        prefix: Prefix of the parameters' names.
        shared: Further categorical parameters with their choices; the trial's value of each is its splitter's label.
    """
    parameters = [p for p in trial.configuration.space.parameters if p.name in trial.configuration.values]
    values = {prefix + p.name: to_optuna(p, trial.configuration.values[p.name]) for p in parameters}
    distributions: dict[str, BaseDistribution] = {prefix + p.name: distribution(p) for p in parameters}
    for name, choices in (shared or {}).items():
        values[name] = trial.label
        distributions[name] = CategoricalDistribution(tuple(choices))
    means = objective_values(trial)
    state = STATES[trial.state] if means or STATES[trial.state] is not OptunaState.COMPLETE else OptunaState.FAIL
    constraints: dict[str, Any] = {"constraints": dict(trial.violations)} if trial.violations else {}
    frozen = optuna.trial.create_trial(
        state=state, values=means, params=values, distributions=distributions, user_attrs=_facts(trial), **constraints
    )
    if trial.rows:
        # Optuna's timestamps are naive local time.
        frozen.datetime_start = trial.started_at.astimezone().replace(tzinfo=None)
        frozen.datetime_complete = trial.ended_at.astimezone().replace(tzinfo=None)
    return frozen


def _facts(trial: Trial) -> dict[str, Any]:
    """Return what a dashboard shows beside the parameters."""
    return {
        "number": trial.number,
        "state": trial.state.value,
        "seeds": trial.seeds,
        "cell_ids": [item.cell.cell_id for item in trial.configuration.items],
        "seconds": round(trial.seconds, 3),
        **({"failure": trial.failure} if trial.failure else {}),
        **{f"{name} ±": value.half_width for name, value in trial.values.items() if value.half_width is not None},
    }


def distribution(parameter: Parameter) -> BaseDistribution:
    """Return the distribution that Optuna samples a parameter from."""
    if parameter.kind == "choice":
        return CategoricalDistribution(tuple(to_optuna(parameter, choice) for choice in parameter.choices))
    if parameter.kind == "int":
        step = int(parameter.step or 1)
        return IntDistribution(int(parameter.low), int(parameter.high), log=parameter.log, step=step)
    return FloatDistribution(parameter.low, parameter.high, log=parameter.log, step=parameter.step)


def suggest(trial: optuna.trial.Trial, parameter: Parameter) -> Any:
    """Return the value that an Optuna trial proposes for a parameter."""
    if parameter.kind == "choice":
        choices = {to_optuna(parameter, choice): choice for choice in parameter.choices}
        return choices[trial.suggest_categorical(parameter.name, list(choices))]
    if parameter.kind == "int":
        low, high, step = int(parameter.low), int(parameter.high), int(parameter.step or 1)
        return trial.suggest_int(parameter.name, low, high, log=parameter.log, step=step)
    return trial.suggest_float(parameter.name, parameter.low, parameter.high, log=parameter.log, step=parameter.step)


def to_optuna(parameter: Parameter, value: Any) -> Any:
    """Return a value as Optuna takes it: choices that are lists or mappings go by their JSON."""
    is_plain = parameter.kind != "choice" or value is None or isinstance(value, bool | int | float | str)
    return value if is_plain else json.dumps(value)


@contextmanager
def quiet() -> Iterator[None]:
    """Silence Optuna's log, its notices of experimental features, and its warning about values such as NaN."""
    verbosity = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            warnings.filterwarnings("ignore", message=".*is not acceptable.*|.*could not be cast.*")
            yield
    finally:
        optuna.logging.set_verbosity(verbosity)
