"""Splitters and a scenario whose front is known, with as much trouble as a test asks for; a plugin for workers."""

from __future__ import annotations

import os
import signal
import time
import uuid
from pathlib import Path
from typing import NoReturn

from pydantic import Field

from benchmarks.cells import Cell
from benchmarks.pipeline.workspace import Workspace
from benchmarks.rows.row import FigureRecord, Metrics, StageRecord
from benchmarks.scenarios.scenario import SCENARIOS, Scenario
from splitters.errors import SplitFailedError
from splitters.methods.protocol import SPLITTERS, Progress, Splitter
from splitters.settings import Settings


class BowlSettings(Settings):
    """Settings of the bowl.

    Args:
        x: More loss for fewer kernels; every value is on the front.
        y: More loss and more kernels; only 0 is on the front.
        n: Does nothing.
        mode: ``plain``; ``raise`` fails; ``nan`` measures what is no number; ``die`` kills the worker; ``deaf``
            computes without listening; ``slow`` takes its time in a hundred steps.
        depth: Does nothing, where ``mode`` is ``plain``.
        steps: Steps that it reports.
        noise: What each seed adds to the loss.
        pause: Seconds per step.
        folder: Where every run leaves a mark; none without.
    """

    x: float = Field(default=0.5, ge=0, le=1)
    y: float = Field(default=0.2, ge=0, le=1)
    n: int = Field(default=1, ge=1)
    mode: str = "plain"
    depth: int = 2
    steps: int = Field(default=3, ge=0)
    noise: float = 0.0
    pause: float = 0.0
    folder: str = ""


@SPLITTERS.register("bowl")
class Bowl(Splitter[BowlSettings]):
    """A splitter that is only a name."""

    Settings = BowlSettings
    version = 2

    def split(self, *args: object, **kwargs: object) -> NoReturn:
        raise NotImplementedError


@SPLITTERS.register("dish")
class Dish(Bowl):
    """Another name."""


@SCENARIOS.register("bowl")
class BowlScenario(Scenario):
    """Measures the bowl, on test too."""

    selection = "bowl-selection"
    has_test = True

    def check(self, cell: Cell) -> None:
        """Accepts everything."""

    def measure(self, cell: Cell, workspace: Workspace) -> Metrics:
        settings = BowlSettings.parse(cell.splitter.settings, where="bowl")
        if settings.folder:
            (Path(settings.folder) / f"{cell.scenario}--{cell.cell_id[:12]}--{uuid.uuid4().hex}").touch()
        loss = settings.x + settings.y + settings.noise * cell.seed
        retention = min(1.0, (1 - settings.x) ** 2 / 2 + settings.y / 2)
        self._trouble(settings, workspace)
        for step in range(1, settings.steps + 1):
            time.sleep(settings.pause)
            workspace.progress(Progress("split", step, settings.steps, self._state(settings, step, loss, retention)))
        figures = [
            FigureRecord(step=step, name=name, value=value)
            for step in range(1, settings.steps + 1)
            for name, value in {"seconds": step / 10, **self._state(settings, step, loss, retention)}.items()
        ]
        test = {"base_accuracy": 0.9, "composed_accuracy": 0.8 - loss / 4, "accuracy_loss": 0.1 + loss / 4}
        return Metrics(
            select_base_accuracy=0.9,
            select_composed_accuracy=0.9 - loss / 4,
            select_accuracy_loss=float("nan") if settings.mode == "nan" else loss,
            kernel_retention=retention,
            figures=figures,
            stages=[StageRecord(name="train", seconds=4.0, reused=cell.seed > 0)],
            **(test if self.has_test else {}),
        )

    @staticmethod
    def _state(settings: BowlSettings, step: int, loss: float, retention: float) -> dict[str, float]:
        share = step / settings.steps
        return {"accuracy": 0.9 - loss / 4 * share, "kernel_retention": 1 - (1 - retention) * share}

    @staticmethod
    def _trouble(settings: BowlSettings, workspace: Workspace) -> None:
        if settings.mode == "raise":
            raise SplitFailedError("no usable modules")
        if settings.mode == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if settings.mode == "deaf":
            time.sleep(60)
        if settings.mode == "slow":
            for step in range(100):
                workspace.progress(Progress("search", step, 100))
                time.sleep(0.1)


@SCENARIOS.register("bowl-selection")
class BowlSelection(BowlScenario):
    """The same without test."""

    selection = None
    has_test = False


@SCENARIOS.register("trained-bowl")
class TrainedBowl(BowlScenario):
    """Finds a base model that only its preparation makes."""

    selection = "trained-bowl-selection"

    def prepare(self, cell: Cell, workspace: Workspace) -> None:
        """Leaves the model, and a mark."""
        workspace.cache.mkdir(exist_ok=True)
        (workspace.cache / f"model-{cell.seed}").touch()
        (workspace.cache / f"trained-{cell.seed}-{uuid.uuid4().hex}").touch()

    def measure(self, cell: Cell, workspace: Workspace) -> Metrics:
        """Needs the model."""
        if not (workspace.cache / f"model-{cell.seed}").exists():
            raise SplitFailedError("there is no base model")
        return super().measure(cell, workspace)


@SCENARIOS.register("trained-bowl-selection")
class TrainedBowlSelection(TrainedBowl):
    """The same without test."""

    selection = None
    has_test = False
