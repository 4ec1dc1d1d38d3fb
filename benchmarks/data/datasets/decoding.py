"""From an encoded image to the bytes that a network is given."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from benchmarks.data.sources.source import IMAGE_FORMATS, EncodedImage
from splitters.errors import DataError

MAX_PIXELS = 50_000_000
"""Larger images are refused: a file of some kilobytes can unfold to any size."""

_MODES = {1: "L", 3: "RGB"}
_WHITE_16_BIT = 65535
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""How an image is turned upright, by the value of its EXIF orientation."""
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError, OverflowError)


def decode_image(image: EncodedImage, *, input_shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Return an image as ``[channel, height, width]``.

    The image is turned upright as its EXIF orientation says, and transparent pixels are blended with white. Grey
    becomes three equal channels, colour becomes luma (ITU-R 601). The image is then stretched to the height and width,
    bilinearly, with antialiasing where it shrinks.

    Args:
        image: A file's bytes, or pixels.
        input_shape: Channels (1 or 3), height and width.

    Raises:
        DataError: If it cannot be decoded.
    """
    channels, height, width = input_shape
    try:
        picture = _turn_upright(_open(image))
        picture = _convert(picture, _MODES[channels])
        if picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling.BILINEAR)
        pixels = np.asarray(picture)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"the image is too large ({error}); at most {MAX_PIXELS} pixels are decoded.") from error
    except _DAMAGE as error:
        raise DataError(f"the image cannot be decoded ({error}).") from error
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)


def _open(image: EncodedImage) -> Image.Image:
    if isinstance(image, np.ndarray):
        return Image.fromarray(image)
    picture = Image.open(io.BytesIO(image), formats=IMAGE_FORMATS)
    if picture.width * picture.height > MAX_PIXELS:
        raise DataError(
            f"the image is too large ({picture.width} x {picture.height}); at most {MAX_PIXELS} pixels are decoded."
        )
    return picture


def _turn_upright(picture: Image.Image) -> Image.Image:
    # The pixels come first: some formats keep their EXIF data behind them, and TIFF images turn themselves.
    picture.load()
    try:
        orientation = picture.getexif().get(ExifTags.Base.Orientation)
    except _DAMAGE:
        return picture  # Damaged EXIF data says nothing about the pixels.
    transposition = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return picture if transposition is None else picture.transpose(transposition)


def _convert(picture: Image.Image, mode: str) -> Image.Image:
    if picture.mode == "F":
        raise ValueError("its pixels are floating-point numbers, whose range is unknown")
    if picture.mode.startswith("I"):
        return _from_16_bit(picture).convert(mode)
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture).convert("RGB")
    return picture if picture.mode == mode else picture.convert(mode)


def _from_16_bit(picture: Image.Image) -> Image.Image:
    """Return 16-bit grey as 8-bit grey; Pillow's own conversion would clip instead of scale."""
    pixels = np.asarray(picture).clip(0, _WHITE_16_BIT)
    transparent = picture.info.get("transparency")
    if isinstance(transparent, int):
        pixels = np.where(pixels == transparent, _WHITE_16_BIT, pixels)
    return Image.fromarray((pixels // 257).astype(np.uint8))
