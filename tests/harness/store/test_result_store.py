from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, patch_record, patching_row, toy_cell, toy_row
from pyarrow import fs

from benchmarks.rows.parquet_schema import ROW_SCHEMA
from benchmarks.rows.row import ROW_FORMAT, LayerRecord, Row, State
from harness.store import ResultStore, StoreContents, beneath
from harness.store.locations import last_part, parent_of
from harness.store.row_format import DamagedFileError, decode_row, encode_row
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


def test_rows_lie_in_partitions_with_quoted_names(store: ResultStore, tmp_path: Path) -> None:
    cell = toy_cell().model_copy(update={"dataset": toy_cell().dataset.model_copy(update={"name": "parquet:a/b"})})
    store.write(toy_row(cell=cell))
    folder = tmp_path / "results" / "rows" / "in_scenario=toy" / "in_dataset=parquet%3Aa%2Fb"
    assert len(list(folder.glob("*.parquet"))) == 1
    table = pq.read_table(tmp_path / "results" / "rows")
    assert table.column("dataset").to_pylist() == ["parquet:a/b"]
    assert table.column("in_dataset").to_pylist() == ["parquet:a/b"]


def test_a_store_that_does_not_exist_is_empty(store: ResultStore) -> None:
    contents = store.read()
    assert contents.table.num_rows == 0
    assert contents.latest() == []
    assert contents.damaged == ()


def test_no_temporary_file_is_left_and_a_fresh_one_is_passed_over(store: ResultStore, tmp_path: Path) -> None:
    path = Path(store.write(toy_row()))
    assert [file.name for file in path.parent.iterdir()] == [path.name]
    (path.parent / ".tmp-other.parquet").write_bytes(b"half")
    contents = store.read()
    assert contents.table.num_rows == 1
    assert contents.damaged == ()


@pytest.mark.parametrize(
    "name",
    [".DS_Store", "_SUCCESS", ".nfs0001", ".tmp-lost.parquet", "_delta_log/0.json", ".ipynb_checkpoints/a.parquet"],
)
def test_names_that_begin_with_a_dot_or_an_underscore_are_not_ours(store: ResultStore, name: str) -> None:
    foreign = Path(store.write(toy_row())).parent / name
    foreign.parent.mkdir(exist_ok=True)
    foreign.write_bytes(b"half")
    age(foreign)
    contents = store.read(quarantine=True)
    assert contents.table.num_rows == 1
    assert (contents.damaged, contents.being_written) == ((), ())
    assert foreign.read_bytes() == b"half"


def test_looking_moves_nothing_and_a_young_file_that_cannot_be_read_is_still_being_written(store: ResultStore) -> None:
    young, old = Path(store.write(toy_row())), Path(store.write(toy_row(seed=1)))
    for path in (young, old):
        path.write_bytes(path.read_bytes()[:-9])
    age(old)
    contents = store.read()
    assert contents.being_written == (str(young),)
    (damaged,) = contents.damaged
    assert (damaged.path, damaged.quarantined) == (str(old), False)
    assert damaged.reason.startswith("torn")
    assert old.exists()
    contents = store.read(quarantine=True)
    assert contents.being_written == (str(young),)
    assert [file.quarantined for file in contents.damaged] == [True]
    assert young.exists()
    assert not old.exists()


def test_a_files_age_is_told_by_the_stores_clock_where_something_would_be_moved(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(store.write(toy_row()))
    path.write_bytes(b"half")
    ahead = time.time() + 86400
    monkeypatch.setattr("harness.store.result_store.time.time", lambda: ahead)
    contents = store.read(quarantine=True)
    assert contents.being_written == (str(path),)
    assert contents.damaged == ()
    assert sorted(entry.name for entry in Path(store.location).iterdir()) == ["rows"], "no clock file is left"


def test_a_row_whose_copying_ended_in_quarantine_is_taken_back(store: ResultStore) -> None:
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


def age(path: Path, *, seconds: float = 7200) -> None:
    """Makes a file look as if it had not changed for some time."""
    os.utime(path, (time.time() - seconds,) * 2)


def _cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def _foreign(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"x": [1]}), sink)
    return bytes(sink.getvalue())


def _extra_column(data: bytes) -> bytes:
    table = pq.read_table(pa.BufferReader(data))
    sink = pa.BufferOutputStream()
    pq.write_table(table.append_column("surprise", pa.array([1])), sink)
    return bytes(sink.getvalue())


def _two_rows(data: bytes) -> bytes:
    table = pq.read_table(pa.BufferReader(data))
    sink = pa.BufferOutputStream()
    pq.write_table(pa.concat_tables([table, table]), sink)
    return bytes(sink.getvalue())


def _without_seed(data: bytes) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(pq.read_table(pa.BufferReader(data)).drop_columns(["seed"]), sink)
    return bytes(sink.getvalue())


