"""Scenarios that split one base model per cell, and measure what comes of it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any

from benchmarks.cells import Cell
from benchmarks.data.datasets import check_dataset
from benchmarks.models import check_model
from benchmarks.pipeline.finished_split import split_record_fields
from benchmarks.pipeline.preparation import Stages, prepare
from benchmarks.pipeline.split_model import SplitModel, split_base_model
from benchmarks.pipeline.workspace import Workspace
from benchmarks.rows.row import Metrics
from benchmarks.scenarios.scenario import Scenario
from splitters.methods.protocol import make_splitter


class SplitScenario(Scenario):
    """A scenario whose cells train a base model and split it; a subclass says what is measured then.

    Example::

        class Confidence(SplitScenario):
            '''Accuracy of the composed model on the images of select.'''

            def evaluate(self, model, workspace):
                select = model.prepared.roles.select
                return {"select_composed_accuracy": accuracy(model.answers(select), select.labels)}
    """

    def check(self, cell: Cell) -> None:
        """Check the cell's names and settings; see ``Scenario.check``."""
        make_splitter(cell.splitter.name, cell.splitter.settings)
        check_model(cell.model, input_shape=cell.dataset.input_shape)
        check_dataset(cell.dataset.name)

    def prepare(self, cell: Cell, workspace: Workspace) -> None:
        """Decode the images and train the base model; see ``Scenario.prepare``."""
        prepare(cell, workspace, Stages(workspace.device))

    def measure(self, cell: Cell, workspace: Workspace) -> Metrics:
        """Split the cell's base model, and evaluate it; see ``Scenario.measure``."""
        stages = Stages(workspace.device)
        prepared = prepare(cell, workspace, stages)
        model = split_base_model(cell, prepared, workspace, name=cell.model.name)
        stages.add("split", model.split)
        with stages.measured("evaluate"):
            measured = self.evaluate(model, workspace)
        return Metrics(**{**split_record_fields(prepared, model.split), **measured}, stages=stages.records)

    @abstractmethod
    def evaluate(self, model: SplitModel, workspace: Workspace) -> Mapping[str, Any]:
        """Return what is measured, as fields of ``Metrics``; kernel counts and facts about the split are there anyway.

        Args:
            model: The base model and its modules. ``model.prepared.roles`` holds the images by role: ``test`` serves
                final scores only, and no choice may depend on it.
            workspace: The resources to work with. Call its ``progress`` between steps, so that a cell can be stopped.
        """
