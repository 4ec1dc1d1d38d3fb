"""The scenario ``sub_task``: its tasks, figures, independence of test, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from reuse_cells import COSTS, check_costs, measure, poison_the_test_set, reuse_cell

from benchmarks.pipeline.workspace import Workspace
from benchmarks.rows.row import Metrics
from benchmarks.scenarios.scenario import make_scenario
from splitters.errors import ConfigurationError
from splitters.methods.protocol import Progress

SETTINGS = {"sizes": [2, 10], "tasks": 3}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def measured(cache: Path) -> Metrics:
    return measure(reuse_cell("sub_task", **SETTINGS), cache)


def test_tasks_differ_and_have_the_requested_sizes(measured: Metrics) -> None:
    assert [record.n_classes for record in measured.sub_tasks] == [2, 2, 2, 10]
    assert len({tuple(record.classes) for record in measured.sub_tasks}) == 4
    assert measured.sub_tasks[-1].classes == list("0123456789")
    assert [stage.name for stage in measured.stages] == ["data", "train", "split", "evaluate"]


def test_costs_are_given_as_sum_and_union_and_time(measured: Metrics) -> None:
    for record in measured.sub_tasks:
        check_costs(record, record.n_classes)
        assert record.accuracy_loss == pytest.approx(record.restricted_accuracy - record.composed_accuracy)


def test_whole_modules_answer_like_the_base_model_restricted_to_their_classes(cache: Path) -> None:
    whole = measure(reuse_cell("sub_task", splitter="full", **SETTINGS), cache)
    for record in whole.sub_tasks:
        assert record.accuracy_loss == 0
        assert record.param_retention_union == 1
        assert record.flops_retention_sum == record.n_classes
    everything = measure(reuse_cell("modularization", splitter="full"), cache)
    assert whole.sub_tasks[-1].restricted_accuracy == everything.base_accuracy
    assert max(record.restricted_accuracy for record in whole.sub_tasks[:3]) > everything.base_accuracy


def test_other_seeds_measure_the_same_tasks(measured: Metrics, cache: Path) -> None:
    other = measure(reuse_cell("sub_task", **SETTINGS).model_copy(update={"seed": 1}), cache)
    assert [record.classes for record in other.sub_tasks] == [record.classes for record in measured.sub_tasks]
    redrawn = measure(reuse_cell("sub_task", **SETTINGS, task_seed=1), cache)
    assert [record.classes for record in redrawn.sub_tasks] != [record.classes for record in measured.sub_tasks]


def test_a_poisoned_test_set_changes_nothing_but_the_test_scores(
    measured: Metrics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison_the_test_set(monkeypatch)
    noisy = measure(reuse_cell("sub_task", **SETTINGS), tmp_path)
    assert noisy.base_model_hash == measured.base_model_hash
    kept = {*COSTS, "classes", "select_composed_accuracy", "select_restricted_accuracy"}
    for one, other in zip(noisy.sub_tasks, measured.sub_tasks, strict=True):
        assert one.model_dump(include=kept) == other.model_dump(include=kept)
    assert [one.restricted_accuracy for one in noisy.sub_tasks] != [
        one.restricted_accuracy for one in measured.sub_tasks
    ]


@pytest.mark.parametrize(
    ("scenario", "stage", "total", "settings"),
    [
        ("sub_task", "evaluate", 4, SETTINGS),
        ("patching", "patch", 2, {"convolutions": 2, "fusion": ["gate"], "targets": ["3", "8"]}),
        ("accuracy_composition", "compose", 2, {"base_models": 2, "min_images": 8}),
    ],
)
def test_long_work_reports_what_is_done_and_can_be_stopped_there(
    cache: Path, scenario: str, stage: str, total: int, settings: dict[str, object]
) -> None:
    class Stopped(Exception):
        pass

    def stop(progress: Progress) -> None:
        if progress.stage == stage and progress.step == 1:
            assert progress.total == total
            raise Stopped

    cell = reuse_cell(scenario, **settings)
    with pytest.raises(Stopped):
        make_scenario(scenario, cell.scenario_settings).measure(cell, Workspace(cache=cache, progress=stop))


def test_more_classes_than_there_are_is_refused_before_the_split(cache: Path) -> None:
    with pytest.raises(ConfigurationError, match="a task of 11 classes cannot be had of 10; take 2 to 10"):
        measure(reuse_cell("sub_task", sizes=[11]), cache)