def _with_a_wrong_byte_in_a_column_name(data: bytes) -> bytes:
    place = data.index(b"attempt_id")
    return data[:place] + b"\xe3" + data[place + 1 :]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (_cut, "torn"),
        (lambda data: b"", "torn"),
        (lambda data: b"hello", "torn"),
        (_foreign, "foreign: it is a Parquet file, but not a row"),
        (_extra_column, "foreign: it has the unknown columns surprise"),
        (_two_rows, "foreign: it holds 2 rows"),
        (_without_seed, "foreign: it lacks the columns seed"),
        (_with_a_wrong_byte_in_a_column_name, "torn"),
    ],
)
def test_a_spoilt_file_is_moved_away_and_reported_for_ever(
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


def test_a_bit_that_flips_among_the_values_is_never_read_as_another_row() -> None:
    row = toy_row()
    data = encode_row(row)
    footer = int.from_bytes(data[-8:-4], "little") + 8
    outcomes = Counter(_outcome_of_flip(data, row, place) for place in range(0, len(data) - footer, 29))
    assert outcomes["damaged"] > 50


def _outcome_of_flip(data: bytes, row: Row, place: int) -> str:
    flipped = data[:place] + bytes([data[place] ^ 4]) + data[place + 1 :]
    try:
        table = decode_row(flipped, path="x")
    except DamagedFileError:
        return "damaged"
    assert StoreContents(table, ()).attempts(row.cell_id) == [row], f"byte {place}"
    return "as it was"


def test_a_foreign_file_without_parquets_name_is_moved_away(store: ResultStore) -> None:
    note = Path(store.write(toy_row())).parent / "note.txt"
    note.write_text("hi")
    age(note)
    (damaged,) = store.read(quarantine=True).damaged
    assert "its name is not that of a row" in damaged.reason
    assert not note.exists()


def test_in_a_store_that_cannot_be_changed_damage_is_reported_only(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(store.write(toy_row()))
    path.write_bytes(b"torn")
    age(path)

    class ReadOnly:
        def __init__(self, inner: fs.FileSystem) -> None:
            self._inner = inner

        def __getattr__(self, name: str) -> object:
            return getattr(self._inner, name)

        def create_dir(self, *args: object, **kwargs: object) -> None:
            raise PermissionError("read-only")

        move = create_dir

    monkeypatch.setattr(store.storage, "fs", ReadOnly(fs.LocalFileSystem()))
    (damaged,) = store.read(quarantine=True).damaged
    assert not damaged.quarantined
    assert damaged.path == str(path)
    assert "read-only" in damaged.reason
    assert path.exists()


def _with_format(row: Row, number: int, without: tuple[str, ...] = ()) -> bytes:
    table = pq.read_table(pa.BufferReader(encode_row(row))).drop_columns(list(without))
    sink = pa.BufferOutputStream()
    pq.write_table(table.replace_schema_metadata({"splitbench_row_format": str(number)}), sink)
    return bytes(sink.getvalue())


def test_rows_of_an_older_format_have_nulls_where_columns_are_new(store: ResultStore) -> None:
    row = toy_row()
    path = Path(store.write(row))
    path.write_bytes(
        _with_format(row, ROW_FORMAT - 1, without=("splitter_label", "plugins", "jaccard_distance", "stages"))
    )
    (read,) = store.read().attempts(row.cell_id)
    assert read.splitter_label is None
    assert read.plugins is None
    assert read.stages == []
    assert read.accuracy_loss == row.accuracy_loss


def test_records_of_an_older_format_have_nulls_where_their_fields_are_new(store: ResultStore) -> None:
    row = patching_row([patch_record("3", tc_precision_gain=0.2), patch_record("8")])
    path = Path(store.write(row))
    table = pq.read_table(pa.BufferReader(encode_row(row))).drop_columns(["compositions", "new_tasks", "sub_tasks"])
    fields = [field for field in table.schema.field("patches").type.value_type if not field.name.endswith("n_gain")]
    patches = pa.array(table["patches"].to_pylist(), pa.list_(pa.struct(fields)))
    sink = pa.BufferOutputStream()
    old = table.set_column(table.schema.get_field_index("patches"), "patches", patches)
    pq.write_table(old.replace_schema_metadata({"splitbench_row_format": "2"}), sink)
    path.write_bytes(bytes(sink.getvalue()))
    (read,) = store.read().attempts(row.cell_id)
    assert [patch.tc_precision_gain for patch in read.patches] == [None, None]
    assert [patch.tc_f1_gain for patch in read.patches] == [0.25, 0.25]
    assert read.new_tasks == []


def test_columns_that_are_gone_are_passed_over_in_rows_of_their_time_and_foreign_in_later_ones(
    store: ResultStore,
) -> None:
    row = toy_row()
    path = Path(store.write(row))
    table = pq.read_table(pa.BufferReader(encode_row(row)))
    for name, value in (("protocol", "splitbench"), ("flops_retention_union", 0.5)):
        table = table.append_column(name, pa.array([value]))
    for number in (3, 4):
        sink = pa.BufferOutputStream()
        pq.write_table(table.replace_schema_metadata({"splitbench_row_format": str(number)}), sink)
        path.write_bytes(bytes(sink.getvalue()))
        os.utime(path, (0, 0))
        contents = store.read()
        if number == 3:
            assert contents.attempts(row.cell_id) == [row]
    (damaged,) = contents.damaged
    assert damaged.reason.startswith("foreign: it has the unknown columns")


def test_a_newer_format_is_refused_and_left_where_it_is(store: ResultStore) -> None:
    row = toy_row()
    path = Path(store.write(row))
    path.write_bytes(_with_format(row, ROW_FORMAT + 1))
    with pytest.raises(ConfigurationError, match=f"row format {ROW_FORMAT + 1} is newer than {ROW_FORMAT}.*Upgrade"):
        store.read()
    assert path.exists()


def test_a_final_attempt_counts_before_later_failures_and_else_the_newest(store: ResultStore) -> None:
    for row in (
        toy_row(seed=0, age=10),
        toy_row(seed=0, state=State.FAILED),
        toy_row(seed=1, state=State.TIMEOUT, age=10),
        toy_row(seed=1, state=State.FAILED, kind="X"),
        toy_row(seed=2, state=State.INTERRUPTED, age=10),
        toy_row(seed=2, state=State.SKIPPED, age=5),
    ):
        store.write(row)
    assert {row.seed: row.state for row in rows_of(store)} == {0: State.OK, 1: State.FAILED, 2: State.SKIPPED}
    assert [row.state for row in store.read().attempts(toy_cell(seed=0).cell_id)] == [State.OK, State.FAILED]


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
    assert contents.table.num_rows == 40
    assert len(contents.latest()) == 20
    assert contents.damaged == ()


def test_any_file_system_of_pyarrow_serves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    memory = fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem("memory")))
    local = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    for filesystem, root in ((memory, "/toys"), (local, "toys")):
        store = ResultStore(root, filesystem=filesystem)
        row = toy_row()
        path = store.write(row)
        with filesystem.open_output_stream(path.replace(row.attempt_id, "torn")) as stream:
            stream.write(b"PAR1 torn")
        monkeypatch.setattr("harness.store.result_store._SETTLED_SECONDS", -60.0)
        for _ in range(2):
            contents = store.read(quarantine=True)
            assert contents.attempts(row.cell_id) == [row]
            assert [damaged.quarantined for damaged in contents.damaged] == [True]


