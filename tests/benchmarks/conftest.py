from __future__ import annotations

import pytest


class Clock:
    """Takes the place of the module ``time`` where durations are measured; its time passes only by ``advance``."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def perf_counter(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()
