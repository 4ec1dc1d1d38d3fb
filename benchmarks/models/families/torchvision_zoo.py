"""torchvision's classification networks, untrained or with the weights that torchvision publishes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from benchmarks.models.architecture import MODELS, Architecture
from benchmarks.models.families.small_images import SMALL_IMAGE_SETTINGS, fit_to_small_images
from benchmarks.models.published_weights import PublishedWeights, UrlSource
from benchmarks.models.weights_reading import StoredWeights
from splitters.errors import ConfigurationError, UnknownNameError

# Without these, the two warn about their initialisation, and give tuples in train mode.
_DEFAULTS: dict[str, dict[str, object]] = {
    "googlenet": {"aux_logits": False, "init_weights": True},
    "inception_v3": {"aux_logits": False, "init_weights": True},
}
# What torchvision sets where it loads the weights that it publishes, which come from other libraries.
_PUBLISHED: dict[str, dict[str, object]] = {
    "googlenet": {"transform_input": True, "init_weights": False},
    "inception_v3": {"transform_input": True, "init_weights": False},
}
_AUXILIARY = ("aux1.", "aux2.", "AuxLogits.")
_IMAGENET_CLASSES = 1000
_RESERVED = frozenset({"weights", "num_classes"})


class TorchvisionZoo(Architecture):
    """``torchvision:NAME``; settings are keyword arguments of torchvision's function, and those for small images."""

    description = (
        "any classification network of torchvision, e.g. torchvision:resnet18; settings: its keyword arguments, and "
        "stem_stride (VGG: pooled_size) for small images"
    )

    def check(self, member: str, settings: dict[str, object], *, where: str) -> None:
        """Check the name; where there are settings, try them without memory for weights."""
        import torchvision.models

        names = torchvision.models.list_models(module=torchvision.models)
        if member not in names:
            raise UnknownNameError("torchvision model", member, names, where=where)
        reserved = sorted(_RESERVED & set(settings))
        if reserved:
            raise ConfigurationError(f"{where}: {reserved[0]!r} is set by the benchmark; leave it out.")
        if not settings:
            return
        try:
            with torch.device("meta"):
                _make(member, settings, n_classes=2)
        except ConfigurationError as error:
            raise ConfigurationError(f"{where}: {error}") from error
        except (TypeError, ValueError, RuntimeError, AttributeError, ArithmeticError) as error:
            raise ConfigurationError(f"{where}: torchvision refuses the settings {settings}: {error}") from error

    def build(
        self, member: str, settings: dict[str, object], *, n_classes: int, input_shape: tuple[int, int, int]
    ) -> nn.Module:
        """Return torchvision's network with its own initialisation."""
        return _make(member, settings, n_classes=n_classes)

    def published(self, member: str, name: str, cache: Path, *, download: bool) -> PublishedWeights | None:
        """Return torchvision's weights of that name."""
        import torchvision.models

        known = torchvision.models.get_model_weights(member)
        if name not in known.__members__:
            return None
        weights = known[name]
        transform = weights.transforms()
        (size,) = set(transform.crop_size)
        return PublishedWeights(
            name=str(weights),
            source=UrlSource(weights.url),
            input_shape=(3, size, size),
            mean=tuple(transform.mean),
            std=tuple(transform.std),
            class_names=_distinct(weights.meta["categories"]),
            n_logits=len(weights.meta["categories"]),
        )

    def build_published(self, member: str, settings: dict[str, object], weights: StoredWeights) -> nn.Module:
        """Return torchvision's network with weights that it publishes."""
        model = _make(member, {**settings, **_PUBLISHED.get(member, {})}, n_classes=_IMAGENET_CLASSES)
        tensors = {key: value for key, value in weights.tensors.items() if not key.startswith(_AUXILIARY)}
        replace(weights, tensors=tensors).load_into(model, f"torchvision:{member}")
        return model


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """Return class names that differ: ImageNet has two cranes and two maillots, which get their number."""
    return tuple(f"{name} {index}" if names.index(name) < index else name for index, name in enumerate(names))


def _make(member: str, settings: dict[str, object], *, n_classes: int) -> nn.Module:
    import torchvision.models

    small = {key: value for key, value in settings.items() if key in SMALL_IMAGE_SETTINGS}
    arguments = {key: value for key, value in settings.items() if key not in small}
    arguments = {**_DEFAULTS.get(member, {}), **arguments}
    model: nn.Module = torchvision.models.get_model(member, weights=None, num_classes=n_classes, **arguments)
    fit_to_small_images(model, small)
    return model


MODELS.register("torchvision:NAME")(TorchvisionZoo())
