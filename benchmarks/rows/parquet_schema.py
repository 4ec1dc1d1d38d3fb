"""The Parquet schema of rows, generated from their model."""

from __future__ import annotations

import types
from collections.abc import Iterator
from enum import Enum
from typing import Any, Union, get_args, get_origin

import pyarrow as pa
from pydantic import AwareDatetime, BaseModel

from benchmarks.rows.row import ROW_FORMAT, Count, Row


def arrow_schema(model: type[BaseModel]) -> pa.Schema:
    """Return the Parquet schema of a record model."""
    return pa.schema(list(_arrow_fields(model)), metadata={"splitbench_row_format": str(ROW_FORMAT)})


def _arrow_fields(model: type[BaseModel]) -> Iterator[pa.Field]:
    for name, field in model.model_fields.items():
        value_type, nullable = _without_none(field.annotation)
        yield pa.field(name, _arrow_type(value_type), nullable=nullable)


def _without_none(annotation: Any) -> tuple[Any, bool]:
    if get_origin(annotation) in (types.UnionType, Union):
        types_left = [part for part in get_args(annotation) if part is not type(None)]
        if len(types_left) != 1:
            raise TypeError(f"a column holds one type, or one type and null; not {annotation!r}")
        return types_left[0], True
    return annotation, False


_SCALARS: dict[Any, pa.DataType] = {
    bool: pa.bool_(),
    int: pa.int64(),
    Count: pa.int32(),
    float: pa.float64(),
    str: pa.string(),
    AwareDatetime: pa.timestamp("us", tz="UTC"),
}


def _arrow_type(annotation: Any) -> pa.DataType:
    if get_origin(annotation) is list:
        return pa.list_(_arrow_type(get_args(annotation)[0]))
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return pa.struct(list(_arrow_fields(annotation)))
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return pa.string()
    try:
        return _SCALARS[annotation]
    except KeyError:
        raise TypeError(f"no column type is defined for {annotation!r}") from None


ROW_SCHEMA: pa.Schema = arrow_schema(Row)
"""The Parquet schema of rows."""

READ_SCHEMA: pa.Schema = pa.schema([field.with_nullable(True) for field in ROW_SCHEMA], metadata=ROW_SCHEMA.metadata)
"""The schema of rows that were read: those of older formats have nulls where a column did not exist yet."""
