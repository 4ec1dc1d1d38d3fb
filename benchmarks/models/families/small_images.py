"""Settings that fit torchvision's networks, made for images of 224 pixels a side, to small ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from splitters.errors import ConfigurationError


@dataclass(frozen=True)
class _Stem:
    """The first layers of a network.

    Args:
        convolution: The first convolution.
        pool: The pooling that follows it, if there is one.
        stride: By how much they shrink the images, as published.
    """

    convolution: str
    pool: str | None
    stride: int


_STEMS = {
    "DenseNet": _Stem("features.conv0", "features.pool0", 4),
    "EfficientNet": _Stem("features.0.0", None, 2),
    "MobileNetV2": _Stem("features.0.0", None, 2),
    "MobileNetV3": _Stem("features.0.0", None, 2),
    "ResNet": _Stem("conv1", "maxpool", 4),
    "ShuffleNetV2": _Stem("conv1.0", "maxpool", 4),
}
"""By the name of torchvision's class."""


def fit_to_small_images(model: nn.Module, settings: dict[str, object]) -> None:
    """Change a new network as ``SMALL_IMAGE_SETTINGS`` say.

    Args:
        model: One of torchvision's networks.
        settings: Those of the settings that were chosen.

    Raises:
        ConfigurationError: If the network has no such setting, or a value is not allowed.
    """
    for name, value in settings.items():
        SMALL_IMAGE_SETTINGS[name](model, value)


def _set_stem_stride(model: nn.Module, value: object) -> None:
    stem = _STEMS.get(type(model).__name__)
    if stem is None:
        raise ConfigurationError(f"'stem_stride' is a setting of {', '.join(_STEMS)} only, not of this network.")
    allowed = [stride for stride in (1, 2, 4) if stride <= stem.stride]
    if type(value) is not int or value not in allowed:
        raise ConfigurationError(f"stem_stride must be one of {allowed}, not {value!r}; {stem.stride} is as published.")
    if value == stem.stride:
        return
    old = model.get_submodule(stem.convolution)
    assert isinstance(old, nn.Conv2d)
    new = nn.Conv2d(old.in_channels, old.out_channels, 3, value, 1, bias=old.bias is not None)
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    model.set_submodule(stem.convolution, new)
    if stem.pool is not None:
        model.set_submodule(stem.pool, nn.Identity())


def _set_pooled_size(model: nn.Module, value: object) -> None:
    if type(model).__name__ != "VGG":
        raise ConfigurationError("'pooled_size' is a setting of VGG only, not of this network.")
    if type(value) is not int or not 1 <= value <= 7:
        raise ConfigurationError(f"pooled_size must be 1 to 7, not {value!r}; 7 is as published.")
    first = model.get_submodule("classifier.0")
    assert isinstance(first, nn.Linear)
    new = nn.Linear(first.in_features // 49 * value**2, first.out_features)
    nn.init.normal_(new.weight, 0, 0.01)
    nn.init.zeros_(new.bias)
    model.set_submodule("avgpool", nn.AdaptiveAvgPool2d(value))
    model.set_submodule("classifier.0", new)


SMALL_IMAGE_SETTINGS: dict[str, Callable[[nn.Module, object], None]] = {
    "stem_stride": _set_stem_stride,
    "pooled_size": _set_pooled_size,
}
"""``stem_stride``: by how much the stem shrinks images: a 3x3 convolution of that stride, and no pooling after it.
``pooled_size``: height and width of what a VGG's classifier reads, which has 103 million weights at the published 7."""
