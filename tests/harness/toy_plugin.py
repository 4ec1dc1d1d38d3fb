"""A scenario and a splitter that do whatever a test asks of them; importable in workers as a plugin."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path
from typing import NoReturn

from benchmarks.cells import Cell
from benchmarks.records import Metrics, StageRecord
from benchmarks.scenarios.base import SCENARIOS, CellSkippedError, Scenario, Workspace
from splitters.base import SPLITTERS, Progress, Splitter, SplitterReference
from splitters.errors import ConfigurationError, SplitFailedError
from splitters.settings import Settings


class ToySettings(Settings):
    """Settings of the toy.

    Args:
        behaviour: What a cell does.
        loss: The accuracy loss that it reports; the seed adds a thousandth each.
        folder: Where it leaves marks.
        like: Another splitter.
    """

    behaviour: str = "ok"
    loss: float = 0.02
    folder: str = ""
    like: SplitterReference | None = None


@SPLITTERS.register("toy")
class Toy(Splitter[ToySettings]):
    """A splitter that is only a name."""

    Settings = ToySettings
    version = 3

    def split(self, *args: object, **kwargs: object) -> NoReturn:
        raise NotImplementedError


@SPLITTERS.register("other")
class Other(Toy):
    """Another name."""


@SCENARIOS.register("toy")
class ToyScenario(Scenario):
    """Does what ``behaviour`` says."""

    def check(self, cell: Cell) -> None:
        if cell.splitter.settings["behaviour"] == "refused":
            raise ConfigurationError("the toy refuses this cell.")

    def measure(self, cell: Cell, workspace: Workspace) -> Metrics:
        settings = ToySettings.parse(cell.splitter.settings, where="toy")
        behaviour = getattr(self, f"_{settings.behaviour}", None)
        workspace.progress(Progress("split", 1, 2, {"accuracy": 0.5}))
        if behaviour is not None:
            behaviour(settings, workspace)
        loss = settings.loss + cell.seed / 1000
        return Metrics(
            base_accuracy=0.9,
            composed_accuracy=0.9 - loss,
            accuracy_loss=loss,
            kernel_retention=0.4,
            kernel_retention_union=0.8,
            flops_retention=0.5,
            param_retention=0.45,
            jaccard_distance=0.3,
            split_seconds=1.5,
            stages=[StageRecord(name="split", seconds=1.5)],
            warnings=[f"gpu {os.environ.get('CUDA_VISIBLE_DEVICES', 'unset')}"] if settings.behaviour == "gpu" else [],
        )

    def _raise(self, settings: ToySettings, workspace: Workspace) -> None:
        raise SplitFailedError("no usable modules\nsecond line")

    def _exit(self, settings: ToySettings, workspace: Workspace) -> None:
        sys.exit(3)

    def _nan(self, settings: ToySettings, workspace: Workspace) -> None:
        Metrics(accuracy_loss=float("nan"))

    def _memory(self, settings: ToySettings, workspace: Workspace) -> None:
        raise MemoryError("no memory left")

    def _skip(self, settings: ToySettings, workspace: Workspace) -> None:
        raise CellSkippedError("nothing to split here")

    def _polite(self, settings: ToySettings, workspace: Workspace) -> None:
        if settings.folder:
            (Path(settings.folder) / "begun").touch()
        for step in range(600):
            workspace.progress(Progress("split", step, 600))
            time.sleep(0.1)

    def _nap(self, settings: ToySettings, workspace: Workspace) -> None:
        time.sleep(0.3)

    def _block_once(self, settings: ToySettings, workspace: Workspace) -> None:
        mark = Path(settings.folder) / "blocked"
        if not mark.exists():
            mark.touch()
            time.sleep(120)

    def _deaf(self, settings: ToySettings, workspace: Workspace) -> None:
        time.sleep(120)

    def _die(self, settings: ToySettings, workspace: Workspace) -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    def _die_once(self, settings: ToySettings, workspace: Workspace) -> None:
        mark = Path(settings.folder) / "died"
        if not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)

    def _gpu(self, settings: ToySettings, workspace: Workspace) -> None:
        # Long enough that another cell runs at the same time.
        time.sleep(1.0)
