"""The scenario ``patching``: its figures, its independence of test, and what it refuses."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from reuse_cells import measure, poison_the_test_set

import splitters
from benchmarks.cells import Cell, DatasetSpec, ModelSpec, SplitterSpec, TrainingSpec
from benchmarks.pipeline.preparation import Prepared, PreparedImages, images_for, prepare_images
from benchmarks.pipeline.split_model import SplitModel, split_base_model
from benchmarks.pipeline.workspace import Workspace
from benchmarks.rows.row import Metrics
from benchmarks.scenarios.patching import _Outputs
from benchmarks.scenarios.scenario import make_scenario
from benchmarks.training.base_model import TrainedModel, train_base_model
from splitters.data import ImageSet
from splitters.errors import ConfigurationError
from splitters.methods.protocol import SplitResult
from splitters.modules.module import Module, extract_modules
from splitters.modules.score_kinds import LogitScores
from splitters.networks.execution.precision import computing_in
from splitters.networks.inference import accuracy, network_logits
from splitters.networks.masks import KernelMasks
from splitters.reuse.patched import PatchedModel, fit_patch
from splitters.settings import Precision
from splitters.testing import tiny_task

FEW: dict[str, Any] = {"convolutions": 2, "fusion": ["min_max", "logistic"], "targets": ["3", "8"]}


def cell(**settings: object) -> Cell:
    return Cell(
        scenario="patching",
        scenario_settings={**FEW, **settings},
        splitter=SplitterSpec(name="importance", settings={"retention": 0.9}),
        model=ModelSpec(name="rescnn", settings={"width": 0.06}),
        dataset=DatasetSpec(name="digits", train_images=300, select_images=150),
        training=TrainingSpec(recipe="one_cycle", epochs=2, learning_rate=0.05, batch_size=32),
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def measured(cache: Path) -> Metrics:
    return measure(cell(), cache)


def test_every_target_class_is_patched_by_every_rule(measured: Metrics) -> None:
    assert [(patch.target_class, patch.fusion) for patch in measured.patches] == [
        ("3", "min_max"), ("3", "logistic"), ("8", "min_max"), ("8", "logistic"),
    ]  # fmt: skip
    assert {patch.weak_kind for patch in measured.patches} == {"over_simple"}
    assert [stage.name for stage in measured.stages] == ["data", "train", "split", "patch"]


def test_the_patched_models_that_are_measured_are_those_that_patch_returns(
    measured: Metrics, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models: list[PatchedModel] = []

    def recording(*args: Any, **kwargs: Any) -> PatchedModel:
        models.append(fit_patch(*args, **kwargs))
        return models[-1]

    monkeypatch.setattr("benchmarks.scenarios.patching.fit_patch", recording)
    measure(cell(), cache)
    roles = prepare_images(cell(), Workspace(cache=cache)).roles
    images = roles.test.normalisation(roles.test.images)
    for model, record in zip(models, measured.patches, strict=True):
        assert accuracy(model.predict(images, normalised=True), roles.test.labels) == record.accuracy_after
        shipped = splitters.patch(model.weak, model.module, roles.select, rule=record.fusion)
        assert torch.equal(shipped.predict(images, normalised=True), model.predict(images, normalised=True))


@pytest.mark.parametrize(("precision", "is_plain"), [("float32", True), ("bf16", False)])
def test_modules_score_in_the_precision_of_weak_models(precision: Precision, is_plain: bool) -> None:
    task = tiny_task()
    graph, images = task.trace(), task.select
    result = SplitResult(KernelMasks.full(graph.layout, 3), LogitScores())
    module = extract_modules(graph, result, images.class_names, images.normalisation)[0]
    with computing_in(precision, "cpu"):
        logits = network_logits(graph.network, images)
        outputs = _Outputs.of(logits, module, images)
    assert torch.equal(outputs.scores, logits[:, 0]), "a full module: its score is the base model's logit"
    assert torch.equal(outputs.scores, module(next(images.batches(256)))) == is_plain


def test_figures_are_consistent(measured: Metrics) -> None:
    for patch in measured.patches:
        assert patch.tc_f1_gain == pytest.approx(patch.tc_f1_after - patch.tc_f1_before)
        assert patch.accuracy_gain == pytest.approx((patch.turned_right - patch.turned_wrong) / measured.test_images)
        for state in ("before", "after"):
            precision, recall, f1 = (getattr(patch, f"tc_{name}_{state}") for name in ("precision", "recall", "f1"))
            assert f1 == pytest.approx(2 * precision * recall / max(1e-12, precision + recall))
            accuracy, others = getattr(patch, f"accuracy_{state}"), getattr(patch, f"non_tc_accuracy_{state}")
            assert min(recall, others) - 1e-9 <= accuracy <= max(recall, others) + 1e-9
        assert patch.select_tc_f1_held_out is not None
        assert patch.select_tc_f1_before is not None
        assert patch.select_tc_f1_gain == patch.select_tc_f1_held_out - patch.select_tc_f1_before
    one, other = (patch for patch in measured.patches if patch.target_class == "3")
    assert one.tc_f1_before == other.tc_f1_before, "the weak model is the same"


def test_confusion_matrices_are_those_of_the_rule_that_is_best_on_select(measured: Metrics) -> None:
    held_out = {rule: [p.select_tc_f1_held_out for p in measured.patches if p.fusion == rule] for rule in FEW["fusion"]}
    best = max(held_out, key=lambda rule: sum(held_out[rule]))
    assert [(record.target_class, record.fusion) for record in measured.confusions] == [("3", best), ("8", best)]
    for record in measured.confusions:
        patch = next(p for p in measured.patches if (p.target_class, p.fusion) == (record.target_class, best))
        for matrix, state in ((record.before, "before"), (record.after, "after")):
            index = record.classes.index(patch.target_class)
            assert matrix[index][index] / sum(matrix[index]) == getattr(patch, f"tc_recall_{state}")
            correct = sum(matrix[n][n] for n in range(len(matrix)))
            assert correct / measured.test_images == getattr(patch, f"accuracy_{state}")


def test_matrices_are_left_out_where_they_would_outgrow_the_row(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.pipeline.confusion.MAX_COUNTS", 399)  # 2 targets, 2 matrices of 10 x 10
    metrics = measure(cell(), cache)
    assert (len(metrics.patches), metrics.confusions) == (4, [])


@pytest.mark.parametrize("kind", ["under_fitted", "label_noise"])
def test_other_kinds_of_weakness_are_measured_too(cache: Path, kind: str) -> None:
    metrics = measure(cell(weak_kind=kind, fusion=["gate"], targets=["3", "8"]), cache)
    assert [patch.weak_kind for patch in metrics.patches] == [kind, kind]
    before = {patch.accuracy_before for patch in metrics.patches}
    assert len(before) == (1 if kind == "under_fitted" else 2)


def test_the_target_class_may_come_from_another_data_set(cache: Path) -> None:
    other = {"weak_dataset": {"name": "digits", "train_images": 200}, "weak_classes": ["0", "1", "2"]}
    metrics = measure(cell(**other, targets=["7"], target_train_images=5, target_test_images=9), cache)
    assert {patch.target_class for patch in metrics.patches} == {"7"}
    assert all(0 <= patch.accuracy_after <= 1 for patch in metrics.patches)


def test_where_a_rule_cannot_be_fitted_the_weak_model_is_left_as_it_is_with_a_warning(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def same(module: Module, images: ImageSet) -> torch.Tensor:
        return torch.full((len(images),), 0.5)

    monkeypatch.setattr("benchmarks.scenarios.patching.module_scores", same)
    metrics = measure(cell(fusion=["min_max"], targets=["8"]), cache)
    (patch,) = metrics.patches
    gains = (patch.select_tc_f1_gain, patch.tc_f1_gain, patch.accuracy_gain, patch.turned_right, patch.turned_wrong)
    assert gains == (0, 0, 0, 0, 0)
    assert any("class 8: the module scores 0.5 on all" in warning for warning in metrics.warnings)


def test_a_poisoned_test_set_reaches_no_choice(
    measured: Metrics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison_the_test_set(monkeypatch)
    again = measure(cell(), tmp_path)
    assert again.base_model_hash == measured.base_model_hash
    assert [r.fusion for r in again.confusions] == [r.fusion for r in measured.confusions], "chosen on select"
    for patch, clean in zip(again.patches, measured.patches, strict=True):
        assert patch.select_tc_f1_after == clean.select_tc_f1_after
        assert patch.select_tc_f1_gain == clean.select_tc_f1_gain
        assert patch.accuracy_after != clean.accuracy_after


def test_an_unknown_target_is_named(cache: Path) -> None:
    with pytest.raises(ConfigurationError, match="unknown class 'three'"):
        measure(cell(targets=["three"]), cache)


def test_only_cells_with_a_weak_dataset_run_again_after_its_flips_changed() -> None:
    assert make_scenario("patching", {}).version == 2
    assert make_scenario("patching", {"weak_dataset": {"name": "digits"}, "weak_classes": ["0"]}).version == 3


@pytest.mark.parametrize(
    ("strong", "weak", "flipped"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_images_of_a_weak_model_are_flipped_only_if_those_of_both_data_sets_are(
    cache: Path, monkeypatch: pytest.MonkeyPatch, strong: bool, weak: bool, flipped: bool
) -> None:
    flips: dict[str, bool] = {}

    def prepared(spec: DatasetSpec, *args: Any) -> PreparedImages:
        return dataclasses.replace(images_for(spec, *args), flips=weak)

    def trained(*args: Any, **kwargs: Any) -> TrainedModel:
        flips["weak"] = kwargs["flips"]
        return train_base_model(*args, **kwargs)

    def split(cell: Cell, strong_prepared: Prepared, *args: Any, **kwargs: Any) -> SplitModel:
        return split_base_model(cell, dataclasses.replace(strong_prepared, flips=strong), *args, **kwargs)

    for name, replacement in (("images_for", prepared), ("train_base_model", trained), ("split_base_model", split)):
        monkeypatch.setattr(f"benchmarks.scenarios.patching.{name}", replacement)
    other = {"weak_dataset": {"name": "digits", "train_images": 200}, "weak_classes": ["0", "1", "2"]}
    measure(cell(**other, fusion=["gate"], targets=["7"], target_train_images=5, target_test_images=9), cache)
    assert flips == {"weak": flipped}
