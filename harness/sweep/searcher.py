"""Our thin side of Tune: a searcher that deals trials, a scheduler that ends them, a stopper that ends them all.

All pass on what Tune says to one ``Follower``, in this process. Tune writes its state to a folder all the time;
none of it is ever read again, for a sweep goes on from its rows, so these write nothing that could be mistaken for it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ray.tune import Callback
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher
from ray.tune.stopper import Stopper

from harness.sweep.reports import Report


class Follower(Protocol):
    """What knows the trials: hands them out, hears of them, and closes them."""

    @property
    def n_running(self) -> int:
        """How many run."""

    @property
    def is_waiting(self) -> bool:
        """Whether there is a trial whose time has not come yet."""

    def begin(self, trial_id: str) -> dict[str, Any] | None:
        """Returns what the next trial's worker is given, or None if there is none now."""

    def hear(self, trial_id: str, report: Report) -> bool:
        """Takes a report, and says whether the trial goes on."""

    def end(self, trial_id: str, *, has_died: bool = False) -> None:
        """Closes a trial that is over for Tune, however that came."""

    def end_all(self) -> None:
        """Closes all trials that nobody closed."""


def _nothing() -> None:
    """Stands for one of these objects in the state that Tune writes."""


class DealtSearcher(Searcher):
    """Gives Tune the trials that the follower hands out.

    Args:
        follower: Knows all trials.
    """

    def __init__(self, follower: Follower) -> None:
        super().__init__()
        self._follower = follower
        self._max_concurrent = 1
        self.failure: Exception | None = None

    def suggest(self, trial_id: str) -> Any:
        """Returns the next trial's configuration, nothing for now, or that there is none left."""
        if self._follower.n_running >= self._max_concurrent:
            return None
        config = self._follower.begin(trial_id)
        if config is not None:
            return config
        # A trial that runs may have to be run again. One that only waits for its time does not keep Tune, whose idle
        # workers keep places that the driver may need for which it waits.
        return None if self._follower.n_running else Searcher.FINISHED

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Takes over the limit of trials at once.

        Tune's own limiter counts a trial that was lost before it began as running, and waits for it.
        """
        self._max_concurrent = max_concurrent
        return True

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Closes a trial.

        Tune logs what is raised here and goes on, and would then wait minutes for a trial that it takes for running.
        So an error is also kept, for the sweep to end with.
        """
        try:
            self._follower.end(trial_id, has_died=error)
        except Exception as failure:
            self.failure = failure
            raise

    def save(self, checkpoint_path: str) -> None:
        """Writes nothing."""

    def restore(self, checkpoint_path: str) -> None:
        """Restores nothing."""

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        """Pickles as nothing."""
        return _nothing, ()


class LostTrials(Callback):
    """Closes trials that Tune gave up without a word to the searcher, as it does when a worker cannot be used again.

    Args:
        searcher: Closes them.
    """

    def __init__(self, searcher: DealtSearcher) -> None:
        self._searcher = searcher

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Looks for such trials."""
        for trial in trials:
            if trial.status == "ERROR":
                self._searcher.on_trial_complete(trial.trial_id, error=True)

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        """Pickles as nothing."""
        return _nothing, ()


class FollowingScheduler(FIFOScheduler):
    """Passes every report to the follower, and ends the trials that it ends.

    A searcher would not do: Tune does not tell it of the result with which a trial ends.

    Args:
        follower: Knows all trials.
    """

    def __init__(self, follower: Follower) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._follower = follower

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Says whether a trial goes on."""
        report = None if result.get("done") else Report.from_result(result)
        goes_on = report is None or self._follower.hear(trial.trial_id, report)
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
