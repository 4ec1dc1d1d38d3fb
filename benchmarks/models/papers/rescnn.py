"""ResCNN: twelve convolutions with three residual sums (docs/design.md, "The papers' networks and recipe")."""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from benchmarks.models.architecture import MODELS
from benchmarks.models.papers.layers import NamedNet, NetSettings, conv_block, initialise, pooled_size, scaled

_KERNELS = (64, 128, 128, 128, 256, 512, 512, 512, 512, 512, 512, 512)
_POOLED = frozenset({1, 4, 5, 8, 9})
_RESIDUAL_FROM = {3: 1, 7: 5, 11: 9}


class ResCNNSettings(NetSettings):
    """Settings of ResCNN, whose only dropout stands before its only linear layer."""

    dropout: float = Field(default=0.2, ge=0, lt=1)


class ResCNN(nn.Module):
    """Twelve 3x3 convolutions with 4288 kernels, five poolings, one linear layer.

    Convolutions 3, 7 and 11 add the pooled output of 1, 5 and 9, which ties their kernels.

    Args:
        settings: Width, norm, dropout.
        n_classes: The number of classes N.
        input_shape: Channels, height and width of the images; 32x32 at least.
    """

    def __init__(self, settings: ResCNNSettings, *, n_classes: int, input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        pixels = pooled_size("rescnn", input_shape, poolings=len(_POOLED))
        channels = input_shape[0]
        self.blocks = nn.ModuleList()
        for kernels in _KERNELS:
            self.blocks.append(conv_block(channels, scaled(kernels, settings.width), norm=settings.norm))
            channels = scaled(kernels, settings.width)
        self.pool = nn.MaxPool2d(2)
        self.dropout = nn.Dropout(settings.dropout)
        self.classifier = nn.Linear(channels * pixels, n_classes)
        initialise(self)

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch n_classes"]:
        """Return the logits."""
        outputs: list[Tensor] = []
        current = images
        for index, block in enumerate(self.blocks):
            current = block(current)
            if index in _POOLED:
                current = self.pool(current)
            if index in _RESIDUAL_FROM:
                current = current + outputs[_RESIDUAL_FROM[index]]
            outputs.append(current)
        logits: Tensor = self.classifier(self.dropout(torch.flatten(current, 1)))
        return logits


class _ResCNNArchitecture(NamedNet):
    description = "12 convolutions with three residual sums; settings: width, norm, dropout"
    settings_model = ResCNNSettings

    def poolings(self, settings: NetSettings) -> int:
        return len(_POOLED)

    def build(
        self, member: str, settings: dict[str, object], *, n_classes: int, input_shape: tuple[int, int, int]
    ) -> nn.Module:
        parsed = ResCNNSettings.parse(settings, where="model 'rescnn'")
        return ResCNN(parsed, n_classes=n_classes, input_shape=input_shape)


MODELS.register("rescnn")(_ResCNNArchitecture())
