"""The papers' rule: the target class's probability becomes the module's score, scaled to [0, 1]."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor
from typing_extensions import Self

from splitters.errors import DataError
from splitters.reuse.fusion.rule import FUSIONS, Fusion, FusionExamples

_OUTLIERS = 0.05
"""The share of the lowest, and of the highest, scores that ``min_max_clipped`` does not let set the scale."""


@FUSIONS.register("min_max")
class MinMax(Fusion):
    """The papers' rule (arXiv 2209.06116; arXiv 2311.04438, section 5), unchanged.

    The target class's probability is replaced by ``(score - lowest) / (highest - lowest)``; lowest and highest are
    those of calibration images of the target class. Other images may give values outside [0, 1].
    """

    kind = "min_max"
    figures: ClassVar[Sequence[str]] = ("lowest", "highest")
    scores_are_probabilities: ClassVar[bool] = True
    lowest: Tensor
    highest: Tensor

    @classmethod
    def fit(cls, examples: FusionExamples) -> Self:
        """Fit the range of the target class's scores."""
        scores = examples.module_scores[examples.is_target].double()
        return cls._scaled(examples, scores.min(), scores.max())

    @classmethod
    def _scaled(cls, examples: FusionExamples, lowest: Tensor, highest: Tensor) -> Self:
        if not float(highest.float() - lowest.float()) > 0:
            raise DataError(
                f"the module scores {float(lowest):.6g} on all calibration images of the target class; {cls.kind!r} "
                "has no range to scale by. Take more images, or another rule."
            )
        return cls._create(examples, lowest=lowest, highest=highest)

    def forward(
        self, weak_logits: Float[Tensor, "batch class"], module_scores: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch class"]:
        """Return the weak model's probabilities, the target class's one replaced."""
        scaled = (module_scores - self.lowest) / (self.highest - self.lowest)
        return self._replaced(weak_logits.softmax(1), scaled)


@FUSIONS.register("min_max_clipped")
class MinMaxClipped(MinMax):
    """``min_max`` without outliers: the range is that of the 5th to the 95th percentile, clipped to [0, 1]."""

    kind = "min_max_clipped"

    @classmethod
    def fit(cls, examples: FusionExamples) -> Self:
        """Fit the 5th and the 95th percentile of the target class's scores."""
        scores = examples.module_scores[examples.is_target].double()
        return cls._scaled(examples, scores.quantile(_OUTLIERS), scores.quantile(1 - _OUTLIERS))

    def forward(
        self, weak_logits: Float[Tensor, "batch class"], module_scores: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch class"]:
        """Return the weak model's probabilities, the target class's one replaced by a value in [0, 1]."""
        scaled = (module_scores - self.lowest) / (self.highest - self.lowest)
        return self._replaced(weak_logits.softmax(1), scaled.clamp(0, 1))
