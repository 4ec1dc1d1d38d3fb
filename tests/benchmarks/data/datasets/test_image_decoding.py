"""From encoded images to bytes of one shape."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image

from benchmarks.data.datasets.decoding import decode_image
from splitters.data.pictures import open_picture, to_pixels
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


def test_transparent_pixels_are_blended_with_white() -> None:
    black = Image.new("RGBA", (3, 1))
    for column, alpha in enumerate((0, 102, 255)):
        black.putpixel((column, 0), (0, 0, 0, alpha))
    assert decode_image(_encode(black), input_shape=(3, 1, 3)).tolist() == [[[255, 153, 0]]] * 3
    assert decode_image(_encode(black.convert("LA")), input_shape=(1, 1, 3)).tolist() == [[[255, 153, 0]]]
    assert decode_image(np.asarray(black), input_shape=(1, 1, 3)).tolist() == [[[255, 153, 0]]]


@pytest.mark.parametrize("kind", ["WEBP", "TIFF"])
def test_transparency_is_white_in_every_format_that_has_it(kind: str) -> None:
    options = {"lossless": True} if kind == "WEBP" else {}
    data = _encode(Image.new("RGBA", (2, 2), (0, 0, 0, 0)), kind, **options)
    assert np.unique(decode_image(data, input_shape=(3, 2, 2))).tolist() == [255]


def test_a_transparent_palette_entry_is_white() -> None:
    palette = Image.new("P", (2, 1))
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.putpixel((1, 0), 1)
    opaque = [[[255, 10]], [[255, 20]], [[255, 30]]]
    assert decode_image(_encode(palette, transparency=b"\x00\xff"), input_shape=(3, 1, 2)).tolist() == opaque
    assert decode_image(_encode(palette, "GIF", transparency=0), input_shape=(3, 1, 2)).tolist() == opaque


@pytest.mark.parametrize(
    ("mode", "colours", "expected"),
    [("L", (0, 90), [255, 90]), ("RGB", ((0, 0, 0), (90, 90, 90)), [255, 90]), ("1", (0, 1), [255, 255])],
)
def test_a_colour_that_stands_for_transparency_is_white(
    mode: str, colours: tuple[int | tuple[int, ...], ...], expected: list[int]
) -> None:
    image = Image.new(mode, (2, 1), colours[0])
    image.putpixel((1, 0), colours[1])
    assert decode_image(_encode(image, transparency=colours[0]), input_shape=(1, 1, 2)).tolist() == [[expected]]


def test_a_transparent_value_of_sixteen_bit_grey_is_white() -> None:
    image = Image.fromarray(np.array([[0, 257 * 100]], dtype=np.uint16))
    assert decode_image(_encode(image, transparency=0), input_shape=(1, 1, 2)).tolist() == [[[255, 100]]]


@pytest.mark.parametrize(
    ("data", "cause"),
    [
        (b"", "it has no bytes"),
        (
            b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
            "a Git LFS pointer, not an image; .*lfs pull.*",
        ),
        (b"<html>no such image</html>", "a web page, not an image; .*"),
        (b"%PDF-1.7", "it begins like no PNG, JPEG, .*AVIF"),
    ],
)
def test_the_reason_says_what_a_file_is_instead_of_an_image(data: bytes, cause: str, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(data)
    with pytest.raises(DataError, match=rf"^the image cannot be decoded \({cause}\)\.$"):
        decode_image(data, input_shape=(3, 2, 2))
    with pytest.raises(DataError, match=rf"a\.png: the image cannot be decoded \({cause}\)\.$"):
        open_picture(tmp_path / "a.png")


_UPRIGHT = np.arange(6, dtype=np.uint8).reshape(2, 3) * 40
_STORED = {
    1: _UPRIGHT,
    2: _UPRIGHT[:, ::-1],
    3: _UPRIGHT[::-1, ::-1],
    4: _UPRIGHT[::-1],
    5: _UPRIGHT.T,
    6: np.rot90(_UPRIGHT, 1),
    7: _UPRIGHT[::-1, ::-1].T,
    8: np.rot90(_UPRIGHT, -1),
}
"""An image as cameras store it, by the value of the EXIF orientation."""


@pytest.mark.parametrize("orientation", _STORED)
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_images_are_turned_upright_as_their_exif_orientation_says(kind: str, orientation: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    image = Image.fromarray(_STORED[orientation].copy())
    data = _encode(image.convert("RGB") if kind == "WEBP" else image, kind, exif=exif, **options)
    assert decode_image(data, input_shape=(1, 2, 3)).tolist() == [_UPRIGHT.tolist()]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("orientation", [None, 2, 6])
@pytest.mark.parametrize(
    ("mode", "transparency"), [("L", 0), ("RGB", (0, 0, 0)), ("P", 0), ("LA", None), ("RGBA", None), ("I;16", 0)]
)
def test_a_prediction_sees_the_pixels_that_a_training_sees(
    mode: str, transparency: object, orientation: int | None, channels: int
) -> None:
    exif = Image.Exif()
    if orientation is not None:
        exif[ExifTags.Base.Orientation] = orientation
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 4), dtype=np.uint8)
    pixels[0] = 0
    colour = Image.fromarray(pixels)
    image = Image.fromarray(pixels[..., 0] * np.uint16(256)) if mode == "I;16" else colour.convert(mode)
    data = _encode(image, exif=exif, **({} if transparency is None else {"transparency": transparency}))
    decoded = decode_image(data, input_shape=(channels, 6, 6))
    opened = open_picture(Image.open(io.BytesIO(data)))
    assert to_pixels(opened, (channels, 6, 6)).tolist() == decoded.tolist()


def test_a_camera_photo_is_turned_before_it_is_stretched() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    stored = np.zeros((32, 64), dtype=np.uint8)
    stored[:, :32] = 255  # The left half, which is the upper half once the photo is upright.
    decoded = decode_image(_encode(Image.fromarray(stored), "JPEG", exif=exif, quality=95), input_shape=(1, 8, 8))
    assert decoded[0, 0].min() > 250
    assert decoded[0, 7].max() < 5


@pytest.mark.parametrize("exif", [b"Exif\x00\x00MM\x00*\x00\x00", b"Exif\x00\x00garbage", b"x"])
def test_damaged_exif_data_does_not_lose_the_image(exif: bytes) -> None:
    data = _encode(Image.new("L", (8, 8), 90), "JPEG", exif=exif)
    assert np.unique(decode_image(data, input_shape=(1, 8, 8))).tolist() == [90]


def test_an_orientation_that_does_not_exist_is_ignored() -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 9
    assert decode_image(_encode(Image.new("L", (2, 2), 90), exif=exif), input_shape=(1, 2, 2)).max() == 90


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
