"""The fusion rule protocol, the examples that rules are fitted to, and the registry of rules."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Float64, Int64
from torch import Tensor, nn
from typing_extensions import Self

from splitters.errors import DataError
from splitters.modules.scores import evidence
from splitters.registry import Registry


@dataclass(frozen=True)
class FusionExamples:
    """The outputs of the weak model and the module on images of ``select``, to which rules are fitted.

    Args:
        weak_logits: The weak model's logits.
        module_scores: The module's scores; higher means the target class.
        labels: The correct classes, as indices of the weak model's classes.
        target: The target class.
        is_probability: Whether the scores are probabilities (heads) rather than logits.

    Raises:
        DataError: If there is no image, none of the target class, none of another class, or a number is not finite.
    """

    weak_logits: Float[Tensor, "sample class"]
    module_scores: Float[Tensor, " sample"]
    labels: Int64[Tensor, " sample"]
    target: int
    is_probability: bool = False

    def __post_init__(self) -> None:
        """Check that a rule can be fitted."""
        n_target = int(self.is_target.sum())
        if not n_target:
            raise DataError(
                f"a patch is calibrated on images of the target class, but of {len(self.labels)} images none is of "
                f"class {self.target}; take more images."
            )
        if n_target == len(self.labels):
            raise DataError(
                f"all {n_target} images are of the target class {self.target}; a patch needs others too, "
                "to learn how the module scores them."
            )
        for name, values in (
            ("the weak model's logits", self.weak_logits),
            ("the module's scores", self.module_scores),
        ):
            if not bool(torch.isfinite(values).all()):
                raise DataError(f"{name} are not finite on all images; a patch cannot be calibrated on them.")

    @cached_property
    def is_target(self) -> Bool[Tensor, " sample"]:
        """Which images are of the target class."""
        return self.labels == self.target

    @cached_property
    def weak_log_probabilities(self) -> Float64[Tensor, "sample class"]:
        """Return the weak model's log-probabilities, in double precision."""
        return self.weak_logits.double().log_softmax(1)

    @cached_property
    def evidence(self) -> Float64[Tensor, " sample"]:
        """The module's scores on an unbounded scale, in double precision."""
        return evidence(self.module_scores.double(), is_probability=self.is_probability)


class Fusion(nn.Module, ABC):
    """A fitted rule: turns a weak model's logits and a module's scores into scores of all classes.

    The patched model answers with the class of the highest score; of equal ones, the lowest class.

    Args:
        target: The target class.
        is_probability: Whether the module's scores are probabilities.
        **figures: The fitted parameters, as scalar tensors.
    """

    kind: ClassVar[str]
    """The rule's name in ``FUSIONS``."""

    figures: ClassVar[Sequence[str]] = ()
    """The names of the fitted parameters."""

    scores_are_probabilities: ClassVar[bool] = False
    """Whether the fused scores are probabilities, not log-probabilities; their sum need not be 1."""

    def __init__(self, target: int, *, is_probability: bool, **figures: Tensor) -> None:
        super().__init__()
        if set(figures) != set(self.figures):
            raise TypeError(f"the rule {self.kind!r} has the parameters {sorted(self.figures)}, not {sorted(figures)}")
        self.target = target
        self.is_probability = is_probability
        for name in self.figures:
            self.register_buffer(name, figures[name].detach().float())

    @classmethod
    @abstractmethod
    def fit(cls, examples: FusionExamples) -> Self:
        """Return the rule, fitted to the examples.

        Raises:
            DataError: If the examples do not determine it.
        """

    @abstractmethod
    def forward(
        self, weak_logits: Float[Tensor, "batch class"], module_scores: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch class"]:
        """Return the fused scores."""

    def describe(self) -> dict[str, int]:
        """Return what, beside the tensors, is needed to rebuild the rule."""
        return {"target": self.target, "is_probability": int(self.is_probability)}

    @classmethod
    def _create(cls, examples: FusionExamples, **figures: Tensor) -> Self:
        made = cls(examples.target, is_probability=examples.is_probability, **figures)
        return made.to(examples.weak_logits.device)

    def _evidence(self, module_scores: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
        return evidence(module_scores, is_probability=self.is_probability)

    def _replaced(
        self, scores: Float[Tensor, "batch class"], column: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch class"]:
        """Return the scores with the target class's column replaced."""
        is_target = torch.arange(scores.shape[1], device=scores.device) == self.target
        return torch.where(is_target, column[:, None], scores)


FUSIONS: Registry[type[Fusion]] = Registry(
    "fusion rule",
    entry_point_group="splitbench.fusions",
    subclass_of=Fusion,
    homes={
        "gate": "splitters.reuse.fusion.gate",
        "logistic": "splitters.reuse.fusion.logistic",
        "min_max": "splitters.reuse.fusion.min_max",
        "min_max_clipped": "splitters.reuse.fusion.min_max",
        "platt": "splitters.reuse.fusion.calibrated",
        "temperature": "splitters.reuse.fusion.calibrated",
    },
)
"""All fusion rules by name."""


def fit_fusion(rule: str, examples: FusionExamples) -> Fusion:
    """Return the rule of a name, fitted to examples.

    Args:
        rule: A name in ``FUSIONS``.
        examples: Images of ``select``.

    Raises:
        UnknownNameError: If there is no such rule.
        DataError: If the examples do not determine it.
    """
    return FUSIONS.get(rule).fit(examples)


def rebuild_fusion(kind: str, described: Mapping[str, int], tensors: Mapping[str, Tensor]) -> Fusion:
    """Rebuild a rule from its name, the result of ``describe``, and its tensors."""
    cls = FUSIONS.get(kind)
    return cls(described["target"], is_probability=bool(described["is_probability"]), **tensors)
