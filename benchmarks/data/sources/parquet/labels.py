"""From a column of labels, whatever their type, to classes and their indices."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from splitters.errors import DataError
from splitters.settings import normalise_class_name

Labels: TypeAlias = "NDArray[np.int64] | NDArray[np.str_]"
"""The labels of images as they are stored, as integers or strings."""

_TEXT_TESTS = (
    pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, pa.types.is_binary, pa.types.is_large_binary,
    pa.types.is_binary_view, pa.types.is_boolean,
)  # fmt: skip
_NUMBER_TESTS = (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal)


def is_label_type(kind: pa.DataType) -> bool:
    """Return whether a column of this type can hold labels."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return any(test(kind) for test in _TEXT_TESTS + _NUMBER_TESTS)


def read_labels(column: pa.Array, *, name: str, file: Path) -> Labels:
    """Return the labels of a column as integers or strings.

    Args:
        column: Integers, whole floats, booleans or strings, plain or dictionary-encoded.
        name: The column's name, for messages.
        file: The file, for messages.

    Raises:
        DataError: If the column has another type, or a label is null, empty or no whole number.
    """
    if pa.types.is_null(column.type) and not len(column):
        return np.empty(0, dtype=np.int64)
    if not is_label_type(column.type):
        raise DataError(
            f"{file}: the column {name!r} holds {column.type}; it must hold integers, whole floats or strings. "
            "Another column is named with the option label, as in parquet:FOLDER:label=COLUMN."
        )

    def refuse(bad: pa.Array, reason: str) -> None:
        row = pc.index(bad, value=True).as_py()
        if row >= 0:
            raise DataError(f"{file}, row {row}: the column {name!r} {reason}")

    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_floating(column.type):
        column = column.cast(pa.float64())
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, pa.float64()), column)
    refuse(pc.is_null(column), "is null; every image needs a label.")
    if any(test(column.type) for test in _TEXT_TESTS):
        try:
            texts = column.cast(pa.string())
        except pa.ArrowInvalid as error:
            raise DataError(f"{file}: the column {name!r} holds bytes that are no text ({error}).") from error
        refuse(pc.equal(pc.utf8_trim_whitespace(texts), ""), "is empty; every image needs a label.")
        return np.asarray([normalise_class_name(text) for text in texts.to_pylist()], dtype=np.str_)
    if not pa.types.is_integer(column.type):
        refuse(pc.not_equal(pc.floor(column), column), "is no whole number; labels stand for classes.")
    try:
        return np.asarray(column.cast(pa.int64()).to_numpy(zero_copy_only=False), dtype=np.int64)
    except pa.ArrowInvalid as error:
        raise DataError(f"{file}: the column {name!r} holds a number that is too large ({error}).") from error


@dataclass(frozen=True)
class Classes:
    """The classes of a data set.

    Args:
        labels: The label of each class as it is stored, in the order of the classes.
        names: The name of each class.
    """

    labels: Labels
    names: tuple[str, ...]

    def indices(self, labels: Labels) -> NDArray[np.int64]:
        """Return the index of the class of each label; -1 for labels that belong to none."""
        indices = {label: index for index, label in enumerate(self.labels.tolist())}
        distinct, inverse = np.unique(labels, return_inverse=True)
        found = np.asarray([indices.get(label, -1) for label in distinct.tolist()], dtype=np.int64)
        return np.asarray(found[inverse], dtype=np.int64)

    def check_known(self, labels: Labels, *, locate: Callable[[int], str]) -> None:
        """Check that every label belongs to a class.

        Raises:
            DataError: If one does not; the message says where the first one is.
        """
        foreign = np.flatnonzero(self.indices(labels) < 0)
        if not len(foreign):
            return
        row = int(foreign[0])
        label = labels[row].item()
        stored = self.labels.tolist()
        known = f"{stored[0]} to {stored[-1]} ({', '.join(self.names)})" if stored else "none"
        raise DataError(f"{locate(row)}: the label {label!r} is outside the classes, which are {known}.")


def classes_of(train: Labels, test: Labels, *, names: tuple[str, ...] | None) -> Classes:
    """Return the classes of a data set.

    Args:
        train: The labels of the official training images.
        test: Those of the official test images.
        names: The names of the labels 0, 1, ... if the files have them; those that no image has are left out. Without
            names, and if the labels are strings, the classes are the labels of ``train``, sorted.
    """
    if names is not None and train.dtype.kind == "i":
        used = {*train.tolist(), *test.tolist()}
        kept = [label for label in range(len(names)) if label in used] or list(range(len(names)))
        return Classes(np.asarray(kept, dtype=np.int64), tuple(names[label] for label in kept))
    if train.dtype.kind == "U":
        texts = sorted({str(text) for text in train.tolist()})
        if all(text.isascii() and text.isdecimal() for text in texts):
            texts.sort(key=int)
        return Classes(np.asarray(texts, dtype=np.str_), tuple(texts))
    numbers = sorted({int(number) for number in train.tolist() if number >= 0})
    return Classes(np.asarray(numbers, dtype=np.int64), tuple(map(str, numbers)))
