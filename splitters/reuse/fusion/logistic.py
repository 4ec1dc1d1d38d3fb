"""A regression over the weak model's probability and the module's score."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor
from typing_extensions import Self

from splitters.reuse.fusion.convex import minimise
from splitters.reuse.fusion.rule import FUSIONS, Fusion, FusionExamples

_RIDGE = 1e-2
"""Weight of the squared distance from the weak model's own answer, which a few examples should not outweigh."""


@FUSIONS.register("logistic")
class Logistic(Fusion):
    """The target class's log-probability becomes a weighted sum of the weak model's and of the evidence.

    ``a * log p[target] + b * evidence + c``; the other classes keep their log-probabilities. The three parameters
    minimise the cross-entropy on select, with a penalty on the distance from (1, 0, 0), which is the weak model itself;
    evidence is standardised for the fit. The loss is convex.
    """

    kind = "logistic"
    figures: ClassVar[Sequence[str]] = ("weak_weight", "module_weight", "shift")
    weak_weight: Tensor
    module_weight: Tensor
    shift: Tensor

    @classmethod
    def fit(cls, examples: FusionExamples) -> Self:
        """Fit the three parameters."""
        known, scores = examples.weak_log_probabilities, examples.evidence
        centre, width = scores.mean(), scores.std(correction=0).clamp(min=1e-12)
        standard = (scores - centre) / width
        start = torch.tensor([1.0, 0.0, 0.0], dtype=torch.float64, device=known.device)
        is_target = torch.arange(known.shape[1], device=known.device) == examples.target

        def loss(numbers: Tensor) -> Tensor:
            column = numbers[0] * known[:, examples.target] + numbers[1] * standard + numbers[2]
            fused = torch.where(is_target, column[:, None], known)
            return F.cross_entropy(fused, examples.labels) + _RIDGE * (numbers - start).square().sum()

        weak, module, shift = minimise(loss, start)
        return cls._create(
            examples, weak_weight=weak, module_weight=module / width, shift=shift - module * centre / width
        )

    def forward(
        self, weak_logits: Float[Tensor, "batch class"], module_scores: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch class"]:
        """Return the weak model's log-probabilities, the target class's one replaced."""
        known = weak_logits.log_softmax(1)
        column = self.weak_weight * known[:, self.target] + self.module_weight * self._evidence(module_scores)
        return self._replaced(known, column + self.shift)
