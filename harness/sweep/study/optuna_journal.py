"""A study as an Optuna journal, for optuna-dashboard and other tools on Optuna's storages."""

from __future__ import annotations

from pathlib import Path

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from harness.sweep.study.optuna_trials import frozen_trial, new_study, quiet
from harness.sweep.study.results import SweepResults
from splitters.errors import ConfigurationError


def export_study(results: SweepResults, path: Path) -> list[str]:
    """Write a study's trials as Optuna studies: one of all splitters, and one of each where there are several.

    Returns:
        The names of the Optuna studies.

    Raises:
        ConfigurationError: If the file exists, since journals are append-only.
    """
    if path.exists():
        raise ConfigurationError(f"{path} exists already; remove it, or name another file with --out.")
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep, finished = results.sweep, results.trials.finished
    labels = [space.label for space in sweep.spaces]
    with quiet():
        storage = JournalStorage(JournalFileBackend(str(path)))
        whole = new_study(sweep.name, sweep.goals, storage=storage)
        shared = {"splitter": labels} if len(labels) > 1 else None
        for trial in finished:
            whole.add_trial(frozen_trial(trial, prefix=f"{trial.label}." if shared else "", shared=shared))
        names = [sweep.name]
        for label in labels if shared else ():
            names.append(f"{sweep.name} · {label}")
            own = new_study(names[-1], sweep.goals, storage=storage)
            own.add_trials([frozen_trial(trial) for trial in finished if trial.label == label])
    return names
