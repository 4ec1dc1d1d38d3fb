"""The check of the quick suite's rows in ``.ci``."""

from __future__ import annotations

import importlib.util
from datetime import datetime, timedelta, timezone
from pathlib import Path
from types import ModuleType

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

_FILE = Path(__file__).parents[1] / ".ci" / "check_rows.py"
_START = datetime(2026, 1, 1, tzinfo=timezone.utc)


@pytest.fixture
def check_rows() -> ModuleType:
    spec = importlib.util.spec_from_file_location("check_rows", _FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _write(folder: Path, *spans: tuple[float, float]) -> None:
    for number, (begun, seconds) in enumerate(spans):
        row = {"started_at": [_START + timedelta(seconds=begun)], "seconds": [seconds]}
        pq.write_table(pa.table(row), folder / f"{number}.parquet")


def test_a_suite_that_takes_too_long_from_first_start_to_last_end_is_told(
    check_rows: ModuleType, tmp_path: Path
) -> None:
    _write(tmp_path, (100, 300), (0, 10), (350, 249))
    assert check_rows.too_slow(tmp_path) == []
    _write(tmp_path, (100, 300), (0, 10), (350, 251))
    assert check_rows.too_slow(tmp_path) == ["the suite took 601 s; less than 600 s are promised"]
