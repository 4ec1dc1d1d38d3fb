"""Pictures of any kind (files, PIL images, uint8 arrays and tensors) as the pixels that a network takes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import Image, ImageOps
from torch import Tensor

from splitters.data.normalisation import typed
from splitters.errors import DataError

Picture: TypeAlias = str | os.PathLike[str] | Image.Image | NDArray[np.generic] | Tensor
"""One image: a file, a PIL image, or uint8 pixels: a tensor ``[channel, height, width]``, an array
``[height, width, channel]`` or ``[height, width]`` (either order is recognised in both)."""

Pictures: TypeAlias = Picture | Sequence[Picture]
"""One image, a list of images, or a batch: a uint8 tensor or array with a leading axis."""

MAX_PIXELS = 50_000_000
"""Larger files are refused: a few kilobytes can decode to any size."""

# Formats that Pillow decodes by itself; others may start programs (EPS) or fetch files.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def to_batch(pictures: Pictures, shape: tuple[int, int, int]) -> UInt8[Tensor, "image channel height width"]:
    """Return images as a batch of pixels in a network's shape.

    Files are turned upright (EXIF) and transparent pixels become white. Grey becomes three equal channels, colour
    becomes luma (ITU-R 601). The image is stretched to the height and width, bilinearly, with anti-aliasing where it
    shrinks. Tensors and arrays of the right shape are taken as they are, on their device.

    Args:
        pictures: One image, a list of images, or a batch.
        shape: Image channels, height and width.

    Raises:
        DataError: If an image is no picture, cannot be decoded, or does not fit.
    """
    if isinstance(pictures, (str, os.PathLike, Image.Image)):
        return to_pixels(pictures, shape)[None]
    if isinstance(pictures, (Tensor, np.ndarray)):
        if pictures.ndim != 4:
            return to_pixels(pictures, shape)[None]
        if isinstance(pictures, Tensor) and pictures.dtype == torch.uint8 and pictures.shape[1:] == shape:
            return pictures
    if not isinstance(pictures, (Sequence, Tensor, np.ndarray)):
        raise DataError(f"{_EXPECTED}, not a {type(pictures).__name__}.")
    pixels = [to_pixels(picture, shape) for picture in pictures]
    return torch.stack(pixels) if pixels else torch.empty(0, *shape, dtype=torch.uint8)


def to_pixels(picture: Picture, shape: tuple[int, int, int]) -> UInt8[Tensor, "channel height width"]:
    """Return one image as pixels in a network's shape; see ``to_batch``."""
    if isinstance(picture, (Tensor, np.ndarray)):
        pixels = as_channels_first(picture)
        if pixels.shape == shape:
            return pixels
        device = pixels.device
        picture = _from_pixels(pixels.cpu())
    else:
        device = torch.device("cpu")
        picture = open_picture(picture)
    channels, height, width = shape
    if channels not in (1, 3):
        raise DataError(f"only pixels of {list(shape)} are taken: pictures have 1 or 3 channels, not {channels}.")
    picture = _convert(picture, _MODES[channels])
    if picture.size != (width, height):
        picture = picture.resize((width, height), Image.Resampling.BILINEAR)
    return _pixels_of(picture).to(device)


def open_picture(source: str | os.PathLike[str] | Image.Image) -> Image.Image:
    """Return a file's picture, upright, or a given picture.

    Raises:
        DataError: If there is no such file, or it cannot be decoded.
    """
    if isinstance(source, Image.Image):
        return ImageOps.exif_transpose(source)
    if not isinstance(source, (str, os.PathLike)):
        raise DataError(f"{_EXPECTED}, not a {type(source).__name__}.")
    path = Path(source)
    if not path.is_file():
        raise DataError(f"{path} is {'a folder; list its files' if path.is_dir() else 'no file'}.")
    try:
        with Image.open(path, formats=_FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise DataError(f"{path}: {picture.width} x {picture.height} pixels; at most {MAX_PIXELS} are decoded.")
            return ImageOps.exif_transpose(picture)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, OSError, SyntaxError, ValueError) as error:
        raise DataError(f"{path}: the image cannot be decoded ({error}).") from error


def natural_shape(picture: Image.Image) -> tuple[int, int, int]:
    """Return a picture's own channels (1 for grey, else 3), height and width."""
    return (1 if picture.mode in ("1", "L", "LA") or picture.mode.startswith("I") else 3), picture.height, picture.width


def as_channels_first(pixels: Tensor | NDArray[np.generic]) -> UInt8[Tensor, "channel height width"]:
    """Return one image's uint8 pixels as ``[channel, height, width]``.

    Raises:
        DataError: If they are not uint8, or not one image.
    """
    is_tensor = isinstance(pixels, Tensor)
    tensor = pixels if isinstance(pixels, Tensor) else torch.from_numpy(np.array(_numeric(pixels)))
    if tensor.dtype != torch.uint8:
        way_out = "; normalised floats are taken with normalised=True" if tensor.is_floating_point() else ""
        raise DataError(f"pixels are uint8, 0 to 255, not {typed(tensor)}{way_out}.")
    if tensor.dim() == 2:
        return tensor[None]
    if tensor.dim() == 3 and tensor.numel():
        first, last = tensor.shape[0] in _MODES, tensor.shape[2] in _MODES
        if first and (is_tensor or not last):
            return tensor
        if last:
            return tensor.permute(2, 0, 1).contiguous()
    raise DataError(f"an image is [channel, height, width] or [height, width, channel], not {typed(tensor)}.")


_EXPECTED = "images are files, PIL images, uint8 arrays or tensors, or lists of these"


def _numeric(array: NDArray[np.generic]) -> NDArray[np.generic]:
    if array.dtype.kind not in "biuf":
        raise DataError(f"{_EXPECTED}, not an array of {array.dtype}.")
    return array.astype(np.int64) if array.dtype.kind == "u" and array.dtype.itemsize > 1 else array


def _from_pixels(pixels: UInt8[Tensor, "channel height width"]) -> Image.Image:
    array = pixels.permute(1, 2, 0).numpy()
    return Image.fromarray(np.ascontiguousarray(array[:, :, 0] if array.shape[2] == 1 else array))


def _convert(picture: Image.Image, mode: str) -> Image.Image:
    if picture.mode == mode:
        return picture
    if picture.mode == "F":
        raise DataError("the image has floating-point pixels, whose range is unknown; give 8 or 16 bits per channel.")
    if picture.mode.startswith("I"):
        # convert() would clip 16-bit grey, not scale it.
        picture = Image.fromarray((np.asarray(picture).clip(0, 65535) // 257).astype(np.uint8))
    elif picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert(mode)


def _pixels_of(picture: Image.Image) -> UInt8[Tensor, "channel height width"]:
    pixels = torch.from_numpy(np.array(picture))
    return pixels[None] if pixels.dim() == 2 else pixels.permute(2, 0, 1).contiguous()
