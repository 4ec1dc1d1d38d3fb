from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

Call = Callable[..., Result]
WriteSuite = Callable[..., Path]


def test_a_plan_lists_every_cell_and_sums_up(call: Call, write_suite: WriteSuite, tmp_path: Path) -> None:
    suite, results = write_suite(), tmp_path / "r"
    call("run", suite, "--results", results, "--backend", "inline", "--only", "splitter=toy")
    result = call("plan", suite, "--results", results)
    assert result.exit_code == 0
    assert "toy · simcnn · digits · seed 0" in result.stdout
    assert "2 cells: 1 done, 0 failed, 1 to do. No history" in result.stdout


def test_json_has_counts_and_cells(call: Call, write_suite: WriteSuite, tmp_path: Path) -> None:
    plan = json.loads(call("plan", write_suite(seeds=2), "--results", tmp_path / "r", "--json").stdout)
    assert plan["counts"] == {"done": 0, "failed": 0, "to do": 4}
    assert len({cell["cell_id"] for cell in plan["cells"]}) == 4
    assert plan["cells"][0] | {"cell_id": ""} == {
        "cell_id": "", "scenario": "toy", "splitter": "toy", "label": "toy", "model": "simcnn", "dataset": "digits",
        "seed": 0, "status": "to do", "state": None, "seconds": None,
    }  # fmt: skip


def test_damaged_files_are_reported(call: Call, write_suite: WriteSuite, tmp_path: Path) -> None:
    suite, results = write_suite(), tmp_path / "r"
    call("run", suite, "--results", results, "--backend", "inline")
    torn = next((results / "rows").rglob("*.parquet"))
    torn.write_bytes(b"torn")
    assert "1 file(s) still being written" in call("plan", suite, "--results", results).stdout
    os.utime(torn, (0, 0))
    result = call("plan", suite, "--results", results)
    assert "1 done, 0 failed, 1 to do" in result.stdout
    assert "1 damaged file(s)" in result.stdout
    assert torn.exists()


def test_a_sweep_is_planned_with_the_data_root_that_will_be_used(call: Call, tmp_path: Path) -> None:
    arguments = ("plan", "sweep-cifar-cpu", "--results", tmp_path / "r")
    assert "Missing data: parquet:cifar10" in call(*arguments).stderr
    found = call(*arguments, "--data-root", tmp_path)
    assert found.exit_code == 0
    assert f"{tmp_path / 'cifar10'}" in found.stderr


def test_an_unknown_suite_is_one_line_and_exit_code_two(call: Call) -> None:
    result = call("plan", "quik")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "Did you mean 'quick'" in result.stderr
