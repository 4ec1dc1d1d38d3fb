"""Scenario ``new_task``: classes of two data sets, recognised by modules that are there, against training anew."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Any, ClassVar

from pydantic import Field, model_validator
from typing_extensions import Self

from benchmarks.boards import NEW_TASK, Board
from benchmarks.cells import Cell, DatasetSpec, TrainingSpec
from benchmarks.data.datasets import check_dataset, with_code
from benchmarks.data.roles import Roles
from benchmarks.data.tasks import Classes, few_of_each, joined, joint_subsets
from benchmarks.models import check_model, refuse_given
from benchmarks.models.inference import evaluate_accuracy
from benchmarks.pipeline.composed_cost import Pick, composed_cost
from benchmarks.pipeline.finished_split import circumstances
from benchmarks.pipeline.preparation import Stages, as_one_stage, prepare
from benchmarks.pipeline.split_model import SplitModel, renamed, split_prepared
from benchmarks.pipeline.workspace import Workspace
from benchmarks.rows.row import Metrics, NewTaskRecord
from benchmarks.scenarios.scenario import SCENARIOS, Scenario
from benchmarks.seeding import derive_seed
from benchmarks.training.base_model import TrainedModel, train_base_model
from benchmarks.training.last_layer import LastLayer, train_last_layer
from splitters.data import ImageSet
from splitters.errors import ConfigurationError
from splitters.methods.protocol import Progress, make_splitter
from splitters.networks.inference import accuracy, network_logits
from splitters.reuse.composed import ComposedModel, compose
from splitters.settings import Settings

ImagesPerClass = Annotated[int, Field(ge=1)] | None


class NewTaskSettings(Settings):
    """Settings of the scenario.

    Args:
        other_dataset: The second data set; a network like the cell's is trained on it and split.
        size: How many classes a task has, one of each data set at least.
        tasks: How many tasks; without a number all pairs of a class of either data set.
        task_seed: Seeds which classes; the same for all seeds of a suite, so that these are compared on the same tasks.
        images_per_class: How many images of a class the trained networks may see; each number is measured, null is all.
        scratch_training: How networks are trained from scratch; as base models are, without.
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
            raise ValueError(f"all tasks of {self.size} classes would be too many; say how many with 'tasks'")
        return self


@SCENARIOS.register("new_task")
class NewTask(Scenario):
    """Composes modules of two base models, and trains two rivals for the same classes.

    The rivals: the same network from scratch, and the better one, on select, of both base models with a new last layer.
    Composing needs no training image. Scores are compared as they are, as in the papers; select images choose the
    rivals' epoch and ridge, and test images are looked at for the final scores alone.
    """

    Settings = NewTaskSettings
    board: ClassVar[Board] = NEW_TASK
    settings: NewTaskSettings

    def check(self, cell: Cell) -> None:
        """Checks the cell's names and settings; see ``Scenario.check``."""
        make_splitter(cell.splitter.name, cell.splitter.settings)
        check_model(cell.model)
        refuse_given(cell.model, "new_task")
        check_dataset(cell.dataset.name)
        other = self._other(cell).dataset
        check_dataset(other.name, where="other_dataset")
        own = cell.dataset
        are_apart = own.classes and other.classes and set(own.classes).isdisjoint(other.classes)
        if other.name == own.name and not are_apart:
            raise ConfigurationError(
                f"other_dataset: {other.name!r} is the cell's own data set; name another one, or 'classes' of each "
                "that the other has not."
            )

    def other_dataset(self, cell: Cell) -> DatasetSpec:
        """Returns the second base model's data set."""
        return self.settings.other_dataset.model_copy(update={"input_shape": cell.dataset.input_shape})

    def further_code(self) -> Iterable[str]:
        """Returns the code of the other data set."""
        return [with_code(self.settings.other_dataset).code]

    def measure(self, cell: Cell, workspace: Workspace) -> Metrics:
        """Runs the cell; see ``Scenario.measure``."""
        stages = Stages(workspace.device)
        cells = (cell, self._other(cell))
        single = Stages(workspace.device)
        bases = [prepare(own, workspace, single) for own in cells]
        stages.records.append(as_one_stage([record for record in single.records if record.name == "data"]))
        stages.add("train", *[base.base for base in bases])
        first, second = (
            split_prepared(own, base, workspace, name=own.dataset.name) for own, base in zip(cells, bases, strict=True)
        )
        stages.add("split", first.split, second.split)
        with stages.measured("tasks") as inner:
            records = list(_Run(self.settings, cell, workspace, first, second, inner).records())
        masks = first.split.result.masks
        return Metrics(
            kernels_total=masks.layout.n_kernels,
            kernel_retention=masks.retention,
            kernel_retention_union=masks.union_retention,
            **{**circumstances(first.prepared, first.split), "warnings": [*first.warnings, *second.warnings]},
            other_dataset_hash=second.prepared.dataset_hash,
            new_tasks=records,
            stages=stages.records,
        )

    def _other(self, cell: Cell) -> Cell:
        """Returns the cell of the second base model."""
        return cell.model_copy(update={"dataset": self.other_dataset(cell)})


