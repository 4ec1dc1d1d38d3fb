"""Our thin side of Tune: a searcher that deals trials, a scheduler that ends them, a stopper that ends them all.

All three pass on what Tune says to one ``Referee``, in this process. Tune writes its state to a folder all the time;
none of it is ever read again, for a sweep goes on from its rows, so these write nothing that could be mistaken for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from harness.sweep.dealer import Deal
from harness.sweep.referee import Referee
from harness.sweep.reports import Report


def _nothing() -> None:
    """Stands for one of these objects in the state that Tune writes."""


class DealtSearcher(Searcher):
    """Gives Tune the trials that the referee deals.

    Args:
        referee: Knows all trials.
    """

    def __init__(self, referee: Referee) -> None:
        super().__init__()
        self._referee = referee

    def suggest(self, trial_id: str) -> Any:
        """Returns the next trial's configuration, or that there is none left."""
        deal = self._referee.begin(trial_id)
        return trial_config(deal) if deal is not None else Searcher.FINISHED

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Closes a trial."""
        self._referee.end(trial_id, has_died=error)

    def save(self, checkpoint_path: str) -> None:
        """Writes nothing."""

    def restore(self, checkpoint_path: str) -> None:
        """Restores nothing."""

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        """Pickles as nothing."""
        return _nothing, ()


def trial_config(deal: Deal) -> dict[str, Any]:
    """Returns what a trial's worker is given: the cells that are left to run."""
    space = deal.trial.candidate.space
    return {
        "cells": [item.cell.model_dump_json() for item in deal.trial.missing],
        "label": "" if space.label == space.splitter else space.label,
    }


class RefereeScheduler(FIFOScheduler):
    """Passes every report to the referee, and ends the trials that it ends.

    A searcher would not do: Tune does not tell it of the result with which a trial ends.

    Args:
        referee: Knows all trials.
    """

    def __init__(self, referee: Referee) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._referee = referee

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Says whether a trial goes on."""
        report = None if result.get("done") else Report.from_result(result)
        goes_on = report is None or self._referee.hear(trial.trial_id, report)
        return str(TrialScheduler.CONTINUE if goes_on else TrialScheduler.STOP)

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        """Pickles as nothing."""
        return _nothing, ()


class SweepStopper(Stopper):
    """Ends all trials when the sweep shall end.

    Args:
        is_ending: Says whether it shall; asked often.
    """

    def __init__(self, is_ending: Callable[[], bool]) -> None:
        self._is_ending = is_ending

    def __call__(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Ends no trial for itself."""
        return False

    def stop_all(self) -> bool:
        """Says whether everything shall end."""
        return self._is_ending()

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        """Pickles as nothing."""
        return _nothing, ()
