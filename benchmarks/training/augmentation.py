"""Augmentation of whole batches on their device: random crops and horizontal flips."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Int64, UInt8
from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Augmentation:
    """Shifts each image at random by up to ``padding`` pixels, and flips it with probability 1/2.

    Pixels from outside the image are black, as in a random crop of the padded image.

    Args:
        padding: The largest shift; 0 turns shifts off.
        flip: Whether images are flipped.
    """

    padding: int
    flip: bool

    def draw(self, count: int, generator: torch.Generator) -> Int64[Tensor, "batch 3"]:
        """Return what happens to each image of a batch: its shift down and to the right, and whether it is flipped.

        Args:
            count: The number of images.
            generator: A generator on the CPU, so that draws are the same for every device.
        """
        draws = torch.zeros(count, 3, dtype=torch.int64)
        if self.padding or self.flip:
            draws[:, :2] = torch.randint(0, 2 * self.padding + 1, (2, count, 1), generator=generator)[..., 0].T
        if self.flip:
            draws[:, 2:] = torch.rand((count, 1), generator=generator) < 0.5
        return draws

    def __call__(
        self, images: UInt8[Tensor, "batch channel height width"], draws: Int64[Tensor, "batch 3"]
    ) -> UInt8[Tensor, "batch channel height width"]:
        """Return a batch of images augmented as drawn; all work is done on their device, which holds the draws too."""
        if not self.padding and not self.flip:
            return images
        count, _, height, width = images.shape
        down, right, flipped = draws.unsqueeze(2).unbind(1)
        rows = down + torch.arange(height, device=images.device)
        columns = right + torch.arange(width, device=images.device)
        columns = torch.where(flipped > 0, columns.flip(1), columns)
        padded = functional.pad(images, [self.padding] * 4).permute(0, 2, 3, 1).contiguous()
        batch = torch.arange(count, device=images.device)
        # With the channels last, a pixel is contiguous in memory, and the result is in channels_last order.
        return padded[batch[:, None, None], rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)
