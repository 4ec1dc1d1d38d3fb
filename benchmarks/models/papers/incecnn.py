"""InceCNN: parallel convolutions whose outputs are concatenated (docs/design.md, "The papers' networks and recipe")."""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from benchmarks.models.architecture import MODELS
from benchmarks.models.papers.layers import NamedNet, NetSettings, Norm, conv_block, initialise, pooled_size, scaled

_STEM = (64, 128, 256)
_KERNEL_SIZES = (1, 3, 5)
_BLOCKS = ((256, 256, 64), (512, 512, 64), (512, 512, 64))
_POOLINGS = 3


class InceCNNSettings(NetSettings):
    """Settings of InceCNN, whose only dropout stands before its only linear layer."""

    dropout: float = Field(default=0.4, ge=0, lt=1)


class InceptionBlock(nn.Module):
    """Parallel 1x1, 3x3 and 5x5 convolutions of one input, concatenated.

    Args:
        inputs: Channels of the input.
        kernels: Kernels of each of the three convolutions.
        norm: What follows each convolution.
    """

    def __init__(self, inputs: int, kernels: tuple[int, ...], *, norm: Norm) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            conv_block(inputs, count, kernel_size=size, norm=norm)
            for size, count in zip(_KERNEL_SIZES, kernels, strict=True)
        )

    def forward(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch kernels height width"]:
        """Return the branches' outputs side by side."""
        return torch.cat([branch(images) for branch in self.branches], dim=1)


class InceCNN(nn.Module):
    """Three 3x3 convolutions and three inception blocks with 3200 kernels in all, three poolings, one linear layer.

    Args:
        settings: Width, norm, dropout.
        n_classes: The number of classes N.
        input_shape: Channels, height and width of the images; 8x8 at least.
    """

    def __init__(self, settings: InceCNNSettings, *, n_classes: int, input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        pooled_size("incecnn", input_shape, poolings=_POOLINGS)
        layers: list[nn.Module] = []
        channels = input_shape[0]
        for kernels in _STEM:
            layers.append(conv_block(channels, scaled(kernels, settings.width), norm=settings.norm))
            channels = scaled(kernels, settings.width)
        for block in _BLOCKS:
            counts = tuple(scaled(kernels, settings.width) for kernels in block)
            layers += [nn.MaxPool2d(2), InceptionBlock(channels, counts, norm=settings.norm)]
            channels = sum(counts)
        self.features = nn.Sequential(*layers)
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.dropout = nn.Dropout(settings.dropout)
        self.classifier = nn.Linear(channels, n_classes)
        initialise(self)

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch n_classes"]:
        """Return the logits."""
        pooled = torch.flatten(self.pool(self.features(images)), 1)
        logits: Tensor = self.classifier(self.dropout(pooled))
        return logits


class _InceCNNArchitecture(NamedNet):
    description = "parallel 1x1, 3x3 and 5x5 convolutions, concatenated; settings: width, norm, dropout"
    settings_model = InceCNNSettings

    def poolings(self, settings: NetSettings) -> int:
        return _POOLINGS

    def build(
        self, member: str, settings: dict[str, object], *, n_classes: int, input_shape: tuple[int, int, int]
    ) -> nn.Module:
        parsed = InceCNNSettings.parse(settings, where="model 'incecnn'")
        return InceCNN(parsed, n_classes=n_classes, input_shape=input_shape)


MODELS.register("incecnn")(_InceCNNArchitecture())
