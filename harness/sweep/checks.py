"""What can be wrong with a sweep, found before anything runs."""

from __future__ import annotations

from importlib import metadata

from benchmarks.scenarios.base import SCENARIOS
from harness.expand import expand
from harness.sweep.file import CURVE_METRICS, Sweep
from splitters.errors import ConfigurationError, UnknownNameError


def check_sweep(sweep: Sweep) -> None:
    """Checks names, spaces, objectives, and what they need of each other.

    Raises:
        ConfigurationError: If something is wrong, with file, line, key, and the way out.
    """
    sweep.plugin_modules.load()
    _check_labels(sweep)
    _ = sweep.goals, sweep.bounds, sweep.spaces
    expand(sweep.suite(selection_scenario(sweep)))
    _check_reference(sweep)
    _check_early_stopping(sweep)
    _check_race(sweep)
    _check_sampler(sweep)


def selection_scenario(sweep: Sweep) -> str:
    """Returns the scenario by which a sweep's trials are measured: the one that leaves test unread.

    Raises:
        ConfigurationError: If the sweep's scenario has no such form.
    """
    where = f"{sweep.source.where('scenario')}: scenario"
    found = SCENARIOS.get(sweep.scenario, where=where).selection
    if found is None:
        able = [name for name in SCENARIOS if SCENARIOS.get(name).selection is not None]
        raise ConfigurationError(
            f"{where}: {sweep.scenario!r} cannot be swept, as it has no form that leaves test unread. "
            f"Known: {', '.join(able)}."
        )
    return found


def _check_labels(sweep: Sweep) -> None:
    titles = [entry.title for entry in sweep.splitters]
    for index, title in enumerate(titles):
        if title in titles[:index]:
            raise ConfigurationError(
                f"{sweep.source.where('splitters', index)}: splitters: {title!r} appears twice; give one a label."
            )


def _check_reference(sweep: Sweep) -> None:
    for name in sweep.reference:
        if name not in sweep.objectives:
            where = f"{sweep.source.where('reference', name)}: reference"
            raise UnknownNameError("objective", name, sweep.objectives, where=where)


def _check_early_stopping(sweep: Sweep) -> None:
    stopping = sweep.early_stopping
    if stopping is None:
        return
    where = f"{sweep.source.where('early_stopping')}: early_stopping"
    if stopping.metric is None:
        if len(sweep.goals) > 1:
            raise ConfigurationError(
                f"{where}: it compares trials by one number, and there are {len(sweep.goals)} objectives "
                f"({', '.join(sweep.objectives)}); name one as 'metric'. Known: {', '.join(CURVE_METRICS)}; "
                "hypervolume weighs accuracy and retention together."
            )
        if curve_metric(sweep) not in CURVE_METRICS:
            raise ConfigurationError(
                f"{where}: no trial tells {sweep.goals[0].name!r} while it runs; name a 'metric'. "
                f"Known: {', '.join(CURVE_METRICS)}."
            )
    elif stopping.metric not in CURVE_METRICS:
        raise UnknownNameError("metric", stopping.metric, CURVE_METRICS, where=f"{where}: metric")


def curve_metric(sweep: Sweep) -> str:
    """Returns the number by which running trials are compared: the one that is named, or else the objective's own."""
    if sweep.early_stopping is not None and sweep.early_stopping.metric is not None:
        return sweep.early_stopping.metric
    own = sweep.goals[0].column
    return {"select_accuracy_loss": "accuracy", "select_composed_accuracy": "accuracy"}.get(own, own)


def _check_race(sweep: Sweep) -> None:
    if sweep.race is not None and sweep.race.after >= len(sweep.seeds):
        raise ConfigurationError(
            f"{sweep.source.where('race')}: race: every configuration gets {sweep.race.after} seeds, and there are "
            f"{len(sweep.seeds)}; a race needs more seeds, or leave 'race' out."
        )


_GP_OF_SEVERAL = (4, 4)
"""The Optuna from which on its Gaussian processes take several objectives."""


def _optuna_version() -> tuple[int, ...]:
    return tuple(int(part) for part in metadata.version("optuna").split(".")[:2])


def _check_sampler(sweep: Sweep) -> None:
    if sweep.sampler.name == "gp" and len(sweep.goals) > 1 and _optuna_version() < _GP_OF_SEVERAL:
        raise ConfigurationError(
            f"{sweep.source.where('sampler')}: sampler: gp takes several objectives from Optuna "
            f"{'.'.join(map(str, _GP_OF_SEVERAL))} on; upgrade Optuna, or choose tpe."
        )
    if sweep.sampler.name != "grid":
        return
    for index, space in enumerate(sweep.spaces):
        for parameter in space.parameters:
            if parameter.values is None:
                raise ConfigurationError(
                    f"{sweep.source.where('splitters', index, 'space', parameter.name)}: splitters.{space.label}."
                    f"space.{parameter.name}: a grid needs an end: give the range a 'step', or write choices."
                )
