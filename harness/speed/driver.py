"""What a large study costs the driver: its leaderboard, its plan, and resuming it, each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from harness.config.expand import expand
from harness.config.suite import load_suite
from harness.speed.many_rows import ROWS_PER_SEED, cloned_rows, large_suites, write_attempts, write_merged
from harness.store import ResultStore

MAX_ATTEMPTS = 10_000
"""Files of single rows that are written: each takes milliseconds."""


@dataclass(frozen=True)
class Cost:
    """What a process took.

    Args:
        seconds: Wall time, the start of Python included.
        cpu_seconds: Processor time, which other programs lengthen less.
        peak_bytes: Peak of its resident memory.
    """

    seconds: float
    cpu_seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Step:
    """A measured command.

    Args:
        name: What was measured.
        n_rows: Number of rows in the results folder.
        ours: What the command took.
        plain: What a program took that makes a model object of each row; None where there is none to compare with.
    """

    name: str
    n_rows: int
    ours: Cost
    plain: Cost | None = None


def measure(n_rows: int) -> Iterator[Step]:
    """Yield the steps, each as soon as it is measured.

    Args:
        n_rows: How many rows, rounded down to a multiple of ``ROWS_PER_SEED``.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        suite, rows = write_study(folder, max(1, n_rows // ROWS_PER_SEED))
        merged, attempts = str(folder / "merged"), str(folder / "attempts")
        board = _command(folder, "harness", "leaderboard", merged, "--json")
        yield Step("driver.leaderboard", len(rows), board, _plain(folder, merged))
        plan = _command(folder, "harness", "plan", suite, "--results", merged, "--json")
        plain = _plain(folder, merged, suite)
        yield Step("driver.plan", len(rows), plan, plain)
        resume = _command(folder, "harness", "run", suite, "--results", merged, "--backend", "inline", "--json")
        yield Step("driver.resume", len(rows), resume, plain)
        part = rows.slice(0, MAX_ATTEMPTS)
        write_attempts(ResultStore(attempts), part)
        for when in ("first", "again"):
            cost = _command(folder, "harness", "leaderboard", attempts, "--json")
            yield Step(f"driver.leaderboard, a file per row, {when}", len(part), cost)


def write_study(folder: Path, n_seeds: int, *, n_widths: int = 10) -> tuple[str, pa.Table]:
    """Write a study with all its rows into ``merged`` in a folder, and return its suite's file and the rows."""
    suites = large_suites(n_seeds, n_widths=n_widths)
    files = [folder / f"{values['name']}.yaml" for values in suites]
    for file, values in zip(files, suites, strict=True):
        file.write_text(json.dumps(values))
    rows = cloned_rows([item for file in files for item in expand(load_suite(str(file)))])
    write_merged(ResultStore(folder / "merged"), rows)
    return str(files[0]), rows


def _plain(folder: Path, *arguments: str) -> Cost:
    return _command(folder, "harness.speed", "plain", *arguments)


def _command(folder: Path, module: str, *arguments: str) -> Cost:
    environment = {**os.environ, "SPLITBENCH_CACHE": str(folder / "cache")}
    return cost_of([sys.executable, "-m", module, *arguments], environment)


def cost_of(command: Sequence[str], environment: Mapping[str, str]) -> Cost:
    """Run a program and return what it took.

    Raises:
        RuntimeError: If it fails.
    """
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{' '.join(command)} ended with exit code {process.returncode}")
    # Linux counts kilobytes, macOS bytes.
    peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    return Cost(time.perf_counter() - began, usage.ru_utime + usage.ru_stime, peak)
