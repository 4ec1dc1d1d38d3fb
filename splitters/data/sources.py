"""Labelled images from folders, data sets and arrays, as uint8 pixels in memory."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64, UInt8
from PIL import Image
from torch import Tensor

from splitters.data.image_files import describe_animated, describe_skipped, files_in, is_image_file
from splitters.data.normalisation import AnyNormalisation, Normalisation, as_normalisation, typed
from splitters.data.pictures import as_channels_first, natural_shape, open_picture, read_header, to_pixels
from splitters.errors import DataError, listed_names
from splitters.settings import normalise_class_name

_LOGGER = logging.getLogger("splitters")
_OPAQUE = {2: 1, 4: 3}
"""Channels of grey and coloured pixels by the channels of such pixels with their opacity."""


@dataclass(frozen=True)
class LabelledImages:
    """The arguments of an ``ImageSet``."""

    images: UInt8[Tensor, "sample channel height width"]
    labels: Int64[Tensor, " sample"]
    class_names: tuple[str, ...]
    normalisation: Normalisation


def read_folder(
    folder: str | os.PathLike[str],
    normalisation: AnyNormalisation,
    class_names: Sequence[str] | None,
    size: tuple[int, int] | None,
) -> LabelledImages:
    """Read a folder that has one folder of image files per class; see ``ImageSet.from_folder``."""
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"{root} is no folder; image files are read from {root / 'CLASS' / 'FILE.png'}.")
    found: dict[str, list[Path]] = {}
    for path in filter(_is_class, sorted(root.iterdir())):
        found.setdefault(normalise_class_name(path.name), []).extend(filter(is_image_file, files_in(path)))
    found = dict(sorted(found.items()))
    names = tuple(map(normalise_class_name, found if class_names is None else _in_order(class_names)))
    if set(names) != set(found):
        raise DataError(f"{root} has the folders {listed_names(found)}, but the classes are {listed_names(names)}.")
    empty = [name for name in names if not found[name]]
    if empty or not names:
        raise DataError(
            f"{root}: no image files in {listed_names(empty) or 'it'}; there must be a folder of them per class."
        )
    files = [file for name in names for file in found[name]]
    skipped = sorted({*files_in(root)} - {*files})
    if skipped:
        _LOGGER.warning("%s: %s", root, describe_skipped(skipped, root))
    headers = [read_header(file) for file in files]
    animated = [file for file, header in zip(files, headers, strict=True) if header.is_animated]
    if animated:
        _LOGGER.warning("%s: %s", root, describe_animated(animated, root))
    _, height, width = natural_shape(open_picture(files[0]))
    chosen = as_normalisation(normalisation, channels=3 if any(header.is_coloured for header in headers) else 1)
    shape = (len(chosen.mean), *(size or (height, width)))
    pixels = []
    for file in files:
        picture = open_picture(file)
        if size is None and (picture.height, picture.width) != (height, width):
            raise DataError(
                f"{file} has {picture.height} x {picture.width} pixels, but {files[0]} {height} x {width}; "
                "give size=(height, width), the network's, to resize all."
            )
        pixels.append(to_pixels(picture, shape))
    labels = [label for label, name in enumerate(names) for _ in found[name]]
    return LabelledImages(torch.stack(pixels), torch.tensor(labels), names, chosen)


def read_dataset(dataset: Any, normalisation: AnyNormalisation, class_names: Sequence[str] | None) -> LabelledImages:
    """Read a torch data set; see ``ImageSet.from_dataset``."""
    if isinstance(dataset, tuple):
        if len(dataset) != 2:
            raise DataError(f"a data set is a torch Dataset or (images, labels), not a tuple of {len(dataset)}.")
        return read_arrays(*dataset, normalisation, class_names)
    images, labels = [], []
    for index, (image, label) in enumerate(_items(dataset)):
        images.append(_pixels(image, index))
        labels.append(_label(label, index))
        if images[index].shape != images[0].shape:
            raise DataError(
                f"image {index} is {list(images[index].shape)}, but the first one {list(images[0].shape)}; "
                "give the data set a transform that makes all of one size."
            )
    if not images:
        raise DataError("the data set is empty.")
    return read_arrays(
        torch.stack(images), labels, normalisation, _names_of(dataset) if class_names is None else class_names
    )


def read_arrays(
    images: Any, labels: Any, normalisation: AnyNormalisation, class_names: Sequence[str] | None
) -> LabelledImages:
    """Take arrays or tensors; see ``ImageSet.from_arrays``."""
    tensor = _bytes(images if isinstance(images, Tensor) else _stacked(images), "the images")
    if tensor.dim() == 3:
        tensor = tensor[:, None]
    elif tensor.dim() == 4 and tensor.shape[1] not in (1, 3) and tensor.shape[3] in (1, 3):
        tensor = tensor.permute(0, 3, 1, 2).contiguous()
    elif tensor.dim() == 4 and tensor.shape[1] > 4 and tensor.shape[3] in _OPAQUE:
        opaque = (_OPAQUE[tensor.shape[3]], *tensor.shape[1:3])
        tensor = torch.stack([to_pixels(image, opaque) for image in tensor.permute(0, 3, 1, 2)])
    if tensor.dim() != 4 or not tensor.numel():
        raise DataError(f"images are [image, channel, height, width], at least one, not {typed(tensor)}.")
    chosen = as_normalisation(normalisation, channels=tensor.shape[1])
    positions, names = _labelled(labels, class_names)
    return LabelledImages(tensor, positions, names, chosen)


def _stacked(images: Any) -> Tensor:
    try:
        return torch.from_numpy(np.array(images))
    except (ValueError, TypeError) as error:
        shapes = list(dict.fromkeys(np.shape(image) for image in images)) if isinstance(images, list | tuple) else []
        if len(shapes) > 1:
            sizes = " and ".join(str(list(shape)) for shape in shapes[:2])
            raise DataError(f"the images are of different sizes, such as {sizes}; resize all to one.") from error
        raise DataError(f"images are arrays or tensors of numbers, not a {type(images).__name__} ({error}).") from error


def _labelled(labels: Any, class_names: Sequence[str] | None) -> tuple[Int64[Tensor, " sample"], tuple[str, ...]]:
    """Return labels as indices into class names: integers, whole floats and booleans as they are, texts by name."""
    try:
        array = labels.cpu().numpy() if isinstance(labels, Tensor) else np.asarray(labels)
    except ValueError as error:
        raise DataError(f"labels are integers or names [image], one for each image ({error}).") from error
    given = () if class_names is None else _in_order(class_names)
    values = array.tolist()
    if array.ndim == 1 and values and all(isinstance(value, str | bytes) for value in values):
        texts = [_text(value) for value in values]
        names = tuple(map(_text, given or sorted(set(texts))))
        unknown = set(texts) - set(names)
        if unknown:
            raise DataError(
                f"the labels {listed_names(sorted(unknown))} are no classes; these are {listed_names(names)}."
            )
        numbers = {name: number for number, name in enumerate(names)}
        return torch.tensor([numbers[text] for text in texts]), names
    if array.ndim == 1 and array.dtype == object and all(type(value) is int for value in values):
        array = np.asarray(values)
    if array.ndim == 1 and (array.dtype.kind == "b" or (array.dtype.kind == "f" and not (array % 1).any())):
        array = array.astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iu" or not values:
        way_out = "; of rows with an entry per class, give labels.argmax(1)" if array.ndim == 2 else ""
        raise DataError(f"labels are integers or names [image], not {array.dtype} {list(array.shape)}{way_out}.")
    positions = torch.from_numpy(array.astype(np.int64))
    return positions, given or tuple(map(str, range(int(positions.max()) + 1)))


def _in_order(class_names: Any) -> tuple[Any, ...]:
    if isinstance(class_names, Mapping | Set):
        kind = type(class_names).__name__
        raise DataError(f"class_names are a list or a tuple, in the order of the labels, not a {kind}.")
    return tuple(class_names)


def _text(name: object) -> str:
    try:
        return normalise_class_name(name.decode() if isinstance(name, bytes) else str(name))
    except UnicodeDecodeError as error:
        raise DataError(f"the name {name!r} is no text in UTF-8 ({error}).") from error


def _label(label: Any, index: int) -> Any:
    if not isinstance(label, Tensor | np.ndarray | np.generic):
        return label
    if isinstance(label, Tensor | np.ndarray) and np.prod(label.shape) != 1:
        raise DataError(
            f"the label of image {index} is {typed(torch.as_tensor(label))}, not one number; of an entry per class, "
            "give the number of the largest: label.argmax()."
        )
    return label.item()


def _items(dataset: Any) -> Iterator[tuple[Any, Any]]:
    # A sequence without an end of its own (Dataset has no __iter__) is read by its length.
    if isinstance(dataset, type) or not (hasattr(dataset, "__iter__") or hasattr(dataset, "__len__")):
        raise DataError(f"a data set is a torch Dataset or (images, labels), not {dataset!r}.")
    items: Iterable[Any] = dataset if hasattr(dataset, "__iter__") else (dataset[i] for i in range(len(dataset)))
    for index, item in enumerate(items):
        if not isinstance(item, tuple | list) or len(item) != 2:
            length = f" of {len(item)}" if isinstance(item, tuple | list) else ""
            raise DataError(f"item {index} of the data set is no (image, label) but a {type(item).__name__}{length}.")
        yield item[0], item[1]


def _pixels(image: Any, index: int) -> UInt8[Tensor, "channel height width"]:
    if isinstance(image, Image.Image):
        return to_pixels(image, natural_shape(image))
    if not isinstance(image, Tensor | np.ndarray):
        raise DataError(f"image {index} is a {type(image).__name__}, not a PIL image, an array or a tensor.")
    tensor = image if isinstance(image, Tensor) else torch.from_numpy(np.array(image))
    tensor = _bytes(tensor, f"image {index}")
    return as_channels_first(tensor if isinstance(image, Tensor) else tensor.numpy())


def _bytes(images: Tensor, name: str) -> Tensor:
    """Return uint8 pixels; floats are taken if they are bytes / 255, as torchvision's ``ToTensor`` makes them."""
    if not images.is_floating_point():
        return images
    scaled = (images * 255).round()
    if bool(((scaled >= 0) & (scaled <= 255)).all()) and torch.allclose(scaled / 255, images, atol=1e-6):
        return scaled.to(torch.uint8)
    raise DataError(
        f"{name}: floats from {float(images.min()):.3g} to {float(images.max()):.3g} are no bytes / 255; leave the "
        "normalisation out of the data set's transform, and say it as normalisation=..."
    )


def _names_of(dataset: Any) -> Sequence[str] | None:
    """Return the class names that a data set, or the one that it is a subset of, knows."""
    while not hasattr(dataset, "classes") and hasattr(dataset, "dataset"):
        dataset = dataset.dataset
    return getattr(dataset, "classes", None)


def _is_class(path: Path) -> bool:
    return path.is_dir() and not path.name.startswith(".")
