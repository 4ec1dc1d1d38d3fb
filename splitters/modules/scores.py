"""From a module's logits to its score: the base model's own logit, or a small trained head."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn


class ModuleScore(nn.Module, ABC):
    """The score of one module: ``[batch, class]`` logits in, ``[batch]`` scores out; higher means its class."""

    kind: ClassVar[str]
    is_probability: ClassVar[bool] = False
    """Whether scores lie in [0, 1] and mean a probability."""

    @abstractmethod
    def describe(self) -> dict[str, int]:
        """Returns what, next to the tensors, rebuilds the score."""


class LogitScore(ModuleScore):
    """The network's raw logit of one class.

    Args:
        class_index: Which logit.
    """

    kind = "logit"

    def __init__(self, class_index: int) -> None:
        super().__init__()
        self.class_index = class_index

    def forward(self, logits: Float[Tensor, "batch class"]) -> Float[Tensor, " batch"]:
        """Returns the logits of the class."""
        return logits[:, self.class_index]

    def describe(self) -> dict[str, int]:
        """Returns the class index."""
        return {"class_index": self.class_index}


class ScaledLogitScore(ModuleScore):
    """The network's logit of one class, scaled and shifted so that it compares with other modules' scores.

    Args:
        class_index: Which logit.
        scale: What it is multiplied by.
        shift: What is then added.
    """

    kind = "scaled_logit"
    scale: Tensor
    shift: Tensor

    def __init__(self, class_index: int, scale: Float[Tensor, ""], shift: Float[Tensor, ""]) -> None:
        super().__init__()
        self.class_index = class_index
        self.register_buffer("scale", scale)
        self.register_buffer("shift", shift)

    def forward(self, logits: Float[Tensor, "batch class"]) -> Float[Tensor, " batch"]:
        """Returns the scaled and shifted logits of the class."""
        return logits[:, self.class_index] * self.scale + self.shift

    def describe(self) -> dict[str, int]:
        """Returns the class index."""
        return {"class_index": self.class_index}


class HeadScore(ModuleScore):
    """GradSplitter's head: relu(logits) -> linear -> relu -> linear -> sigmoid, a score in (0, 1).

    Args:
        hidden_weight: First layer's weights.
        hidden_bias: First layer's biases.
        output_weight: Second layer's weights.
        output_bias: Second layer's bias.
    """

    kind = "head"
    is_probability = True
    hidden_weight: Tensor
    hidden_bias: Tensor
    output_weight: Tensor
    output_bias: Tensor

    def __init__(
        self,
        hidden_weight: Float[Tensor, "class hidden"],
        hidden_bias: Float[Tensor, " hidden"],
        output_weight: Float[Tensor, "hidden 1"],
        output_bias: Float[Tensor, " 1"],
    ) -> None:
        super().__init__()
        self.register_buffer("hidden_weight", hidden_weight)
        self.register_buffer("hidden_bias", hidden_bias)
        self.register_buffer("output_weight", output_weight)
        self.register_buffer("output_bias", output_bias)

    def forward(self, logits: Float[Tensor, "batch class"]) -> Float[Tensor, " batch"]:
        """Returns the scores."""
        hidden = torch.relu(torch.relu(logits) @ self.hidden_weight + self.hidden_bias)
        return torch.sigmoid(hidden @ self.output_weight + self.output_bias).squeeze(1)

    def describe(self) -> dict[str, int]:
        """Returns nothing; the tensors say it all."""
        return {}


class Scores(ABC):
    """The scores of N modules at once."""

    @abstractmethod
    def __call__(self, logits: Float[Tensor, "module batch class"]) -> Float[Tensor, "module batch"]:
        """Returns every module's score for every image."""

    @abstractmethod
    def of(self, module: int) -> ModuleScore:
        """Returns the score of one module, as a network of its own."""

    @abstractmethod
    def tensors(self) -> dict[str, Tensor]:
        """Returns what ``scores_from_tensors`` rebuilds the scores from; empty for logits."""


