"""Compaction and forgetting lose and change nothing, whatever happens meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import fs
from toys import toy_cell, toy_row

from benchmarks.rows.row import Row, State
from harness.store import KEY_COLUMNS, ResultStore
from harness.store.files import Storage
from harness.store.maintenance import compaction
from harness.store.maintenance.compaction import Compaction
from harness.store.maintenance.fetch import fetch_rows
from harness.store.maintenance.forgetting import forget_cell
from splitters.errors import ConfigurationError


@pytest.fixture
def store(tmp_path: Path) -> ResultStore:
    return ResultStore(tmp_path / "results")


def compact(store: ResultStore) -> Compaction:
    return compaction.compact(store, settle_seconds=0.0)


def write(store: ResultStore, n_rows: int, **keys: object) -> list[Row]:
    rows = [toy_row(seed=seed, loss=seed / 7, **keys) for seed in range(n_rows)]
    for row in rows:
        store.write(row)
    return rows


def by_attempt(store: ResultStore) -> pa.Table:
    return store.read().table.sort_by("attempt_id")


def row_files(store: ResultStore) -> list[Path]:
    return sorted(Path(store.location).glob("rows/*/*/*.parquet"))


def test_small_files_become_one_per_partition_and_no_value_changes(store: ResultStore, tmp_path: Path) -> None:
    write(store, 3)
    write(store, 2, splitter="other", state=State.FAILED, kind="X")
    digits = toy_cell().dataset
    cell = toy_cell().model_copy(update={"dataset": digits.model_copy(update={"name": "parquet:a/b"})})
    store.write(toy_row(cell=cell))
    before, others = by_attempt(store), pq.read_table(tmp_path / "results/rows").sort_by("attempt_id")
    assert compact(store) == Compaction(6, 2, 5)
    assert len(row_files(store)) == 2
    assert by_attempt(store).equals(before)
    elsewhere = pq.read_table(tmp_path / "results/rows").sort_by("attempt_id")
    assert elsewhere.to_pylist() == others.to_pylist(), "other readers of Parquet see the same rows and partitions"
    assert compact(store) == Compaction(2, 2, 0)


def test_later_rows_join_a_merged_file(store: ResultStore) -> None:
    write(store, 3)
    compact(store)
    late = toy_row(seed=9)
    store.write(late)
    assert compact(store) == Compaction(2, 1, 4)
    assert store.read().attempts(late.cell_id) == [late]


def test_a_compaction_that_is_killed_leaves_every_row_once_and_the_next_one_ends_it(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store, 4)
    before = by_attempt(store)

    def die(storage: Storage, paths: Sequence[str]) -> None:
        storage.delete(paths[0])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Storage, "delete_all", die)
        with pytest.raises(KeyboardInterrupt):
            compact(store)
    assert len(row_files(store)) == 4
    assert by_attempt(store).equals(before)
    assert compact(store) == Compaction(4, 1, 4)
    assert by_attempt(store).equals(before)


def test_a_merged_file_that_is_not_what_was_written_replaces_nothing(
    store: ResultStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store, 3)
    before, files = by_attempt(store), row_files(store)
    encode = compaction.encode_merged
    monkeypatch.setattr(compaction, "encode_merged", lambda rows: encode(rows.slice(1)))
    with pytest.raises(OSError, match="not what was written"):
        compact(store)
    assert row_files(store) == files
    assert by_attempt(store).equals(before)


@pytest.mark.parametrize("with_cache", [False, True])
def test_a_reader_that_listed_files_before_they_were_merged_finds_their_rows(
    tmp_path: Path, with_cache: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer = ResultStore(tmp_path / "results")
    rows = write(writer, 4)
    reader = ResultStore(tmp_path / "results", cache=tmp_path / "cache" if with_cache else None)
    assert len(reader.read().latest()) == 4
    writer.write(late := toy_row(seed=9))
    list_files, compacted = Storage.files, []

    def files(storage: Storage, folder: str) -> list[fs.FileInfo]:
        infos = list_files(storage, folder)
        if folder == "rows" and storage is reader.storage and not compacted:
            compacted.append(compact(writer))
        return infos

    monkeypatch.setattr(Storage, "files", files)
    assert sorted(row.seed for row in reader.read().latest()) == [0, 1, 2, 3, 9]
    compacted.clear()
    writer.write(toy_row(seed=10))
    assert reader.read_cells([late.cell_id, rows[0].cell_id]).cell_ids() == {late.cell_id, rows[0].cell_id}


def test_rows_that_a_run_writes_meanwhile_stay(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> None:
    write(store, 2)
    late = toy_row(seed=7)
    monkeypatch.setattr("harness.store.maintenance.compaction.time.sleep", lambda seconds: store.write(late))
    compact(store)
    assert {row.seed for row in store.read().latest()} == {0, 1, 7}


def test_damaged_files_and_rows_with_removed_columns_are_left_alone(store: ResultStore) -> None:
    write(store, 3)
    torn, old, _ = row_files(store)
    torn.write_bytes(b"torn")
    sink = pa.BufferOutputStream()
    table = pq.read_table(pa.BufferReader(old.read_bytes()))
    index = table.schema.get_field_index("row_format")
    table = table.set_column(index, "row_format", pa.array([3])).append_column("protocol", pa.array(["splitbench"]))
    pq.write_table(table.replace_schema_metadata({"splitbench_row_format": "3"}), sink)
    old.write_bytes(bytes(sink.getvalue()))
    store.write(toy_row(seed=8))
    assert compact(store) == Compaction(4, 3, 2)
    assert pq.ParquetFile(old).read().column("protocol").to_pylist() == ["splitbench"]
    assert torn.read_bytes() == b"torn"


def test_an_earlier_version_refuses_a_merged_file_and_a_merged_file_of_a_later_one_is_refused(
    store: ResultStore,
) -> None:
    write(store, 2)
    compact(store)
    (merged,) = row_files(store)
    text = pq.ParquetFile(merged).metadata.metadata[b"splitbench_row_format"]
    assert int(text) > 5, "these versions compare it with the newest format that they know"
    merged.write_bytes(merged.read_bytes().replace(text, b"1999"))
    with pytest.raises(ConfigurationError, match=r"row format 1999 is newer.*Upgrade"):
        store.read(quarantine=True)
    assert merged.exists()


def test_a_merged_file_that_was_quarantined_by_mistake_comes_back(store: ResultStore, tmp_path: Path) -> None:
    write(store, 2)
    compact(store)
    (merged,) = row_files(store)
    quarantined = tmp_path / "results" / "quarantine" / f"in_scenario=toy__in_dataset=digits__{merged.name}"
    quarantined.parent.mkdir()
    merged.rename(quarantined)
    assert len(store.read(quarantine=True).latest()) == 2
    assert row_files(store) == [merged]


def test_fetch_copies_nothing_that_the_target_has_in_merged_files(store: ResultStore, tmp_path: Path) -> None:
    write(store, 3)
    target = ResultStore(tmp_path / "target")
    fetch_rows(store, target)
    compact(target)
    assert fetch_rows(store, target) == 0
    compact(store)
    assert fetch_rows(store, target) == 0
    store.write(toy_row(seed=5))
    assert fetch_rows(store, target) == 1
    assert by_attempt(target).equals(by_attempt(store))


def test_fetch_follows_a_source_that_is_compacted_meanwhile(
    store: ResultStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(store, 3)
    read, compacted = Storage.read, []

    def read_late(storage: Storage, path: str) -> bytes:
        if storage is store.storage and not compacted:
            compacted.append(True)
            compact(store)
        return read(storage, path)

    monkeypatch.setattr(Storage, "read", read_late)
    target = ResultStore(tmp_path / "target")
    fetch_rows(store, target)
    assert by_attempt(target).equals(by_attempt(store))


@pytest.mark.parametrize("prepare", [compact, lambda store: None], ids=["merged", "single"])
def test_a_forgotten_cell_is_gone_with_all_its_attempts_and_no_other(
    store: ResultStore, prepare: Callable[[ResultStore], object]
) -> None:
    rows = write(store, 3)
    store.write(toy_row(seed=1, state=State.FAILED, kind="X", age=60))
    prepare(store)
    assert forget_cell(store, rows[1].cell_id, settle_seconds=0.0) == 2
    assert {row.seed for row in store.read().latest()} == {0, 2}
    assert forget_cell(store, rows[1].cell_id, settle_seconds=0.0) == 0


def test_a_forgotten_cells_learning_curves_leave_too(store: ResultStore) -> None:
    rows = [toy_row(seed=seed) for seed in range(2)]
    for row in rows:
        store.write(row)
        store.write_file(f"curves/{row.cell_id[:16]}-{row.attempt_id}.parquet", b"curve")
    assert forget_cell(store, rows[0].cell_id, settle_seconds=0.0) == 1
    (left,) = store.read_files("curves")
    assert left.endswith(f"/{rows[1].cell_id[:16]}-{rows[1].attempt_id}.parquet")


def test_rows_that_wait_on_this_machine_are_forgotten_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ResultStore(tmp_path / "results", cache=tmp_path / "cache")
    with monkeypatch.context() as patch:
        patch.setattr(store.storage, "put", lambda *args, **keys: (_ for _ in ()).throw(OSError("full")))
        rows = write(store, 2)
    assert store.read().unsent is not None
    assert forget_cell(store, rows[0].cell_id, settle_seconds=0.0) == 1
    assert ResultStore(tmp_path / "results", cache=tmp_path / "cache").read().cell_ids() == {rows[1].cell_id}


def test_object_stores_are_compacted_alike() -> None:
    memory = fs.PyFileSystem(fs.FSSpecHandler(fsspec.filesystem("memory")))
    store = ResultStore("/compacted", filesystem=memory)
    rows = write(store, 3)
    assert compact(store) == Compaction(3, 1, 3)
    assert forget_cell(store, rows[0].cell_id, settle_seconds=0.0) == 1
    assert {row.seed for row in store.read().latest()} == {1, 2}


def test_columns_that_are_asked_for_are_read_of_files_and_copies_alike(store: ResultStore, tmp_path: Path) -> None:
    write(store, 30)
    compact(store)
    write(store, 25, splitter="other")
    cached = ResultStore(store.location, cache=tmp_path / "cache")
    whole = cached.read().table.sort_by("attempt_id")
    columns = {*KEY_COLUMNS, "seed", "stages"}
    for _ in range(2):
        some = cached.read(columns=columns).table.sort_by("attempt_id")
        assert some.equals(whole.select(some.column_names))
        assert set(some.column_names) == columns
    assert cached.read_cells([toy_row(seed=3).cell_id], columns=columns).table.column("seed").to_pylist() == [3]