def test_a_uri_of_a_local_folder_is_that_folder(tmp_path: Path) -> None:
    ResultStore(f"file://{tmp_path}/r").write(toy_row())
    assert len(rows_of(ResultStore(tmp_path / "r"))) == 1


def test_an_unknown_scheme_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="nope://x: no such location for results"):
        ResultStore("nope://x")


def test_a_place_that_cannot_be_written_to_is_refused_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="results cannot be written to"):
        ResultStore(tmp_path / "file" / "r").prepare()


def test_the_cache_of_read_rows_gives_the_same_rows_and_sees_new_and_lost_files(tmp_path: Path) -> None:
    plain, cached = ResultStore(tmp_path / "r"), ResultStore(tmp_path / "r", cache=tmp_path / "cache")
    paths = [plain.write(toy_row(seed=seed)) for seed in range(25)]
    for _ in range(2):
        assert sorted(rows_of(cached), key=lambda row: row.seed) == sorted(rows_of(plain), key=lambda row: row.seed)
    assert len(list((tmp_path / "cache" / "rows").iterdir())) == 1
    Path(paths[0]).unlink()
    plain.write(toy_row(seed=30))
    assert {row.seed for row in rows_of(cached)} == {*range(1, 25), 30}


def test_a_write_that_fails_leaves_nothing_behind(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = Path(store.write(toy_row())).parent

    def full(descriptor: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        store.write(toy_row(seed=1))
    assert len(list(folder.iterdir())) == 1


def test_a_cache_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ResultStore(tmp_path / "r", cache=tmp_path / "cache")
    for seed in range(25):
        store.write(toy_row(seed=seed))

    def full(source: object, target: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert len(rows_of(store)) == 25
    assert list((tmp_path / "cache" / "rows").iterdir()) == []


def test_a_spoilt_cache_is_no_trouble(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "r", cache=tmp_path / "cache")
    for seed in range(25):
        store.write(toy_row(seed=seed))
    store.read()
    (file,) = (tmp_path / "cache" / "rows").iterdir()
    file.write_bytes(b"torn")
    assert len(rows_of(store)) == 25


@pytest.mark.parametrize(
    ("location", "inner"),
    [
        ("results/quick", "results/quick/cache"),
        ("s3://bucket/quick/", "s3://bucket/quick/cache"),
        ("s3://bucket/quick?scheme=http", "s3://bucket/quick/cache?scheme=http"),
        ("a?b", "a?b/cache"),
    ],
)
def test_a_place_in_a_place(location: str, inner: str) -> None:
    assert beneath(location, "cache") == inner


def test_rows_that_a_killed_run_wrote_need_not_be_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = ResultStore(tmp_path / "r", cache=tmp_path / "cache")
    rows = [toy_row(seed=seed) for seed in range(205)]
    for row in rows:
        writer.write(row)
    read: list[str] = []
    later = ResultStore(tmp_path / "r", cache=tmp_path / "cache")
    decode = later._read_file
    monkeypatch.setattr(later, "_read_file", lambda info: (read.append(info.path), decode(info))[1])
    assert sorted(rows_of(later), key=lambda row: row.seed) == rows
    assert len(read) == 5, "the last few were only in the writer's memory"
    assert len(rows_of(writer)) == 205


def refuse_writes(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Makes a store refuse rows, writes one all the same, and returns the file that waits."""

    def full(path: str, data: bytes, *, durable: bool = True) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(store.storage, "put", full)
    store.write(toy_row())
    assert store._outbox is not None
    (path,) = Path(store._outbox.folder).rglob("*.parquet")
    return path


def test_files_that_another_process_is_writing_are_no_rows_that_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ResultStore(tmp_path / "r", cache=tmp_path / "cache")
    half = refuse_writes(store, monkeypatch).parent / ".tmp-12345678-a.parquet"
    half.write_bytes(b"half")
    contents = store.read()
    assert contents.table.num_rows == 1
    assert contents.unsent is not None
    assert contents.unsent.n_rows == 1
    later = ResultStore(tmp_path / "r", cache=tmp_path / "cache")
    assert later.read().unsent is None
    assert half.read_bytes() == b"half"
    assert [path.name for path in (tmp_path / "r").rglob("*") if path.name.startswith(".")] == []


def test_a_row_that_another_process_delivers_while_the_store_is_read_is_read_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ResultStore(tmp_path / "r", cache=tmp_path / "cache")
    refuse_writes(store, monkeypatch)
    assert store._outbox is not None
    waiting = store._outbox.waiting

    def deliver_after_listing() -> list[str]:
        paths = waiting()
        ResultStore(tmp_path / "r", cache=tmp_path / "cache").read()
        return paths

    monkeypatch.setattr(store._outbox, "waiting", deliver_after_listing)
    contents = store.read()
    assert contents.table.num_rows == 1
    assert contents.unsent is None


def test_a_damaged_file_that_waits_is_reported_and_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ResultStore(tmp_path / "r", cache=tmp_path / "cache")
    path = refuse_writes(store, monkeypatch)
    path.write_bytes(b"torn")
    contents = store.read()
    assert contents.table.num_rows == 0
    assert [(file.path, file.quarantined) for file in contents.damaged] == [(str(path), False)]


@pytest.mark.parametrize(
    ("location", "meant"),
    [
        ("s3:/b/x", "s3://b/x"),
        ("s3:b/x", "s3://b/x"),
        ("gs:/b?scheme=http", "gs://b?scheme=http"),
        ("file:/tmp/x", "file:///tmp/x"),
        ("other:/b", "other://b"),
    ],
)
def test_a_uri_that_lacks_slashes_makes_no_folder(location: str, meant: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(f"did you mean {meant}?")):
        ResultStore(location)


@pytest.mark.parametrize("location", ["a:b", "c:/x", "s3", "s3/b", "results/s3:/b"])
def test_folders_with_colons_are_folders(location: str) -> None:
    assert ResultStore(location).storage.root == str(Path(location).absolute())


@pytest.mark.parametrize(
    ("location", "last", "parent"),
    [
        ("s3://b/quick?endpoint_override=HOST&region=R", "quick", "s3://b?endpoint_override=HOST&region=R"),
        ("s3://b/a/quick/?x=/y", "quick", "s3://b/a?x=/y"),
        ("s3://b", "b", "s3://b"),
        ("s3://b/my%20quick", "my quick", "s3://b"),
        ("s3://b/..", "", "s3://b"),
        ("far/quick/", "quick", "far"),
        ("far/a?b", "a?b", "far"),
        ("far/quick/..", "far", "."),
    ],
)
def test_names_come_from_the_path_of_a_location_alone(location: str, last: str, parent: str) -> None:
    assert last_part(location) == last
    assert parent_of(location) == parent
