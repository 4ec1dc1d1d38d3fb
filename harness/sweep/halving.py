"""Early stopping: Tune's ASHA, asked about one number of each splitter's trials."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

import pyarrow as pa
from ray.tune.schedulers import AsyncHyperBandScheduler, TrialScheduler

from harness.sweep.curves import CurvePoint
from harness.sweep.file import CURVE_METRICS, EarlyStopping
from harness.sweep.trials import TrialBook


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

    def lies_behind(self, trial_id: str, label: str, point: CurvePoint) -> bool:
        """Notes a step, and says whether the trial lies behind its splitter's others at the same one."""
        scheduler = self._schedulers.setdefault(label, self._scheduler())
        # All that it wants of the controller and the trial is the trial's name.
        nobody: Any = None
        trial: Any = _TrialName(trial_id)
        if trial_id not in scheduler._trial_info:
            scheduler.on_trial_add(nobody, trial)
        result = {"step": point.step, "value": curve_value(self._metric, point)}
        return bool(scheduler.on_trial_result(nobody, trial, result) == TrialScheduler.STOP)

    def remember(self, book: TrialBook, curves: pa.Table) -> None:
        """Takes up what earlier calls of the sweep noted, so that a resumed sweep compares with all of its trials.

        Args:
            book: The trials that are known.
            curves: The curves of all attempts.
        """
        points: dict[str, list[CurvePoint]] = {}
        for record in sorted(curves.to_pylist(), key=lambda record: int(record["step"])):
            told = {field.name: record[field.name] for field in fields(CurvePoint)}
            points.setdefault(record["cell_id"], []).append(CurvePoint(**told))
        for trial in book.over:
            for point in points.get(trial.candidate.items[0].cell.cell_id, []):
                self.lies_behind(trial.key, trial.candidate.space.label, point)

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


def curve_value(metric: str, point: CurvePoint) -> float:
    """Returns the number by which a running trial is compared; see ``EarlyStopping``."""
    if metric == "hypervolume":
        return (1 - point.kernel_retention) * point.select_accuracy
    return {"accuracy": point.select_accuracy, "kernel_retention": point.kernel_retention}[metric]
