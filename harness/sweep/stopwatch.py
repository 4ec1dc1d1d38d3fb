"""The budget of a sweep."""

from __future__ import annotations

import math
import time
from collections.abc import Callable


class Stopwatch:
    """Says when the budget of a sweep is spent.

    Args:
        wall: Seconds that this call may take; None for ever.
        device: Seconds of a device that are left for the study; None for ever.
        used: Returns the seconds of a device that trials have used since the beginning of this call.
    """

    def __init__(self, wall: float | None, device: float | None, used: Callable[[], float]) -> None:
        self._ends = math.inf if wall is None else time.monotonic() + wall
        self._device = math.inf if device is None else device
        self._used = used
        self.is_spent = False

    def __call__(self) -> bool:
        """Says whether it is spent, and remembers it."""
        self.is_spent = self.is_spent or time.monotonic() >= self._ends or self._used() >= self._device
        return self.is_spent
