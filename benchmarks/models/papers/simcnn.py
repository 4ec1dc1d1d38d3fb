"""SimCNN: thirteen convolutions in a row, as in VGG16 (docs/design.md, "The papers' networks and recipe")."""

from __future__ import annotations

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor, nn

from benchmarks.models.architecture import MODELS
from benchmarks.models.papers.layers import NamedNet, NetSettings, conv_block, initialise, pooled_size, scaled

_STAGES = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))


class SimCNNSettings(NetSettings):
    """Settings of SimCNN.

    Args:
        features: Width F of the two hidden linear layers, before ``width`` scales it: 4096 in the 2023 work, 512 in
            that of 2022.
    """

    features: int = Field(default=4096, ge=1)


class SimCNN(nn.Module):
    """Thirteen 3x3 convolutions with 4224 kernels, five poolings, three linear layers.

    Args:
        settings: Width, norm, dropout, features.
        n_classes: The number of classes N.
        input_shape: Channels, height and width of the images; 32x32 at least.
    """

    def __init__(self, settings: SimCNNSettings, *, n_classes: int, input_shape: tuple[int, int, int]) -> None:
        super().__init__()
        pixels = pooled_size("simcnn", input_shape, poolings=len(_STAGES))
        layers: list[nn.Module] = []
        channels = input_shape[0]
        for stage in _STAGES:
            for kernels in stage:
                layers.append(conv_block(channels, scaled(kernels, settings.width), norm=settings.norm))
                channels = scaled(kernels, settings.width)
            layers.append(nn.MaxPool2d(2))
        hidden = scaled(settings.features, settings.width)
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Dropout(settings.dropout),
            nn.Linear(channels * pixels, hidden),
            nn.ReLU(inplace=True),
            nn.Dropout(settings.dropout),
            nn.Linear(hidden, hidden),
            nn.ReLU(inplace=True),
            nn.Linear(hidden, n_classes),
        )
        initialise(self)

    def forward(self, images: Float[Tensor, "batch channel height width"]) -> Float[Tensor, "batch n_classes"]:
        """Return the logits."""
        logits: Tensor = self.classifier(torch.flatten(self.features(images), 1))
        return logits


class _SimCNNArchitecture(NamedNet):
    description = "13 convolutions in a row, as in VGG16; settings: width, features, norm, dropout"
    settings_model = SimCNNSettings

    def poolings(self, settings: NetSettings) -> int:
        return len(_STAGES)

    def build(
        self, member: str, settings: dict[str, object], *, n_classes: int, input_shape: tuple[int, int, int]
    ) -> nn.Module:
        parsed = SimCNNSettings.parse(settings, where="model 'simcnn'")
        return SimCNN(parsed, n_classes=n_classes, input_shape=input_shape)


MODELS.register("simcnn")(_SimCNNArchitecture())
