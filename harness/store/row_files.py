"""Row files: their paths and bytes, and reading many of them.

A run writes one immutable file per attempt. ``harness.store.maintenance.compaction`` merges such files into a few
larger ones, which never change either.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import secrets
import time
from collections.abc import Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn
from urllib.parse import quote, unquote

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs
from pydantic import ValidationError

from benchmarks.rows.columns import Rows
from benchmarks.rows.parquet_schema import READ_SCHEMA, ROW_SCHEMA
from benchmarks.rows.row import OBSOLETE_COLUMNS, ROW_FORMAT, Row
from harness.store.files import Storage
from splitters.errors import ConfigurationError

ID_LENGTH = 16
"""Characters of a cell's id in the names of its files."""

_MAX_FOLDER_NAME = 200
"""Characters of a name in that of its folder; file systems take 255."""

_CUT_ESCAPE = re.compile("%.?$")

_PATH_COLUMNS = ("scenario", "dataset", "cell_id", "attempt_id")

_FORMAT_KEY = b"splitbench_row_format"
_MERGED = 1000
"""Added to the row format in the footer of merged files. Versions that expect one row per file then refuse these as
newer, instead of taking them for damaged."""

_MERGED_PREFIX = "merged-"
_NAMES = frozenset(READ_SCHEMA.names)
_REQUIRED = tuple(name for name, field in Row.model_fields.items() if field.is_required())
"""Columns that rows of every format have."""

_FLAT = [field.name for field in READ_SCHEMA if not pa.types.is_nested(field.type)]

_PARTS = ("splitter", "model", "dataset", "training")
"""Of a configuration, each an object."""

_LOCAL_READERS = os.cpu_count() or 4
_REMOTE_READERS = 32
"""Number of reading threads. Remote stores answer late; local files only cost processor time."""


class DamagedFileError(Exception):
    """A file is not a row: cut short, altered or foreign."""


def row_path(scenario: str, dataset: str, cell_id: str, attempt_id: str) -> str:
    """Return the path of a row's file in a store."""
    return f"{_partition(scenario, dataset)}/{_quoted(cell_id[:ID_LENGTH])}-{_quoted(attempt_id)}.parquet"


def merged_path(folder: str) -> str:
    """Return a new path for a merged file in a partition's folder.

    It sorts after the paths of its sources, so that a store that lists its files in order while they are merged lists
    the merged file, the sources, or both.
    """
    return f"{folder}/{_MERGED_PREFIX}{time.time_ns():020d}-{secrets.token_hex(4)}.parquet"


def is_merged(path: str) -> bool:
    """Return whether a path is that of a merged file."""
    return path.rpartition("/")[2].startswith(_MERGED_PREFIX)


def attempt_of(path: str) -> str:
    """Return the attempt's id in the path of a row's file."""
    return unquote(path.rpartition("/")[2].removesuffix(".parquet")[ID_LENGTH + 1 :])


def path_of_rows(rows: pa.Table, name: str) -> str:
    """Return the path of a file that holds these rows, all of one partition.

    Args:
        rows: What was read from the file.
        name: The file's current name, possibly with more in front; only the names of merged files matter.
    """
    scenario, dataset, cell_id, attempt_id = (rows.column(column)[0].as_py() for column in _PATH_COLUMNS)
    _, is_merged_file, end = name.rpartition(_MERGED_PREFIX)
    if is_merged_file:
        return f"{_partition(scenario, dataset)}/{_MERGED_PREFIX}{end}"
    return row_path(scenario, dataset, cell_id, attempt_id)


def _partition(scenario: str, dataset: str) -> str:
    return f"rows/in_scenario={_folder_name(scenario)}/in_dataset={_folder_name(dataset)}"


def _folder_name(value: str) -> str:
    """Return a value as part of a folder's name; of a long one, its beginning and a hash."""
    quoted = _quoted(value)
    if len(quoted) <= _MAX_FOLDER_NAME:
        return quoted
    digest = hashlib.sha256(value.encode()).hexdigest()[:ID_LENGTH]
    return f"{_CUT_ESCAPE.sub('', quoted[: _MAX_FOLDER_NAME - len(digest) - 1])}-{digest}"


def _quoted(value: str) -> str:
    return quote(value, safe="")


def encode_row(row: Row) -> bytes:
    """Return a row as the bytes of a Parquet file."""
    return encode_table(row_table(row))


def row_table(row: Row) -> pa.Table:
    """Return a row as a table of ``ROW_SCHEMA``."""
    return pa.Table.from_pylist([row.model_dump(mode="python")], schema=ROW_SCHEMA)


def as_read(table: pa.Table) -> pa.Table:
    """Return a table of ``ROW_SCHEMA`` as reading its file would return it."""
    return pa.Table.from_arrays(table.columns, schema=READ_SCHEMA)


def encode_table(table: pa.Table) -> bytes:
    """Return a table of one row as the bytes of a Parquet file."""
    # Statistics, dictionaries and compression are useless for one row and double the time to write and read it.
    return _encode(table, ROW_FORMAT, write_statistics=False, use_dictionary=False, compression="none")


def encode_merged(rows: pa.Table) -> bytes:
    """Return rows of one partition, in ``READ_SCHEMA``, as the bytes of a merged file."""
    return _encode(rows, _MERGED + ROW_FORMAT, compression="zstd")


