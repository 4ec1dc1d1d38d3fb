"""What is remembered of a data set's files, so that they need not be read again."""

from __future__ import annotations

from pathlib import Path

from benchmarks.data.datasets.file_stamps import FileStamps
from benchmarks.data.sources.source import Contents, Listing, Source


class _Files(Source):
    """A data set of one file that was written long ago."""

    def __init__(self) -> None:
        self.reads = 0

    def listing(self) -> Listing:
        return {"train.parquet": (1, 1)}

    def fingerprint(self) -> str:
        self.reads += 1
        return "a"

    def read(self) -> Contents:
        raise AssertionError("a fingerprint needs no image")


def test_a_folder_that_moved_is_looked_for_where_it_is_now(tmp_path: Path) -> None:
    files = _Files()
    for folder in ("before", "now"):
        FileStamps.load("mine", tmp_path).fingerprint(files, data_root=tmp_path / folder)
    assert FileStamps.load("mine", tmp_path).last_data_root == tmp_path / "now"
    assert files.reads == 1, "the files are the same"
    FileStamps.load("mine", tmp_path).fingerprint(files, data_root=None)
    assert FileStamps.load("mine", tmp_path).last_data_root == tmp_path / "now"
