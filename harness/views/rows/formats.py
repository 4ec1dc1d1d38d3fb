"""Tables of rows as CSV, JSON and Parquet."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

_AT_ONCE = 500
"""Rows."""


def to_csv(rows: pa.Table) -> bytes:
    """Return a heading and a line per row; numbers in full, lists and records as JSON, null as nothing."""
    data = io.BytesIO()
    text = io.TextIOWrapper(data, encoding="utf-8", newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows.column_names)
    # All rows at once would take many times the memory of what is written.
    for batch in rows.to_batches(max_chunksize=_AT_ONCE):
        columns = [map(_csv_cell, column.to_pylist()) for column in batch.columns]
        writer.writerows(zip(*columns, strict=True))
    text.flush()
    return data.getvalue()


def _csv_cell(value: Any) -> Any:
    if isinstance(value, list | dict):
        return _encode(value)
    return _plain(value) if isinstance(value, datetime) else value


def to_json(rows: pa.Table) -> bytes:
    """Return a list of objects."""
    parts = [
        json.dumps(batch.to_pylist(), indent=1, ensure_ascii=False, allow_nan=False, default=_plain)[1:-2].encode()
        for batch in rows.to_batches(max_chunksize=_AT_ONCE)
        if len(batch)
    ]
    return b"[" + b",".join(parts) + b"\n]\n"


def to_parquet(rows: pa.Table) -> bytes:
    """Return one Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd")
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


_encode = json.JSONEncoder(ensure_ascii=False, default=_plain).encode

FORMATS: dict[str, Callable[[pa.Table], bytes]] = {"csv": to_csv, "json": to_json, "parquet": to_parquet}
"""Formats by name."""
