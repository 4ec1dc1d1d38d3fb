"""Rows of older formats are read, those of newer ones refused, and no altered file is read as another row."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from toys import patch_record, patching_row, toy_row

from benchmarks.rows.row import ROW_FORMAT, Row
from harness.store import ResultStore, StoreContents
from harness.store.row_files import DamagedFileError, decode_rows, encode_row
from splitters.errors import ConfigurationError


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "results")


def as_table(row: Row) -> pa.Table:
    return pq.read_table(pa.BufferReader(encode_row(row)))


def as_file(table: pa.Table, number: int) -> bytes:
    """Return the bytes of a row's file in another format."""
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata({"splitbench_row_format": str(number)}), sink)
    return bytes(sink.getvalue())


def test_a_bit_that_flips_among_the_values_is_never_read_as_another_row() -> None:
    row = toy_row()
    data = encode_row(row)
    footer = int.from_bytes(data[-8:-4], "little") + 8
    outcomes = Counter(_outcome_of_flip(data, row, index) for index in range(0, len(data) - footer, 29))
    assert outcomes["damaged"] > 50


def _outcome_of_flip(data: bytes, row: Row, index: int) -> str:
    flipped = data[:index] + bytes([data[index] ^ 4]) + data[index + 1 :]
    try:
        table = decode_rows(flipped, path="x")
    except DamagedFileError:
        return "damaged"
    assert StoreContents(table, ()).attempts(row.cell_id) == [row], f"byte {index}"
    return "unchanged"


def test_rows_of_an_older_format_have_nulls_where_columns_are_new(store: ResultStore) -> None:
    row = toy_row()
    new = ["splitter_label", "plugins", "jaccard_distance", "stages", "confusions"]
    Path(store.write(row)).write_bytes(as_file(as_table(row).drop_columns(new), ROW_FORMAT - 1))
    (read,) = store.read().attempts(row.cell_id)
    assert (read.splitter_label, read.plugins, read.stages, read.confusions) == (None, None, [], [])
    assert read.accuracy_loss == row.accuracy_loss


def test_records_of_an_older_format_have_nulls_where_their_fields_are_new(store: ResultStore) -> None:
    row = patching_row([patch_record("3", tc_precision_gain=0.2), patch_record("8")])
    table = as_table(row).drop_columns(["compositions", "new_tasks", "sub_tasks"])
    fields = [field for field in table.schema.field("patches").type.value_type if not field.name.endswith("n_gain")]
    patches = pa.array(table["patches"].to_pylist(), pa.list_(pa.struct(fields)))
    table = table.set_column(table.schema.get_field_index("patches"), "patches", patches)
    Path(store.write(row)).write_bytes(as_file(table, 2))
    (read,) = store.read().attempts(row.cell_id)
    assert [patch.tc_precision_gain for patch in read.patches] == [None, None]
    assert [patch.tc_f1_gain for patch in read.patches] == [0.25, 0.25]
    assert read.new_tasks == []


def test_columns_that_were_removed_are_ignored_in_rows_of_their_time_and_foreign_in_later_ones(
    store: ResultStore,
) -> None:
    row = toy_row()
    path = Path(store.write(row))
    table = as_table(row)
    for name, value in (("protocol", "splitbench"), ("flops_retention_union", 0.5)):
        table = table.append_column(name, pa.array([value]))
    path.write_bytes(as_file(table, 3))
    assert store.read().attempts(row.cell_id) == [row]
    path.write_bytes(as_file(table, 4))
    os.utime(path, (0, 0))
    (damaged,) = store.read().damaged
    assert damaged.reason.startswith("foreign: it has the unknown columns")


def test_a_newer_format_is_refused_and_its_file_not_moved(store: ResultStore) -> None:
    row = toy_row()
    path = Path(store.write(row))
    path.write_bytes(as_file(as_table(row), ROW_FORMAT + 1))
    with pytest.raises(ConfigurationError, match=f"row format {ROW_FORMAT + 1} is newer than {ROW_FORMAT}.*Upgrade"):
        store.read(quarantine=True)
    assert path.exists()
