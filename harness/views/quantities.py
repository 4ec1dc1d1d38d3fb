"""How numbers are written for people: points and durations."""

from __future__ import annotations

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
