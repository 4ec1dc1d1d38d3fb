"""The Tune side of the study: a searcher that suggests its trials, and a stopper that ends them all.

Tune's own state is never read back, since a sweep resumes from rows; so nothing here needs to be pickled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from harness.sweep.study.study import Study
from harness.sweep.tune.trainable import trial_config


class Unpickled:
    """Pickles as nothing."""

    def __reduce__(self) -> Any:
        """Pickle as None."""
        return type(None), ()


class StudySearcher(Unpickled, Searcher):
    """Suggests the trials of a study."""

    def __init__(self, study: Study) -> None:
        super().__init__()
        self._study = study
        self._keys: dict[str, str] = {}

    def suggest(self, trial_id: str) -> Any:
        """Return the configuration of the next trial, or that there is none."""
        trial = self._study.ask()
        if trial is None:
            return Searcher.FINISHED
        self._keys[trial_id] = trial.key
        return trial_config(trial.key, trial.missing)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the study that a trial has ended; its rows say how."""
        self._study.tell(self._keys[trial_id])

    def save(self, checkpoint_path: str) -> None:
        """Save nothing."""

    def restore(self, checkpoint_path: str) -> None:
        """Restore nothing."""


class SweepStopper(Unpickled, Stopper):
    """Ends all trials at once, when ``should_stop`` returns true."""

    def __init__(self, should_stop: Callable[[], bool]) -> None:
        self._should_stop = should_stop

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """End no single trial."""
        return False

    def stop_all(self) -> bool:
        """Return whether to end all trials."""
        return self._should_stop()
