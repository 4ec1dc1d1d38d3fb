"""Cross-fitted answers of fusion rules: each image is answered by a rule that has not seen it."""

from __future__ import annotations

import pytest
import torch

from splitters.reuse.fusion import FUSIONS, FusionExamples, cross_fitted_answers, fit_fusion
from splitters.reuse.fusion.cross_fit import FOLDS


def examples(n: int = 60) -> FusionExamples:
    generator = torch.Generator().manual_seed(3)
    labels = torch.arange(n) % 3
    weak = torch.randn(n, 3, generator=generator)
    weak[torch.arange(n), labels] += 2.0
    return FusionExamples(weak, torch.randn(n, generator=generator) + 2.0 * (labels == 2), labels, 2)


@pytest.mark.parametrize("rule", list(FUSIONS))
def test_each_image_is_answered_by_a_rule_fitted_to_the_images_of_other_folds(rule: str) -> None:
    seen = examples()
    answers = cross_fitted_answers(rule, seen)
    assert answers is not None
    # Images 2, 17, 32 and 47 are every fifth one of the target class, 3, 10, 18, 25, ... of the others.
    targets, others = (seen.labels == 2).nonzero().flatten(), (seen.labels != 2).nonzero().flatten()
    held_out = torch.cat([targets[0::FOLDS], others[0::FOLDS]])
    rest = torch.ones(len(seen.labels), dtype=torch.bool)
    rest[held_out] = False
    fitted = fit_fusion(
        rule, FusionExamples(seen.weak_logits[rest], seen.module_scores[rest], seen.labels[rest], target=2)
    )
    expected = fitted(seen.weak_logits[held_out], seen.module_scores[held_out]).argmax(1)
    assert torch.equal(answers[held_out], expected)


def test_a_fold_whose_rule_cannot_be_fitted_is_answered_by_the_weak_model() -> None:
    weak = torch.tensor([[0.0, 1.0], [1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    # 'min_max' needs two different scores of the target class; without either of its two images there is only one.
    two = FusionExamples(weak, torch.tensor([9.0, 8.0, 0.0, 0.0]), torch.tensor([0, 0, 1, 1]), target=0)
    answers = cross_fitted_answers("min_max", two)
    assert answers is not None
    assert answers[:2].tolist() == [1, 0]


def test_one_image_of_the_target_class_is_too_few() -> None:
    one = FusionExamples(torch.zeros(3, 2), torch.tensor([1.0, 0.0, 0.0]), torch.tensor([1, 0, 0]), target=1)
    assert cross_fitted_answers("logistic", one) is None
