"""Numbers between Arrow and NumPy, without pandas.

pyarrow's own conversions, ``pa.array`` among them, import pandas where it is installed, and that takes longer than
ranking a hundred thousand rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

_TYPES: dict[pa.DataType, Any] = {
    pa.int8(): np.int8,
    pa.int32(): np.int32,
    pa.int64(): np.int64,
    pa.uint64(): np.uint64,
    pa.float64(): np.float64,
}


def to_numpy(column: pa.Array | pa.ChunkedArray, *, null: float | None = None) -> NDArray[Any]:
    """Return the values of a column of numbers or truth values.

    Args:
        column: The column.
        null: What stands for null; without it there must be none.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not len(array):
        return np.empty(0, np.bool_ if pa.types.is_boolean(array.type) else _TYPES[array.type])
    validity, data = array.buffers()
    span = slice(array.offset, array.offset + len(array))
    if pa.types.is_boolean(array.type):
        values: NDArray[Any] = _bits(data)[span]
    else:
        values = np.frombuffer(data, _TYPES[array.type])[span]
    if not array.null_count:
        return values
    if null is None:
        raise ValueError(f"{array.null_count} values are null")
    return np.where(_bits(validity)[span], values, null)


def _bits(buffer: pa.Buffer) -> NDArray[np.bool_]:
    return np.unpackbits(np.frombuffer(buffer, np.uint8), bitorder="little").view(np.bool_)


def from_numpy(indices: NDArray[np.int64]) -> pa.Array:
    """Return integers as an Arrow array that shares their memory."""
    values = np.ascontiguousarray(indices, np.int64)
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values)])


def coded(texts: pa.Array | pa.ChunkedArray) -> tuple[NDArray[np.int64], list[Any]]:
    """Return the index of each text in a list of the different ones, None among them where it occurs, and the list."""
    indices, different = _encoded(texts)
    return indices, different.to_pylist()


def codes_of(texts: pa.Array | pa.ChunkedArray) -> tuple[NDArray[np.int64], int]:
    """Return the same index of each text, and the number of different texts, without making the list."""
    indices, different = _encoded(texts)
    return indices, len(different)


def _encoded(texts: pa.Array | pa.ChunkedArray) -> tuple[NDArray[np.int64], pa.Array]:
    array = texts.combine_chunks() if isinstance(texts, pa.ChunkedArray) else texts
    encoded = array.dictionary_encode(null_encoding="encode")
    return to_numpy(encoded.indices).astype(np.int64), encoded.dictionary
