"""Decoded images in memory-mapped files, written once per content and shape."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeAlias

import numpy as np
import PIL
import torch
from numpy.typing import NDArray

from benchmarks.cache.file_locks import file_lock
from benchmarks.cache.numeric_environment import ComputeEnvironment
from benchmarks.cache.tensor_file import flush_to_disk, temporary_beside
from benchmarks.cells import content_hash
from benchmarks.data.datasets.decoding import decode_image
from benchmarks.data.sources.source import Contents, EncodedImage, Part, Source
from splitters.errors import DataError
from splitters.methods.protocol import Progress, ProgressCallback

_FORMAT = 2
"""Increased when the same files decode to other pixels, labels or class names."""

_STAGE = "data"
_IMAGES_PER_CHUNK = 128
_CHUNKS_PER_THREAD = 4

# Smaller images are decoded by one thread: Pillow holds the interpreter's lock for most of the time they take.
# Measured on 2 cores: 32x32 pixels are slower with two threads (x0.8), 128x128 faster (x1.4 to x1.9).
_SMALL_BYTES = 4096

_Chunk: TypeAlias = "list[tuple[int, EncodedImage]]"


@dataclass(frozen=True)
class DecodedPart:
    """Official train or test images.

    Args:
        images: ``[sample, channel, height, width]``, mapped into memory copy-on-write.
        labels: Class indices.
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]


@dataclass(frozen=True)
class Decoded:
    """A data set's decoded images.

    Args:
        class_names: The name of each class.
        train: The official training images.
        test: The official test images.
        content_hash: SHA-256, in hex, of images, labels and class names.
        seconds: Wall time of the decoding, whenever it was done.
        reused: Whether that was done earlier.
        computed_on: The machine and versions that did it.
    """

    class_names: tuple[str, ...]
    train: DecodedPart
    test: DecodedPart
    content_hash: str
    seconds: float
    reused: bool
    computed_on: ComputeEnvironment | None = None


def decode_once(
    source: Source,
    *,
    input_shape: tuple[int, int, int],
    folder: Path,
    progress: ProgressCallback,
    fingerprint: str | None = None,
) -> Decoded:
    """Return a source's decoded images; decode them into ``folder`` unless they are there.

    Args:
        source: The data set.
        input_shape: Channels, height and width of the decoded images.
        folder: Holds decoded images, in one sub-folder per content, shape and version of the decoder.
        progress: Called during decoding, and while another process decodes the same images.
        fingerprint: The source's fingerprint, if it is known.

    Raises:
        DataError: If the source is absent, incomplete or damaged; the message names the file and the row.
    """
    target = folder / _key(fingerprint or source.fingerprint(), input_shape)
    decoded = _open(target, input_shape)
    if decoded is not None:
        return decoded
    with file_lock(target.with_suffix(".lock"), progress=progress, stage=_STAGE):
        decoded = _open(target, input_shape)
        if decoded is None:
            _build(source.read(), target, input_shape, progress)
            decoded = _open(target, input_shape, reused=False)
    if decoded is None:
        raise DataError(f"{target} was written but cannot be read back; is the disk full?")
    return decoded


def find_decoded(fingerprint: str, *, input_shape: tuple[int, int, int], folder: Path) -> Decoded | None:
    """Return the decoded images of a content, if there are any; see ``decode_once``."""
    return _open(folder / _key(fingerprint, input_shape), input_shape)


def _key(fingerprint: str, input_shape: tuple[int, int, int]) -> str:
    return content_hash(
        {"format": _FORMAT, "source": fingerprint, "input_shape": list(input_shape), "pillow": PIL.__version__}
    )


def _open(folder: Path, input_shape: tuple[int, int, int], *, reused: bool = True) -> Decoded | None:
    """Return the images in ``folder``; None if they are absent, or damaged, judging by the files' sizes."""
    try:
        facts = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        train = _open_part(folder, "train", facts["train"], input_shape)
        test = _open_part(folder, "test", facts["test"], input_shape)
        names, digest = tuple(facts["class_names"]), facts["content_hash"]
        seconds = float(facts.get("seconds", 0.0))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Decoded(names, train, test, digest, seconds, reused, ComputeEnvironment.from_facts(facts))


def _open_part(folder: Path, name: str, count: int, input_shape: tuple[int, int, int]) -> DecodedPart:
    images, labels = folder / f"{name}-images.bin", folder / f"{name}-labels.bin"
    if (images.stat().st_size, labels.stat().st_size) != (count * int(np.prod(input_shape)), count * 8):
        raise ValueError(f"the files of {name} do not hold {count} images")
    return DecodedPart(
        np.memmap(images, dtype=np.uint8, mode="c", shape=(count, *input_shape)),
        np.fromfile(labels, dtype="<i8").astype(np.int64),
    )


