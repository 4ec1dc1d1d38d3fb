"""How numbers are written for people: points, durations, and the measures of boards."""

from __future__ import annotations

from dataclasses import dataclass

from benchmarks.boards import Board
from harness.ranking.statistics import Estimate


def points_text(estimate: Estimate) -> str:
    """Return a difference of fractions in points, with its interval if it has one."""
    # Adding zero turns a rounded minus zero into zero.
    text = f"{round(100 * estimate.mean, 2) + 0:.2f}"
    return text if estimate.half_width is None else f"{text} ±{100 * estimate.half_width:.2f}"


def duration_text(seconds: float) -> str:
    """Return a duration in a suitable unit: ``0.4 s``, ``12 s``, ``3.4 min``, ``2.1 h``."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.1f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


@dataclass(frozen=True)
class NumberFormat:
    """How the values of a measure are written.

    Args:
        unit: The unit; empty if it has none.
        scale: What values are multiplied with.
        digits: Digits after the point.
    """

    unit: str
    scale: float
    digits: int

    def text(self, value: float) -> str:
        """Return a value without its unit."""
        return f"{round(self.scale * value, self.digits) + 0:.{self.digits}f}"


def format_of(board: Board, measure: str) -> NumberFormat:
    """Return how a measure of a board is written, also if it has no column."""
    unit = next((column.unit for column in board.columns if column.measure == measure), None)
    extra = board.record.model_fields[measure].json_schema_extra
    if unit is None and isinstance(extra, dict) and extra.get("unit") == "fraction":
        unit = "%"
    if unit in ("points", "%"):
        return NumberFormat(unit, 100, 2)
    return NumberFormat("s", 1, 1) if unit == "time" else NumberFormat("", 1, 3)
