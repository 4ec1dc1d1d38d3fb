"""Scenario ``patching``: what modules of a strong network do for weak networks (arXiv 2209.06116, section 5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, ClassVar

import torch
from jaxtyping import Float, Int64
from pydantic import Field, model_validator
from torch import Tensor, fx
from typing_extensions import Self

from benchmarks.boards import PATCHING, Board
from benchmarks.cells import Cell, DatasetSpec
from benchmarks.data.datasets import check_dataset, with_code
from benchmarks.data.patch_tasks import joined_task
from benchmarks.data.roles import Roles
from benchmarks.models import check_model
from benchmarks.models.inference import predict_logits
from benchmarks.pipeline.finished_split import circumstances
from benchmarks.pipeline.preparation import Prepared, PreparedImages, Stages, images_for, prepare
from benchmarks.pipeline.split_model import split_prepared
from benchmarks.pipeline.workspace import Workspace
from benchmarks.rows.row import Metrics, PatchRecord
from benchmarks.scenarios.scenario import SCENARIOS, Scenario
from benchmarks.seeding import derive_seed
from benchmarks.training.base_model import TrainedModel, train_base_model
from benchmarks.training.weak_models import WeakSettings, is_one_per_target, weak_recipe
from splitters.data import ImageSet
from splitters.errors import DataError, UnknownNameError
from splitters.methods.protocol import Progress, make_splitter
from splitters.modules.module import Module
from splitters.networks.inference import accuracy, class_report
from splitters.reuse.fusion import FUSIONS
from splitters.reuse.patched import PatchedModel, canonical_network, fit_patch

ALL_RULES = ("min_max", "min_max_clipped", "temperature", "platt", "logistic", "gate")
"""The rules that are compared; ``min_max`` is the papers'."""

_BATCH = 256


class PatchingSettings(WeakSettings):
    """Settings of the scenario.

    The strong network is the cell's base model, split by the cell's splitter. Without ``weak_dataset`` the weak model
    knows the same classes. With one, it knows some of that data set's classes and the target class (the papers take 9
    classes of CIFAR-100 and one of CIFAR-10).

    Args:
        fusion: The rules, all measured on the same weak models and modules.
        targets: The names of the target classes; all of the cell's data set if none is given.
        weak_dataset: The other data set.
        weak_classes: The names of its classes that the weak model knows.
        target_train_images: How many train images of the target class the weak model may see at most.
        target_test_images: How many test images of the target class count at most.
    """

    fusion: Annotated[tuple[str, ...], Field(min_length=1)] = ALL_RULES
    targets: tuple[str, ...] = ()
    weak_dataset: DatasetSpec | None = None
    weak_classes: tuple[str, ...] = ()
    target_train_images: int | None = Field(default=None, ge=1)
    target_test_images: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.weak_dataset is None) != (not self.weak_classes):
            raise ValueError("weak_dataset and weak_classes belong together; give both or neither")
        return self


