"""Rows of results folders as tables of Arrow, pandas or polars."""

from __future__ import annotations

import importlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from benchmarks.rows.row import Metrics, Provenance, Row
from harness.config.cache_folder import cache_folder
from harness.ranking.configuration import settings_of
from harness.store import ResultStore, union
from splitters.errors import ConfigurationError, UnknownNameError

TableType = Literal["arrow", "pandas", "polars"]

_IN_ORDER = sorted(
    Row.model_fields, key=lambda name: (name in Metrics.model_fields) + 2 * (name in Provenance.model_fields)
)
"""Columns: what a row is of, what was measured, where it comes from."""

_SORTED_BY = ("scenario", "dataset", "model", "splitter", "seed", "started_at")


def read_rows(
    results: str | Path | Sequence[str | Path],
    *,
    as_: TableType = "arrow",
    all_attempts: bool = False,
    settings: bool = False,
) -> Any:
    """Return the rows of one or several results folders as one table.

    Args:
        results: A folder or ``pyarrow.fs`` URI, or several.
        as_: The type of the table: ``pyarrow.Table``, ``pandas.DataFrame`` or ``polars.DataFrame``.
        all_attempts: Whether to return every attempt at a cell. By default, a cell has one row, the one that counts: an
            attempt that ended ``ok`` or ``skipped`` before any other; of several, the newest.
        settings: Whether to add a column per setting of the cells, such as ``splitter.alpha``, ``model.width`` and
            ``training.epochs``. They come from the column ``config``, and are null where a cell has no such setting.

    Raises:
        ConfigurationError: If there are no rows there, or the library of ``as_`` is not installed.
    """
    convert = _converter(as_)
    locations = [results] if isinstance(results, str | Path) else results
    if not isinstance(locations, Sequence) or not locations:
        raise ConfigurationError(f"rows are read from a results folder or URI, or a list of them, not {results!r}.")
    stores = [ResultStore(location, cache=cache_folder()) for location in locations]
    for store in stores:
        store.require_rows()
    contents = union([store.read() for store in stores])
    rows = contents.table if all_attempts else contents.counting()
    rows = rows.select(_IN_ORDER).sort_by([(name, "ascending") for name in _SORTED_BY])
    return convert(with_settings(rows) if settings else rows)


def with_settings(rows: pa.Table) -> pa.Table:
    """Return rows with a column per setting of their cells."""
    of_rows = [settings_of(config) for config in rows.column("config").to_pylist()]
    for name in sorted({name for of_row in of_rows for name in of_row}):
        rows = rows.append_column(name, _column([of_row.get(name) for of_row in of_rows]))
    return rows


def _column(values: list[Any]) -> pa.Array:
    """Return the values of a setting; as JSON where they are of several types, or not of a simple one."""
    types = {type(value) for value in values if value is not None}
    if types <= {int, float}:
        return pa.array(values, pa.float64() if float in types else pa.int64())
    if len(types) == 1 and types <= {bool, str}:
        return pa.array(values)
    return pa.array([value if value is None else json.dumps(value) for value in values], pa.string())


def _converter(kind: str) -> Any:
    if kind == "arrow":
        return lambda rows: rows
    if kind not in ("pandas", "polars"):
        raise UnknownNameError("type of table", kind, ("arrow", "pandas", "polars"), where="as_")
    try:
        library = importlib.import_module(kind)
    except ImportError as error:
        raise ConfigurationError(f"as_={kind!r} needs {kind}, which is not installed: pip install {kind}") from error
    return library.from_arrow if kind == "polars" else pa.Table.to_pandas
