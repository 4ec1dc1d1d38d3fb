"""From an encoded image to the bytes that a network is given."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from benchmarks.data.sources.source import EncodedImage
from splitters.errors import DataError

MAX_PIXELS = 50_000_000
"""Larger images are refused: a file of some kilobytes can unfold to any size."""

# Formats that Pillow decodes by itself; others may start programs (EPS) or fetch files.
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
_MODES = {1: "L", 3: "RGB"}
_DAMAGE = (OSError, SyntaxError, ValueError, EOFError, struct.error, zlib.error, IndexError, OverflowError)


def decode_image(image: EncodedImage, *, input_shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    """Returns an image as ``[channel, height, width]``.

    Grey becomes three equal channels, colour becomes luma (ITU-R 601), transparency is dropped; the image is stretched
    to the height and width, bilinearly, and with antialiasing where it shrinks.

    Args:
        image: A file's bytes, or pixels.
        input_shape: Channels (1 or 3), height and width.

    Raises:
        DataError: If it cannot be decoded.
    """
    channels, height, width = input_shape
    try:
        picture = _open(image)
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
    picture = Image.open(io.BytesIO(image), formats=_FORMATS)
    if picture.width * picture.height > MAX_PIXELS:
        raise DataError(
            f"the image is too large ({picture.width} x {picture.height}); at most {MAX_PIXELS} pixels are decoded."
        )
    return picture


def _convert(picture: Image.Image, mode: str) -> Image.Image:
    if picture.mode == mode:
        return picture
    if picture.mode == "F":
        raise ValueError("its pixels are floating-point numbers, whose range is unknown")
    if picture.mode.startswith("I"):
        # 16-bit grey, which convert() would clip instead of scale.
        picture = Image.fromarray((np.asarray(picture).clip(0, 65535) // 257).astype(np.uint8))
    elif picture.mode == "P" and "transparency" in picture.info:
        picture = picture.convert("RGBA")
    return picture.convert(mode)
