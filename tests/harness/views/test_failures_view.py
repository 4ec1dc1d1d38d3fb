from __future__ import annotations

from rendering import plain

from benchmarks.rows.parquet_schema import READ_SCHEMA
from harness.store import DamagedFile, StoreContents
from harness.views.failures import unreadable_view


def test_damaged_files_and_those_that_are_still_written_are_reported() -> None:
    files = (DamagedFile("q/a", "torn", True), DamagedFile("rows/b", "foreign", False))
    text = plain(unreadable_view(StoreContents(READ_SCHEMA.empty_table(), files, being_written=("rows/c",))))
    assert "2 damaged file(s)" in text
    assert "moved to q/a (torn)" in text
    assert "left at rows/b (foreign)" in text
    assert "1 file(s) still being written, not counted yet\n  rows/c" in text