def _build(contents: Contents, target: Path, input_shape: tuple[int, int, int], progress: ProgressCallback) -> None:
    _check_labels(contents)
    temporary = temporary_beside(target)
    try:
        _write(contents, temporary, input_shape, progress)
        _move_into_place(temporary, target, input_shape)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write(contents: Contents, folder: Path, input_shape: tuple[int, int, int], progress: ProgressCallback) -> None:
    began = time.perf_counter()
    folder.mkdir()
    digest = hashlib.sha256(json.dumps([list(contents.class_names), list(input_shape)]).encode())
    total = len(contents.train.labels) + len(contents.test.labels)
    done = 0
    for part in (contents.train, contents.test):
        for data in _write_part(part, folder, input_shape):
            digest.update(data)
            done += len(data) // int(np.prod(input_shape))
            progress(Progress(_STAGE, done, total))
        digest.update(part.labels.astype("<i8").tobytes())
    facts = {
        "class_names": contents.class_names,
        "train": len(contents.train.labels),
        "test": len(contents.test.labels),
        "content_hash": digest.hexdigest(),
        "seconds": time.perf_counter() - began,
        **ComputeEnvironment.current("cpu").to_facts(),
    }
    (folder / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
    for path in folder.iterdir():
        flush_to_disk(path)


def _move_into_place(folder: Path, target: Path, input_shape: tuple[int, int, int]) -> None:
    """Rename a complete folder, unless another process has written the same images meanwhile."""
    if _open(target, input_shape) is not None:
        return
    shutil.rmtree(target, ignore_errors=True)
    try:
        os.replace(folder, target)
    except OSError:
        if _open(target, input_shape) is None:
            raise
    flush_to_disk(target.parent)


def _write_part(part: Part, folder: Path, input_shape: tuple[int, int, int]) -> Iterator[bytes]:
    """Write labels and images, and yield the images' bytes as they are written."""
    part.labels.astype("<i8").tofile(folder / f"{part.name}-labels.bin")
    with (
        (folder / f"{part.name}-images.bin").open("wb") as file,
        ThreadPoolExecutor(torch.get_num_threads()) as pool,
    ):
        for pixels in _decode_part(part, input_shape, pool):
            data = pixels.tobytes()
            file.write(data)
            yield data


def _decode_part(
    part: Part, input_shape: tuple[int, int, int], pool: ThreadPoolExecutor
) -> Iterator[NDArray[np.uint8]]:
    """Yield the images in blocks; all threads decode one block together, which bounds the memory."""

    def decode(chunk: _Chunk) -> NDArray[np.uint8]:
        return _decode_chunk(part, chunk, input_shape)

    images = enumerate(part.images())
    while block := list(islice(images, _IMAGES_PER_CHUNK * _CHUNKS_PER_THREAD * torch.get_num_threads())):
        chunks = [block[start : start + _IMAGES_PER_CHUNK] for start in range(0, len(block), _IMAGES_PER_CHUNK)]
        mean_size = sum(_size(image) for _, image in block) / len(block)
        yield from map(decode, chunks) if mean_size < _SMALL_BYTES else pool.map(decode, chunks)


def _size(image: EncodedImage) -> int:
    return image.nbytes if isinstance(image, np.ndarray) else len(image)


def _decode_chunk(part: Part, chunk: _Chunk, input_shape: tuple[int, int, int]) -> NDArray[np.uint8]:
    pixels = np.empty((len(chunk), *input_shape), dtype=np.uint8)
    for offset, (position, image) in enumerate(chunk):
        try:
            pixels[offset] = decode_image(image, input_shape=input_shape)
        except DataError as error:
            raise DataError(f"{part.locate(position)}: {error}") from error
    return pixels


def _check_labels(contents: Contents) -> None:
    names = contents.class_names
    if len(set(names)) != len(names):
        twice = next(name for i, name in enumerate(names) if name in names[:i])
        raise DataError(f"{contents.origin}: two classes are called {twice!r}; class names must differ.")
    for part in (contents.train, contents.test):
        if not len(part.labels):
            raise DataError(f"{contents.origin}: {part.name} holds no images; it needs some of every class.")
        foreign = np.flatnonzero((part.labels < 0) | (part.labels >= len(names)))
        if len(foreign):
            raise DataError(
                f"{part.locate(int(foreign[0]))}: the label {part.labels[foreign[0]]} is outside the classes, which "
                f"are 0 to {len(names) - 1} ({', '.join(names)})."
            )
        empty = np.flatnonzero(np.bincount(part.labels, minlength=len(names)) == 0)
        if len(empty):
            raise DataError(
                f"{contents.origin}: {part.name} holds no image of class {empty[0]} ({names[empty[0]]!r}); every class "
                "needs some."
            )
