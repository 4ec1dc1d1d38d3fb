from __future__ import annotations

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from reuse_cells import measure, poison_the_test_set

from benchmarks.cache.numeric_environment import ComputeEnvironment
from benchmarks.cells import Cell, DatasetSpec, ModelSpec, SplitterSpec, TrainingSpec
from benchmarks.data.datasets import Dataset
from benchmarks.pipeline import preparation
from benchmarks.pipeline.preparation import merge_stages
from benchmarks.pipeline.workspace import Workspace
from benchmarks.rows.row import Metrics, StageRecord
from benchmarks.scenarios.scenario import SCENARIOS
from splitters.errors import ConfigurationError
from splitters.methods.protocol import Progress

GRADSPLITTER = {
    "warmup": "4 steps",
    "rounds": 2,
    "mask_phase": "12 steps",
    "head_phase": "4 steps",
    "mask_learning_rate": 0.2,
    "alpha": 0.5,
    "batch_size": 16,
}
CNNSPLITTER = {
    "population": 4, "parents": 2, "elites": 1, "generations": 1, "genes": 2, "min_kept": 2, "max_kept": 4,
    "curve_shares": [0.5, 1.0],
}  # fmt: skip
TEST_SCORES = {"base_accuracy", "composed_accuracy", "accuracy_loss", "confusions"}
MEASURED_TIMES = {"stages", "split_seconds"}


def timeless(metrics: Metrics, exempt: set[str]) -> dict[str, object]:
    """Return all but the exempt measures, without the seconds of a splitter's steps."""
    figures = [figure for figure in metrics.figures if not figure.name.endswith("seconds")]
    return metrics.model_copy(update={"figures": figures}).model_dump(exclude=exempt)


def cell(splitter: str = "gradsplitter", **settings: object) -> Cell:
    return Cell(
        splitter=SplitterSpec(name=splitter, settings=dict(settings) if splitter != "gradsplitter" else GRADSPLITTER),
        model=ModelSpec(name="rescnn", settings={"width": 0.03}),
        dataset=DatasetSpec(name="digits", train_images=200, select_images=100),
        training=TrainingSpec(recipe="one_cycle", epochs=2, learning_rate=0.05, batch_size=32),
    )


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def measured(cache: Path) -> Metrics:
    return measure(cell(), cache)


def test_counts_are_consistent(measured: Metrics) -> None:
    assert measured.kernels_total == sum(layer.kernels for layer in measured.layers)
    for index, module in enumerate(measured.modules):
        assert module.kernels == sum(layer.kept[index] for layer in measured.layers)
    kept = sum(module.kernels for module in measured.modules)
    assert measured.kernel_retention == pytest.approx(kept / len(measured.modules) / measured.kernels_total)
    sizes = [module.kernels for module in measured.modules]
    distances = [
        1 - both / (sizes[one] + sizes[other] - both)
        for one, shared in enumerate(measured.shared_kernels)
        for other, both in enumerate(shared, start=one + 1)
    ]
    assert measured.jaccard_distance == pytest.approx(sum(distances) / 45)
    union = sum(layer.union_kept for layer in measured.layers)
    assert measured.kernel_retention_union == pytest.approx(union / measured.kernels_total)
    assert measured.kernel_retention < 1
    assert measured.flops_retention_sum == pytest.approx(10 * measured.flops_retention)
    assert measured.accuracy_loss == pytest.approx(measured.base_accuracy - measured.composed_accuracy)
    assert [stage.name for stage in measured.stages] == ["data", "train", "split", "evaluate"]


def test_confusion_matrices_hold_the_answers_that_the_accuracies_count(measured: Metrics) -> None:
    (record,) = measured.confusions
    assert (record.target_class, record.fusion, record.classes) == (None, None, [str(digit) for digit in range(10)])
    for matrix, accuracy in ((record.before, measured.base_accuracy), (record.after, measured.composed_accuracy)):
        assert sum(map(sum, matrix)) == measured.test_images
        assert sum(matrix[n][n] for n in range(10)) / measured.test_images == accuracy
    assert [sum(line) for line in record.before] == [sum(line) for line in record.after], "images of each class"
    assert record.before != record.after


