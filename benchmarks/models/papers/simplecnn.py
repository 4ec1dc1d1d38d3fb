"""SimpleCNN: two to four convolutions, the papers' over-simple weak model (arXiv 2209.06116, section 5)."""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from benchmarks.models.architecture import MODELS
from benchmarks.models.papers.layers import NamedNet, NetSettings, conv_block, initialise, pooled_size, scaled

_KERNELS = 64


class SimpleCNNSettings(NetSettings):
    """Settings of SimpleCNN.

    Args:
        convolutions: How many there are, each followed by a pooling.
    """

    convolutions: int = Field(default=3, ge=2, le=4)


class SimpleCNN(nn.Module):
    """A few 3x3 convolutions of 64 kernels, each followed by a pooling, and one linear layer.

    Args:
        settings: Width, norm, dropout, convolutions.
        n_classes: The number of classes N.
        input_shape: Channels, height and width of the images.
    """

    def __init__(self, settings: SimpleCNNSettings, *, n_classes: int, input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        pixels = pooled_size("simplecnn", input_shape, poolings=settings.convolutions)
        kernels = scaled(_KERNELS, settings.width)
        layers: list[nn.Module] = []
        for index in range(settings.convolutions):
            inputs = input_shape[0] if index == 0 else kernels
            layers += [conv_block(inputs, kernels, norm=settings.norm), nn.MaxPool2d(2)]
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(nn.Dropout(settings.dropout), nn.Linear(kernels * pixels, n_classes))
        initialise(self)

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch n_classes"]:
        """Return the logits."""
        logits: Tensor = self.classifier(torch.flatten(self.features(images), 1))
        return logits


class _SimpleCNNArchitecture(NamedNet):
    description = "two to four convolutions, an over-simple weak model; settings: width, convolutions, norm, dropout"
    settings_model = SimpleCNNSettings

    def poolings(self, settings: NetSettings) -> int:
        return settings.convolutions if isinstance(settings, SimpleCNNSettings) else 0

    def build(
        self, member: str, settings: dict[str, object], *, n_classes: int, input_shape: tuple[int, int, int]
    ) -> nn.Module:
        parsed = SimpleCNNSettings.parse(settings, where="model 'simplecnn'")
        return SimpleCNN(parsed, n_classes=n_classes, input_shape=input_shape)


MODELS.register("simplecnn")(_SimpleCNNArchitecture())
