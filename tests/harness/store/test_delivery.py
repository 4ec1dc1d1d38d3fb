"""Rows that a store does not accept wait on this machine, and each is delivered and counted once."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from toys import toy_row

from harness.store import ResultStore
from harness.store.delivery import Outbox


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ResultStore:
    """A store that has refused a row."""
    store = ResultStore(tmp_path / "r", cache=tmp_path / "cache")

    def full(path: str, data: bytes, *, durable: bool = True) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(store.storage, "put", full)
    store.write(toy_row())
    return store


@pytest.fixture
def waiting(store: ResultStore, tmp_path: Path) -> Path:
    """The file of that row."""
    (path,) = (tmp_path / "cache" / "outbox").rglob("*.parquet")
    return path


def test_a_file_that_another_process_is_writing_is_not_a_waiting_row(
    store: ResultStore, waiting: Path, tmp_path: Path
) -> None:
    half = waiting.parent / ".tmp-12345678-a.parquet"
    half.write_bytes(b"half")
    contents = store.read()
    assert contents.table.num_rows == 1
    assert contents.unsent is not None
    assert (contents.unsent.n_rows, contents.unsent.reason) == (1, "no space left on device")
    assert ResultStore(tmp_path / "r", cache=tmp_path / "cache").read().unsent is None
    assert half.read_bytes() == b"half"
    assert [path.name for path in (tmp_path / "r").rglob("*") if path.name.startswith(".")] == []


def test_a_row_that_another_process_delivers_while_the_store_is_read_is_read_once(
    store: ResultStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = Outbox.waiting

    def deliver_after_listing(outbox: Outbox) -> list[str]:
        paths = listed(outbox)
        monkeypatch.setattr(Outbox, "waiting", listed)
        ResultStore(tmp_path / "r", cache=tmp_path / "cache").read()
        return paths

    monkeypatch.setattr(Outbox, "waiting", deliver_after_listing)
    contents = store.read()
    assert (contents.table.num_rows, contents.unsent) == (1, None)


def test_a_damaged_file_that_waits_is_reported_and_stops_nothing(store: ResultStore, waiting: Path) -> None:
    waiting.write_bytes(b"torn")
    contents = store.read()
    assert contents.table.num_rows == 0
    assert [(file.path, file.quarantined) for file in contents.damaged] == [(str(waiting), False)]


def test_a_store_that_failed_is_tried_again_after_a_while_though_rows_keep_coming(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, now = ResultStore(tmp_path / "r", cache=tmp_path / "cache"), [1000.0]
    monkeypatch.setattr("harness.store.delivery.time", SimpleNamespace(monotonic=lambda: now[0]))
    put, tried = store.storage.put, []

    def put_later(path: str, data: bytes, *, durable: bool = True) -> None:
        tried.append(now[0])
        if now[0] < 1031:
            raise OSError("no space left on device")
        put(path, data, durable=durable)

    monkeypatch.setattr(store.storage, "put", put_later)
    for seed, seconds in enumerate((1000.0, 1020.0, 1029.0, 1031.0)):
        now[0] = seconds
        store.write(toy_row(seed=seed))
    assert tried[:2] == [1000.0, 1031.0]
    assert len(list((tmp_path / "r").rglob("*.parquet"))) == 4
