"""One measurement: ours, a plain reference, and their ratio, in one run on one machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Measurement:
    """How long something takes, ours and the plain reference.

    Args:
        name: What was measured.
        seconds: Ours: the fastest of several runs, after one that warms up.
        reference_seconds: The plain reference's: the same; of one that takes many seconds, a single run.
        detail: What was measured on.
    """

    name: str
    seconds: float
    reference_seconds: float
    detail: str

    @property
    def ratio(self) -> float:
        """How many times faster ours is."""
        return self.reference_seconds / self.seconds

    def record(self) -> dict[str, str | float]:
        """Returns the measurement as plain values by name."""
        return {
            "name": self.name,
            "seconds": self.seconds,
            "reference_seconds": self.reference_seconds,
            "ratio": self.ratio,
            "detail": self.detail,
        }


def timed(function: Callable[[], object]) -> float:
    """Returns how many seconds one call takes."""
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def fastest(function: Callable[[], object], *, runs: int) -> float:
    """Returns the seconds of the fastest of several calls, after one that warms up."""
    function()
    return min(timed(function) for _ in range(runs))
