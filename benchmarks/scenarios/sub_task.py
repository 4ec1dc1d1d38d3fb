"""Scenario ``sub_task``: composed modules of some classes, against the base model restricted to these classes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from benchmarks.boards import SUB_TASK, Board
from benchmarks.cells import Cell
from benchmarks.data.datasets import check_dataset
from benchmarks.data.tasks import Classes, class_subsets
from benchmarks.models import check_model
from benchmarks.pipeline.composed_cost import ModuleRef, composed_cost
from benchmarks.pipeline.finished_split import split_record_fields
from benchmarks.pipeline.preparation import Stages, prepare
from benchmarks.pipeline.split_model import SplitModel, split_base_model
from benchmarks.pipeline.workspace import Workspace
from benchmarks.rows.row import Metrics, SubTaskRecord
from benchmarks.scenarios.scenario import SCENARIOS, Scenario
from splitters.data import ImageSet
from splitters.methods.protocol import Progress, ProgressCallback, make_splitter
from splitters.networks.inference import accuracy
from splitters.reuse.composed import ComposedModel, compose
from splitters.settings import Settings


class SubTaskSettings(Settings):
    """Settings of the scenario.

    Args:
        sizes: Numbers of classes that tasks have.
        tasks: Tasks of each size, at most.
        task_seed: Draws the tasks. All seeds of a suite share it, so that they are compared on the same tasks.
    """

    sizes: Annotated[tuple[Annotated[int, Field(ge=2)], ...], Field(min_length=1)] = (2, 3, 5)
    tasks: int = Field(default=10, ge=1)
    task_seed: int = Field(default=0, ge=0)


@SCENARIOS.register("sub_task")
class SubTask(Scenario):
    """Composes the modules of k of the N classes, and lets the base model choose among the same k.

    Both see the test images of these classes. Nothing is chosen on images: the tasks are drawn from a seed.
    """

    Settings = SubTaskSettings
    board: ClassVar[Board] = SUB_TASK
    settings: SubTaskSettings

    def check(self, cell: Cell) -> None:
        """Check the cell's names and settings; see ``Scenario.check``."""
        make_splitter(cell.splitter.name, cell.splitter.settings)
        check_model(cell.model, input_shape=cell.dataset.input_shape)
        check_dataset(cell.dataset.name)

    def measure(self, cell: Cell, workspace: Workspace) -> Metrics:
        """Run the cell; see ``Scenario.measure``."""
        stages = Stages(workspace.device)
        prepared = prepare(cell, workspace, stages)
        n_classes = prepared.roles.train.n_classes
        tasks = [task for size in self.settings.sizes for task in self._tasks(n_classes, size)]
        model = split_base_model(cell, prepared, workspace, name=cell.model.name)
        stages.add("split", model.split)
        with stages.measured("evaluate"):
            records = list(_records(model, tasks, workspace.progress))
        return Metrics(
            **split_record_fields(prepared, model.split),
            sub_tasks=records,
            stages=stages.records,
        )

    def _tasks(self, n_classes: int, size: int) -> list[Classes]:
        return class_subsets(n_classes, size, count=self.settings.tasks, seed=self.settings.task_seed)


@dataclass(frozen=True)
class _Outputs:
    """What the modules and the base model return for images, on the CPU."""

    scores: Float[Tensor, "class sample"]
    logits: Float[Tensor, "sample class"]
    labels: Int64[Tensor, " sample"]

    @classmethod
    def of(cls, model: SplitModel, images: ImageSet) -> _Outputs:
        return cls(model.scores(images), model.logits(images), images.labels.cpu())

    def accuracies(self, composed: ComposedModel, classes: Classes) -> tuple[float, float]:
        """Return the composed model's accuracy and the restricted base model's, on images of the task's classes."""
        indices = torch.tensor(classes)
        in_task = torch.isin(self.labels, indices)
        answers = indices[composed.answers(self.scores[indices][:, in_task].T)]
        restricted = indices[self.logits[in_task][:, indices].argmax(1)]
        return accuracy(answers, self.labels[in_task]), accuracy(restricted, self.labels[in_task])


def _records(model: SplitModel, tasks: list[Classes], progress: ProgressCallback) -> Iterator[SubTaskRecord]:
    select = _Outputs.of(model, model.prepared.split_roles.select)
    test = _Outputs.of(model, model.prepared.roles.test)
    names = model.prepared.roles.train.class_names
    for done, classes in enumerate(tasks):
        progress(Progress("evaluate", done, len(tasks)))
        task_names = [names[index] for index in classes]
        modules = [ModuleRef(model, index) for index in classes]
        composed = compose([module.module for module in modules], task_names)
        composed_accuracy, restricted_accuracy = test.accuracies(composed, classes)
        select_composed_accuracy, select_restricted_accuracy = select.accuracies(composed, classes)
        yield SubTaskRecord(
            **composed_cost(modules, composed, model),
            classes=task_names,
            n_classes=len(classes),
            composed_accuracy=composed_accuracy,
            select_composed_accuracy=select_composed_accuracy,
            restricted_accuracy=restricted_accuracy,
            select_restricted_accuracy=select_restricted_accuracy,
            accuracy_loss=restricted_accuracy - composed_accuracy,
        )