def _encode(table: pa.Table, file_format: int, **options: Any) -> bytes:
    sink = pa.BufferOutputStream()
    # Checksums reveal a flipped bit, which would otherwise be read as another number. Arrow's own copy of the schema
    # repeats Parquet's and would be a third of the file.
    with pq.ParquetWriter(sink, table.schema, write_page_checksum=True, store_schema=False, **options) as writer:
        writer.add_key_value_metadata({_FORMAT_KEY.decode(): str(file_format)})
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data


def decode_rows(data: bytes, *, path: str, columns: Collection[str] | None = None) -> pa.Table:
    """Return a file's rows, one unless it is a merged file, as a table of ``READ_SCHEMA``.

    Args:
        data: The file's content.
        path: The file, for messages.
        columns: The columns to read; all by default.

    Raises:
        DamagedFileError: If the file is cut short, altered or foreign.
        ConfigurationError: If a newer version wrote it.
    """
    try:
        file = pq.ParquetFile(pa.BufferReader(data), pre_buffer=False, page_checksum_verification=True)
        row_format, merged = _checked_format(file.metadata.metadata or {}, path)
        names = [name for name in file.schema_arrow.names if OBSOLETE_COLUMNS.get(name, 0) < row_format]
        table = file.read([name for name in names if columns is None or name in columns], use_threads=False)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DamagedFileError(f"torn: {error}") from error
    n_rows = file.metadata.num_rows
    if n_rows != 1 and not (merged and n_rows):
        raise DamagedFileError(f"foreign: it holds {n_rows} rows, not one")
    unknown = [name for name in names if name not in _NAMES]
    if unknown:
        raise DamagedFileError(f"foreign: it has the unknown columns {', '.join(unknown)}")
    missing = [name for name in _REQUIRED if name not in names]
    if missing:
        raise DamagedFileError(f"foreign: it lacks the columns {', '.join(missing)}")
    rows = _with_all_columns(table, read_schema(columns))
    if columns is None and not merged:  # merged files are made of rows that were checked
        _check_values(rows)
    return rows


def _check_values(rows: pa.Table) -> None:
    """Refuse values that no row has, which whatever reads the rows would stumble over; lists are not looked at."""
    try:
        for row in Rows(rows.select(_FLAT)):
            config = json.loads(row.config, parse_constant=_refuse_constant)
            if not isinstance(config, dict) or not all(isinstance(config.get(part, {}), dict) for part in _PARTS):
                raise DamagedFileError("foreign: its config is no cell's")
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()]
        raise DamagedFileError(f"foreign: {'; '.join(problems)}") from error
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"foreign: its config is not JSON: {error}") from error


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number in JSON")


def read_schema(columns: Collection[str] | None) -> pa.Schema:
    """Return ``READ_SCHEMA`` with some of its columns; all by default."""
    fields = [field for field in READ_SCHEMA if columns is None or field.name in columns]
    return pa.schema(fields, metadata=READ_SCHEMA.metadata)


def no_rows(columns: Collection[str] | None) -> pa.Table:
    """Return an empty table of ``read_schema``."""
    return pa.Table.from_batches([], read_schema(columns))


def _checked_format(metadata: dict[bytes, bytes], path: str) -> tuple[int, bool]:
    """Return the format of a file's rows, and whether it is a merged file."""
    text = metadata.get(_FORMAT_KEY, b"").decode(errors="replace")
    if not text.isdecimal():
        raise DamagedFileError("foreign: it is a Parquet file, but not a row of Splitbench")
    merged, row_format = divmod(int(text), _MERGED)
    if merged > 1 or row_format > ROW_FORMAT:
        raise ConfigurationError(
            f"{path}: row format {text} is newer than {ROW_FORMAT}, the newest that this version reads. "
            "Upgrade splitbench, or name another results folder."
        )
    return row_format, bool(merged)


def _with_all_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    if table.schema.equals(ROW_SCHEMA):
        return as_read(table)
    present = set(table.column_names)
    columns = [
        table.column(field.name) if field.name in present else pa.nulls(table.num_rows, field.type) for field in schema
    ]
    try:
        return pa.Table.from_arrays(columns, names=schema.names).cast(schema)
    except pa.ArrowException as error:
        raise DamagedFileError(f"foreign: a column has another type: {error}") from error


def read_row_files(
    storage: Storage, infos: Sequence[fs.FileInfo], *, columns: Collection[str] | None = None
) -> list[pa.Table | str | None]:
    """Return, for each file, its rows, or why it holds none, or None if it has been moved away meanwhile.

    Args:
        storage: The store.
        infos: The files.
        columns: The columns to read; all by default.

    Raises:
        ConfigurationError: If a newer version wrote a file.
        OSError: If a file cannot be read.
    """

    def read(info: fs.FileInfo) -> pa.Table | str | None:
        if not info.path.endswith(".parquet"):
            return "foreign: its name is not that of a row"
        try:
            return decode_rows(storage.read(storage.relative(info)), path=info.path, columns=columns)
        except FileNotFoundError:
            return None
        except DamagedFileError as damage:
            return str(damage)

    if not infos:
        return []
    with ThreadPoolExecutor(_LOCAL_READERS if storage.is_local else _REMOTE_READERS) as readers:
        return list(readers.map(read, infos))
