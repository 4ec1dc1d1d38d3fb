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


def to_csv(rows: pa.Table) -> bytes:
    """Return a heading and a line per row; numbers in full, lists and records as JSON, null as nothing."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(rows.column_names)
    for row in rows.to_pylist():
        writer.writerow([_csv_cell(row[name]) for name in rows.column_names])
    return text.getvalue().encode()


def _csv_cell(value: Any) -> Any:
    if isinstance(value, list | dict):
        return json.dumps(value, ensure_ascii=False, default=_plain)
    return _plain(value) if isinstance(value, datetime) else value


def to_json(rows: pa.Table) -> bytes:
    """Return a list of objects."""
    return (json.dumps(rows.to_pylist(), indent=1, ensure_ascii=False, allow_nan=False, default=_plain) + "\n").encode()


def to_parquet(rows: pa.Table) -> bytes:
    """Return one Parquet file."""
    sink = pa.BufferOutputStream()
    pq.write_table(rows, sink, compression="zstd")
    data: bytes = sink.getvalue().to_pybytes()
    return data


def _plain(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)


FORMATS: dict[str, Callable[[pa.Table], bytes]] = {"csv": to_csv, "json": to_json, "parquet": to_parquet}
"""Formats by name."""
