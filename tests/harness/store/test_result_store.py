"""Rows are written all or nothing and read back as they were, from any file system and by several processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import fsspec
import pyarrow.parquet as pq
import pytest
from pyarrow import fs
from toys import ROOT, toy_cell, toy_row

from benchmarks.rows.parquet_schema import ROW_SCHEMA
from benchmarks.rows.row import LayerRecord, Row
from harness.store import ResultStore
from splitters.errors import ConfigurationError


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "results")


def rows_of(store: ResultStore) -> list[Row]:
    return store.read().latest()


def test_a_row_comes_back_as_it_was(store: ResultStore) -> None:
    row = toy_row().model_copy(
        update={"layers": [LayerRecord(name="c", kernels=4, kept=[1, 2], union_kept=3)], "warnings": ["w"]}
    )
    path = Path(store.write(row))
    assert store.read().attempts(row.cell_id) == [row]
    assert path.name == f"{row.cell_id[:16]}-{row.attempt_id}.parquet"
    schema = pq.ParquetFile(path).schema_arrow
    assert schema.equals(ROW_SCHEMA)
    assert schema.metadata == ROW_SCHEMA.metadata


def test_rows_are_in_partitions_with_quoted_names(store: ResultStore, tmp_path: Path) -> None:
    cell = toy_cell().model_copy(update={"dataset": toy_cell().dataset.model_copy(update={"name": "parquet:a/b"})})
    path = Path(store.write(toy_row(cell=cell)))
    rows = tmp_path / "results" / "rows"
    assert path.parent == rows / "in_scenario=toy" / "in_dataset=parquet%3Aa%2Fb"
    table = pq.read_table(rows)
    assert table.column("dataset").to_pylist() == table.column("in_dataset").to_pylist() == ["parquet:a/b"]


def test_names_longer_than_those_of_folders_may_be_have_folders_of_their_own(store: ResultStore) -> None:
    names = ["folder:" + "/ä" * 150, "folder:" + "/ä" * 150 + "/b"]
    cells = [
        toy_cell().model_copy(update={"dataset": toy_cell().dataset.model_copy(update={"name": name})})
        for name in names
    ]
    paths = [Path(store.write(toy_row(cell=cell))) for cell in cells]
    assert len({path.parent for path in paths}) == 2
    assert all(len(path.parent.name) < 255 for path in paths)
    assert [row.dataset for row in store.read().latest()] == names


def test_a_store_that_does_not_exist_is_empty(store: ResultStore) -> None:
    contents = store.read()
    assert (contents.table.num_rows, contents.latest(), contents.damaged) == (0, [], ())


def test_two_processes_may_write_at_once(tmp_path: Path) -> None:
    code = (
        "import sys; from benchmarks.rows.row import Row; from harness.store import ResultStore\n"
        "store = ResultStore(sys.argv[1])\n"
        "for line in open(sys.argv[2]): store.write(Row.model_validate_json(line))\n"
    )
    writers = []
    for number in range(2):
        lines = tmp_path / f"rows{number}"
        lines.write_text("\n".join(toy_row(seed=seed).model_dump_json() for seed in range(20)))
        command = [sys.executable, "-c", code, str(tmp_path / "r"), str(lines)]
        writers.append(subprocess.Popen(command, cwd=ROOT))
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    contents = ResultStore(tmp_path / "r").read()
    assert (contents.table.num_rows, len(contents.latest()), contents.damaged) == (40, 20, ())


def test_any_file_system_of_pyarrow_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem("memory")))
    local = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    monkeypatch.setattr("harness.store.quarantine.SETTLED_SECONDS", -60.0)
    for filesystem, root in ((memory, "/toys"), (local, "toys")):
        store = ResultStore(root, filesystem=filesystem)
        row = toy_row()
        path = store.write(row)
        with filesystem.open_output_stream(path.replace(row.attempt_id, "torn")) as stream:
            stream.write(b"PAR1 torn")
        for _ in range(2):
            contents = store.read(quarantine=True)
            assert contents.attempts(row.cell_id) == [row]
            assert [damaged.quarantined for damaged in contents.damaged] == [True]


def test_a_uri_of_a_local_folder_is_that_folder(tmp_path: Path) -> None:
    ResultStore(f"file://{tmp_path}/r").write(toy_row())
    assert len(rows_of(ResultStore(tmp_path / "r"))) == 1


def test_a_location_that_cannot_be_written_to_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="results cannot be written to"):
        ResultStore(tmp_path / "file" / "r").prepare()


def test_neither_a_write_nor_one_that_fails_leaves_a_temporary_file(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(store.write(toy_row()))

    def full(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    monkeypatch.setattr("harness.store.files._FIRST_WAIT_SECONDS", 0.0)
    with pytest.raises(OSError, match="no space left"):
        store.write(toy_row(seed=1))
    assert list(path.parent.iterdir()) == [path]
