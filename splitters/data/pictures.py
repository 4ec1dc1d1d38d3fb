"""Pictures of any kind (files, PIL images, uint8 arrays and tensors) as the pixels that a network takes."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import UInt8
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError
from torch import Tensor

from splitters.data.normalisation import typed
from splitters.data.stand_ins import describe_stand_in, read_start
from splitters.errors import DataError

Picture: TypeAlias = str | os.PathLike[str] | Image.Image | NDArray[np.generic] | Tensor
"""One image: a file, a PIL image, or uint8 pixels: a tensor ``[channel, height, width]``, an array
``[height, width, channel]`` or ``[height, width]`` (either order is recognised in both)."""

Pictures: TypeAlias = Picture | Sequence[Picture]
"""One image, a list of images, or a batch: a uint8 tensor or array with a leading axis."""

MAX_PIXELS = 50_000_000
"""Larger files are refused: a few kilobytes can decode to any size."""

IMAGE_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM", "JPEG2000", "AVIF")
"""Formats of image files: those that Pillow decodes by itself; others start programs (EPS) or fetch files."""

DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError, OverflowError)
"""What Pillow raises for damaged files."""

_SIXTEEN_BIT_FORMATS = ("PNG", "PPM", "JPEG2000")
"""Formats whose pixels have at most 16 bits, even where Pillow opens them as 32-bit integers."""
_MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}
_UNKNOWN_RANGES = {"F": "floating-point", "I": "32-bit integer"}
_WHITE_16_BIT = 65535
_TURNED = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How an image is turned upright, by the value of its EXIF orientation."""
_EXIF_KEYS = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")
"""Where Pillow keeps what an orientation is read from."""


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
    if not isinstance(pictures, (Sequence, Tensor, np.ndarray)) or isinstance(pictures, (bytes, bytearray)):
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
    if shape[0] not in (1, 3):
        raise DataError(f"only pixels of {list(shape)} are taken: pictures have 1 or 3 channels, not {shape[0]}.")
    pixels = torch.from_numpy(np.array(fitted(picture, shape)))
    return (pixels[None] if pixels.dim() == 2 else pixels.permute(2, 0, 1).contiguous()).to(device)


def fitted(picture: Image.Image, shape: tuple[int, int, int]) -> Image.Image:
    """Return an upright picture with a network's channels (1 or 3), height and width; see ``to_batch``."""
    channels, height, width = shape
    if 0 in picture.size:
        raise DataError(f"the image has no pixels: it is {picture.width} x {picture.height}.")
    picture = _convert(picture, _MODES[channels])
    return picture if picture.size == (width, height) else picture.resize((width, height), Image.Resampling.BILINEAR)


def upright(picture: Image.Image) -> Image.Image:
    """Return a picture turned as its EXIF orientation says, with its pixels loaded; a second call changes nothing."""
    # The pixels come first: some formats keep their EXIF data behind them, and TIFF images turn themselves.
    picture.load()
    if picture.mode == "I" and picture.format in _SIXTEEN_BIT_FORMATS:
        picture = picture.convert("I;16")
    try:
        orientation = picture.getexif().get(ExifTags.Base.Orientation)
    except DAMAGE:
        return picture  # Damaged EXIF data says nothing about the pixels.
    transposition = _TURNED.get(orientation) if isinstance(orientation, int) else None
    if transposition is None:
        return picture
    turned = picture.transpose(transposition)
    for key in _EXIF_KEYS:
        turned.info.pop(key, None)
    return turned


def open_picture(source: str | os.PathLike[str] | Image.Image) -> Image.Image:
    """Return a file's picture, upright, or a given picture.

    Raises:
        DataError: If there is no such file, or it cannot be decoded.
    """
    if isinstance(source, Image.Image):
        try:
            return upright(source)
        except DAMAGE as error:
            raise DataError(f"the image cannot be decoded ({error}).") from error
    if not isinstance(source, (str, os.PathLike)):
        raise DataError(f"{_EXPECTED}, not a {type(source).__name__}.")
    path = Path(source)
    if not path.is_file():
        raise DataError(f"{path} is {'a folder; list its files' if path.is_dir() else 'no file'}.")
    try:
        with Image.open(path, formats=IMAGE_FORMATS) as picture:
            if picture.width * picture.height > MAX_PIXELS:
                raise DataError(f"{path}: {picture.width} x {picture.height} pixels; at most {MAX_PIXELS} are decoded.")
            return upright(picture)
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: {describe_unidentified(read_start(path))}") from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, *DAMAGE) as error:
        raise DataError(f"{path}: the image cannot be decoded ({error}).") from error