@dataclass(frozen=True)
class LogitScores(Scores):
    """Module c's score is the base model's logit of class c."""

    def __call__(self, logits: Float[Tensor, "module batch class"]) -> Float[Tensor, "module batch"]:
        """Returns the diagonal over modules and classes."""
        return torch.diagonal(logits, dim1=0, dim2=2).T

    def of(self, module: int) -> ModuleScore:
        """Returns the logit of class ``module``."""
        return LogitScore(module)

    def tensors(self) -> dict[str, Tensor]:
        """Returns nothing."""
        return {}


@dataclass(frozen=True)
class ScaledLogitScores(Scores):
    """Module c's score is the base model's logit of class c, scaled and shifted.

    Args:
        scale: One factor per module.
        shift: One summand per module.
    """

    scale: Float[Tensor, " module"]
    shift: Float[Tensor, " module"]

    def __call__(self, logits: Float[Tensor, "module batch class"]) -> Float[Tensor, "module batch"]:
        """Returns the scaled and shifted diagonal over modules and classes."""
        return torch.diagonal(logits, dim1=0, dim2=2).T * self.scale[:, None] + self.shift[:, None]

    def of(self, module: int) -> ModuleScore:
        """Returns the score of class ``module``."""
        return ScaledLogitScore(module, self.scale[module].detach().clone(), self.shift[module].detach().clone())

    def tensors(self) -> dict[str, Tensor]:
        """Returns the scales and the shifts."""
        return {"scale": self.scale, "shift": self.shift}


@dataclass(frozen=True)
class HeadScores(Scores):
    """N heads of GradSplitter, run in batched matrix products.

    Args:
        hidden_weight: First layers' weights.
        hidden_bias: First layers' biases.
        output_weight: Second layers' weights.
        output_bias: Second layers' biases.
    """

    hidden_weight: Float[Tensor, "module class hidden"]
    hidden_bias: Float[Tensor, "module 1 hidden"]
    output_weight: Float[Tensor, "module hidden 1"]
    output_bias: Float[Tensor, "module 1 1"]

    @classmethod
    def initialised(cls, n_modules: int, n_classes: int, width: int, *, generator: torch.Generator) -> HeadScores:
        """Returns fresh heads, drawn as ``torch.nn.Linear`` draws its weights."""

        def draw(fan_in: int, *shape: int) -> Tensor:
            bound = 1 / math.sqrt(fan_in)
            return torch.empty(n_modules, *shape).uniform_(-bound, bound, generator=generator)

        return cls(
            hidden_weight=draw(n_classes, n_classes, width),
            hidden_bias=draw(n_classes, 1, width),
            output_weight=draw(width, width, 1),
            output_bias=draw(width, 1, 1),
        )

    def __call__(self, logits: Float[Tensor, "module batch class"]) -> Float[Tensor, "module batch"]:
        """Returns every head's score, in (0, 1)."""
        hidden = torch.relu(torch.baddbmm(self.hidden_bias, torch.relu(logits), self.hidden_weight))
        return torch.sigmoid(torch.baddbmm(self.output_bias, hidden, self.output_weight)).squeeze(2)

    def of(self, module: int) -> ModuleScore:
        """Returns one head."""
        return HeadScore(
            self.hidden_weight[module].detach().clone(),
            self.hidden_bias[module, 0].detach().clone(),
            self.output_weight[module].detach().clone(),
            self.output_bias[module, 0].detach().clone(),
        )

    def tensors(self) -> dict[str, Tensor]:
        """Returns the four parameters by name."""
        return {
            "hidden_weight": self.hidden_weight,
            "hidden_bias": self.hidden_bias,
            "output_weight": self.output_weight,
            "output_bias": self.output_bias,
        }

    def map(self, function: Callable[[Tensor], Tensor]) -> HeadScores:
        """Returns heads whose parameters are the function's results."""
        return HeadScores(**{name: function(value) for name, value in self.tensors().items()})


def scores_from_tensors(tensors: Mapping[str, Tensor]) -> Scores:
    """Rebuilds scores from their tensors: scaled logits, heads, or plain logits where there are none."""
    if "scale" in tensors:
        return ScaledLogitScores(**tensors)
    return HeadScores(**tensors) if tensors else LogitScores()
