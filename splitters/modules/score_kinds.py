"""The built-in kinds of scores: logits, scaled logits, linear read-outs of all logits, and GradSplitter's heads."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from splitters.modules.scores import SCORES, ModuleScore, Scores, Setting


class LogitScore(ModuleScore):
    """The raw logit of one class.

    Args:
        class_index: The class, counted from 0.
    """

    kind = "logit"

    def __init__(self, class_index: int) -> None:
        super().__init__()
        self.class_index = class_index

    def forward(self, logits: Float[Tensor, "batch class"]) -> Float[Tensor, " batch"]:
        """Return the logits of the class."""
        return logits[:, self.class_index]

    def describe(self) -> Mapping[str, Setting]:
        """Return the class index."""
        return {"class_index": self.class_index}


class ScaledLogitScore(ModuleScore):
    """The logit of one class, scaled and shifted so that it compares with other modules' scores.

    Args:
        class_index: The class, counted from 0.
        scale: The factor.
        shift: Added after scaling.
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
        """Return the scaled and shifted logits of the class."""
        return logits[:, self.class_index] * self.scale + self.shift

    def describe(self) -> Mapping[str, Setting]:
        """Return the class index."""
        return {"class_index": self.class_index}


class LinearScore(ModuleScore):
    """A linear read-out of all logits.

    Args:
        weight: The factor of each logit.
        bias: Added to their sum.
    """

    kind = "linear"
    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Float[Tensor, " class"], bias: Float[Tensor, ""]) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("bias", bias)

    def forward(self, logits: Float[Tensor, "batch class"]) -> Float[Tensor, " batch"]:
        """Return the weighted sums of the logits."""
        return logits @ self.weight + self.bias


class HeadScore(ModuleScore):
    """GradSplitter's head: relu(logits) -> linear -> relu -> linear -> sigmoid, a score in (0, 1)."""

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
        """Return the scores."""
        hidden = torch.relu(torch.relu(logits) @ self.hidden_weight + self.hidden_bias)
        return torch.sigmoid(hidden @ self.output_weight + self.output_bias).squeeze(1)


@SCORES.register("logit")
@dataclass(frozen=True)
class LogitScores(Scores):
    """Module c's score is the base model's logit of class c."""

    kind = "logit"
    module_score = LogitScore

    def __call__(self, logits: Float[Tensor, "module batch class"]) -> Float[Tensor, "module batch"]:
        """Return, for each module, its own class's logit."""
        return torch.diagonal(logits, dim1=0, dim2=2).T

    def of(self, module: int) -> ModuleScore:
        """Return the logit of class ``module``."""
        return LogitScore(module)

    def tensors(self) -> Mapping[str, Tensor]:
        """Return an empty mapping."""
        return {}


@SCORES.register("scaled_logit")
@dataclass(frozen=True)
class ScaledLogitScores(Scores):
    """Module c's score is the base model's logit of class c, scaled and shifted.

    Args:
        scale: One factor per module.
        shift: Added after scaling.
    """

    kind = "scaled_logit"
    module_score = ScaledLogitScore
    scale: Float[Tensor, " module"]
    shift: Float[Tensor, " module"]

    def __call__(self, logits: Float[Tensor, "module batch class"]) -> Float[Tensor, "module batch"]:
        """Return the scaled and shifted diagonal over modules and classes."""
        return torch.diagonal(logits, dim1=0, dim2=2).T * self.scale[:, None] + self.shift[:, None]

    def of(self, module: int) -> ModuleScore:
        """Return the score of class ``module``."""
        return ScaledLogitScore(module, self.scale[module].detach().clone(), self.shift[module].detach().clone())

    def tensors(self) -> Mapping[str, Tensor]:
        """Return scales and shifts."""
        return {"scale": self.scale, "shift": self.shift}


@SCORES.register("linear")
@dataclass(frozen=True)
class LinearScores(Scores):
    """N linear read-outs of all logits; see ``LinearScore``.

    Args:
        weight: The factor of each logit, per module.
        bias: One per module.
    """

    kind = "linear"
    module_score = LinearScore
    weight: Float[Tensor, "module class"]
    bias: Float[Tensor, " module"]

    @classmethod
    def own_logits(cls, n_modules: int) -> LinearScores:
        """Return read-outs that give each module the logit of its own class."""
        return cls(torch.eye(n_modules), torch.zeros(n_modules))

    def __call__(self, logits: Float[Tensor, "module batch class"]) -> Float[Tensor, "module batch"]:
        """Return each module's weighted sum of its logits."""
        return torch.einsum("mbc,mc->mb", logits, self.weight) + self.bias[:, None]

    def of(self, module: int) -> ModuleScore:
        """Return one read-out."""
        return LinearScore(self.weight[module].detach().clone(), self.bias[module].detach().clone())

    def tensors(self) -> Mapping[str, Tensor]:
        """Return weights and biases."""
        return {"weight": self.weight, "bias": self.bias}


@SCORES.register("head")
@dataclass(frozen=True)
class HeadScores(Scores):
    """N heads of GradSplitter, run in batched matrix products; see ``HeadScore``."""

    kind = "head"
    module_score = HeadScore
    hidden_weight: Float[Tensor, "module class hidden"]
    hidden_bias: Float[Tensor, "module 1 hidden"]
    output_weight: Float[Tensor, "module hidden 1"]
    output_bias: Float[Tensor, "module 1 1"]

    @classmethod
    def initialised(cls, n_modules: int, n_classes: int, width: int, *, generator: torch.Generator) -> HeadScores:
        """Return new heads, initialised as ``torch.nn.Linear`` initialises its weights.

        Args:
            n_modules: Number of heads.
            n_classes: Number of logits.
            width: Hidden units per head.
            generator: Draws the weights.
        """

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
        """Return every head's score, in (0, 1)."""
        hidden = torch.relu(torch.baddbmm(self.hidden_bias, torch.relu(logits), self.hidden_weight))
        return torch.sigmoid(torch.baddbmm(self.output_bias, hidden, self.output_weight)).squeeze(2)

    def of(self, module: int) -> ModuleScore:
        """Return one head."""
        return HeadScore(
            self.hidden_weight[module].detach().clone(),
            self.hidden_bias[module, 0].detach().clone(),
            self.output_weight[module].detach().clone(),
            self.output_bias[module, 0].detach().clone(),
        )

    def tensors(self) -> Mapping[str, Tensor]:
        """Return the four parameters by name."""
        return {
            "hidden_weight": self.hidden_weight,
            "hidden_bias": self.hidden_bias,
            "output_weight": self.output_weight,
            "output_bias": self.output_bias,
        }
