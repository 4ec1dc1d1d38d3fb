"""Files that are not rows are reported, moved away by commands that write, and moved back when they are complete."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs
from toys import toy_cell, toy_row

from harness.store import ResultStore
from harness.store.row_files import encode_table
from splitters.errors import ConfigurationError


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "results")


def age(path: Path) -> None:
    """Make a file look as if it had not changed for two hours."""
    os.utime(path, (time.time() - 7200,) * 2)


def _parquet(table: pa.Table) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink)
    return bytes(sink.getvalue())


def _row(data: bytes) -> pa.Table:
    return pq.read_table(pa.BufferReader(data))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda data: data[: len(data) // 2], "torn"),
        (lambda data: b"", "torn"),
        (lambda data: b"hello", "torn"),
        (lambda data: data.replace(b"attempt_id", b"\xe3ttempt_id", 1), "torn"),
        (lambda data: _parquet(pa.table({"x": [1]})), "foreign: it is a Parquet file, but not a row"),
        (
            lambda data: _parquet(_row(data).append_column("surprise", pa.array([1]))),
            "foreign: it has the unknown columns surprise",
        ),
        (lambda data: _parquet(pa.concat_tables([_row(data)] * 2)), "foreign: it holds 2 rows"),
        (lambda data: _parquet(_row(data).drop_columns(["seed"])), "foreign: it lacks the columns seed"),
    ],
)
def test_a_spoilt_file_is_moved_away_and_reported_from_then_on(
    store: ResultStore, spoil: Callable[[bytes], bytes], reason: str
) -> None:
    good = toy_row()
    store.write(good)
    path = Path(store.write(toy_row(seed=1)))
    content = spoil(path.read_bytes())
    path.write_bytes(content)
    age(path)
    for _ in range(2):
        contents = store.read(quarantine=True)
        assert [row.cell_id for row in contents.latest()] == [good.cell_id]
        (damaged,) = contents.damaged
        assert damaged.reason.startswith(reason)
        assert damaged.quarantined
        assert Path(damaged.path).read_bytes() == content
    assert not path.exists()


def test_a_file_that_does_not_have_the_name_of_a_row_is_moved_away(store: ResultStore) -> None:
    note = Path(store.write(toy_row())).parent / "note.txt"
    note.write_text("hi")
    age(note)
    (damaged,) = store.read(quarantine=True).damaged
    assert "its name is not that of a row" in damaged.reason
    assert not note.exists()


@pytest.mark.parametrize(
    "name",
    [
        ".DS_Store", "_SUCCESS", ".nfs0001", ".tmp-lost.parquet", "_delta_log/0.json", ".ipynb_checkpoints/a.parquet",
        "desktop.ini", "Thumbs.db", "a.parquet~", "#a.parquet#", "a.parquet.part", "a.crdownload", "@eaDir/a.parquet",
        "$RECYCLE.BIN/a.parquet", "lost+found/a.parquet",
    ],
)  # fmt: skip
def test_names_of_other_programs_are_ignored(store: ResultStore, name: str) -> None:
    foreign = Path(store.write(toy_row())).parent / name
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_bytes(b"half")
    age(foreign)
    contents = store.read(quarantine=True)
    assert (contents.table.num_rows, contents.damaged, contents.being_written) == (1, (), ())
    assert foreign.read_bytes() == b"half"


def test_a_data_sets_name_that_ends_like_another_programs_file_hides_no_row(store: ResultStore) -> None:
    row = toy_row().model_copy(update={"dataset": "folder:pets~"})
    store.write(row)
    store.write(row.model_copy(update={"attempt_id": "b", "dataset": "folder:pets.part"}))
    assert store.read().table.num_rows == 2


def test_a_name_that_is_not_utf_8_is_named(store: ResultStore) -> None:
    folder = Path(store.write(toy_row())).parent
    Path(os.fsdecode(os.fsencode(folder) + b"/caf\xe9.parquet")).write_bytes(b"")
    with pytest.raises(ConfigurationError, match=r"/caf\\xe9\.parquet: the name of this file is not UTF-8"):
        store.read()


def test_looking_moves_nothing_and_an_unreadable_file_that_is_young_is_being_written(store: ResultStore) -> None:
    young, old = Path(store.write(toy_row())), Path(store.write(toy_row(seed=1)))
    for path in (young, old):
        path.write_bytes(path.read_bytes()[:-9])
    age(old)
    for quarantine in (False, True):
        contents = store.read(quarantine=quarantine)
        assert contents.being_written == (str(young),)
        (damaged,) = contents.damaged
        assert damaged.quarantined == quarantine
        assert damaged.reason.startswith("torn")
        assert (young.exists(), old.exists()) == (True, not quarantine)


def test_the_stores_clock_decides_what_is_moved(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    path = Path(store.write(toy_row()))
    path.write_bytes(b"half")
    ahead = time.time() + 86400
    monkeypatch.setattr("harness.store.quarantine.time.time", lambda: ahead)
    contents = store.read(quarantine=True)
    assert (contents.being_written, contents.damaged) == ((str(path),), ())
    assert sorted(entry.name for entry in Path(store.location).iterdir()) == ["rows"], "no clock file is left"


def test_a_row_whose_copying_ended_in_quarantine_is_moved_back(store: ResultStore) -> None:
    cell = toy_cell().model_copy(update={"dataset": toy_cell().dataset.model_copy(update={"name": "parquet:a__b"})})
    path = Path(store.write(row := toy_row(cell=cell)))
    data = path.read_bytes()
    path.write_bytes(data[:100])
    age(path)
    (damaged,) = store.read(quarantine=True).damaged
    Path(damaged.path).write_bytes(data)
    assert store.read().latest() == [], "looking moves nothing"
    contents = store.read(quarantine=True)
    assert contents.attempts(row.cell_id) == [row]
    assert contents.damaged == ()
    assert path.read_bytes() == data
    assert list((Path(store.location) / "quarantine").iterdir()) == []


def test_in_a_store_that_cannot_be_changed_damage_is_only_reported(tmp_path: Path) -> None:
    class ReadOnly(fs.FSSpecHandler):
        def create_dir(self, path: str, recursive: bool) -> None:
            raise PermissionError(13, "read-only")

        move = open_output_stream = create_dir

    import fsspec

    path = Path(ResultStore(tmp_path / "r").write(toy_row()))
    path.write_bytes(b"torn")
    age(path)
    read_only = fs.PyFileSystem(ReadOnly(fsspec.filesystem("file")))
    (damaged,) = ResultStore(str(tmp_path / "r"), filesystem=read_only).read(quarantine=True).damaged
    assert (damaged.path, damaged.quarantined) == (str(path), False)
    assert "read-only" in damaged.reason
    assert path.exists()


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("state", "great", "foreign: state: Input should be 'ok'"),
        ("accuracy_loss", math.nan, "foreign: accuracy_loss: Input should be a finite number"),
        ("accuracy_loss", math.inf, "foreign: accuracy_loss: Input should be a finite number"),
        ("config", "", "foreign: its config is not JSON: Expecting value"),
        ("config", "[]", "foreign: its config is no cell's"),
        ("config", '{"splitter": "toy"}', "foreign: its config is no cell's"),
        ("config", '{"seed": NaN}', "foreign: its config is not JSON: NaN is no number in JSON"),
        ("config", "[" * 10_000, "foreign: its config is not JSON: "),
    ],
)
def test_a_file_with_a_value_that_no_row_has_is_damaged(
    store: ResultStore, column: str, value: object, reason: str
) -> None:
    path = Path(store.write(toy_row()))
    store.write(good := toy_row(seed=1))
    rows = pq.ParquetFile(path).read()
    index = rows.schema.get_field_index(column)
    field = rows.schema.field(index)
    path.write_bytes(encode_table(rows.set_column(index, field, pa.array([value], field.type))))
    age(path)
    contents = store.read()
    assert contents.latest() == [good]
    (damaged,) = contents.damaged
    assert damaged.reason.startswith(reason)
