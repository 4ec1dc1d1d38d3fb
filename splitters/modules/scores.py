"""From a module's logits to its score.

A score comes in two forms: ``Scores`` computes those of all N modules at once, while a splitter searches; a
``ModuleScore`` is the score of a single module, a small network that is saved with it. Both carry the name of their
kind, under which ``SCORES`` finds the class again when a cached result or a module file is read.
"""

from __future__ import annotations

import json
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn

from splitters.errors import ConfigurationError
from splitters.registry import Registry

_CERTAIN = 1e-6
"""Probabilities are kept this far from 0 and 1 before they become log-odds."""

Setting = bool | int | float | str
"""What a score may hold beside tensors; it must survive JSON."""


class ModuleScore(nn.Module, ABC):
    """The score of one module: higher means that the image is of the module's class.

    What ``describe`` returns and the module's ``state_dict`` are its constructor's arguments by name; a class for which
    they are not overrides ``rebuild``.
    """

    kind: ClassVar[str]
    """The name of the kind in ``SCORES``."""

    is_probability: ClassVar[bool] = False
    """Whether scores are probabilities, and so lie in [0, 1]."""

    @abstractmethod
    def forward(self, logits: Float[Tensor, "batch class"]) -> Float[Tensor, " batch"]:
        """Return the module's score for every image."""

    def describe(self) -> Mapping[str, Setting]:
        """Return what, beside the tensors, is needed to rebuild the score."""
        return {}

    @classmethod
    def rebuild(cls, settings: Mapping[str, Setting], tensors: Mapping[str, Tensor]) -> ModuleScore:
        """Return the score that ``describe`` and ``state_dict`` described."""
        return cls(**settings, **tensors)


class Scores(ABC):
    """The scores of N modules at once.

    A splitter with scores of its own kind registers the class::

        @SCORES.register("mine")
        class MyScores(Scores):
            kind = "mine"
            module_score = MyModuleScore  # also of kind "mine"

    or offers it under the entry point group ``splitbench.scores``, so that module files load without the splitter.
    What ``describe`` and ``tensors`` return are the constructor's arguments by name; a class for which they are not
    overrides ``rebuild``.
    """

    kind: ClassVar[str]
    """The name of the kind in ``SCORES``."""

    module_score: ClassVar[type[ModuleScore]]
    """The class of a single module's score."""

    @abstractmethod
    def __call__(self, logits: Float[Tensor, "module batch class"]) -> Float[Tensor, "module batch"]:
        """Return every module's score for every image."""

    @abstractmethod
    def of(self, module: int) -> ModuleScore:
        """Return the score of one module."""

    @abstractmethod
    def tensors(self) -> Mapping[str, Tensor]:
        """Return the parameters by name; empty where there are none."""

    def describe(self) -> Mapping[str, Setting]:
        """Return what, beside the tensors, is needed to rebuild the scores."""
        return {}

    @classmethod
    def rebuild(cls, settings: Mapping[str, Setting], tensors: Mapping[str, Tensor]) -> Scores:
        """Return the scores that ``describe`` and ``tensors`` described."""
        return cls(**settings, **tensors)


SCORES: Registry[type[Scores]] = Registry("kind of scores", entry_point_group="splitbench.scores")
"""All kinds of scores by name."""


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
        """Return the diagonal over modules and classes."""
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

    def map(self, function: Callable[[Tensor], Tensor]) -> HeadScores:
        """Return heads whose parameters are ``function`` of these."""
        return HeadScores(**{name: function(value) for name, value in self.tensors().items()})


def describe_scores(scores: Scores) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return scores as a JSON value and tensors, from which ``rebuild_scores`` makes the same scores again.

    Raises:
        ConfigurationError: If they cannot be rebuilt: their kind is not registered, or their settings and tensors are
            not what their class is built from.
    """
    kind = _registered_kind(type(scores))
    settings, tensors = dict(scores.describe()), dict(scores.tensors())
    _check_json(kind, settings)
    try:
        rebuilt = rebuild_scores({"kind": kind, "settings": settings}, tensors)
        same = dict(rebuilt.describe()) == settings and _equal(rebuilt.tensors(), tensors)
    except (TypeError, ValueError, RuntimeError, LookupError) as error:
        raise ConfigurationError(f"scores of the kind {kind!r} cannot be rebuilt: {error}.") from error
    if not same:
        raise ConfigurationError(
            f"scores of the kind {kind!r} come back changed; describe() and tensors() of {type(scores).__name__} "
            "must hold everything that its constructor takes, by name."
        )
    return {"kind": kind, "settings": settings}, tensors


def rebuild_scores(description: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> Scores:
    """Return the scores that ``describe_scores`` described.

    Raises:
        UnknownNameError: If their kind is unknown.
    """
    return SCORES.get(description["kind"]).rebuild(description["settings"], tensors)


def describe_module_score(score: ModuleScore) -> tuple[str, dict[str, Setting]]:
    """Return the registered kind of a module's score, and its settings.

    Raises:
        ConfigurationError: If its kind is not registered for its class, or JSON cannot hold its settings.
    """
    kind = _registered_kind(type(score))
    settings = dict(score.describe())
    _check_json(kind, settings)
    return kind, settings


def rebuild_module_score(kind: str, settings: Mapping[str, Setting], tensors: Mapping[str, Tensor]) -> ModuleScore:
    """Return the score of one module from its kind, its settings and its tensors.

    Raises:
        UnknownNameError: If the kind is unknown.
    """
    return SCORES.get(kind).module_score.rebuild(settings, tensors)


def evidence(scores: Float[Tensor, " sample"], *, is_probability: bool) -> Float[Tensor, " sample"]:
    """Return scores on an unbounded scale: the log-odds of probabilities, logits unchanged."""
    return scores.clamp(_CERTAIN, 1 - _CERTAIN).logit() if is_probability else scores


def _registered_kind(cls: type[Scores] | type[ModuleScore]) -> str:
    """Return the kind under which a class of scores, or of a module's score, is registered."""
    kind = getattr(cls, "kind", None)
    entry = SCORES.get(kind) if isinstance(kind, str) and kind in SCORES else None
    if not isinstance(kind, str) or entry is None or cls not in (entry, getattr(entry, "module_score", None)):
        raise ConfigurationError(
            f"{cls.__name__} (kind {kind!r}) is not a registered kind of scores, so nothing could rebuild it from a "
            f"cache or a file; register it with @SCORES.register. Registered: {', '.join(SCORES)}."
        )
    return kind


def _check_json(kind: str, settings: Mapping[str, object]) -> None:
    try:
        same = json.loads(json.dumps(settings, allow_nan=False)) == settings
    except (TypeError, ValueError):
        same = False
    if not same or not all(isinstance(value, bool | int | float | str) for value in settings.values()):
        raise ConfigurationError(
            f"the settings of scores of the kind {kind!r} are {dict(settings)!r}; they must be booleans, finite "
            "numbers and texts by name. Tensors belong to tensors() or register_buffer."
        )


def _equal(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(tensor, other[name]) for name, tensor in one.items())
