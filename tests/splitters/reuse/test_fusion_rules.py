"""Fusion rules against values computed by hand, and properties of all rules."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from splitters.errors import DataError, UnknownNameError
from splitters.reuse.fusion import FUSIONS, FusionExamples, fit_fusion, rebuild_fusion

RULES = ("gate", "logistic", "min_max", "min_max_clipped", "platt", "temperature")
HALF = math.log(0.5)


def examples(*, is_probability: bool = False, n: int = 200, seed: int = 0) -> FusionExamples:
    """Return examples of three classes: the weak model knows classes 0 and 1, the module knows class 2."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(n) % 3
    weak = torch.randn(n, 3, generator=generator)
    weak[torch.arange(n), labels] += torch.where(labels == 2, -1.0, 3.0)
    scores = torch.randn(n, generator=generator) + 4 * (labels == 2) - 2
    return FusionExamples(weak, scores.sigmoid() if is_probability else scores, labels, 2, is_probability)


def share_right(fused: torch.Tensor, labels: torch.Tensor) -> float:
    return float((fused.argmax(1) == labels).double().mean())


def test_min_max_is_the_papers_rule() -> None:
    weak = torch.log(torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.6, 0.3], [0.2, 0.2, 0.6]]))
    fitted = fit_fusion(
        "min_max", FusionExamples(weak, torch.tensor([-3.0, 2.0, 6.0]), torch.tensor([0, 1, 1]), target=1)
    )
    fused = fitted(weak, torch.tensor([4.0, 7.0, 1.0]))
    expected = torch.tensor([[0.7, 0.5, 0.1], [0.1, 1.25, 0.3], [0.2, -0.25, 0.6]])
    assert torch.allclose(fused, expected, atol=1e-6)


def test_min_max_clipped_scales_by_percentiles_and_clips() -> None:
    scores = torch.cat([torch.arange(101.0), torch.tensor([-9.0])])
    labels = torch.cat([torch.ones(101, dtype=torch.long), torch.zeros(1, dtype=torch.long)])
    weak = torch.zeros(102, 2)
    fitted = fit_fusion("min_max_clipped", FusionExamples(weak, scores, labels, target=1))
    assert (float(fitted.lowest), float(fitted.highest)) == (5, 95)
    fused = fitted(torch.zeros(3, 2), torch.tensor([50.0, 400.0, -1.0]))
    assert torch.allclose(fused, torch.tensor([[0.5, 0.5], [0.5, 1.0], [0.5, 0.0]]))


def test_platt_calibrates_the_target_and_scales_the_others_to_the_rest() -> None:
    weak = torch.log(torch.tensor([[0.6, 0.2, 0.2]]))
    figures = {"slope": torch.tensor(2.0), "shift": torch.tensor(-1.0)}
    fitted = rebuild_fusion("platt", {"target": 2, "is_probability": 0}, figures)
    q = 1 / (1 + math.exp(-(2 * 1.5 - 1)))
    fused = fitted(weak, torch.tensor([1.5])).exp()
    assert torch.allclose(fused, torch.tensor([[0.75 * (1 - q), 0.25 * (1 - q), q]]), atol=1e-6)


def test_temperature_takes_the_mean_of_both_log_odds() -> None:
    weak = torch.tensor([[2.0, 0.0, 4.0]])
    figures = {"slope": torch.tensor(1.0), "shift": torch.tensor(0.0), "temperature": torch.tensor(2.0)}
    fitted = rebuild_fusion("temperature", {"target": 2, "is_probability": 0}, figures)
    weak_odds = 2 - math.log(math.exp(1) + math.exp(0))
    q = 1 / (1 + math.exp(-(weak_odds + 3) / 2))
    first = math.exp(1) / (math.exp(1) + 1)
    fused = fitted(weak, torch.tensor([3.0])).exp()
    assert torch.allclose(fused, torch.tensor([[first * (1 - q), (1 - first) * (1 - q), q]]), atol=1e-6)


def test_logistic_replaces_the_targets_log_probability_by_a_weighted_sum() -> None:
    weak = torch.log(torch.tensor([[0.5, 0.25, 0.25]]))
    figures = {"weak_weight": torch.tensor(0.5), "module_weight": torch.tensor(2.0), "shift": torch.tensor(1.0)}
    fused = rebuild_fusion("logistic", {"target": 0, "is_probability": 1}, figures)(weak, torch.tensor([0.8]))
    expected = 0.5 * HALF + 2 * math.log(0.8 / 0.2) + 1
    assert torch.allclose(fused, torch.tensor([[expected, 2 * HALF, 2 * HALF]]), atol=1e-5)


