"""What holds for all tests: shapes are checked, one thread each, nothing is timed, no tokens from Ray, one width."""

import os
from collections.abc import Iterator

os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.pop("COLUMNS", None)  # the width of whoever runs the tests

import hypothesis
import jaxtyping
import pytest
import torch

# Before anything imports the packages: every call of the dense numeric code is checked against its annotated shapes.
_CHECKED = (
    "data",
    "graph.channel_ids",
    "graph.layout",
    "methods.mask_training.binarise",
    "methods.mask_training.recorded_states",
    "methods.mask_training.trainer",
    "methods.gradsplitter.trainer",
    "methods.scalesplitter.trainer",
    "methods.kernel_choice.importance",
    "methods.kernel_choice.taylor",
    "methods.scoring.head_training",
    "modules.score_kinds",
    "modules.scores",
    "networks.inference",
    "networks.masked_network",
    "networks.masks",
    "reuse.composed",
    "reuse.score_calibration",
)
jaxtyping.install_import_hook([f"splitters.{name}" for name in _CHECKED], "beartype.beartype")

torch.set_num_threads(1)

# No test is timed: a machine that is busy with something else is no fault of the code.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")


@pytest.fixture
def unchecked_shapes() -> Iterator[None]:
    """Switches the run-time checks of shapes off, for tests of what users see who have none."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


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
