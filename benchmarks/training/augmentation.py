"""Augmentation of whole batches where they lie: random crops and mirror images."""

from __future__ import annotations

import torch
from jaxtyping import UInt8
from torch import Tensor
from torch.nn import functional


def augment(
    images: UInt8[Tensor, "batch channel height width"], *, padding: int, flip: bool, generator: torch.Generator
) -> UInt8[Tensor, "batch channel height width"]:
    """Returns each image shifted at random by up to ``padding`` pixels, and mirrored with probability 1/2.

    What comes in from outside the image is black, as in a random crop of the padded image.

    Args:
        images: A batch, on any device.
        padding: The largest shift; 0 shifts nothing.
        flip: Whether images are mirrored.
        generator: A generator of the CPU, so that draws are the same on every device.
    """
    if not padding and not flip:
        return images
    count, _, height, width = images.shape
    shifts = torch.randint(0, 2 * padding + 1, (2, count, 1), generator=generator)
    rows = shifts[0] + torch.arange(height)
    columns = shifts[1] + torch.arange(width)
    if flip:
        mirrored = torch.rand((count, 1), generator=generator) < 0.5
        columns = torch.where(mirrored, columns.flip(1), columns)
    padded = functional.pad(images, (padding, padding, padding, padding)).permute(0, 2, 3, 1).contiguous()
    batch = torch.arange(count, device=images.device)
    # Indexed with the channels last, so that a pixel is one piece of memory and the result is in channels_last order.
    picked = padded[batch[:, None, None], rows.to(images.device)[:, :, None], columns.to(images.device)[:, None, :]]
    return picked.permute(0, 3, 1, 2)
