"""Rules that turn the module's score into a calibrated probability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Float64
from torch import Tensor
from typing_extensions import Self

from splitters.reuse.fusion.convex import minimise
from splitters.reuse.fusion.rule import FUSIONS, Fusion, FusionExamples

_RIDGE = 1e-3
"""Weight of the squared slope, which keeps it finite where scores separate the classes without an error."""


@FUSIONS.register("platt")
class Platt(Fusion):
    """The module decides how likely the target class is; the weak model distributes the rest.

    The score becomes a probability q by a logistic function of its evidence (Platt 1999), fitted on select. The target
    class gets q; the others get the weak model's probabilities, scaled to sum to 1 - q.
    """

    kind = "platt"
    figures: ClassVar[Sequence[str]] = ("slope", "shift")
    slope: Tensor
    shift: Tensor

    @classmethod
    def fit(cls, examples: FusionExamples) -> Self:
        """Fit the logistic function by maximum likelihood."""
        slope, shift = logistic_of(examples)
        return cls._create(examples, slope=slope, shift=shift)

    def forward(
        self, weak_logits: Float[Tensor, "batch class"], module_scores: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch class"]:
        """Return log-probabilities of all classes."""
        return self._shared(weak_logits.log_softmax(1), self._log_odds(module_scores))

    def _log_odds(self, module_scores: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        return self.slope * self._evidence(module_scores) + self.shift

    def _shared(
        self, log_probabilities: Float[Tensor, "batch class"], log_odds: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch class"]:
        """Return the target class's log-probability from its log-odds, and the others' shares of the rest."""
        others = self._replaced(log_probabilities, torch.full_like(log_odds, -torch.inf)).log_softmax(1)
        return self._replaced(others + _log_sigmoid(-log_odds)[:, None], _log_sigmoid(log_odds))


@FUSIONS.register("temperature")
class Temperature(Platt):
    """Both models are calibrated, and both count.

    The weak model's logits are divided by a temperature, the module's score becomes a probability as in ``platt``; both
    are fitted on select. The target class gets the mean of both models' log-odds for it, so that the weak
    model's knowledge is not lost; the others share the rest as in ``platt``.
    """

    kind = "temperature"
    figures: ClassVar[Sequence[str]] = ("slope", "shift", "temperature")
    temperature: Tensor

    @classmethod
    def fit(cls, examples: FusionExamples) -> Self:
        """Fit the temperature and the logistic function by maximum likelihood."""
        slope, shift = logistic_of(examples)
        logits = examples.weak_logits.double()
        # In the inverse of the temperature the loss is convex.
        (inverse,) = minimise(
            lambda numbers: F.cross_entropy(logits * numbers[0], examples.labels) + _RIDGE * numbers[0] ** 2,
            torch.ones(1, dtype=torch.float64, device=logits.device),
        )
        return cls._create(examples, slope=slope, shift=shift, temperature=1 / inverse.clamp(min=_RIDGE))

    def forward(
        self, weak_logits: Float[Tensor, "batch class"], module_scores: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch class"]:
        """Return log-probabilities of all classes."""
        logits = weak_logits / self.temperature
        rest = self._replaced(logits, torch.full_like(module_scores, -torch.inf)).logsumexp(1)
        weak_log_odds = logits[:, self.target] - rest
        return self._shared(logits.log_softmax(1), (weak_log_odds + self._log_odds(module_scores)) / 2)


def _log_sigmoid(values: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Return log(sigmoid(values)), written out: in ONNX, torch's function becomes -inf for values below about -100."""
    return values.clamp(max=0) - values.abs().neg().exp().log1p()


def logistic_of(examples: FusionExamples) -> tuple[Float64[Tensor, ""], Float64[Tensor, ""]]:
    """Return slope and shift of the log-odds of the target class as a function of the evidence."""
    scores, truth = examples.evidence, examples.is_target.double()
    centre, width = scores.mean(), scores.std(correction=0).clamp(min=1e-12)
    standard = (scores - centre) / width

    def loss(numbers: Tensor) -> Tensor:
        log_odds = numbers[0] * standard + numbers[1]
        return F.binary_cross_entropy_with_logits(log_odds, truth) + _RIDGE * numbers[0] ** 2

    slope, shift = minimise(loss, torch.zeros(2, dtype=torch.float64, device=scores.device))
    return slope / width, shift - slope * centre / width
