"""A study as an Optuna journal, for optuna-dashboard and whatever else reads Optuna's storages."""

from __future__ import annotations

from pathlib import Path

from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from harness.sweep.results import SweepResults
from harness.sweep.study import frozen_trial, new_study, quiet
from splitters.errors import ConfigurationError


def export_study(results: SweepResults, path: Path) -> list[str]:
    """Writes a study's trials as Optuna studies: one of all splitters, and one of each where there are several.

    Args:
        results: The study.
        path: The journal; it must not exist, for journals only grow.

    Returns:
        The names of the Optuna studies.

    Raises:
        ConfigurationError: If the file exists.
    """
    if path.exists():
        raise ConfigurationError(f"{path} exists already; remove it, or name another file with --out.")
    path.parent.mkdir(parents=True, exist_ok=True)
    labels = [space.label for space in results.sweep.spaces]
    with quiet():
        storage = JournalStorage(JournalFileBackend(str(path)))
        whole = new_study(results.sweep.name, results.sweep.goals, storage=storage)
        shared = {"splitter": labels} if len(labels) > 1 else None
        for trial in results.book.over:
            prefix = f"{trial.candidate.space.label}." if shared else ""
            whole.add_trial(frozen_trial(trial, prefix=prefix, shared=shared))
        names = [results.sweep.name]
        for label in labels if shared else ():
            names.append(f"{results.sweep.name} · {label}")
            own = new_study(names[-1], results.sweep.goals, storage=storage)
            own.add_trials([frozen_trial(t) for t in results.book.over if t.candidate.space.label == label])
    return names
