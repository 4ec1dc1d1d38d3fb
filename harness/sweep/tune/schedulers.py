"""The Tune scheduler that ends trials before their last cell: early stopping (ASHA) and races.

A race ends a configuration that one complete configuration beats: better in every objective beyond the chance of the
seeds, by a paired one-sided t-test on the seeds that both have (they share base models and images). The test is not
corrected for the number of rivals: what it costs by chance is a configuration that at best was as good.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
from ray.tune.schedulers import AsyncHyperBandScheduler, FIFOScheduler, TrialScheduler

from harness.ranking.statistics import paired_t_p_value
from harness.store import ResultStore
from harness.sweep.definition.file import CURVE_METRICS, EarlyStopping, Race
from harness.sweep.plan import SweepPlan
from harness.sweep.study.study import Study
from harness.sweep.study.trials import BEATEN, STOPPED_EARLY, Trial, Trials
from harness.sweep.tune.learning_curves import CurvePoint, read_curves
from harness.sweep.tune.searcher import Unpickled
from harness.sweep.tune.trainable import Report, report_of

SeedCosts = Mapping[int, Sequence[float]]
"""The objectives as costs, by seed."""

_MAX_STEPS = 100_000
"""ASHA requires a last rung; no trial gets that far."""


@dataclass(frozen=True)
class Verdict:
    """Why a trial is ended: the failure kind and the reason of the row that records it."""

    kind: str
    reason: str


def beats(rival: SeedCosts, candidate: SeedCosts, *, confidence: float) -> bool:
    """Return whether a rival is better than a candidate in every objective, at the confidence of a one-sided test."""
    seeds = sorted(set(candidate) & set(rival))
    if len(seeds) < 2:
        return False
    theirs, rivals = (zip(*(costs[seed] for seed in seeds), strict=True) for costs in (candidate, rival))
    return all(paired_t_p_value(a, b) < 1 - confidence for a, b in zip(theirs, rivals, strict=True))


def race_verdict(race: Race, trial: Trial, trials: Trials) -> Verdict | None:
    """Return the verdict on a trial that a complete, feasible one beats; None if none does."""
    if not trial.missing or len(trial.seed_costs) < race.after:
        return None
    for rival in trials.complete:
        if rival.is_feasible and beats(rival.seed_costs, trial.seed_costs, confidence=race.confidence):
            seeds = ", ".join(map(str, trial.seeds))
            return Verdict(BEATEN, f"beaten on seeds {seeds} by {rival.label} {dict(rival.configuration.values)}")
    return None


class Halving:
    """ASHA among the trials of each splitter: steps of different methods do not compare.

    Args:
        rule: The sweep's rule.
        metric: A name of ``CURVE_METRICS``.
    """

    def __init__(self, rule: EarlyStopping, metric: str) -> None:
        self._metric = metric
        self._schedulers: defaultdict[str, AsyncHyperBandScheduler] = defaultdict(
            lambda: AsyncHyperBandScheduler(
                time_attr="step",
                metric="value",
                mode=CURVE_METRICS[metric],
                max_t=_MAX_STEPS,
                grace_period=rule.grace,
                reduction_factor=rule.reduction,
                stop_last_trials=False,
            )
        )

    def is_behind(self, trial: Trial, point: CurvePoint) -> bool:
        """Record a step of a trial, and return whether ASHA would stop it there."""
        scheduler = self._schedulers[trial.label]
        # The controller is not used, and of the trial only its id is.
        controller: Any = None
        named: Any = SimpleNamespace(trial_id=trial.key)
        if trial.key not in scheduler._trial_info:
            scheduler.on_trial_add(controller, named)
        result = {"step": point.step, "value": metric_value(self._metric, point)}
        return bool(scheduler.on_trial_result(controller, named, result) == TrialScheduler.STOP)

    def replay(self, trials: Iterable[Trial], curves: pa.Table) -> None:
        """Record the steps of earlier starts, so that a resumed sweep compares with all of its trials.

        Of several attempts at a cell, the one that counts is recorded.
        """
        points: defaultdict[str, list[CurvePoint]] = defaultdict(list)
        for record in sorted(curves.to_pylist(), key=lambda record: int(record["step"])):
            points[record["attempt_id"]].append(
                CurvePoint(**{field.name: record[field.name] for field in fields(CurvePoint)})
            )
        for trial in trials:
            row = trial.rows.get(trial.configuration.items[0].cell.cell_id)
            for point in points[row.attempt_id] if row is not None else ():
                self.is_behind(trial, point)


def metric_value(metric: str, point: CurvePoint) -> float:
    """Return the value of an early stopping metric at a point."""
    if metric == "hypervolume":
        return (1 - point.kernel_retention) * point.select_accuracy
    return {"accuracy": point.select_accuracy, "kernel_retention": point.kernel_retention}[metric]


class TrialEnder(Unpickled, FIFOScheduler):
    """The sweep's Tune scheduler; its verdicts are recorded by ``RowCallback``.

    A race is judged when a cell begins, since by then the rows of the earlier ones are stored; Tune blocks the trial
    until the report is answered. Both verdicts thus end a running cell, whose row records them.

    Args:
        study: The sweep's study.
        race: The rule of races, if there is one.
        halving: Early stopping, if there is any.
    """

    def __init__(self, study: Study, *, race: Race | None = None, halving: Halving | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._study = study
        self._race = race
        self._halving = halving
        self.verdicts: dict[str, Verdict] = {}

    @classmethod
    def of(cls, plan: SweepPlan, study: Study, store: ResultStore) -> TrialEnder:
        """Return the scheduler of a sweep, which compares with the trials of earlier starts too."""
        sweep, halving = plan.sweep, None
        if sweep.early_stopping is not None:
            halving = Halving(sweep.early_stopping, sweep.stopping_metric)
            halving.replay(plan.trials.finished, read_curves(store))
        return cls(study, race=sweep.race, halving=halving)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        """Return whether a trial goes on."""
        report, key = None if result.get("done") else report_of(result), trial.config["key"]
        verdict = self._verdict(self._study.trials.by_key[key], report) if report else None
        if verdict is None:
            return str(TrialScheduler.CONTINUE)
        self.verdicts[key] = verdict
        return str(TrialScheduler.STOP)

    def _verdict(self, trial: Trial, report: Report) -> Verdict | None:
        if self._race is not None and report.event == "begin":
            return race_verdict(self._race, trial, self._study.trials)
        # ASHA compares like with like: all configurations on the same seed, data set and model.
        is_first = report.cell_id == trial.configuration.items[0].cell.cell_id
        if self._halving is None or report.event != "step" or not is_first:
            return None
        point = CurvePoint.of(report)
        if not self._halving.is_behind(trial, point):
            return None
        numbers = f"accuracy {point.select_accuracy:.4g}, kernel retention {point.kernel_retention:.4g}"
        return Verdict(STOPPED_EARLY, f"stopped early at step {point.step}: it was behind ({numbers})")
