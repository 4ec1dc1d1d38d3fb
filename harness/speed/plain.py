"""What the driver's benchmarks compare with: a model object for every row, and plain loops over them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from benchmarks.boards import BOARDS
from benchmarks.cells import content_hash, parse_config
from benchmarks.rows.columns import Rows
from benchmarks.rows.row import Metrics, Row, State
from harness.ranking.statistics import Estimate
from harness.store.row_files import decode_rows
from harness.suite_cell import SuiteCell

Estimates = Mapping[tuple[str, ...], Mapping[str, Estimate]]


def plain_rows(results: Path) -> list[Row]:
    """Return a model of every row in the files of a results folder."""
    files = sorted(results.glob("rows/*/*/*.parquet"))
    return list(Rows(pa.concat_tables([decode_rows(file.read_bytes(), path=str(file)) for file in files])))


def plain_leaderboard(rows: Iterable[Row]) -> Estimates:
    """Return mean and interval of each measure, by scenario, configuration and the patches' variant; without ranks."""
    groups: defaultdict[tuple[str, ...], dict[str, list[tuple[str, float]]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        if row.state is not State.OK:
            continue
        config = {key: value for key, value in parse_config(row.config).items() if key != "seed"}
        key, board = (row.scenario, content_hash(config)), BOARDS[row.scenario]
        records: list[tuple[str, tuple[str, ...], Any]] = (
            [(str(row.seed), (), row)]
            if board.record is Metrics
            else [(patch.target_class, (patch.weak_kind, patch.fusion), patch) for patch in row.patches]
        )
        for subject, variant, record in records:
            group = groups[key + variant]
            for measure in board.measures:
                value = getattr(record, measure)
                if value is not None:
                    group[measure].append((subject, value))
    return {
        key: {measure: Estimate.of(_subject_means(values)) for measure, values in measured.items()}
        for key, measured in groups.items()
    }


def _subject_means(values: Iterable[tuple[str, float]]) -> list[float]:
    by_subject: defaultdict[str, list[float]] = defaultdict(list)
    for subject, value in values:
        by_subject[subject].append(value)
    return [Estimate.of(found).mean for found in by_subject.values()]


def plain_plan(rows: Iterable[Row], cells: Sequence[SuiteCell]) -> list[bool]:
    """Return for each cell whether it has a final row."""
    final = {row.cell_id for row in rows if row.state.is_final}
    return [item.cell.cell_id in final for item in cells]