def test_gate_chooses_the_most_accurate_threshold() -> None:
    weak = torch.tensor([[2.0, 1.0, 9.0], [2.0, 1.0, 9.0], [1.0, 2.0, 9.0], [1.0, 2.0, 9.0], [1.0, 2.0, 0.0]])
    labels = torch.tensor([0, 0, 1, 2, 2])
    fitted = fit_fusion("gate", FusionExamples(weak, torch.tensor([0.0, 1.0, 3.0, 4.0, 9.0]), labels, target=2))
    assert float(fitted.threshold) == 3.5
    fused = fitted(weak[:2], torch.tensor([3.6, 3.4]))
    assert fused.argmax(1).tolist() == [2, 0]
    assert torch.allclose(fused[:, :2], weak[:2].softmax(1)[:, :2])


@pytest.mark.parametrize("is_probability", [False, True])
@pytest.mark.parametrize("rule", ["gate", "logistic", "platt", "temperature", "min_max_clipped"])
def test_a_good_module_improves_a_weak_model(rule: str, is_probability: bool) -> None:
    seen, fresh = (examples(is_probability=is_probability, seed=seed) for seed in (0, 1))
    fitted = fit_fusion(rule, seen)
    before = share_right(fresh.weak_logits, fresh.labels)
    assert share_right(fitted(fresh.weak_logits, fresh.module_scores), fresh.labels) > before + 0.1


@pytest.mark.parametrize("rule", ["logistic", "temperature"])
def test_fits_minimise_their_loss(rule: str) -> None:
    seen = examples()
    fitted = fit_fusion(rule, seen)
    again = fit_fusion(rule, seen)
    for name, figure in fitted.state_dict().items():
        assert torch.equal(figure, again.state_dict()[name])
        assert torch.isfinite(figure)
    if rule == "temperature":
        losses = [
            float(torch.nn.functional.cross_entropy(seen.weak_logits / (fitted.temperature * factor), seen.labels))
            for factor in (0.8, 1.0, 1.25)
        ]
        assert losses[1] == min(losses)


def test_the_trained_rule_ignores_a_useless_module() -> None:
    seen = examples()
    useless = FusionExamples(seen.weak_logits, torch.zeros(len(seen.labels)), seen.labels, 2)
    fitted = fit_fusion("logistic", useless)
    assert float(fitted.module_weight) == 0
    assert torch.isfinite(fitted(seen.weak_logits, torch.full((len(seen.labels),), 5.0))).all()


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), rule=st.sampled_from(RULES), is_probability=st.booleans())
def test_every_rule_keeps_the_order_of_the_other_classes_and_survives_a_rebuild(
    seed: int, rule: str, is_probability: bool
) -> None:
    seen = examples(is_probability=is_probability, n=40, seed=seed)
    fitted = fit_fusion(rule, seen)
    fused = fitted(seen.weak_logits, seen.module_scores)
    assert torch.isfinite(fused).all()
    assert torch.equal(fused[:, :2].argmax(1), seen.weak_logits[:, :2].argmax(1))
    again = rebuild_fusion(fitted.kind, fitted.describe(), fitted.state_dict())
    assert torch.equal(again(seen.weak_logits, seen.module_scores), fused)


def test_all_rules_are_registered() -> None:
    assert set(RULES) == set(FUSIONS)
    assert all(FUSIONS.get(rule).kind == rule for rule in RULES)
    with pytest.raises(UnknownNameError, match="Did you mean 'min_max'"):
        fit_fusion("minmax", examples())


@pytest.mark.parametrize(
    ("labels", "scores", "message"),
    [
        ([0, 1], [0.0, 1.0], "of 2 images none is of class 2"),
        ([2, 2], [0.0, 1.0], "all 2 images are of the target class 2"),
        ([2, 0], [0.0, math.nan], "the module's scores are not finite"),
    ],
)
def test_examples_that_determine_no_rule_are_refused(labels: list[int], scores: list[float], message: str) -> None:
    with pytest.raises(DataError, match=message):
        FusionExamples(torch.zeros(2, 3), torch.tensor(scores), torch.tensor(labels), target=2)


def test_an_empty_range_is_refused() -> None:
    with pytest.raises(DataError, match="has no range to scale by"):
        fit_fusion("min_max", FusionExamples(torch.zeros(2, 2), torch.tensor([1.0, 4.0]), torch.tensor([1, 0]), 1))
