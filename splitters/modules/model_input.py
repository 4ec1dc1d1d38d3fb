"""From images of any kind to a network's normalised input, for predictions and for a loader of one's own."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from jaxtyping import Float, UInt8
from PIL import Image
from torch import Tensor, nn

from splitters.data.normalisation import typed
from splitters.data.pictures import Pictures, fitted, open_picture, to_batch
from splitters.errors import DataError
from splitters.modules.input_adapter import InputForm

if TYPE_CHECKING:
    from torchvision.transforms.v2 import Transform

_FAR = 10
"""Normalised floats may be that many times what pixels become: images are also made otherwise, as by noise."""

_BATCH = 256
"""Images per forward pass of a prediction."""


def model_input(
    images: Pictures, form: InputForm, *, normalised: bool
) -> UInt8[Tensor, "image channel height width"] | Float[Tensor, "image channel height width"]:
    """Return images as a batch in a network's shape: bytes to be normalised, or floats that are normalised already.

    Args:
        images: See ``splitters.data.pictures.to_batch``; if ``normalised``, floats of the network's shape: a tensor,
            an array, or a list of them, with or without a batch axis.
        form: The network's input.
        normalised: Whether the images are normalised floats.

    Raises:
        DataError: If the images are of another kind, or do not fit.
    """
    if not normalised:
        return to_batch(images, form.shape)
    batch = _stacked(images, form) if isinstance(images, list | tuple) else _tensor(images)
    batch = batch[None] if batch.dim() == 3 else batch
    if not batch.is_floating_point() or batch.shape[1:] != form.shape:
        raise DataError(
            f"normalised images are floats [image, {', '.join(map(str, form.shape))}] for this model, "
            f"not {typed(batch)}; uint8 images of any size are taken without normalised=True."
        )
    _check_range(batch, form)
    return batch


def _stacked(images: Sequence[object], form: InputForm) -> Tensor:
    tensors = [_tensor(image) for image in images]
    shapes = {tuple(tensor.shape): list(tensor.shape) for tensor in tensors}
    if len(shapes) > 1:
        first, second, *_ = shapes.values()
        raise DataError(f"normalised images are all of one shape, {list(form.shape)} here, not {first} and {second}.")
    return torch.stack(tensors) if tensors else torch.empty(0, *form.shape)


def _check_range(batch: Tensor, form: InputForm) -> None:
    """Refuse floats far outside of what pixels become: bytes as floats, above all."""
    if not bool(batch.isfinite().all()):
        raise DataError("the images hold NaN or infinity, which no pixel becomes; look at what normalises them.")
    statistics = zip(form.normalisation.mean, form.normalisation.std, strict=True)
    ends = [(value - mean) / std for mean, std in statistics for value in (0, 1)]
    if batch.numel() and float(batch.abs().max()) > _FAR * max(1, *map(abs, ends)):
        raise DataError(
            f"floats from {float(batch.min()):.3g} to {float(batch.max()):.3g} are not normalised; this model's input "
            f"is from {min(ends):.3g} to {max(ends):.3g}. Give images as uint8, without normalised=True."
        )


@torch.no_grad()
def run_on_images(
    network: nn.Module, images: Pictures, form: InputForm, *, normalised: bool
) -> Float[Tensor, "image ..."]:
    """Return a network's output for images of any kind, computed on the network's device, on the images' device.

    Args:
        network: Takes normalised images.
        images: See ``model_input``.
        form: The network's input.
        normalised: See ``model_input``.

    Raises:
        DataError: If the images are of another kind, or do not fit.
    """
    batch = model_input(images, form, normalised=normalised)
    device = next((tensor.device for tensor in network.state_dict().values()), torch.device("cpu"))
    outputs = []
    # The output's shape is that for one image, as a forward with views does not take none.
    parts = batch.split(_BATCH) if len(batch) else [batch.new_zeros(1, *form.shape)]
    for part in parts:
        part = part.to(device)
        outputs.append(network(part.float() if normalised else form.normalisation(part)))
    return torch.cat(outputs)[: len(batch)].to(batch.device)


def loader_transform(form: InputForm) -> Transform:
    """Return the torchvision transform that turns a PIL image into a network's input, as predictions do."""
    from torchvision.transforms import v2

    channels, height, width = form.shape
    if channels not in (1, 3):
        raise DataError(f"pictures have 1 or 3 channels, but this network takes {channels}.")
    return v2.Compose(
        [
            v2.Lambda(functools.partial(_fit, shape=form.shape), Image.Image),
            v2.Grayscale() if channels == 1 else v2.RGB(),
            v2.Resize((height, width), antialias=True),
            v2.ToImage(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(form.normalisation.mean, form.normalisation.std),
        ]
    )


def _fit(picture: Image.Image, shape: tuple[int, int, int]) -> Image.Image:
    return fitted(open_picture(picture), shape)


def _tensor(image: Any) -> Tensor:
    if not isinstance(image, Tensor | np.ndarray):
        raise DataError(f"normalised images are floats in a tensor or an array, not a {type(image).__name__}.")
    return image if isinstance(image, Tensor) else torch.from_numpy(np.array(image))
