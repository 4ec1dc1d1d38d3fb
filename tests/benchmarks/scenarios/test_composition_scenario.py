"""The scenario ``accuracy_composition``: its choices, baselines, independence of test, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from reuse_cells import COSTS, check_costs, measure, poison_the_test_set, reuse_cell

from benchmarks.cells import SplitterSpec
from benchmarks.rows.row import CompositionRecord, Metrics
from benchmarks.scenarios import accuracy_composition
from benchmarks.scenarios.accuracy_composition import AccuracyCompositionSettings, f1_alone
from benchmarks.scenarios.scenario import make_scenario
from splitters.errors import ConfigurationError, DataError

INTER: dict[str, Any] = {
    "base_models": 2,
    "min_images": 8,
    "networks": [{"name": "simplecnn", "settings": {"width": 0.1, "convolutions": 2, "dropout": 0}}],
}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def measured(cache: Path) -> Metrics:
    return measure(reuse_cell("accuracy_composition", **INTER), cache)


def test_every_network_alone_and_all_together_are_composed(measured: Metrics) -> None:
    assert [(record.reach, record.networks, record.n_base_models) for record in measured.compositions] == [
        ("intra", "rescnn", 2), ("intra", "simplecnn", 2), ("inter", "rescnn+simplecnn", 4),
    ]  # fmt: skip
    assert [stage.name for stage in measured.stages] == ["data", "train", "split", "compose"]
    for record in measured.compositions:
        check_costs(record, 10 if record.reach == "intra" else 0)


def test_each_class_takes_the_module_with_the_best_f1_on_select(measured: Metrics) -> None:
    *intra, inter = measured.compositions
    for index, name in enumerate(inter.chosen):
        best = max(intra, key=lambda record, index=index: record.chosen_select_f1[index])
        assert inter.chosen_select_f1[index] == best.chosen_select_f1[index]
        assert name == best.chosen[index]


def test_a_module_alone_claims_the_images_that_it_scores_above_a_half() -> None:
    scores = torch.tensor([[0.9, 0.6, 0.5, 0.1], [0.8, 0.9, 0.7, 0.4], [0.5, 0.5, 0.5, 0.5]])
    labels = torch.tensor([0, 1, 0, 1])
    # Module 0 claims 0 and 1, its images are 0 and 2; module 1 claims 0, 1 and 2, its images are 1 and 3; 2 has none.
    assert f1_alone(scores, labels).tolist() == [0.5, 0.4, 0.0]


def test_modules_chosen_alone_are_those_with_the_best_f1_alone(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    computed: list[torch.Tensor] = []

    def recording(scores: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        computed.append(f1_alone(scores, labels))
        return computed[-1]

    monkeypatch.setattr(accuracy_composition, "f1_alone", recording)
    fast = {"preset": "fast", "rounds": 1, "mask_phase": "2 steps", "head_phase": "2 steps"}
    cell = reuse_cell("accuracy_composition", **{**INTER, "networks": [], "choose_by": "alone"})
    cell = cell.model_copy(update={"splitter": SplitterSpec(name="gradsplitter", settings=fast)})
    (record,) = measure(cell, cache).compositions
    assert record.chosen_select_f1 == torch.stack(computed[:2]).amax(0).tolist()
    assert record.chosen == [f"rescnn {index}" for index in torch.stack(computed[:2]).argmax(0).tolist()]


def test_modules_with_raw_logits_cannot_be_chosen_alone(cache: Path) -> None:
    cell = reuse_cell("accuracy_composition", **{**INTER, "networks": [], "choose_by": "alone"})
    with pytest.raises(ConfigurationError, match=r"choose_by: modules of rescnn 0 score by logit.*Write 'composed'"):
        measure(cell, cache)


@pytest.mark.parametrize(
    ("splitter", "settings", "kind"),
    [
        ("cnnsplitter", {}, "logit"),
        ("gradsplitter", {"score": "moments"}, "scaled_logit"),
        ("scalesplitter", {}, "linear"),
        ("gradsplitter", {}, None),
        ("random", {"score": "best"}, None),
    ],
)
def test_a_choice_alone_is_refused_before_anything_runs_where_scores_are_known_to_be_no_probabilities(
    splitter: str, settings: dict[str, Any], kind: str | None
) -> None:
    cell = reuse_cell("accuracy_composition", choose_by="alone")
    cell = cell.model_copy(update={"splitter": SplitterSpec(name=splitter, settings=settings)})
    check = make_scenario(cell.scenario, cell.scenario_settings).check
    if kind is None:
        check(cell)
    else:
        with pytest.raises(ConfigurationError, match=rf"choose_by: modules of '{splitter}' score by {kind}, which is"):
            check(cell)


def test_the_default_choice_leaves_the_identity_of_earlier_cells() -> None:
    assert "choose_by" not in AccuracyCompositionSettings().model_dump()


def test_baselines_are_consistent(measured: Metrics) -> None:
    for record in measured.compositions:
        for name, value in (
            ("best_base", record.best_base_accuracy),
            ("mean_base", record.mean_base_accuracy),
            ("ensemble", record.ensemble_accuracy),
            ("module_set", record.best_module_set_accuracy),
        ):
            assert getattr(record, f"gain_over_{name}") == pytest.approx(record.composed_accuracy - value)
    one, other, together = measured.compositions
    assert together.mean_base_accuracy == pytest.approx((one.mean_base_accuracy + other.mean_base_accuracy) / 2)
    assert together.best_base in (one.best_base, other.best_base)
    assert together.best_base_accuracy in (one.best_base_accuracy, other.best_base_accuracy)
    assert {name.split()[0] for name in one.chosen} == {"rescnn"}


def test_base_models_differ_and_are_shared_with_the_scenario_of_one_network(measured: Metrics, cache: Path) -> None:
    alone = measure(reuse_cell("accuracy_composition", **{**INTER, "networks": []}), cache)
    (record,) = alone.compositions
    assert all(stage.reused for stage in alone.stages if stage.name in ("data", "train", "split"))
    untimed = {*CompositionRecord.model_fields} - {"latency_seconds", "base_latency_seconds", "latency_ratio"}
    assert record.model_dump(include=untimed) == measured.compositions[0].model_dump(include=untimed)
    assert len(set(record.chosen)) == 2, "one base model's modules are not all better"


def test_whole_modules_of_the_best_base_model_are_as_accurate_as_it(cache: Path) -> None:
    (record,) = measure(
        reuse_cell("accuracy_composition", splitter="full", **{**INTER, "networks": []}), cache
    ).compositions
    assert record.best_module_set == record.best_base
    assert record.best_module_set_accuracy == record.best_base_accuracy
    assert record.flops_retention_sum == pytest.approx(10)
    assert record.param_retention_union == pytest.approx(len(set(record.chosen)))


def test_a_poisoned_test_set_changes_no_choice(
    measured: Metrics, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    poison_the_test_set(monkeypatch)
    noisy = measure(reuse_cell("accuracy_composition", **INTER), tmp_path)
    kept = {
        *COSTS, "reach", "networks", "chosen", "chosen_select_f1", "select_composed_accuracy", "best_base",
        "best_module_set",
    }  # fmt: skip
    for one, other in zip(noisy.compositions, measured.compositions, strict=True):
        assert one.model_dump(include=kept) == other.model_dump(include=kept)
        assert one.ensemble_accuracy != other.ensemble_accuracy


def test_more_images_than_a_class_has_are_refused_with_the_number_there_is(cache: Path) -> None:
    with pytest.raises(DataError, match=r"min_images: class '\d' has \d+ images in all, but 500 are asked for"):
        measure(reuse_cell("accuracy_composition", base_models=2, min_images=500), cache)
