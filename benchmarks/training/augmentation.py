"""Augmentation of whole batches on their device: random crops and horizontal flips."""

from __future__ import annotations

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional


def augment(
    images: UInt8[Tensor, "batch channel height width"], *, padding: int, flip: bool, generator: torch.Generator
) -> UInt8[Tensor, "batch channel height width"]:
    """Return each image shifted at random by up to ``padding`` pixels, and flipped with probability 1/2.

    Pixels from outside the image are black, as in a random crop of the padded image.

    Args:
        images: A batch, on any device.
        padding: The largest shift; 0 turns shifts off.
        flip: Whether images are flipped.
        generator: A generator on the CPU, so that draws are the same for every device.
    """
    if not padding and not flip:
        return images
    count, _, height, width = images.shape
    shifts = torch.randint(0, 2 * padding + 1, (2, count, 1), generator=generator)
    rows = shifts[0] + torch.arange(height)
    columns = shifts[1] + torch.arange(width)
    if flip:
        flipped = torch.rand((count, 1), generator=generator) < 0.5
        columns = torch.where(flipped, columns.flip(1), columns)
    padded = functional.pad(images, (padding, padding, padding, padding)).permute(0, 2, 3, 1).contiguous()
    batch = torch.arange(count, device=images.device)
    # With the channels last, a pixel is contiguous in memory, and the result is in channels_last order.
    shifted = padded[batch[:, None, None], rows.to(images.device)[:, :, None], columns.to(images.device)[:, None, :]]
    return shifted.permute(0, 3, 1, 2)
