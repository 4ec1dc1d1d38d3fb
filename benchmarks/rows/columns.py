"""Many rows as columns: what reads a few values of each row needs no model of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from typing import Any, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray

from benchmarks.rows.arrow_arrays import coded, from_numpy, to_numpy
from benchmarks.rows.parquet_schema import READ_SCHEMA, ROW_SCHEMA
from benchmarks.rows.row import Row

_MODELS_AT_ONCE = 1000
_MAX_SLICES = 50

_NULLABLE = frozenset(field.name for field in ROW_SCHEMA if field.nullable)

_DEFAULTS: dict[str, Any] = {
    field.name: Row.model_fields[field.name].get_default(call_default_factory=True)
    for field in ROW_SCHEMA
    if not field.nullable and not Row.model_fields[field.name].is_required()
}
"""What holds in rows that were written before a column existed, where null is not a value."""


class Rows(Sequence[Row]):
    """Rows as columns.

    As a sequence it makes a model of each row that is asked for, which takes some 30 microseconds; columns take none.

    Args:
        table: Rows, with the columns of ``READ_SCHEMA`` or some of them.
        indices: Which of them, in order; all if not given.
    """

    def __init__(self, table: pa.Table, indices: Int[NDArray[np.int64], " row"] | None = None) -> None:
        self._table = table
        self.indices = np.arange(table.num_rows) if indices is None else indices
        # What was read of the whole table, which its parts share.
        self._arrays: dict[str, pa.Array] = {}
        self._equal: dict[tuple[str, str], Bool[NDArray[np.bool_], " row"]] = {}
        self._values: dict[str, NDArray[np.object_]] = {}
        self._numbers: dict[str, Float[NDArray[np.float64], " row"]] = {}
        self._encoded: dict[str, tuple[Int[NDArray[np.int64], " row"], list[Any]]] = {}

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Rows:
        """Return models of rows as columns."""
        if isinstance(rows, Rows):
            return rows
        return cls(pa.Table.from_pylist([row.model_dump(mode="python") for row in rows], schema=READ_SCHEMA))

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.indices)

    @overload
    def __getitem__(self, index: int) -> Row: ...

    @overload
    def __getitem__(self, index: slice) -> Rows: ...

    def __getitem__(self, index: int | slice) -> Row | Rows:
        """Return the model of a row, or some of the rows."""
        if isinstance(index, slice):
            return self.take(np.arange(len(self))[index])
        return next(iter(self.take(np.array([index]))))

    def __iter__(self) -> Iterator[Row]:
        """Yield the models of all rows."""
        for start in range(0, len(self), _MODELS_AT_ONCE):
            yield from _models(self._part(self.indices[start : start + _MODELS_AT_ONCE]))

    def _part(self, indices: Int[NDArray[np.int64], " row"]) -> pa.Table:
        """Return some rows of the table."""
        runs = np.split(indices, np.flatnonzero(np.diff(indices) != 1) + 1)
        if len(runs) > _MAX_SLICES:
            return self._table.take(from_numpy(indices))
        # Taking few rows out of many would copy all values of nested columns; slices copy nothing.
        return pa.concat_tables([self._table.slice(int(run[0]), len(run)) for run in runs])

    def __eq__(self, other: object) -> bool:
        """Return whether another sequence holds equal rows."""
        return list(self) == list(other) if isinstance(other, Sequence) else NotImplemented

    def take(self, indices: Int[NDArray[np.int64], " row"]) -> Rows:
        """Return some of the rows; nothing is copied."""
        taken = copy(self)
        taken.indices = self.indices[indices]
        return taken

    def filter(self, keep: Bool[NDArray[np.bool_], " row"]) -> Rows:
        """Return the rows to keep."""
        return self.take(np.flatnonzero(keep))

    def sorted_by(self, *names: str) -> Rows:
        """Return the rows in the order of some columns; equal rows stay in their order."""
        keys = self._table.select(list(dict.fromkeys(names))).take(from_numpy(self.indices))
        order = pc.sort_indices(keys, sort_keys=[(name, "ascending") for name in names])
        return self.take(to_numpy(order).astype(np.int64))

    def arrow(self, name: str) -> pa.Array:
        """Return a column as it is stored, nulls included."""
        if name not in self._arrays:
            self._arrays[name] = self._table.column(name).combine_chunks()
        return self._arrays[name].take(from_numpy(self.indices))

    def values(self, name: str) -> list[Any]:
        """Return the values of a column, for lists and texts; where null is no value, the column's default."""
        if name not in self._values:
            found = self._table.column(name).to_pylist()
            if name in _DEFAULTS:
                found = [_DEFAULTS[name] if value is None else value for value in found]
            self._values[name] = np.fromiter(found, object, len(found))
        values: list[Any] = self._values[name][self.indices].tolist()
        return values

    def first(self, name: str) -> Any:
        """Return the first row's value of a column."""
        return self[:1].values(name)[0]

    def equal(self, name: str, value: str) -> Bool[NDArray[np.bool_], " row"]:
        """Return for each row whether a column has a value."""
        if (name, value) not in self._equal:
            codes, texts = coded(self._table.column(name))
            self._equal[name, value] = codes == (texts.index(value) if value in texts else -1)
        return self._equal[name, value][self.indices]

    def encoded(
        self, name: str, encode: Callable[[Iterable[Any]], tuple[list[int], list[Any]]]
    ) -> tuple[Int[NDArray[np.int64], " row"], list[Any]]:
        """Return the index of each row's value in a list of values that count as different.

        Args:
            name: A column.
            encode: Does that for the values of a whole column; the same whenever the column is asked for.
        """
        if name not in self._encoded:
            # The texts of all rows at once would take more memory than everything else.
            chunks = self._table.column(name).chunks
            numbers, values = encode(value for chunk in chunks for value in chunk.to_pylist())
            self._encoded[name] = np.array(numbers, np.int64), values
        every, values = self._encoded[name]
        used, numbers_here = np.unique(every[self.indices], return_inverse=True)
        return numbers_here, [values[number] for number in used.tolist()]

    def numbers(self, name: str) -> Float[NDArray[np.float64], " row"]:
        """Return the values of a column of numbers; NaN is null."""
        if name not in self._numbers:
            self._numbers[name] = as_numbers(self._table.column(name), default=_DEFAULTS.get(name))
        return self._numbers[name][self.indices]


def as_numbers(column: pa.ChunkedArray | pa.Array, *, default: float | None = None) -> NDArray[np.float64]:
    """Return a column of numbers; null is the default, or NaN without one."""
    return to_numpy(column.cast(pa.float64()), null=np.nan if default is None else float(default))


def _models(table: pa.Table) -> list[Row]:
    # A column that did not exist yet when a row was written is null; where null is not a value, the default holds.
    return [
        Row.model_validate({name: value for name, value in record.items() if value is not None or name in _NULLABLE})
        for record in table.to_pylist()
    ]
