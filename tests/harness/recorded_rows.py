"""Rows with recorded states."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from toys import toy_row

from benchmarks.rows.row import FigureRecord, Row

BASE = 0.9


def recorded_row(
    states: Sequence[tuple[float, float, float]], *, result: tuple[float, float] | None = None, **keys: Any
) -> Row:
    """Return a row of a splitter that recorded states: retention, loss on select, seconds.

    Its result is the last one if not given.
    """
    figures = [
        FigureRecord(step=step, name=name, value=value)
        for step, (retention, loss, seconds) in enumerate(states, start=1)
        for name, value in (("kernel_retention", retention), ("accuracy", BASE - loss), ("seconds", seconds))
    ]
    retention, loss = result or states[-1][:2]
    update = {
        "figures": [*figures, FigureRecord(step=None, name="chosen_round", value=1.0)],
        "select_base_accuracy": BASE,
        "select_accuracy_loss": loss,
        "kernel_retention": retention,
        "split_seconds": states[-1][2] if states else 0.5,
    }
    return toy_row(**keys).model_copy(update=update)
