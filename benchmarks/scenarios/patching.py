"""Scenario ``patching``: modules of a strong network patch weak networks (arXiv 2209.06116, section 5)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from statistics import fmean
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
from benchmarks.pipeline.confusion import confusion_record, fits_in_row
from benchmarks.pipeline.finished_split import split_record_fields
from benchmarks.pipeline.preparation import PreparedImages, Stages, images_for, prepare
from benchmarks.pipeline.split_model import SplitModel, split_base_model
from benchmarks.pipeline.workspace import Workspace
from benchmarks.rows.row import ConfusionRecord, Metrics, PatchRecord
from benchmarks.scenarios.scenario import SCENARIOS, Scenario
from benchmarks.seeding import derive_seed
from benchmarks.training.base_model import TrainedModel, train_base_model
from benchmarks.training.weak_models import WeakSettings, differs_per_target, weak_recipe
from splitters.data import ImageSet
from splitters.errors import DataError, UnknownNameError
from splitters.methods.protocol import Progress, make_splitter
from splitters.modules.inference import module_scores
from splitters.modules.module import Module
from splitters.networks.inference import accuracy, class_report, network_logits
from splitters.reuse.fusion import FUSIONS, FusionExamples, cross_fitted_answers
from splitters.reuse.patched import PatchedModel, canonical_network, fit_patch
from splitters.settings import ClassName

ALL_RULES = ("min_max", "min_max_clipped", "temperature", "platt", "logistic", "gate")
"""The rules that are compared; ``min_max`` is the papers'."""