@SCENARIOS.register("patching")
class Patching(Scenario):
    """Patches a weak model for each target class with that class's module, by each rule, and scores it on test.

    All rules are fitted on select images; test images are looked at for the final scores alone. Where a rule cannot be
    fitted, e.g. because the module scores the same on all images of its class, the weak model counts as it is, and a
    warning says so.
    """

    Settings = PatchingSettings
    board: ClassVar[Board] = PATCHING
    version = 2  # 1: weak models of networks without the setting 'dropout' kept their dropout
    settings: PatchingSettings

    def check(self, cell: Cell) -> None:
        """Checks the cell's names and settings; see ``Scenario.check``."""
        make_splitter(cell.splitter.name, cell.splitter.settings)
        check_model(cell.model, input_shape=cell.dataset.input_shape)
        check_dataset(cell.dataset.name)
        if self.settings.weak_dataset is not None:
            check_dataset(self.settings.weak_dataset.name)
        for rule in self.settings.fusion:
            FUSIONS.get(rule, where="fusion")

    def other_dataset(self, cell: Cell) -> DatasetSpec | None:
        """Returns the weak model's data set, where that is not the cell's."""
        other = self.settings.weak_dataset
        return other and other.model_copy(update={"input_shape": cell.dataset.input_shape})

    def further_code(self) -> Iterable[str]:
        """Returns the code of fusion rules and of the weak model's data set."""
        yield from (FUSIONS.code_fingerprint(rule) for rule in self.settings.fusion)
        if self.settings.weak_dataset is not None:
            yield with_code(self.settings.weak_dataset).code

    def measure(self, cell: Cell, workspace: Workspace) -> Metrics:
        """Runs the cell; see ``Scenario.measure``."""
        stages = Stages(workspace.device)
        prepared = prepare(cell, workspace, stages)
        strong = split_prepared(cell, prepared, workspace, name=cell.model.name)
        stages.add("split", strong.split)
        split = strong.split
        run = _Run(self.settings, self.other_dataset(cell), cell, workspace, prepared, strong.modules)
        with stages.measured("patch") as inner:
            patches = list(run.patches())
            inner.extend(run.peaks)
        masks = split.result.masks
        known = circumstances(prepared, split)
        return Metrics(
            other_dataset_hash=run.other_dataset_hash,
            kernels_total=masks.layout.n_kernels,
            kernel_retention=masks.retention,
            kernel_retention_union=masks.union_retention,
            **{**known, "warnings": [*known["warnings"], *run.warnings]},
            patches=patches,
            stages=stages.records,
        )


@dataclass(frozen=True)
class _Run:
    settings: PatchingSettings
    other_dataset: DatasetSpec | None
    cell: Cell
    workspace: Workspace
    strong: Prepared
    modules: tuple[Module, ...]
    warnings: list[str] = field(default_factory=list)
    peaks: list[int] = field(default_factory=list)

    def patches(self) -> Iterator[PatchRecord]:
        weak: _WeakAnswers | None = None
        for done, target in enumerate(self.targets):
            self.workspace.progress(Progress("patch", done, len(self.targets)))
            roles = self._task(target)
            index = roles.train.class_names.index(target)
            if weak is None or is_one_per_target(self.settings) or self.settings.weak_dataset is not None:
                weak = _WeakAnswers.of(self._train(roles, index), roles)
            yield from self._measured(weak, self._module(target), roles, target, index)

    @property
    def targets(self) -> tuple[str, ...]:
        known = self.strong.roles.train.class_names
        for name in self.settings.targets:
            if name not in known:
                raise UnknownNameError("class", name, known, where="targets")
        return self.settings.targets or known

    def _module(self, target: str) -> Module:
        return next(module for module in self.modules if module.info.class_name == target)

    def _task(self, target: str) -> Roles:
        if self._others is None:
            return self.strong.roles
        return joined_task(
            self._others.roles,
            self.settings.weak_classes,
            self.strong.roles,
            target,
            train_images=self.settings.target_train_images,
            test_images=self.settings.target_test_images,
            seed=self.cell.seed,
        )

    @property
    def other_dataset_hash(self) -> str | None:
        return None if self._others is None else self._others.dataset_hash

    @cached_property
    def _others(self) -> PreparedImages | None:
        if self.other_dataset is None:
            return None
        return images_for(self.other_dataset, self.cell.seed, self.workspace)

    def _train(self, roles: Roles, target: int) -> TrainedModel:
        cell = self.cell
        recipe = weak_recipe(
            self.settings, cell.model.architecture, cell.training, roles, target=target, seed=cell.seed
        )
        trained = train_base_model(
            recipe.model,
            recipe.training,
            recipe.roles,
            dataset_hash=self.strong.dataset_hash,
            flips=self.strong.flips,
            seed=derive_seed(cell.seed, "weak model"),
            threads=cell.threads,
            cache=self.workspace.artifacts,
            device=self.workspace.device,
            progress=self.workspace.progress,
        )
        if trained.peak_memory_bytes is not None and not trained.reused:
            self.peaks.append(trained.peak_memory_bytes)
        return trained

    def _measured(
        self, weak: _WeakAnswers, module: Module, roles: Roles, target: str, index: int
    ) -> Iterator[PatchRecord]:
        select = _Seen.of(weak.select, module, roles.select)
        test = _Seen.of(weak.test, module, roles.test)
        for rule in self.settings.fusion:
            patched = self._patched(rule, weak, module, roles.select, select, target)
            yield PatchRecord(
                weak_kind=self.settings.weak_kind,
                target_class=target,
                fusion=rule,
                **_compared(test.logits.argmax(1), test.answers(patched), test.labels, index, test.logits.shape[1]),
                select_tc_f1_after=_of_target(select.answers(patched), select.labels, index, select.logits.shape[1])[2],
            )

    def _patched(
        self, rule: str, weak: _WeakAnswers, module: Module, images: ImageSet, seen: _Seen, target: str
    ) -> PatchedModel | None:
        """Returns the model that ``splitters.patch`` makes, from what the networks have said of the images."""
        try:
            return fit_patch(
                weak.network,
                module,
                images,
                weak_logits=seen.logits,
                module_scores=seen.scores,
                target=target,
                rule=rule,
            )
        except DataError as error:
            self.warnings.append(f"class {target}: {error} The weak model is left as it is.")
            return None


