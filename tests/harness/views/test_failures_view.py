from __future__ import annotations

from rendering import plain

from harness.store import DamagedFile
from harness.views.failures import damaged_view


def test_damaged_files_are_reported() -> None:
    files = [DamagedFile("q/a", "torn", True), DamagedFile("rows/b", "foreign", False)]
    text = plain(damaged_view(files))
    assert "2 damaged file(s)" in text
    assert "moved to q/a (torn)" in text
    assert "left at rows/b (foreign)" in text
