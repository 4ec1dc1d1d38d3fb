"""From encoded images to bytes of one shape."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from benchmarks.data.datasets.decoding import decode_image
from splitters.errors import DataError


def _encode(image: Image.Image, kind: str = "PNG", **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM", "WEBP"])
def test_lossless_colour_survives_unchanged(kind: str) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    options = {"lossless": True} if kind == "WEBP" else {}
    decoded = decode_image(_encode(Image.fromarray(pixels), kind, **options), input_shape=(3, 6, 5))
    assert np.array_equal(decoded, pixels.transpose(2, 0, 1))


def test_grey_becomes_three_equal_channels() -> None:
    decoded = decode_image(_encode(Image.new("L", (2, 2), 77)), input_shape=(3, 2, 2))
    assert decoded.tolist() == [[[77, 77], [77, 77]]] * 3


def test_colour_becomes_luma() -> None:
    decoded = decode_image(_encode(Image.new("RGB", (1, 1), (200, 100, 50))), input_shape=(1, 1, 1))
    assert decoded.tolist() == [[[round(0.299 * 200 + 0.587 * 100 + 0.114 * 50)]]]


def test_shrinking_averages_instead_of_picking() -> None:
    stripes = np.zeros((32, 32), dtype=np.uint8)
    stripes[:, ::2] = 255
    decoded = decode_image(stripes, input_shape=(1, 4, 4))
    assert int(np.abs(decoded.astype(int) - 127).max()) <= 8


def test_growing_keeps_a_flat_image_flat() -> None:
    assert np.unique(decode_image(np.full((8, 8), 90, dtype=np.uint8), input_shape=(1, 32, 32))).tolist() == [90]


def test_sixteen_bit_grey_is_scaled_not_clipped() -> None:
    image = Image.fromarray(np.array([[0, 257 * 100], [257 * 200, 65535]], dtype=np.uint16))
    assert decode_image(_encode(image), input_shape=(1, 2, 2)).tolist() == [[[0, 100], [200, 255]]]


def test_a_palette_with_transparency_and_an_alpha_channel_are_dropped() -> None:
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    expected = [[[10] * 2] * 2, [[20] * 2] * 2, [[30] * 2] * 2]
    assert decode_image(_encode(palette, transparency=b"\x00\x80"), input_shape=(3, 2, 2)).tolist() == expected
    assert decode_image(_encode(Image.new("RGBA", (2, 2), (10, 20, 30, 0))), input_shape=(3, 2, 2)).tolist() == expected


def test_floating_point_pixels_are_refused() -> None:
    image = Image.fromarray(np.zeros((2, 2), dtype=np.float32))
    with pytest.raises(DataError, match="floating-point"):
        decode_image(_encode(image, "TIFF"), input_shape=(1, 2, 2))


_GOOD = _encode(Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 9, 3), dtype=np.uint8)))


@pytest.mark.parametrize("data", [b"", b"\x00" * 100, b"<svg/>", b"%!PS-Adobe-3.0 EPSF-3.0\n", _GOOD[:-60], _GOOD[:20]])
def test_damaged_and_foreign_files_are_refused(data: bytes) -> None:
    with pytest.raises(DataError, match="the image cannot be decoded"):
        decode_image(data, input_shape=(3, 8, 8))


@pytest.mark.parametrize("side", [8_000, 30_000, 2**31 - 1])
def test_a_decompression_bomb_is_refused_before_it_unfolds(side: int) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
    bomb = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(100))) + chunk(b"IEND", b"")
    )
    with pytest.raises(DataError, match=r"the image is too large .*at most 50000000 pixels"):
        decode_image(bomb, input_shape=(1, 8, 8))
