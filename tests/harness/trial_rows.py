"""Rows as trials of the bowl would write them, without running any."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from typing import Any

from benchmarks.rows.row import Metrics, Row, StageRecord, State
from harness.execution.attempt import Outcome, make_row
from harness.machines.provenance import provenance
from harness.sweep.definition.file import Sweep
from harness.sweep.study.trials import Configurations, Trial, read_trials

ORIGIN = datetime(2026, 1, 1, tzinfo=timezone.utc)


def rows_of(
    sweep: Sweep, *, splitter: int = 0, state: State = State.OK, kind: str | None = None, at: float = 0.0, **values: Any
) -> list[Row]:
    """Returns the rows of one configuration, a second apart, the first ``at`` seconds after the origin."""
    configuration = Configurations(sweep).at(sweep.spaces[splitter], values)
    settings = configuration.spec.settings
    loss, retention = settings["x"] + settings["y"], (1 - settings["x"]) ** 2 / 2 + settings["y"] / 2
    rows = []
    for place, item in enumerate(configuration.items):
        metrics = Metrics()
        if state is State.OK:
            noise = settings["noise"] * item.cell.seed
            stages = [StageRecord(name="train", seconds=4.0, reused=place > 0)]
            metrics = Metrics(select_accuracy_loss=loss + noise, kernel_retention=retention, stages=stages)
        rows.append(
            make_row(
                item,
                sweep.name,
                Outcome(state, metrics, reason=None if state is State.OK else "a reason", kind=kind),
                source=provenance(),
                started_at=ORIGIN + timedelta(seconds=at + place),
                seconds=1.0,
            )
        )
    return rows


def bowl_trial(sweep: Sweep, rows: Iterable[Row]) -> Trial:
    """Returns the one trial that rows tell of."""
    (trial,) = read_trials(sweep, Configurations(sweep), rows).all
    return trial