@dataclass(frozen=True)
class _Task:
    """A task's modules and images; those of test are for the final scores.

    Args:
        picks: Its modules, in the order of its classes.
        names: What its classes are called.
        roles: Its images.
    """

    picks: tuple[Pick, ...]
    names: tuple[str, ...]
    roles: Roles

    def compose(self) -> ComposedModel:
        modules = [renamed(pick.module, name) for pick, name in zip(self.picks, self.names, strict=True)]
        return compose(modules, self.names)


@dataclass(frozen=True)
class _Run:
    """One cell's tasks.

    Args:
        settings: The scenario's.
        cell: The cell.
        workspace: Where to work.
        first: The base model of the cell's data set, with its modules.
        second: That of the other data set.
        peaks: Takes the peak memory of each training from scratch, in bytes.
    """

    settings: NewTaskSettings
    cell: Cell
    workspace: Workspace
    first: SplitModel
    second: SplitModel
    peaks: list[int]

    @cached_property
    def sources(self) -> list[Pick]:
        """All modules that there are, the first base model's first."""
        return [Pick(model, index) for model in (self.first, self.second) for index in range(len(model.modules))]

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
            yield from self._measured(self._task(classes))

    def _task(self, classes: Classes) -> _Task:
        picks = tuple(self.sources[index] for index in classes)
        names = tuple(self._name(pick) for pick in picks)

        def images(role: str) -> ImageSet:
            parts = [(getattr(pick.model.prepared.roles, role), pick.module.info.class_name) for pick in picks]
            return joined(parts, names)

        return _Task(picks, names, Roles(images("train"), images("select"), images("test")))

    def _name(self, pick: Pick) -> str:
        """Returns a class's name, with its data set where both data sets have a class of that name."""
        name = pick.module.info.class_name
        known = [model.prepared.roles.train.class_names for model in (self.first, self.second)]
        return f"{pick.model.name}/{name}" if all(name in names for names in known) else name

    def _measured(self, task: _Task) -> Iterator[NewTaskRecord]:
        started = time.perf_counter()
        composed = task.compose()
        composed_seconds = time.perf_counter() - started
        accuracies = {role: self._accuracy(composed, getattr(task.roles, role)) for role in ("select", "test")}
        cost = composed_cost(task.picks, composed, self.first)
        for limit in self.settings.images_per_class:
            train = few_of_each(task.roles.train, limit, seed=self.cell.seed)
            yield NewTaskRecord(
                **cost,
                **self._rivals(task, train, accuracies["test"]),
                classes=list(task.names),
                n_classes=len(task.names),
                images_per_class=limit,
                composed_accuracy=accuracies["test"],
                select_composed_accuracy=accuracies["select"],
                composed_images=0,
                composed_seconds=composed_seconds,
            )

    def _rivals(self, task: _Task, train: ImageSet, composed_accuracy: float) -> dict[str, Any]:
        device, test = self.workspace.device, task.roles.test
        scratch = self._from_scratch(Roles(train, task.roles.select, test))
        self.peaks.append(scratch.peak_memory_bytes or 0)
        layers = self._last_layers(train.to(device), task.roles.select.to(device))
        layer = max(layers, key=lambda candidate: candidate.select_accuracy)
        scratch_accuracy = evaluate_accuracy(scratch.model, test)
        last_layer_accuracy = layer.accuracy(test.to(device))
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

    def _from_scratch(self, roles: Roles) -> TrainedModel:
        training = self.settings.scratch_training or self.cell.training
        steps = -(-len(roles.train) // training.batch_size)
        epochs = max(training.epochs, -(-self.settings.min_steps // steps))
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

    def _last_layers(self, train: ImageSet, select: ImageSet) -> Sequence[LastLayer]:
        return [train_last_layer(model.graph.network, train, select) for model in (self.first, self.second)]

    def _accuracy(self, composed: ComposedModel, images: ImageSet) -> float:
        there = images.to(self.workspace.device)
        answers = composed.answers(network_logits(composed.to(self.workspace.device), there))
        return accuracy(answers, there.labels)