def test_modules_that_keep_everything_compose_to_the_base_model(cache: Path) -> None:
    full = measure(cell("full"), cache)
    assert full.confusions[0].before == full.confusions[0].after
    assert full.accuracy_loss == 0
    assert full.kernel_retention == full.flops_retention == full.param_retention == 1
    assert full.flops_retention_sum == 10
    assert full.jaccard_distance == 0


def test_the_evaluation_reports_after_every_batch_and_can_be_stopped_there(cache: Path) -> None:
    reports: list[Progress] = []
    workspace = Workspace(cache=cache, progress=reports.append)
    full = SCENARIOS.get("modularization")().measure(cell("full"), workspace)
    batches = 2 * (
        math.ceil(full.select_images / 256) + math.ceil(full.test_images / 256)
    )  # of one module and the base
    steps = [report.step for report in reports if report.stage == "evaluate"]
    assert steps == list(range(1, batches + 1))

    def stop(report: Progress) -> None:
        if report == Progress("evaluate", 2):
            raise InterruptedError

    with pytest.raises(InterruptedError):
        SCENARIOS.get("modularization")().measure(cell("full"), Workspace(cache=cache, progress=stop))


def test_a_baseline_keeps_as_many_kernels_per_layer_as_its_reference(measured: Metrics, cache: Path) -> None:
    random = measure(cell("random", like={"name": "gradsplitter", "settings": GRADSPLITTER}), cache)
    assert [layer.kept for layer in random.layers] == [layer.kept for layer in measured.layers]
    assert random.jaccard_distance != measured.jaccard_distance


def test_rows_name_the_kind_of_score(measured: Metrics, cache: Path) -> None:
    assert measured.score == "head"
    assert [measure(cell("random", score=kind), cache).score for kind in ("logit", "moments")] == ["logit", "moments"]


def test_base_models_and_splits_are_computed_once(measured: Metrics, cache: Path) -> None:
    again = measure(cell(), cache)
    reused = {stage.name: stage.reused for stage in again.stages}
    assert reused["data"]
    assert reused["train"]
    assert reused["split"]
    assert again.split_seconds == measured.split_seconds
    assert timeless(again, MEASURED_TIMES) == timeless(measured, MEASURED_TIMES)


