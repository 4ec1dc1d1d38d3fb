"""Copies of rows save reading, and never show anything but what the files say."""

from __future__ import annotations

import hashlib
import io
import os
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from toys import toy_row

from benchmarks.rows.row import Row
from harness.store import ResultStore, row_files
from harness.store.row_copies import SHARED_COPY, RowCache, SharedCopy


def rows_of(store: ResultStore) -> list[Row]:
    return store.read().latest()


@pytest.fixture
def many(tmp_path: Path) -> tuple[Path, list[Row]]:
    """A store with a copy of its 210 rows, and the rows."""
    store, rows = ResultStore(tmp_path / "r"), [toy_row(seed=seed) for seed in range(210)]
    for row in rows:
        store.write(row)
    store.read(share=True)
    assert (tmp_path / "r" / SHARED_COPY).is_file()
    return tmp_path / "r", rows


def read_counting(store: ResultStore, monkeypatch: pytest.MonkeyPatch) -> tuple[list[Row], int]:
    """Return a store's rows by seed, and how many row files were opened for them."""
    opened: list[str] = []
    decode = row_files.decode_rows
    with monkeypatch.context() as patch:
        patch.setattr(
            row_files,
            "decode_rows",
            lambda data, path, **more: (opened.append(path), decode(data, path=path, **more))[1],
        )
        return sorted(rows_of(store), key=lambda row: row.seed), len(opened)


