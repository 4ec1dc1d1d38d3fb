"""Scenario ``new_task``: classes of two data sets, recognised by existing modules, against training anew."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator
from torch import Tensor
from typing_extensions import Self

from benchmarks.boards import NEW_TASK, Board
from benchmarks.cells import Cell, DatasetSpec, TrainingSpec
from benchmarks.data.datasets import check_dataset, with_code
from benchmarks.data.roles import Roles
from benchmarks.data.tasks import Classes, few_of_each, joined, joint_subsets
from benchmarks.models import check_model, refuse_given
from benchmarks.models.inference import evaluate_accuracy
from benchmarks.pipeline.class_outputs import ClassOutputs, Role
from benchmarks.pipeline.composed_cost import ModuleRef, composed_cost
from benchmarks.pipeline.finished_split import split_record_fields
from benchmarks.pipeline.preparation import Stages, merge_stages, prepare
from benchmarks.pipeline.split_model import SplitModel, split_base_model, with_class_name
from benchmarks.pipeline.workspace import Workspace
from benchmarks.rows.row import Metrics, NewTaskRecord
from benchmarks.scenarios.scenario import SCENARIOS, Scenario
from benchmarks.seeding import derive_seed
from benchmarks.training.base_model import TrainedModel, train_base_model
from benchmarks.training.last_layer import LastLayer, train_last_layer
from splitters.data import ImageSet
from splitters.errors import ConfigurationError
from splitters.methods.protocol import Progress, make_splitter
from splitters.networks.inference import accuracy
from splitters.reuse.composed import ComposedModel, compose
from splitters.settings import Settings

ImagesPerClass = Annotated[int, Field(ge=1)] | None


class NewTaskSettings(Settings):
    """Settings of the scenario.

    Args:
        other_dataset: The second data set; a network like the cell's is trained on it and split.
        size: Number of classes of a task, at least one of each data set.
        tasks: Number of tasks. Default: all pairs of one class of each data set.
        task_seed: Draws the tasks. All seeds of a suite share it, so that they are compared on the same tasks.
        images_per_class: Images of each class that the trained networks see; each number is measured, null is all.
        scratch_training: How networks are trained from scratch. Default: like the base models.
        min_steps: A training from scratch gets more epochs where few images would mean fewer steps than this.
    """

    other_dataset: DatasetSpec
    size: int = Field(default=2, ge=2)
    tasks: int | None = Field(default=None, ge=1)
    task_seed: int = Field(default=0, ge=0)
    images_per_class: Annotated[tuple[ImagesPerClass, ...], Field(min_length=1)] = (None,)
    scratch_training: TrainingSpec | None = None
    min_steps: int = Field(default=200, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.tasks is None and self.size != 2:
            raise ValueError(f"all tasks of {self.size} classes would be too many; set 'tasks' to a number")
        return self


@SCENARIOS.register("new_task")
class NewTask(Scenario):
    """Composes modules of two base models, and trains two baselines for the same classes.

    The baselines: the same network trained from scratch, and whichever base model with a new last layer is better on
    select. Composing needs no training images. Scores are compared uncalibrated, as in the papers; select images choose
    the baselines' epoch and ridge, and test images serve the final scores only.
    """

    Settings = NewTaskSettings
    board: ClassVar[Board] = NEW_TASK
    settings: NewTaskSettings

    def check(self, cell: Cell) -> None:
        """Check the cell's names and settings; see ``Scenario.check``."""
        make_splitter(cell.splitter.name, cell.splitter.settings)
        check_model(cell.model, input_shape=cell.dataset.input_shape)
        refuse_given(cell.model, "new_task")
        check_dataset(cell.dataset.name)
        first, second = cell.dataset, self.other_dataset(cell)
        check_dataset(second.name, where="other_dataset")
        are_disjoint = first.classes and second.classes and set(first.classes).isdisjoint(second.classes)
        if second.name == first.name and not are_disjoint:
            raise ConfigurationError(
                f"other_dataset: {second.name!r} is the cell's own data set; name another one, or 'classes' of each "
                "that the other does not have."
            )

    def other_dataset(self, cell: Cell) -> DatasetSpec:
        """Return the second base model's data set."""
        return self.settings.other_dataset.model_copy(update={"input_shape": cell.dataset.input_shape})

    def settings_fingerprints(self) -> Iterable[str]:
        """Return the fingerprint of the other data set."""
        return [with_code(self.settings.other_dataset).code]

    def measure(self, cell: Cell, workspace: Workspace) -> Metrics:
        """Run the cell; see ``Scenario.measure``."""
        stages = Stages(workspace.device)
        first, second = self._split_models(cell, workspace, stages)
        with stages.measured("tasks") as peaks:
            tasks = _CellTasks(self.settings, cell, workspace, first, second, peaks)
            records = list(tasks.records())
        return Metrics(
            **{**split_record_fields(first.prepared, first.split), "warnings": [*first.warnings, *second.warnings]},
            other_dataset_hash=second.prepared.dataset_hash,
            new_tasks=records,
            stages=stages.records,
        )

    def _split_models(self, cell: Cell, workspace: Workspace, stages: Stages) -> list[SplitModel]:
        """Train and split the base models of both data sets."""
        cells = (cell, cell.model_copy(update={"dataset": self.other_dataset(cell)}))
        of_each = Stages(workspace.device)
        bases = [prepare(of_dataset, workspace, of_each) for of_dataset in cells]
        stages.records.append(merge_stages([record for record in of_each.records if record.name == "data"]))
        stages.add("train", *[base.base for base in bases])
        models = [
            split_base_model(of_dataset, base, workspace, name=of_dataset.dataset.name)
            for of_dataset, base in zip(cells, bases, strict=True)
        ]
        stages.add("split", *[model.split for model in models])
        return models


