"""The table of curves: how good each cell was after every step, for plots over time and for early stopping."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.rows.row import Row, figures_by_step
from harness.store import ResultStore
from harness.store.row_files import ID_LENGTH
from harness.sweep.tune.trainable import Report
from splitters.errors import ConfigurationError

CURVE_FORMAT = 1
"""Counts the changes of the table."""

_FORMAT_KEY = b"splitbench_curve_format"
_FOLDER = "curves"
_ROW_COLUMNS = ("cell_id", "attempt_id", "splitter", "model", "dataset", "seed")
_TYPES = {"seed": pa.int64(), "step": pa.int64()} | dict.fromkeys(
    ("seconds", "select_accuracy", "kernel_retention"), pa.float64()
)

CURVE_SCHEMA = pa.schema(
    [
        pa.field(name, _TYPES.get(name, pa.string()), nullable=False)
        for name in (*_ROW_COLUMNS, "step", "seconds", "select_accuracy", "kernel_retention")
    ],
    metadata={_FORMAT_KEY: str(CURVE_FORMAT)},
)


@dataclass(frozen=True)
class CurvePoint:
    """The state of a split after a step.

    Args:
        step: The round or generation, from 1.
        seconds: Time since the split began.
        select_accuracy: Composed accuracy on select.
        kernel_retention: Mean over modules.
    """

    step: int
    seconds: float
    select_accuracy: float
    kernel_retention: float

    @classmethod
    def of(cls, report: Report) -> CurvePoint:
        """Return the point that a running cell reports."""
        metrics = report.progress.metrics
        return cls(report.progress.step, report.seconds, metrics["accuracy"], metrics["kernel_retention"])


def curve_of(row: Row, reported: Sequence[CurvePoint]) -> list[CurvePoint]:
    """Return a row's curve: the splitter's own record, which covers resumed and cached splits, or else the reports."""
    recorded = [
        CurvePoint(step, figures["seconds"], figures["accuracy"], figures["kernel_retention"])
        for step, figures in sorted(figures_by_step(row.figures).items())
        if {"seconds", "accuracy", "kernel_retention"} <= set(figures)
    ]
    return recorded or list(reported)


def write_curve(store: ResultStore, row: Row, points: Sequence[CurvePoint]) -> None:
    """Store a row's curve in a file of its own, unless it is empty."""
    if not points:
        return
    shared = {name: getattr(row, name) for name in _ROW_COLUMNS}
    table = pa.Table.from_pylist([{**shared, **vars(point)} for point in points], schema=CURVE_SCHEMA)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    store.write_file(f"{_FOLDER}/{row.cell_id[:ID_LENGTH]}-{row.attempt_id}.parquet", sink.getvalue().to_pybytes())


def read_curves(store: ResultStore) -> pa.Table:
    """Return the curves of all attempts as one table.

    Raises:
        ConfigurationError: If a file is damaged, or was written by a newer version.
    """
    return pa.concat_tables([CURVE_SCHEMA.empty_table(), *_tables(store.read_files(_FOLDER).items())])


def _tables(files: Iterable[tuple[str, bytes]]) -> Iterable[pa.Table]:
    for path, data in files:
        try:
            table = pq.read_table(pa.BufferReader(data))
        except (pa.ArrowException, OSError) as error:
            raise ConfigurationError(f"{path} is damaged: {error}. Remove it; rows hold its figures.") from error
        version = (table.schema.metadata or {}).get(_FORMAT_KEY, b"").decode()
        if not table.schema.equals(CURVE_SCHEMA) or version != str(CURVE_FORMAT):
            raise ConfigurationError(
                f"{path}: curve format {version or 'unknown'} is not {CURVE_FORMAT}, the one that this version reads. "
                "Use the version that wrote it, or another results folder."
            )
        yield table
