"""Early stopping: Tune's ASHA, asked about one number of each splitter's trials."""

from __future__ import annotations

from typing import Any

from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from harness.sweep.file import CURVE_METRICS, EarlyStopping
from harness.sweep.reports import Report


class AshaHalving:
    """Asynchronous successive halving on one number, among the trials of one splitter.

    Rounds of one method and generations of another are not the same step, so each splitter has rungs of its own.

    Args:
        rule: The sweep's rule.
        metric: The number, a name of ``CURVE_METRICS``.
    """

    def __init__(self, rule: EarlyStopping, metric: str) -> None:
        self._rule = rule
        self._metric = metric
        self._schedulers: dict[str, AsyncHyperBandScheduler] = {}

    def lies_behind(self, trial_id: str, label: str, report: Report) -> bool:
        """Notes a step, and says whether the trial lies behind its splitter's others at the same one."""
        scheduler = self._schedulers.setdefault(label, self._scheduler())
        # All that it wants of the controller and the trial is the trial's name.
        nobody: Any = None
        trial: Any = _TrialName(trial_id)
        if trial_id not in scheduler._trial_info:
            scheduler.on_trial_add(nobody, trial)
        result = {"step": report.step, "value": curve_value(self._metric, report)}
        return bool(scheduler.on_trial_result(nobody, trial, result) == TrialScheduler.STOP)

    def _scheduler(self) -> AsyncHyperBandScheduler:
        return AsyncHyperBandScheduler(
            time_attr="step",
            metric="value",
            mode=CURVE_METRICS[self._metric],
            max_t=_MOST_STEPS,
            grace_period=self._rule.grace,
            reduction_factor=self._rule.reduction,
            stop_last_trials=False,
        )


_MOST_STEPS = 100_000
"""More rungs than any trial climbs: a trial that is not behind runs to its own end."""


class _TrialName:
    """A trial's name."""

    def __init__(self, trial_id: str) -> None:
        self.trial_id = trial_id


def curve_value(metric: str, report: Report) -> float:
    """Returns the number by which a running trial is compared; see ``EarlyStopping``."""
    accuracy, retention = report.metrics["accuracy"], report.metrics["kernel_retention"]
    if metric == "hypervolume":
        return (1 - retention) * accuracy
    return {"accuracy": accuracy, "kernel_retention": retention}[metric]
