"""What a network's images look like, and how images made for one network are brought to another's form."""

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
    """The form of a network's images.

    Args:
        shape: Image channels, height and width.
        normalisation: How bytes become the network's input.
    """

    shape: tuple[int, int, int]
    normalisation: Normalisation

    def check_reachable(self, other: InputForm, *, what: str) -> None:
        """Checks that images of this form can be brought to another one.

        Args:
            other: The other form.
            what: Whose form the other one is, for the message.

        Raises:
            ConfigurationError: If they cannot: grey images become coloured ones, but nothing else changes channels.
        """
        if self.shape[0] not in (1, other.shape[0]):
            raise ConfigurationError(
                f"{what} takes images of {other.shape[0]} channels, but there are images of {self.shape[0]}; "
                "only grey images can be turned into images of more channels."
            )


class InputAdapter(nn.Module):
    """Brings normalised images from one network's form to another's: channels, size, normalisation.

    Sizes change by bilinear interpolation, with anti-aliasing where images shrink.

    Args:
        given: The form that images have.
        wanted: The form that they get; it must be reachable.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, given: InputForm, wanted: InputForm) -> None:
        super().__init__()
        self.size = wanted.shape[1:] if wanted.shape[1:] != given.shape[1:] else None
        self.channels = wanted.shape[0]
        self.is_identity = given == wanted
        given_mean, given_std = _columns(given.normalisation)
        mean, std = _columns(wanted.normalisation)
        self.register_buffer("scale", given_std / std, persistent=False)
        self.register_buffer("shift", (given_mean - mean) / std, persistent=False)

    def forward(
        self, images: Float[Tensor, "batch channel height width"]
    ) -> Float[Tensor, "batch wanted_channel wanted_height wanted_width"]:
        """Returns the images in the wanted form."""
        if self.is_identity:
            return images
        if self.size is not None:
            images = F.interpolate(images, self.size, mode="bilinear", antialias=True)
        return images.expand(-1, self.channels, -1, -1) * self.scale + self.shift


def _columns(normalisation: Normalisation) -> tuple[Tensor, Tensor]:
    mean, std = (torch.tensor(values, dtype=torch.float64) for values in (normalisation.mean, normalisation.std))
    return mean.view(1, -1, 1, 1).float(), std.view(1, -1, 1, 1).float()
