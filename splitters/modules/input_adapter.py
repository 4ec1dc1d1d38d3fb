"""The shape and normalisation of a network's images, and the layer that adapts images made for another network."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from splitters.data import Normalisation
from splitters.errors import ConfigurationError


@dataclass(frozen=True, order=True)
class InputForm:
    """What a network's images look like.

    Args:
        shape: Image channels, height and width.
        normalisation: How bytes become the network's input.
    """

    shape: tuple[int, int, int]
    normalisation: Normalisation

    def check_adaptable(self, target: InputForm, *, name: str) -> None:
        """Check that images of this form can be adapted to another one: only grey images change their channels.

        Args:
            target: The other form.
            name: Whose form that is, for the message.

        Raises:
            ConfigurationError: If they cannot.
        """
        if self.shape[0] not in (1, target.shape[0]):
            raise ConfigurationError(
                f"{name} takes images of {target.shape[0]} channels, but these images have {self.shape[0]}; "
                "only grey images can be turned into images with more channels."
            )


class InputAdapter(nn.Module):
    """Adapts normalised images to another network: channels, size and normalisation.

    Images are resized bilinearly, with anti-aliasing where they shrink.

    Args:
        source: The form of the given images.
        target: The form to adapt to; see ``InputForm.check_adaptable``.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, source: InputForm, target: InputForm) -> None:
        super().__init__()
        self.size = target.shape[1:] if target.shape[1:] != source.shape[1:] else None
        self.channels = target.shape[0]
        self.is_identity = source == target
        source_mean, source_std = _as_columns(source.normalisation)
        mean, std = _as_columns(target.normalisation)
        self.register_buffer("scale", source_std / std, persistent=False)
        self.register_buffer("shift", (source_mean - mean) / std, persistent=False)

    def forward(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch target_channel target_height target_width"]:
        """Return the adapted images."""
        if self.is_identity:
            return images
        if self.size is not None:
            images = F.interpolate(images, self.size, mode="bilinear", antialias=True)
        return images.expand(-1, self.channels, -1, -1) * self.scale + self.shift


def _as_columns(normalisation: Normalisation) -> tuple[Float[Tensor, "1 channel 1 1"], Float[Tensor, "1 channel 1 1"]]:
    mean, std = (torch.tensor(values, dtype=torch.float64) for values in (normalisation.mean, normalisation.std))
    return mean.view(1, -1, 1, 1).float(), std.view(1, -1, 1, 1).float()