@dataclass(frozen=True)
class _WeakAnswers:
    """A weak model, and its logits of a task's images, on the CPU; several target classes may share them."""

    network: fx.GraphModule
    select: Float[Tensor, "select_sample class"]
    test: Float[Tensor, "test_sample class"]

    @classmethod
    def of(cls, weak: TrainedModel, roles: Roles) -> _WeakAnswers:
        select, test = (predict_logits(weak.model, images).cpu() for images in (roles.select, roles.test))
        return cls(canonical_network(weak.model, roles.select), select, test)


@dataclass(frozen=True)
class _Seen:
    """Images as the weak model and a module see them, on the CPU."""

    logits: Float[Tensor, "sample class"]
    scores: Float[Tensor, " sample"]
    labels: Int64[Tensor, " sample"]

    @classmethod
    def of(cls, weak_logits: Tensor, module: Module, images: ImageSet) -> _Seen:
        there = images.to(next(module.network.parameters()).device)
        with torch.no_grad():
            scores = torch.cat([module(batch) for batch in there.batches(_BATCH)])
        return cls(weak_logits, scores.cpu(), images.labels.cpu())

    @torch.no_grad()
    def answers(self, patched: PatchedModel | None) -> Int64[Tensor, " sample"]:
        """Returns the patched model's answers; the weak one's without a patch."""
        return self.logits.argmax(1) if patched is None else patched.answers(patched.fuse(self.logits, self.scores))


def _compared(before: Tensor, after: Tensor, labels: Tensor, target: int, n_classes: int) -> dict[str, Any]:
    old, new = (_of_target(answers, labels, target, n_classes) for answers in (before, after))
    others = labels != target
    right_before, right_after = before == labels, after == labels
    return {
        **{f"tc_{name}_before": value for name, value in zip(("precision", "recall", "f1"), old, strict=True)},
        **{f"tc_{name}_after": value for name, value in zip(("precision", "recall", "f1"), new, strict=True)},
        **{f"tc_{name}_gain": new[place] - old[place] for place, name in enumerate(("precision", "recall", "f1"))},
        "non_tc_accuracy_before": accuracy(before[others], labels[others]),
        "non_tc_accuracy_after": accuracy(after[others], labels[others]),
        "non_tc_accuracy_gain": accuracy(after[others], labels[others]) - accuracy(before[others], labels[others]),
        "accuracy_before": accuracy(before, labels),
        "accuracy_after": accuracy(after, labels),
        "accuracy_gain": accuracy(after, labels) - accuracy(before, labels),
        "turned_right": int((~right_before & right_after).sum()),
        "turned_wrong": int((right_before & ~right_after).sum()),
    }


def _of_target(answers: Tensor, labels: Tensor, target: int, n_classes: int) -> tuple[float, float, float]:
    """Returns precision, recall and F1 of one class."""
    report = class_report(answers, labels, n_classes)
    return float(report.precision[target]), float(report.recall[target]), float(report.f1[target])
