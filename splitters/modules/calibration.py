"""Calibration of logits, so that those of different modules compare."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from jaxtyping import Float32, Int64
from torch import Tensor

from splitters.modules.score_kinds import ScaledLogitScores
from splitters.modules.scores import Scores

_CONSTANT = 1e-6
"""A logit with at most this standard deviation counts as constant."""


class Calibration(ABC):
    """Turns the modules' logits of their own classes into scores."""

    @abstractmethod
    def apply(
        self, logits: Float32[Tensor, "candidate sample"], classes: Int64[Tensor, " candidate"]
    ) -> Float32[Tensor, "candidate sample"]:
        """Return the candidates' scores on the same images."""


class NoCalibration(Calibration):
    """A module's score is the raw logit of its class, as in the paper."""

    def apply(
        self, logits: Float32[Tensor, "candidate sample"], classes: Int64[Tensor, " candidate"]
    ) -> Float32[Tensor, "candidate sample"]:
        """Return the logits."""
        return logits


@dataclass(frozen=True)
class MomentsCalibration(Calibration):
    """A scale and a shift give each module's logit the base model's mean and standard deviation on the same images.

    Args:
        mean: The mean of the base model's logit of each class.
        deviation: Its standard deviation.
    """

    mean: Float32[Tensor, " class"]
    deviation: Float32[Tensor, " class"]

    @classmethod
    def of_base_model(cls, logits: Float32[Tensor, "sample class"]) -> MomentsCalibration:
        """Compute the base model's moments."""
        return cls(logits.mean(0), logits.std(0, correction=0))

    def apply(
        self, logits: Float32[Tensor, "candidate sample"], classes: Int64[Tensor, " candidate"]
    ) -> Float32[Tensor, "candidate sample"]:
        """Return the scaled and shifted logits."""
        scale, shift = self._affine(logits, classes.to(logits.device))
        return logits * scale[:, None] + shift[:, None]

    def scores(self, logits: Float32[Tensor, "class sample"]) -> Scores:
        """Return logits with a scale and a shift per class."""
        scale, shift = self._affine(logits, slice(None))
        return ScaledLogitScores(scale, shift)

    def _affine(self, logits: Tensor, classes: Tensor | slice) -> tuple[Tensor, Tensor]:
        deviation = logits.std(1, correction=0)
        # A constant logit stays constant and only moves to the mean.
        scale = torch.where(deviation > _CONSTANT, self.deviation[classes] / deviation, 1.0)
        return scale, self.mean[classes] - scale * logits.mean(1)
