"""The command in processes of its own, and what tests wait for and read of them."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pyarrow.parquet as pq


def splitbench(*arguments: str | Path) -> list[str]:
    return [sys.executable, "-m", "harness", *map(str, arguments)]


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.05)


def states(results: Path) -> list[str]:
    return sorted(
        pq.ParquetFile(path).read(columns=["state"])["state"][0].as_py() for path in results.rglob("*.parquet")
    )
