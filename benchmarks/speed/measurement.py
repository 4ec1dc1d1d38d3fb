"""A measurement: our time, a plain reference's, and their ratio, in one run on one machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Measurement:
    """The times of our implementation and of a plain reference.

    Args:
        name: The benchmark.
        seconds: Our time: the fastest of several runs after a warm-up.
        reference_seconds: The plain reference's; of a slow reference, a single run.
        detail: The inputs.
    """

    name: str
    seconds: float
    reference_seconds: float
    detail: str

    @property
    def ratio(self) -> float:
        """The speed-up over the reference."""
        return self.reference_seconds / self.seconds

    def record(self) -> dict[str, str | float]:
        """Return the measurement as plain values by name."""
        return {
            "name": self.name,
            "seconds": self.seconds,
            "reference_seconds": self.reference_seconds,
            "ratio": self.ratio,
            "detail": self.detail,
        }


def timed(function: Callable[[], object]) -> float:
    """Return the seconds that one call takes."""
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


def fastest(function: Callable[[], object], *, runs: int) -> float:
    """Return the seconds of the fastest of several calls, after a warm-up."""
    function()
    return min(timed(function) for _ in range(runs))
