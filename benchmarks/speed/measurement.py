"""A measurement: our time, a plain reference's and the floor, taken in turns in one run on one machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch
import torch.nn.functional as F

Work = Callable[[], object]


@dataclass(frozen=True)
class Measurement:
    """The times of our implementation and of a plain reference.

    Args:
        name: The benchmark.
        seconds: Our median time, after a warm-up.
        reference_seconds: The plain reference's; of a slow reference, a single run.
        detail: The inputs.
        ours: The work that was timed, for profiles.
        flops: Operations in float32 that the work cannot do without; 0 where they do not limit it.
        repeats: Timed runs of our implementation.
    """

    name: str
    seconds: float
    reference_seconds: float
    detail: str
    ours: Work
    flops: float = 0.0
    repeats: int = 1

    @property
    def ratio(self) -> float:
        """The speed-up over the reference."""
        return self.reference_seconds / self.seconds

    def record(self, rate: float | None = None) -> dict[str, str | float | None]:
        """Return the measurement as plain values by name.

        Args:
            rate: The machine's operations per second, which give the floor.
        """
        return {
            "name": self.name,
            "seconds": self.seconds,
            "reference_seconds": self.reference_seconds,
            "ratio": self.ratio,
            "floor_seconds": self.flops / rate if rate and self.flops else None,
            "repeats": self.repeats,
            "detail": self.detail,
        }


def timed(function: Work, device: str = "cpu") -> float:
    """Return the seconds that one call takes, until the device is idle again."""
    started = time.perf_counter()
    function()
    if torch.device(device).type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - started


def middle(function: Work, *, runs: int, device: str = "cpu") -> float:
    """Return the median seconds of several calls, after a warm-up."""
    function()
    return median(timed(function, device) for _ in range(runs))


def in_turns(ours: Work, reference: Work, *, repeats: int, device: str = "cpu") -> tuple[float, float]:
    """Return the median seconds of both, after a warm-up of each; they take turns, so that other load affects both."""
    ours()
    reference()
    pairs = [(timed(ours, device), timed(reference, device)) for _ in range(repeats)]
    return median(pair[0] for pair in pairs), median(pair[1] for pair in pairs)


@torch.no_grad()
def operations_per_second(device: str = "cpu") -> float:
    """Measure the rate of the faster of a matrix product and a 3x3 convolution of common sizes, in float32."""
    matrix = torch.randn(1024, 1024, device=device)
    images = torch.randn(128, 256, 8, 8, device=device).to(memory_format=torch.channels_last)
    weight = torch.randn(256, 256, 3, 3, device=device).to(memory_format=torch.channels_last)
    works: list[tuple[float, Work]] = [
        (2 * 1024**3, lambda: matrix @ matrix),
        (2 * 128 * 8 * 8 * 256 * 256 * 9, lambda: F.conv2d(images, weight, padding=1)),
    ]
    for _, work in works:
        timed(work, device)
    return max(flops / min(timed(work, device) for _ in range(5)) for flops, work in works)