class PatchingSettings(WeakSettings):
    """Settings of the scenario.

    The strong network is the cell's base model, split by the cell's splitter. Without ``weak_dataset`` the weak model
    knows the same classes. With it, the weak model knows some of that data set's classes and the target class (the
    papers take nine classes of CIFAR-100 and one of CIFAR-10).

    Args:
        fusion: The fusion rules, all measured on the same weak models and modules.
        targets: The names of the target classes. Default: all classes of the cell's data set.
        weak_dataset: The other data set.
        weak_classes: The names of its classes that the weak model knows.
        target_train_images: Train images of the target class that the weak model sees, at most.
        target_test_images: Test images of the target class that count, at most.
    """

    fusion: Annotated[tuple[str, ...], Field(min_length=1)] = ALL_RULES
    targets: tuple[ClassName, ...] = ()
    weak_dataset: DatasetSpec | None = None
    weak_classes: tuple[ClassName, ...] = ()
    target_train_images: int | None = Field(default=None, ge=1)
    target_test_images: int | None = Field(default=None, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        if (self.weak_dataset is None) != (not self.weak_classes):
            raise ValueError("weak_dataset and weak_classes belong together; give both or neither")
        return self


@SCENARIOS.register("patching")
class Patching(Scenario):
    """Patches a weak model for each target class with that class's module, by each fusion rule, and scores it on test.

    The rules are fitted on select images, and compared there by cross-fitting: a choice among them needs no test image.
    Test images serve the final scores only. Where a rule cannot be fitted, e.g. because the module scores the same on
    all images of its class, the weak model counts unpatched, with a warning.
    """

    Settings = PatchingSettings
    board: ClassVar[Board] = PATCHING
    version = 2  # 1: weak models of networks without the setting 'dropout' kept their dropout
    settings: PatchingSettings

    def __init__(self, settings: PatchingSettings | None = None) -> None:
        super().__init__(settings)
        if self.settings.weak_dataset is not None:
            # 2: images of a weak_dataset that does not flip were flipped; other results are the same.
            self.version = 3  # type: ignore[misc]

    def check(self, cell: Cell) -> None:
        """Check the cell's names and settings; see ``Scenario.check``."""
        make_splitter(cell.splitter.name, cell.splitter.settings)
        check_model(cell.model, input_shape=cell.dataset.input_shape)
        check_dataset(cell.dataset.name)
        if self.settings.weak_dataset is not None:
            check_dataset(self.settings.weak_dataset.name, where="weak_dataset")
        for rule in self.settings.fusion:
            FUSIONS.get(rule, where="fusion")

    def other_dataset(self, cell: Cell) -> DatasetSpec | None:
        """Return the weak model's data set, if it is not the cell's."""
        other = self.settings.weak_dataset
        return other and other.model_copy(update={"input_shape": cell.dataset.input_shape})

    def settings_fingerprints(self) -> Iterable[str]:
        """Return the fingerprints of the fusion rules and of the weak model's data set."""
        yield from (FUSIONS.code_fingerprint(rule) for rule in self.settings.fusion)
        if self.settings.weak_dataset is not None:
            yield with_code(self.settings.weak_dataset).code

    def measure(self, cell: Cell, workspace: Workspace) -> Metrics:
        """Run the cell; see ``Scenario.measure``."""
        stages = Stages(workspace.device)
        prepared = prepare(cell, workspace, stages)
        strong = split_base_model(cell, prepared, workspace, name=cell.model.name)
        stages.add("split", strong.split)
        patching = _CellPatches(self.settings, self.other_dataset(cell), cell, workspace, strong)
        with stages.measured("patch") as peaks:
            patches = list(patching.records())
            peaks.extend(patching.training_peaks)
        fields = split_record_fields(prepared, strong.split)
        return Metrics(
            other_dataset_hash=patching.other_dataset_hash,
            **{**fields, "warnings": [*fields["warnings"], *patching.warnings]},
            patches=patches,
            confusions=_of_best_rule(patching.confusions, patches),
            stages=stages.records,
        )


@dataclass(frozen=True)
class _CellPatches:
    """The patches of one cell.

    Args:
        settings: The scenario's settings.
        other_dataset: The weak model's data set, if it is not the cell's.
        cell: The cell.
        workspace: The resources to work with.
        strong: The cell's base model, split.
        warnings: Collects what the user should know.
        training_peaks: Collects the peak memory of each weak model's training, in bytes.
        confusions: Collects the confusion matrices of each patch, if a row has room for those of one rule.
    """

    settings: PatchingSettings
    other_dataset: DatasetSpec | None
    cell: Cell
    workspace: Workspace
    strong: SplitModel
    warnings: list[str] = field(default_factory=list)
    training_peaks: list[int] = field(default_factory=list)
    confusions: list[ConfusionRecord] = field(default_factory=list)

    def records(self) -> Iterator[PatchRecord]:
        weak: _WeakModel | None = None
        for done, target in enumerate(self.targets):
            self.workspace.progress(Progress("patch", done, len(self.targets)))
            roles = self._task(target)
            if weak is None or differs_per_target(self.settings) or self.settings.weak_dataset is not None:
                weak = _WeakModel.of(self._train(roles, target), roles)
            yield from self._patch(weak, roles, target)

    @property
    def targets(self) -> tuple[str, ...]:
        known = self.strong.prepared.roles.train.class_names
        for name in self.settings.targets:
            if name not in known:
                raise UnknownNameError("class", name, known, where="targets")
        return self.settings.targets or known

    def _task(self, target: str) -> Roles:
        if self._other_images is None:
            return self.strong.prepared.roles
        return joined_task(
            self._other_images.roles,
            self.settings.weak_classes,
            self.strong.prepared.roles,
            target,
            train_images=self.settings.target_train_images,
            test_images=self.settings.target_test_images,
            seed=self.cell.seed,
        )

    @property
    def other_dataset_hash(self) -> str | None:
        return None if self._other_images is None else self._other_images.dataset_hash

    @cached_property
    def _other_images(self) -> PreparedImages | None:
        if self.other_dataset is None:
            return None
        return images_for(self.other_dataset, self.cell.seed, self.workspace)

    def _train(self, roles: Roles, target: str) -> TrainedModel:
        cell = self.cell
        target_index = roles.train.class_names.index(target)
        recipe = weak_recipe(
            self.settings, cell.model.architecture, cell.training, roles, target=target_index, seed=cell.seed
        )
        strong, other = self.strong.prepared, self._other_images
        trained = train_base_model(
            recipe.model,
            recipe.training,
            recipe.roles,
            dataset_hash=strong.dataset_hash,
            flips=strong.flips and (other is None or other.flips),
            seed=derive_seed(cell.seed, "weak model"),
            threads=cell.threads,
            cache=self.workspace.artifacts,
            device=self.workspace.device,
            progress=self.workspace.progress,
        )
        if trained.peak_memory_bytes is not None and not trained.reused:
            self.training_peaks.append(trained.peak_memory_bytes)
        return trained

    def _patch(self, weak: _WeakModel, roles: Roles, target: str) -> Iterator[PatchRecord]:
        index = roles.train.class_names.index(target)
        module = next(module for module in self.strong.modules if module.info.class_name == target)
        select = _Outputs.of(weak.select_logits, module, roles.select)
        test = _Outputs.of(weak.test_logits, module, roles.test)
        before = test.answers(None)
        for rule in self.settings.fusion:
            patched = self._fit(rule, weak, module, roles.select, select)
            after = test.answers(patched)
            if fits_in_row(roles.test.n_classes, n_records=len(self.targets)):
                record = confusion_record(before, after, roles.test, target_class=target, fusion=rule)
                self.confusions.append(record)
            yield PatchRecord(
                weak_kind=self.settings.weak_kind,
                target_class=target,
                fusion=rule,
                **_compare(before, after, test.labels, index, roles.test.n_classes),
                **_select_f1(select, patched, index),
            )

    def _fit(
        self, rule: str, weak: _WeakModel, module: Module, images: ImageSet, outputs: _Outputs
    ) -> PatchedModel | None:
        """Return the model that ``splitters.patch`` returns, from outputs that all rules share."""
        try:
            return fit_patch(
                weak.network,
                module,
                images,
                weak_logits=outputs.logits,
                module_scores=outputs.scores,
                rule=rule,
            )
        except DataError as error:
            self.warnings.append(f"class {module.info.class_name}: {error} The weak model is left as it is.")
            return None


@dataclass(frozen=True)
class _WeakModel:
    """A weak model in the form that patched models hold, and its logits on the CPU; target classes may share it."""

    network: fx.GraphModule
    select_logits: Float[Tensor, "select_sample class"]
    test_logits: Float[Tensor, "test_sample class"]

    @classmethod
    def of(cls, trained: TrainedModel, roles: Roles) -> _WeakModel:
        device = next(trained.model.parameters()).device
        network = canonical_network(trained.model, roles.select).to(device)
        select, test = (network_logits(network, images.to(device)).cpu() for images in (roles.select, roles.test))
        return cls(network, select, test)


@dataclass(frozen=True)
class _Outputs:
    """What a weak model and a module return for images, on the CPU."""

    logits: Float[Tensor, "sample class"]
    scores: Float[Tensor, " sample"]
    labels: Int64[Tensor, " sample"]

    @classmethod
    def of(cls, weak_logits: Tensor, module: Module, images: ImageSet) -> _Outputs:
        scores = module_scores(module, images.to(module.device))
        return cls(weak_logits, scores.cpu(), images.labels.cpu())

    def examples(self, module: Module, target: int) -> FusionExamples:
        """Return the outputs as examples that a fusion rule can be fitted to."""
        return FusionExamples(self.logits, self.scores, self.labels, target, module.score.is_probability)

    @torch.no_grad()
    def answers(self, patched: PatchedModel | None) -> Int64[Tensor, " sample"]:
        """Return the patched model's answers, or the weak model's if there is no patch."""
        return self.logits.argmax(1) if patched is None else patched.answers(patched.fuse(self.logits, self.scores))


def _of_best_rule(confusions: Sequence[ConfusionRecord], patches: Sequence[PatchRecord]) -> list[ConfusionRecord]:
    """Return the matrices of the fusion rule with the best mean F1 of the target class on select."""
    scores: defaultdict[str, list[float]] = defaultdict(list)
    for patch in patches:
        held_out = patch.select_tc_f1_held_out
        scores[patch.fusion].append(patch.select_tc_f1_after if held_out is None else held_out)
    best = max(scores, key=lambda rule: fmean(scores[rule]))
    return [record for record in confusions if record.fusion == best]


def _select_f1(select: _Outputs, patched: PatchedModel | None, target: int) -> dict[str, float | None]:
    """Return the target class's F1 on select: before and after the patch, and by rules fitted to other images."""

    def f1(answers: Tensor) -> float:
        return float(class_report(answers, select.labels, select.logits.shape[1]).f1[target])

    before, after = f1(select.answers(None)), f1(select.answers(patched))
    held_out: float | None = before
    if patched is not None:
        answers = cross_fitted_answers(patched.fusion.kind, select.examples(patched.module, target))
        held_out = None if answers is None else f1(answers)
    return {
        "select_tc_f1_before": before,
        "select_tc_f1_after": after,
        "select_tc_f1_held_out": held_out,
        "select_tc_f1_gain": None if held_out is None else held_out - before,
    }


def _compare(before: Tensor, after: Tensor, labels: Tensor, target: int, n_classes: int) -> dict[str, Any]:
    """Return the fields of ``PatchRecord`` that compare the answers of the weak and the patched model."""
    others = labels != target
    correct_before, correct_after = before == labels, after == labels
    old, new = (
        {
            **{f"tc_{name}": float(getattr(report, name)[target]) for name in ("precision", "recall", "f1")},
            "non_tc_accuracy": accuracy(answers[others], labels[others]),
            "accuracy": accuracy(answers, labels),
        }
        for answers, report in ((answers, class_report(answers, labels, n_classes)) for answers in (before, after))
    )
    return {
        **{f"{name}_before": value for name, value in old.items()},
        **{f"{name}_after": value for name, value in new.items()},
        **{f"{name}_gain": new[name] - old[name] for name in old},
        "turned_right": int((~correct_before & correct_after).sum()),
        "turned_wrong": int((correct_before & ~correct_after).sum()),
    }
