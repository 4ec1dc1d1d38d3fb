"""Time to quality: how long splitters search until a recorded state is small and accurate enough, from their rows."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

from pydantic import TypeAdapter

from benchmarks.rows.row import Row, figures_by_step
from splitters.methods.mask_training.settings import MaskTrainingSettings
from splitters.methods.protocol import SPLITTERS
from splitters.settings import Length, PhaseLength

_PHASE_LENGTH: TypeAdapter[Length] = TypeAdapter(PhaseLength)

_STATE = {"accuracy", "kernel_retention", "seconds"}
"""What is recorded of a state; a baseline's only one has no time."""


@dataclass(frozen=True)
class TimeToQuality:
    """When the splits of one splitter and network were first good enough.

    Args:
        splitter: The splitter's label.
        model: The network.
        splits: The number of splits, one per seed.
        reached: How many of them had such a state.
        steps: The median over these of the mask steps until then; None if there are none.
        seconds: The median over these of the seconds since the split began; None if there are none.
    """

    splitter: str
    model: str
    splits: int
    reached: int
    steps: float | None
    seconds: float | None

    def line(self) -> str:
        """Return the row of a Markdown table."""
        figures = "- | -" if self.steps is None else f"{self.steps:g} | {self.seconds:.1f}"
        return f"| {self.splitter} | {self.model} | {self.reached} of {self.splits} | {figures} |"


HEADER = "| splitter | network | splits that reached it | mask steps | seconds |\n| --- | --- | --- | --- | --- |"


def times_to_quality(rows: Iterable[Row], *, loss: float, retention: float) -> list[TimeToQuality]:
    """Return, by splitter and network, when a recorded state first reached a quality.

    Rows without recorded states (baselines search for nothing), or without the base model's accuracy on select, are
    left out.

    Args:
        rows: Finished rows of the scenarios ``modularization`` or ``selection``.
        loss: The largest loss of accuracy on select; a fraction.
        retention: The largest kernel retention.
    """
    found: dict[tuple[str, str], list[tuple[float, float] | None]] = defaultdict(list)
    for row in rows:
        states = _states(row)
        if states and row.select_base_accuracy is not None:
            # Accuracies are ratios of counts: the slack only absorbs the rounding of the difference.
            needed = row.select_base_accuracy - loss - 1e-9
            first = next(
                (
                    number
                    for number, state in sorted(states.items())
                    if state["accuracy"] >= needed and state["kernel_retention"] <= retention
                ),
                None,
            )
            reached = None if first is None else (_mask_steps(row, first), states[first]["seconds"])
            found[row.splitter_label or row.splitter, row.model].append(reached)
    return [_summary(*key, times) for key, times in sorted(found.items())]


def _summary(splitter: str, model: str, times: list[tuple[float, float] | None]) -> TimeToQuality:
    reached = [time for time in times if time is not None]
    steps, seconds = (median(values) for values in zip(*reached, strict=True)) if reached else (None, None)
    return TimeToQuality(splitter, model, len(times), len(reached), steps, seconds)


def _states(row: Row) -> Mapping[int, Mapping[str, float]]:
    """Return the recorded states of a search, by round."""
    return {number: state for number, state in figures_by_step(row.figures).items() if state.keys() >= _STATE}


def _mask_steps(row: Row, number: int) -> int:
    """Return the mask steps until a recorded state; those that come after the last round have all of them."""
    splitter = json.loads(row.config)["splitter"]
    if not issubclass(SPLITTERS.get(splitter["name"]).Settings, MaskTrainingSettings):
        return 0
    # Read one by one, as rows of earlier versions have settings that this one may not know.
    settings: Mapping[str, Any] = splitter["settings"]
    mask_phase = _PHASE_LENGTH.validate_python(settings["mask_phase"])
    per_round = mask_phase.steps(samples=row.split_train_images or 0, batch_size=settings["batch_size"])
    return min(number, int(settings["rounds"])) * per_round