def test_another_machine_reads_the_stores_copy(
    many: tuple[Path, list[Row]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rows = many
    moved = folder.rename(tmp_path / "elsewhere")
    ResultStore(moved).write(late := toy_row(seed=1000))
    (gone,) = moved.glob(f"rows/*/*/*-{rows[0].attempt_id}.parquet")
    gone.unlink()
    elsewhere = ResultStore(moved, cache=tmp_path / "cache")
    assert read_counting(elsewhere, monkeypatch) == ([*rows[1:], late], 1)
    assert read_counting(ResultStore(moved, cache=tmp_path / "cache"), monkeypatch) == ([*rows[1:], late], 0)


def test_what_is_read_of_a_copy_is_what_the_files_say(many: tuple[Path, list[Row]], tmp_path: Path) -> None:
    folder, _ = many
    copied = ResultStore(folder).read().table.sort_by("attempt_id")
    (folder / SHARED_COPY).unlink()
    assert copied.equals(ResultStore(folder).read().table.sort_by("attempt_id"))


@pytest.mark.parametrize("content", [b"", b"torn"])
def test_a_torn_copy_in_the_store_is_no_trouble(
    many: tuple[Path, list[Row]], content: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, rows = many
    (folder / SHARED_COPY).write_bytes(content)
    assert read_counting(ResultStore(folder), monkeypatch) == (rows, 210)


@pytest.mark.parametrize("place", ["store", "machine"])
def test_a_copy_with_one_flipped_bit_counts_as_lost(many: tuple[Path, list[Row]], tmp_path: Path, place: str) -> None:
    folder, rows = many
    store = ResultStore(folder, cache=tmp_path / "cache")
    assert len(rows_of(store)) == len(rows)
    (on_machine,) = (tmp_path / "cache" / "rows").iterdir()
    copy = SharedCopy(store.storage) if place == "store" else RowCache(tmp_path / "cache", store.storage.name)
    path = folder / SHARED_COPY if place == "store" else on_machine
    infos, whole, generator = store.storage.files("rows"), path.read_bytes(), random.Random(0)
    assert len(copy.load(infos)[0]) == len(rows)
    for _ in range(20):
        flipped = bytearray(whole)
        flipped[generator.randrange(len(whole))] ^= 1 << generator.randrange(8)
        path.write_bytes(flipped)
        assert copy.load(infos)[0] == []


def test_a_copy_of_another_version_is_left_alone(many: tuple[Path, list[Row]], monkeypatch: pytest.MonkeyPatch) -> None:
    folder, rows = many
    table = pq.read_table(pa.BufferReader((folder / SHARED_COPY).read_bytes()[:-32]))
    sink = io.BytesIO()
    pq.write_table(table.append_column("new", pa.nulls(table.num_rows)), sink)
    (folder / SHARED_COPY).write_bytes(sink.getvalue() + hashlib.sha256(sink.getvalue()).digest())
    assert read_counting(ResultStore(folder), monkeypatch) == (rows, 210)


def test_the_copy_in_the_store_is_renewed_when_much_is_new(many: tuple[Path, list[Row]]) -> None:
    folder, _ = many
    store = ResultStore(folder)

    def shared_after(n_rows: int) -> int:
        while store.read().table.num_rows < n_rows:
            store.write(toy_row(seed=store.read().table.num_rows))
        store.read(share=True)
        return int(pq.read_table(pa.BufferReader((folder / SHARED_COPY).read_bytes()[:-32])).num_rows)

    assert shared_after(211) == 210
    assert shared_after(235) == 235


def test_a_long_run_leaves_copies_on_its_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.store.result_store.SHARED_EVERY", 220)
    store = ResultStore(tmp_path / "r", cache=tmp_path / "cache")
    rows = [toy_row(seed=seed) for seed in range(230)]
    for row in rows:
        store.write(row)
    killed = tmp_path / "r"
    assert read_counting(ResultStore(killed, cache=tmp_path / "elsewhere"), monkeypatch) == (rows, 10)


def test_the_copies_of_a_long_run_lack_a_tenth_of_its_rows_at_most(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.store.result_store.SHARED_EVERY", 1)
    store = ResultStore(tmp_path / "r", cache=tmp_path / "cache")
    sizes, tries = [0], [0]
    renew = SharedCopy.renew

    def noting(copy: SharedCopy, infos: list[Any], rows: pa.Table) -> int:
        tries[0] += len(infos) >= 200
        held = renew(copy, infos, rows)
        sizes.extend([held] if held > sizes[-1] else [])
        return held

    monkeypatch.setattr(SharedCopy, "renew", noting)
    lacking = []
    for number in range(1, 261):
        store.write(toy_row(seed=number))
        lacking.append((number - sizes[-1]) / number if number >= 200 else 0.0)
    assert max(lacking) <= 0.1
    assert sizes == [0, 200, 223, 248]
    assert tries[0] == 3, "none in vain"
    joined = ResultStore(tmp_path / "r", cache=tmp_path / "elsewhere")
    joined.read()
    for number in range(261, 276):
        joined.write(toy_row(seed=number))
    assert (sizes[-1], tries[0]) == (248, 4), "whoever joins looks once what the copy holds"
    joined.write(toy_row(seed=276))
    assert (sizes[-1], tries[0]) == (276, 5)


def test_a_store_that_takes_no_copy_is_read_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ResultStore(tmp_path / "r")
    for seed in range(200):
        store.write(toy_row(seed=seed))

    def full(*args: object, **kwargs: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(store.storage, "put", full)
    assert store.read(share=True).table.num_rows == 200
    assert not (tmp_path / "r" / SHARED_COPY).exists()


@pytest.fixture
def cached(tmp_path: Path) -> ResultStore:
    """A store of 25 rows that has a copy of them on this machine."""
    store = ResultStore(tmp_path / "r", cache=tmp_path / "cache")
    for seed in range(25):
        store.write(toy_row(seed=seed))
    assert len(rows_of(store)) == 25
    return store


def test_new_and_lost_files_are_seen_through_the_copy(cached: ResultStore, tmp_path: Path) -> None:
    plain = ResultStore(tmp_path / "r")
    assert read_by_seed(cached) == read_by_seed(plain)
    plain.storage.delete(plain.storage.relative(plain.storage.files("rows")[0]))
    plain.write(toy_row(seed=30))
    assert read_by_seed(cached) == read_by_seed(plain)
    assert len(rows_of(cached)) == 25


def read_by_seed(store: ResultStore) -> list[Row]:
    return sorted(rows_of(store), key=lambda row: row.seed)


def test_a_torn_copy_on_this_machine_is_no_trouble(cached: ResultStore, tmp_path: Path) -> None:
    (file,) = (tmp_path / "cache" / "rows").iterdir()
    file.write_bytes(b"torn")
    assert len(rows_of(cached)) == 25


def test_a_cache_that_cannot_be_written_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ResultStore(tmp_path / "r", cache=tmp_path / "cache")
    for seed in range(25):
        store.write(toy_row(seed=seed))

    def full(source: object, target: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full)
    assert len(rows_of(store)) == 25
    assert list((tmp_path / "cache" / "rows").iterdir()) == []


def test_rows_that_a_killed_run_wrote_need_not_be_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer, rows = ResultStore(tmp_path / "r", cache=tmp_path / "cache"), [toy_row(seed=seed) for seed in range(205)]
    for row in rows:
        writer.write(row)
    later = ResultStore(tmp_path / "r", cache=tmp_path / "cache")
    assert read_counting(later, monkeypatch) == (rows, 5), "the last few were only in the writer's memory"
    assert len(rows_of(writer)) == 205