@dataclass(frozen=True)
class _Task:
    """The modules and images of a task; test images serve the final scores only.

    Args:
        modules: Its modules, in the order of its classes.
        names: The names of its classes.
        roles: Its images.
    """

    modules: tuple[ModuleRef, ...]
    names: tuple[str, ...]
    roles: Roles

    def compose(self) -> ComposedModel:
        pairs = zip(self.modules, self.names, strict=True)
        return compose([with_class_name(module.module, name) for module, name in pairs], self.names)


@dataclass(frozen=True)
class _CellTasks:
    """The tasks of one cell.

    Args:
        settings: The scenario's settings.
        cell: The cell.
        workspace: The resources to work with.
        first: The base model of the cell's data set, split.
        second: That of the other data set.
        training_peaks: Collects the peak memory of each training from scratch, in bytes.
    """

    settings: NewTaskSettings
    cell: Cell
    workspace: Workspace
    first: SplitModel
    second: SplitModel
    training_peaks: list[int]

    def records(self) -> Iterator[NewTaskRecord]:
        tasks = joint_subsets(
            len(self.first.modules),
            len(self.second.modules),
            self.settings.size,
            count=self.settings.tasks,
            seed=self.settings.task_seed,
        )
        for done, classes in enumerate(tasks):
            self.workspace.progress(Progress("tasks", done, len(tasks)))
            yield from self._measure(self._task(classes))

    @cached_property
    def _outputs(self) -> ClassOutputs:
        return ClassOutputs(self.workspace.device)

    @cached_property
    def _all_modules(self) -> list[ModuleRef]:
        """The modules of both base models, those of the first one first."""
        return [ModuleRef(model, index) for model in (self.first, self.second) for index in range(len(model.modules))]

    def _task(self, classes: Classes) -> _Task:
        modules = tuple(self._all_modules[index] for index in classes)
        names = tuple(self._unique_name(module) for module in modules)

        def images(role: str) -> ImageSet:
            parts = [(getattr(module.model.prepared.roles, role), module.module.info.class_name) for module in modules]
            return joined(parts, names)

        return _Task(modules, names, Roles(images("train"), images("select"), images("test")))

    def _unique_name(self, module: ModuleRef) -> str:
        """Return a class's name, prefixed with its data set if both data sets have a class of that name."""
        name = module.module.info.class_name
        is_shared = all(name in model.prepared.roles.train.class_names for model in (self.first, self.second))
        return f"{module.model.name}/{name}" if is_shared else name

    def _measure(self, task: _Task) -> Iterator[NewTaskRecord]:
        started = time.perf_counter()
        composed = task.compose()
        composed_seconds = time.perf_counter() - started
        composed.to(self.workspace.device)
        select_accuracy = self._accuracy(composed, task, "select")
        test_accuracy = self._accuracy(composed, task, "test")
        cost = composed_cost(task.modules, composed, self.first)
        for limit in self.settings.images_per_class:
            indices = None if limit is None else few_of_each(task.roles.train, limit, seed=self.cell.seed)
            yield NewTaskRecord(
                **cost,
                **self._baselines(task, indices, test_accuracy),
                classes=list(task.names),
                n_classes=len(task.names),
                images_per_class=limit,
                composed_accuracy=test_accuracy,
                select_composed_accuracy=select_accuracy,
                composed_images=0,
                composed_seconds=composed_seconds,
            )

    def _baselines(self, task: _Task, indices: Tensor | None, composed_accuracy: float) -> dict[str, Any]:
        """Measure the baselines, which learn from the train images at ``indices``; None for all."""
        train = task.roles.train if indices is None else task.roles.train.subset(indices)
        scratch = self._train_from_scratch(Roles(train, task.roles.select, task.roles.test))
        if scratch.peak_memory_bytes is not None and not scratch.reused:
            self.training_peaks.append(scratch.peak_memory_bytes)
        models = (self.first, self.second)
        layers = [self._train_last_layer(task, model, indices) for model in models]
        best = max(range(len(models)), key=lambda candidate: layers[candidate].select_accuracy)
        layer = layers[best]
        scratch_accuracy = evaluate_accuracy(scratch.model, task.roles.test)
        last_layer_accuracy = layer.accuracy(self._outputs.features(models[best], task.modules, "test"))
        return {
            "scratch_accuracy": scratch_accuracy,
            "select_scratch_accuracy": scratch.select_accuracy,
            "last_layer_accuracy": last_layer_accuracy,
            "select_last_layer_accuracy": layer.select_accuracy,
            "gain_over_scratch": composed_accuracy - scratch_accuracy,
            "gain_over_last_layer": composed_accuracy - last_layer_accuracy,
            "scratch_images": len(train),
            "last_layer_images": len(train),
            "scratch_seconds": scratch.seconds,
            "last_layer_seconds": sum(candidate.seconds for candidate in layers),
        }

    def _train_from_scratch(self, roles: Roles) -> TrainedModel:
        training = self.settings.scratch_training or self.cell.training
        steps_per_epoch = -(-len(roles.train) // training.batch_size)
        epochs = max(training.epochs, -(-self.settings.min_steps // steps_per_epoch))
        return train_base_model(
            self.cell.model,
            training.model_copy(update={"epochs": epochs}),
            roles,
            dataset_hash=self.first.prepared.dataset_hash,
            flips=self.first.prepared.flips and self.second.prepared.flips,
            seed=derive_seed(self.cell.seed, "from scratch"),
            threads=self.cell.threads,
            cache=self.workspace.artifacts,
            device=self.workspace.device,
            progress=self.workspace.progress,
        )

    def _accuracy(self, composed: ComposedModel, task: _Task, role: Role) -> float:
        answers = composed.answers(self._outputs.scores(composed, task.modules, role))
        return accuracy(answers.cpu(), getattr(task.roles, role).labels.cpu())

    def _train_last_layer(self, task: _Task, model: SplitModel, indices: Tensor | None) -> LastLayer:
        train = self._outputs.features(model, task.modules, "train")
        select = self._outputs.features(model, task.modules, "select")
        return train_last_layer(train if indices is None else train.subset(indices), select)