def test_a_row_records_where_reused_work_was_computed(
    measured: Metrics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = ComputeEnvironment("an old CPU", "2.0", "elsewhere")
    monkeypatch.setattr(ComputeEnvironment, "current", classmethod(lambda cls, device: old))
    first = measure(cell("full"), tmp_path)
    monkeypatch.undo()
    again = measure(cell("full"), tmp_path)
    for stage in first.stages:
        assert (stage.device_name, stage.torch_version, stage.hostname) == (None, None, None)
    for stage in again.stages:
        made = (stage.device_name, stage.torch_version, stage.hostname)
        assert made == (("an old CPU", "2.0", "elsewhere") if stage.reused else (None, None, None))


def test_merged_stages_add_up_and_name_all_machines() -> None:
    def stage(seconds: float, **fields: Any) -> StageRecord:
        return StageRecord(name="train", seconds=seconds, **fields)

    both = merge_stages(
        [stage(1.0, peak_memory_bytes=5), stage(2.0, reused=True, hostname="b"), stage(4.0, reused=True, hostname="a")]
    )
    assert (both.seconds, both.peak_memory_bytes, both.reused, both.hostname) == (7.0, 5, False, "a+b")


def test_the_same_cell_gives_the_same_numbers_in_a_new_cache(measured: Metrics, tmp_path: Path) -> None:
    fresh = measure(cell(), tmp_path)
    assert timeless(fresh, MEASURED_TIMES) == timeless(measured, MEASURED_TIMES)


@pytest.mark.parametrize(
    ("splitter", "settings"), [("gradsplitter", {}), ("importance", {"retention": 0.5}), ("cnnsplitter", CNNSPLITTER)]
)
def test_a_poisoned_test_set_changes_nothing_but_the_test_scores(
    splitter: str, settings: dict[str, object], cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clean = measure(cell(splitter, **settings), cache)
    poison_the_test_set(monkeypatch)
    # In a cache of its own: nothing made from the clean images is found there.
    noisy = measure(cell(splitter, **settings), tmp_path)
    exempt = TEST_SCORES | MEASURED_TIMES
    assert timeless(noisy, exempt) == timeless(clean, exempt)
    assert noisy.base_accuracy != clean.base_accuracy


def test_the_selection_measures_everything_but_the_scores_on_test(measured: Metrics, cache: Path) -> None:
    selection = SCENARIOS.get("selection")().measure(cell(), Workspace(cache=cache))
    exempt = TEST_SCORES | MEASURED_TIMES
    assert timeless(selection, exempt) == timeless(measured, exempt)
    assert not any(getattr(selection, name) for name in TEST_SCORES)


def test_the_selection_never_reads_the_test_images(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = preparation.load_dataset

    def without_test(*args: object, **kwargs: object) -> Dataset:
        dataset = load(*args, **kwargs)
        unreadable = dataclasses.replace(dataset.test, images=torch.empty_like(dataset.test.images, device="meta"))
        return dataclasses.replace(dataset, test=unreadable)

    monkeypatch.setattr(preparation, "load_dataset", without_test)
    assert SCENARIOS.get("selection")().measure(cell(), Workspace(cache=tmp_path)).select_accuracy_loss is not None


def test_a_wrong_name_is_refused_before_anything_runs() -> None:
    wrong = cell().model_copy(update={"splitter": SplitterSpec(name="gradspliter")})
    with pytest.raises(ConfigurationError, match="Did you mean 'gradsplitter'"):
        SCENARIOS.get("modularization")().check(wrong)


def test_analyses_that_do_not_depend_on_settings_are_computed_once(tmp_path: Path) -> None:
    def of(cache: str, **changes: object) -> Metrics:
        return measure(cell("cnnsplitter", **{**CNNSPLITTER, **changes}), tmp_path / cache)

    first, second, alone = of("one", generations=1), of("one", generations=2), of("two", generations=2)
    assert timeless(second, MEASURED_TIMES) == timeless(alone, MEASURED_TIMES)
    reused = [reused_seconds(metrics) for metrics in (first, second, alone)]
    assert reused[0] == reused[2] == 0
    assert reused[1] > 0
    assert second.split_seconds is not None
    assert second.split_seconds > reused[1], "reused analyses count with their original time"
    assert of("one", curve_shares=[0.2, 1.0]).sensitivity[0].kept_shares == [0.2, 1.0]


def reused_seconds(metrics: Metrics) -> float:
    return next(figure.value for figure in metrics.figures if figure.name == "reused_seconds")


def test_sensitivity_curves_are_cached(cache: Path) -> None:
    computed, cached = (measure(cell("cnnsplitter", **CNNSPLITTER), cache) for _ in range(2))
    assert [stage.reused for stage in cached.stages if stage.name == "split"] == [True]
    assert cached.sensitivity == computed.sensitivity
    assert [curve.kept_shares for curve in computed.sensitivity] == [[0.5, 1.0]] * 9, "12 convolutions, 3 tied pairs"
    assert {curve.select_accuracy[1] for curve in computed.sensitivity} == {computed.select_base_accuracy}
    assert all(curve.start_shares for curve in computed.sensitivity)
    assert measure(cell("full"), cache).sensitivity == []
    by_name = {(figure.step, figure.name): figure.value for figure in computed.figures}
    assert cached.figures == computed.figures
    assert by_name[int(by_name[None, "chosen_generation"]), "accuracy"] == computed.select_composed_accuracy
