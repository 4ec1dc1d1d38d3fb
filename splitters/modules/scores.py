"""From a module's logits to its score.

A score comes in two forms: ``Scores`` computes those of all N modules at once, while a splitter searches; a
``ModuleScore`` is the score of a single module, a small network that is saved with it. Both carry the name of their
kind, under which ``SCORES`` finds the class again when a cached result or a module file is read.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, TypeVar, cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from splitters.errors import ConfigurationError
from splitters.registry import Registry

_ScoresT = TypeVar("_ScoresT", bound="Scores")

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

    def map(self: _ScoresT, function: Callable[[Tensor], Tensor]) -> _ScoresT:
        """Return scores of the same kind whose parameters are ``function`` of these."""
        changed = self.rebuild(self.describe(), {name: function(value) for name, value in self.tensors().items()})
        return cast(_ScoresT, changed)


SCORES: Registry[type[Scores]] = Registry(
    "kind of scores",
    entry_point_group="splitbench.scores",
    subclass_of=Scores,
    homes=dict.fromkeys(("head", "linear", "logit", "scaled_logit"), "splitters.modules.score_kinds"),
)
"""All kinds of scores by name."""


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
