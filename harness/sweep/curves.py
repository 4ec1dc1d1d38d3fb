"""How good a cell was at which time: the second table of a sweep, for plots over time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.records import Row
from harness.store import ResultStore
from harness.sweep.reports import Report
from splitters.errors import ConfigurationError

CURVE_FORMAT = 1
"""Counts the changes of the table."""

_FORMAT_KEY = b"splitbench_curve_format"
_FOLDER = "curves"

CURVE_SCHEMA = pa.schema(
    [
        pa.field("cell_id", pa.string(), nullable=False),
        pa.field("attempt_id", pa.string(), nullable=False),
        pa.field("splitter", pa.string(), nullable=False),
        pa.field("model", pa.string(), nullable=False),
        pa.field("dataset", pa.string(), nullable=False),
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("step", pa.int64(), nullable=False),
        pa.field("seconds", pa.float64(), nullable=False),
        pa.field("select_accuracy", pa.float64(), nullable=False),
        pa.field("kernel_retention", pa.float64(), nullable=False),
    ],
    metadata={_FORMAT_KEY: str(CURVE_FORMAT)},
)


@dataclass(frozen=True)
class CurvePoint:
    """What a split was worth after a step.

    Args:
        step: The round or generation, counted from 1.
        seconds: Since the split began.
        select_accuracy: Composed accuracy on select.
        kernel_retention: Mean over modules.
    """

    step: int
    seconds: float
    select_accuracy: float
    kernel_retention: float

    @classmethod
    def of(cls, report: Report) -> CurvePoint:
        """Returns the point that a running cell reports."""
        numbers = report.metrics
        return cls(report.step, report.seconds, numbers["accuracy"], numbers["kernel_retention"])


def curve_of(row: Row, reported: Sequence[CurvePoint]) -> list[CurvePoint]:
    """Returns a row's curve: what the splitter recorded of the whole split, else what was reported while it ran.

    What is recorded covers splits that were resumed or done before, and its seconds are the split's own.

    Args:
        row: The row.
        reported: The points that were heard of.
    """
    by_step: dict[int, dict[str, float]] = {}
    for figure in row.figures:
        if figure.step is not None:
            by_step.setdefault(figure.step, {})[figure.name] = figure.value
    recorded = [
        CurvePoint(step, told["seconds"], told["accuracy"], told["kernel_retention"])
        for step, told in sorted(by_step.items())
        if {"seconds", "accuracy", "kernel_retention"} <= set(told)
    ]
    return recorded or list(reported)


def write_curve(store: ResultStore, row: Row, points: Sequence[CurvePoint]) -> None:
    """Stores a row's curve, in a file beside the rows that never changes; none if there are no points."""
    if not points:
        return
    told = {name: getattr(row, name) for name in ("cell_id", "attempt_id", "splitter", "model", "dataset", "seed")}
    table = pa.Table.from_pylist([{**told, **vars(point)} for point in points], schema=CURVE_SCHEMA)
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    store.write_file(f"{_FOLDER}/{row.cell_id[:16]}-{row.attempt_id}.parquet", sink.getvalue().to_pybytes())


def read_curves(store: ResultStore) -> pa.Table:
    """Returns the curves of all attempts as one table.

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
        found = (table.schema.metadata or {}).get(_FORMAT_KEY, b"").decode()
        if not table.schema.equals(CURVE_SCHEMA) or found != str(CURVE_FORMAT):
            raise ConfigurationError(
                f"{path}: curve format {found or 'unknown'} is not {CURVE_FORMAT}, the one that this version reads. "
                "Use the version that wrote it, or another results folder."
            )
        yield table