@dataclass(frozen=True)
class PictureHeader:
    """What a file says about its picture before it is decoded.

    Args:
        is_coloured: The picture has colours.
        is_animated: The file holds several pictures, of which the first is read.
    """

    is_coloured: bool = False
    is_animated: bool = False


def read_header(path: Path) -> PictureHeader:
    """Return what a file says about its picture; of a damaged one, which cannot be opened either, nothing."""
    try:
        with Image.open(path, formats=IMAGE_FORMATS) as picture:
            # Photographs of phones (MPO) hold a second picture for the display alone.
            is_animated = picture.format != "MPO" and bool(getattr(picture, "is_animated", False))
            return PictureHeader(natural_shape(picture)[0] == 3, is_animated)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, *DAMAGE):
        return PictureHeader()


def describe_unidentified(data: bytes) -> str:
    """Return why Pillow takes a file for no image.

    Args:
        data: The file's bytes, or the first of them.
    """
    if not data:
        return "the image cannot be decoded (it has no bytes)."
    cause = describe_stand_in(data, expected="an image")
    return f"the image cannot be decoded ({cause or 'it begins like no ' + ', '.join(IMAGE_FORMATS)})."


def natural_shape(picture: Image.Image) -> tuple[int, int, int]:
    """Return a picture's own channels (1 for grey, else 3), height and width."""
    return (1 if picture.mode in ("1", "L", "LA") or picture.mode.startswith("I") else 3), picture.height, picture.width


def as_channels_first(pixels: Tensor | NDArray[np.generic]) -> UInt8[Tensor, "channel height width"]:
    """Return one image's uint8 pixels as ``[channel, height, width]``.

    Raises:
        DataError: If they are not uint8, or not one image.
    """
    is_tensor = isinstance(pixels, Tensor)
    dtype = str(pixels.dtype).removeprefix("torch.")
    if dtype != "uint8":
        if not is_tensor and pixels.dtype.kind not in "biuf":  # type: ignore[union-attr]
            raise DataError(f"{_EXPECTED}, not an array of {dtype}.")
        way_out = "; normalised floats are taken with normalised=True" if "float" in dtype else ""
        raise DataError(f"pixels are uint8, 0 to 255, not {dtype} {list(pixels.shape)}{way_out}.")
    tensor = pixels if isinstance(pixels, Tensor) else torch.from_numpy(np.array(pixels))
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


def _from_pixels(pixels: UInt8[Tensor, "channel height width"]) -> Image.Image:
    array = pixels.permute(1, 2, 0).numpy()
    return Image.fromarray(np.ascontiguousarray(array[:, :, 0] if array.shape[2] == 1 else array))


def _convert(picture: Image.Image, mode: str) -> Image.Image:
    if picture.mode in _UNKNOWN_RANGES:
        kind = _UNKNOWN_RANGES[picture.mode]
        raise DataError(f"the image has {kind} pixels, whose range is unknown; give 8 or 16 bits per channel.")
    if picture.mode.startswith("I"):
        return _from_16_bit(picture).convert(mode)
    try:
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            white = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(white, picture).convert("RGB")
        return picture if picture.mode == mode else picture.convert(mode)
    except ValueError as error:
        raise DataError(f"images of mode {picture.mode!r} are not taken ({error}); convert it to 'RGB'.") from error


def _from_16_bit(picture: Image.Image) -> Image.Image:
    """Return 16-bit grey as 8-bit grey; Pillow's own conversion would clip instead of scale."""
    pixels = np.asarray(picture).clip(0, _WHITE_16_BIT)
    transparent = picture.info.get("transparency")
    if isinstance(transparent, int):
        pixels = np.where(pixels == transparent, _WHITE_16_BIT, pixels)
    return Image.fromarray((pixels // 257).astype(np.uint8))
