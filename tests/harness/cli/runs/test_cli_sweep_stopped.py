"""A sweep whose driver is killed or stopped again and again, on a real Ray."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

WriteSweep = Callable[..., Path]


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 240
    while not condition():
        assert time.monotonic() < deadline, f"waited in vain for {what}"
        time.sleep(0.05)


@pytest.mark.timeout(600)
@pytest.mark.ray
@pytest.mark.slow
def test_a_driver_that_is_killed_or_stopped_again_and_again_ends_where_one_left_alone_would(
    write_sweep: WriteSweep, tmp_path: Path, environment: dict[str, str], ray_cluster: None
) -> None:
    import ray

    cluster = ["--address", ray.get_runtime_context().gcs_address]
    marks, results = tmp_path / "marks", tmp_path / "results"
    marks.mkdir()
    splitter = {"name": "bowl", "settings": {"pause": 0.1, "folder": str(marks)}, "space": {"x": {"float": [0, 1]}}}
    file = write_sweep(splitters=[splitter], concurrency=1, trials=4)
    command = [sys.executable, "-m", "harness", "sweep", str(file), "--results", str(results), "--json"]
    runs_when_done: dict[str, int] = {}
    for number, n_rows, where in ((signal.SIGKILL, 2, cluster), (signal.SIGTERM, 4, cluster), (signal.SIGINT, 6, [])):
        process = subprocess.Popen(
            [*command, *where],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        wait_until(lambda n_rows=n_rows: len(ok_cells(results)) >= n_rows, f"{n_rows} rows")
        # As a terminal does it, the whole group gets Ctrl-C, a Ray of its own too; the others go to the driver alone.
        os.killpg(process.pid, number) if number is signal.SIGINT else process.send_signal(number)
        output, errors = process.communicate(timeout=180)
        assert process.returncode == (-number if number is signal.SIGKILL else 130), errors
        assert "Traceback" not in errors
        if number is not signal.SIGKILL:
            assert json.loads(output)["interrupted"]
        runs = runs_of_cells(marks)
        for cell_id in ok_cells(results):
            runs_when_done.setdefault(cell_id, runs[cell_id[:12]])
    again = subprocess.run([*command, *cluster], env=environment, capture_output=True, text=True, timeout=240)
    assert again.returncode == 0, again.stderr
    report = json.loads(again.stdout)
    assert [trial["state"] for trial in report["trials"]] == ["complete"] * 4
    assert report["known_trials"] == 3
    runs = runs_of_cells(marks)
    cells = {cell_id[:12] for trial in report["trials"] for cell_id in trial["cell_ids"]}
    assert len(cells) == 8
    # Trials that were running when the driver was killed left no rows, so their configurations may be unknown.
    assert cells <= set(runs)
    assert len(runs) <= 9
    # A cell that was stopped at its very end has run twice; once it had its row, it never ran again.
    assert len(runs_when_done) >= 6
    assert {cell_id: runs[cell_id[:12]] for cell_id in runs_when_done} == runs_when_done
    assert {trial["number"] for trial in report["front"]} <= {0, 1, 2, 3}
    assert all(trial["test"] for trial in report["front"])


def runs_of_cells(marks: Path) -> Counter[str]:
    return Counter(path.name.split("--")[1] for path in marks.glob("bowl-selection--*"))


def ok_cells(results: Path) -> list[str]:
    rows = [
        pq.ParquetFile(path).read(columns=["state", "cell_id"]).to_pylist()[0]
        for path in results.rglob("rows/**/*.parquet")
        if not path.name.startswith(".")  # being written
    ]
    return [row["cell_id"] for row in rows if row["state"] == "ok"]
