"""From an encoded image to the bytes that a network is given."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from benchmarks.data.sources.source import EncodedImage
from splitters.data.pictures import DAMAGE, IMAGE_FORMATS, MAX_PIXELS, describe_unidentified, fitted, upright
from splitters.errors import DataError


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
    try:
        pixels = np.asarray(fitted(upright(_open(image)), input_shape))
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise DataError(f"the image is too large ({error}); at most {MAX_PIXELS} pixels are decoded.") from error
    except DAMAGE as error:
        raise DataError(f"the image cannot be decoded ({error}).") from error
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def _open(image: EncodedImage) -> Image.Image:
    if isinstance(image, np.ndarray):
        return Image.fromarray(image)
    try:
        picture = Image.open(io.BytesIO(image), formats=IMAGE_FORMATS)
    except UnidentifiedImageError as error:
        raise DataError(describe_unidentified(image)) from error
    if picture.width * picture.height > MAX_PIXELS:
        raise DataError(
            f"the image is too large ({picture.width} x {picture.height}); at most {MAX_PIXELS} pixels are decoded."
        )
    return picture
