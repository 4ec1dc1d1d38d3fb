"""One row as a Parquet file's bytes, and back, with every doubt about a file put into words."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.rows.row import FORMER_COLUMNS, ROW_FORMAT, ROW_SCHEMA, Row
from splitters.errors import ConfigurationError

_FORMAT_KEY = b"splitbench_row_format"

READ_SCHEMA = pa.schema([field.with_nullable(True) for field in ROW_SCHEMA], metadata=ROW_SCHEMA.metadata)
"""The schema that readers pass: rows of older formats have nulls where a column did not exist yet."""


_METADATA = {key.decode(): value.decode() for key, value in (ROW_SCHEMA.metadata or {}).items()}

_NAMES = frozenset(READ_SCHEMA.names)

_REQUIRED = tuple(name for name, field in Row.model_fields.items() if field.is_required())
"""Columns that rows of every format have."""


class DamagedFileError(Exception):
    """A file is no row: cut short, or not ours."""


def encode_row(row: Row) -> bytes:
    """Returns a row as the bytes of a Parquet file."""
    return encode_table(row_table(row))


def row_table(row: Row) -> pa.Table:
    """Returns a row as a table of ``ROW_SCHEMA``."""
    return pa.Table.from_pylist([row.model_dump(mode="python")], schema=ROW_SCHEMA)


def readable(table: pa.Table) -> pa.Table:
    """Returns a table of ``ROW_SCHEMA`` as reading its file would return it."""
    return pa.Table.from_arrays(table.columns, schema=READ_SCHEMA)


def encode_table(table: pa.Table) -> bytes:
    """Returns a table of one row as the bytes of a Parquet file."""
    sink = pa.BufferOutputStream()
    # One row has no use for statistics, dictionaries and compression, and is written and read in half the time without
    # them. Checksums tell a flipped bit, which would otherwise be read as another number. Arrow's own copy of the
    # schema says nothing that Parquet's does not, and would be a third of the file.
    with pq.ParquetWriter(
        sink,
        table.schema,
        write_statistics=False,
        use_dictionary=False,
        compression="none",
        write_page_checksum=True,
        store_schema=False,
    ) as writer:
        writer.add_key_value_metadata(_METADATA)
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def decode_row(data: bytes | pa.Buffer, *, path: str) -> pa.Table:
    """Returns a file's row as a table of ``READ_SCHEMA``.

    Args:
        data: The file's bytes.
        path: The file, for messages.

    Raises:
        DamagedFileError: If the file is cut short, altered or foreign.
        ConfigurationError: If it was written by a newer version.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(data), pre_buffer=False, page_checksum_verification=True)
        row_format = _checked_format(file.metadata.metadata or {}, path)
        table = file.read(use_threads=False)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"torn: {error}") from error
    if table.num_rows != 1:
        raise DamagedFileError(f"foreign: it holds {table.num_rows} rows, not one")
    table = table.drop_columns([name for name in table.column_names if FORMER_COLUMNS.get(name, 0) >= row_format])
    names = table.column_names
    unknown = [name for name in names if name not in _NAMES]
    if unknown:
        raise DamagedFileError(f"foreign: it has the unknown columns {', '.join(unknown)}")
    missing = [name for name in _REQUIRED if name not in names]
    if missing:
        raise DamagedFileError(f"foreign: it lacks the columns {', '.join(missing)}")
    return _with_all_columns(table)


def _checked_format(metadata: dict[bytes, bytes], path: str) -> int:
    text = metadata.get(_FORMAT_KEY, b"").decode(errors="replace")
    if not text.isdecimal():
        raise DamagedFileError("foreign: it is a Parquet file, but not a row of Splitbench")
    if int(text) > ROW_FORMAT:
        raise ConfigurationError(
            f"{path}: row format {text} is newer than {ROW_FORMAT}, the newest that this version reads. "
            "Upgrade splitbench, or name another results folder."
        )
    return int(text)


def _with_all_columns(table: pa.Table) -> pa.Table:
    if table.schema.equals(ROW_SCHEMA):
        return readable(table)
    present = set(table.column_names)
    columns = [table.column(field.name) if field.name in present else pa.nulls(1, field.type) for field in READ_SCHEMA]
    try:
        return pa.Table.from_arrays(columns, names=READ_SCHEMA.names).cast(READ_SCHEMA)
    except pa.ArrowException as error:
        raise DamagedFileError(f"foreign: a column has another type: {error}") from error
