"""Options of ``run`` and ``sweep`` for experiment trackers, and the trackers they stand for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from harness.execution import Listener


@dataclass(frozen=True)
class Tracking:
    """Where metrics are written, besides the rows.

    Args:
        tensorboard: A folder of TensorBoard's.
        mlflow: A tracking URI of MLflow's.
    """

    tensorboard: Path | None = None
    mlflow: str | None = None

    def enter(self, stack: ExitStack, experiment: str) -> list[Listener]:
        """Return the trackers, which end with the stack.

        Args:
            stack: Is entered.
            experiment: The suite's or sweep's name.

        Raises:
            ConfigurationError: If one of them is not installed.
        """
        listeners: list[Listener] = []
        if self.tensorboard is not None:
            from harness.execution.tracking.tensorboard import TensorBoardTracker

            listeners.append(stack.enter_context(TensorBoardTracker(self.tensorboard)))
        if self.mlflow is not None:
            from harness.execution.tracking.mlflow import MlflowTracker

            listeners.append(stack.enter_context(MlflowTracker(self.mlflow, experiment)))
        return listeners


def tracking_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of trackers; passed on as ``tracking``."""

    @functools.wraps(function)
    def with_tracking(*args: Any, tensorboard: Path | None, mlflow: str | None, **keys: Any) -> Any:
        return function(*args, tracking=Tracking(tensorboard, mlflow), **keys)

    decorators = (
        click.option(
            "--tensorboard",
            type=click.Path(file_okay=False, path_type=Path),
            metavar="DIR",
            help="Write each cell's metrics for TensorBoard too; needs the package tensorboard.",
        ),
        click.option(
            "--mlflow",
            metavar="URI",
            help="Write each cell's metrics to MLflow too, a server or a database; needs the package mlflow.",
        ),
    )
    command: Callable[..., Any] = with_tracking
    for decorator in reversed(decorators):
        command = decorator(command)
    return command


def warn_of(error: str | None) -> None:
    """Warn that the run's progress could not be shown or tracked, if it could not."""
    if error:
        click.echo(f"Warning: showing the run's progress failed ({error}); its rows are whole.", err=True)
