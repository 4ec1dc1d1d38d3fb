"""What a fusion rule would answer for images that it was not fitted to."""

from __future__ import annotations

from dataclasses import replace

import torch
from jaxtyping import Int64
from torch import Tensor

from splitters.errors import DataError
from splitters.reuse.fusion.rule import FUSIONS, FusionExamples

FOLDS = 5
"""Parts of the examples, each answered by a rule that was fitted to the other parts."""


@torch.no_grad()
def cross_fitted_answers(rule: str, examples: FusionExamples) -> Int64[Tensor, " sample"] | None:
    """Return the answers of a fusion rule to its own examples, each by a rule that was fitted without it.

    Images of the target class and others are distributed in turn to ``FOLDS`` parts, so that no part lacks the target
    class if that has enough images. Where the other parts do not determine the rule, the weak model answers.

    Args:
        rule: A name in ``FUSIONS``.
        examples: The outputs of both models on select images.

    Returns:
        The indices of the classes; None with fewer than two images of the target class, or of others.
    """
    n_target = int(examples.is_target.sum())
    if min(n_target, len(examples.labels) - n_target) < 2:
        return None
    answers = examples.weak_logits.argmax(1)
    fold = _folds(examples)
    for number in range(FOLDS):
        held_out = fold == number
        try:
            fitted = FUSIONS.get(rule).fit(_subset(examples, ~held_out))
        except DataError:
            continue
        answers[held_out] = fitted(examples.weak_logits[held_out], examples.module_scores[held_out]).argmax(1)
    return answers


def _folds(examples: FusionExamples) -> Int64[Tensor, " sample"]:
    is_target = examples.is_target
    position = torch.where(is_target, is_target.cumsum(0), (~is_target).cumsum(0))
    return position % FOLDS


def _subset(examples: FusionExamples, chosen: Tensor) -> FusionExamples:
    return replace(
        examples,
        weak_logits=examples.weak_logits[chosen],
        module_scores=examples.module_scores[chosen],
        labels=examples.labels[chosen],
    )
