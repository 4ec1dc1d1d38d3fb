"""The module as a gate that decides whether an image is of the target class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from typing_extensions import Self

from splitters.reuse.fusion.rule import FUSIONS, Fusion, FusionExamples


@FUSIONS.register("gate")
class Gate(Fusion):
    """Evidence at or above a threshold means the target class; below it, the weak model's best other class.

    The threshold has the highest accuracy on select; of several, the one in the widest gap between scores.
    """

    kind = "gate"
    figures: ClassVar[Sequence[str]] = ("threshold",)
    scores_are_probabilities: ClassVar[bool] = True
    threshold: Tensor

    @classmethod
    def fit(cls, examples: FusionExamples) -> Self:
        """Fit the threshold."""
        order = examples.evidence.argsort(stable=True)
        scores = examples.evidence[order]
        others = examples.weak_logits.clone()
        others[:, examples.target] = -torch.inf
        right_below = (others.argmax(1) == examples.labels)[order].long()
        right_above = examples.is_target[order].long()
        # Entry k: the k lowest scores lie below the threshold.
        zero = right_below.new_zeros(1)
        right = torch.cat([zero, right_below.cumsum(0)]) + torch.cat([right_above.flip(0).cumsum(0).flip(0), zero])
        step = (scores[-1] - scores[0]).clamp(min=1.0)
        edges = torch.cat([(scores[0] - step)[None], scores, (scores[-1] + step)[None]])
        gaps = edges.diff()
        right = torch.where(gaps > 0, right, -1)
        best = int(torch.where(right == right.max(), gaps, -torch.inf).argmax())
        return cls._create(examples, threshold=(edges[best] + edges[best + 1]) / 2)

    def forward(
        self, weak_logits: Float[Tensor, "batch class"], module_scores: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch class"]:
        """Return the weak model's probabilities; the target class's one is 2 where the gate is open, -1 elsewhere."""
        is_open = self._evidence(module_scores) >= self.threshold
        return self._replaced(weak_logits.softmax(1), torch.where(is_open, 2.0, -1.0))
