"""The Tune side of the study: a searcher that suggests its trials, and a stopper that ends them all.

Tune writes its own state to a folder that nobody reads, since a sweep resumes from rows; so nothing here is pickled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from harness.suite_cell import SuiteCell
from harness.sweep.study.study import Study
from harness.sweep.tune.trainable import trial_config


class StudySearcher(Searcher):
    """Suggests the trials of a study.

    Args:
        study: The study.
        starts_alike: Whether all trials start with the same cell, as early stopping needs it. Otherwise each starts
            with another seed, so that trials that start together do not wait for the same base model.
    """

    def __init__(self, study: Study, *, starts_alike: bool) -> None:
        super().__init__()
        self._study = study
        self._starts_alike = starts_alike
        self._keys: dict[str, str] = {}

    def suggest(self, trial_id: str) -> Any:
        """Returns the configuration of the next trial, or that there is none."""
        trial = self._study.ask()
        if trial is None:
            return Searcher.FINISHED
        items = trial.missing if self._starts_alike else rotated(trial.missing, len(self._keys))
        self._keys[trial_id] = trial.key
        return trial_config(trial.key, items)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tells the study that a trial has ended; its rows say how."""
        self._study.tell(self._keys[trial_id])

    def save(self, checkpoint_path: str) -> None:
        """Saves nothing."""

    def restore(self, checkpoint_path: str) -> None:
        """Restores nothing."""

    def __reduce__(self) -> Any:
        """Pickles as nothing."""
        return type(None), ()


def rotated(items: Sequence[SuiteCell], turn: int) -> list[SuiteCell]:
    """Returns a trial's cells, starting with another seed at each turn."""
    seeds = list(dict.fromkeys(item.cell.seed for item in items))
    order = {seed: (place - turn) % len(seeds) for place, seed in enumerate(seeds)}
    return sorted(items, key=lambda item: order[item.cell.seed])


class SweepStopper(Stopper):
    """Ends all trials at once, when ``should_stop`` says so."""

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Ends no single trial."""
        return False

    def stop_all(self) -> bool:
        """Returns whether to end all trials."""
        return self._should_stop()

    def __reduce__(self) -> Any:
        """Pickles as nothing."""
        return type(None), ()
