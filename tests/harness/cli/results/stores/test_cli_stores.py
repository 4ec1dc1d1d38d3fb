"""``merge``, ``compact`` and ``forget`` as users call them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from toys import toy_row

from benchmarks.rows.row import State
from harness.store import ResultStore

Call = Callable[..., Result]


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.store.maintenance.compaction.time.sleep", lambda seconds: None)


def test_merge_keeps_every_attempt_once_and_the_row_that_counts_by_the_stores_rule(call: Call, tmp_path: Path) -> None:
    anna, ben = ResultStore(tmp_path / "anna"), ResultStore(tmp_path / "ben")
    shared, ok = toy_row(seed=0), toy_row(seed=1, age=60)
    for store in (anna, ben):
        store.write(shared)
    anna.write(ok)
    ben.write(toy_row(seed=1, state=State.FAILED, kind="X"))
    ben.write(toy_row(seed=2))
    ben.write_file("sweeps/a.json", b"{}")
    result = call("merge", tmp_path / "anna", tmp_path / "ben", "--into", tmp_path / "both")
    assert result.exit_code == 0, result.output
    assert "4 new rows, 4 in all, of 3 cells." in result.stdout
    both = ResultStore(tmp_path / "both").read()
    assert {row.seed: row.state for row in both.latest()} == dict.fromkeys(range(3), State.OK)
    assert both.attempts(ok.cell_id)[0] == ok
    assert (tmp_path / "both/sweeps/a.json").read_bytes() == b"{}"
    again = json.loads(call("merge", tmp_path / "ben", "--into", tmp_path / "both", "--json").stdout)
    assert again == {"results": str(tmp_path / "both"), "new": 0, "rows": 4, "cells": 3}


def test_compact_says_what_it_merged(call: Call, tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "r")
    for seed in range(3):
        store.write(toy_row(seed=seed))
    board = call("leaderboard", tmp_path / "r", "--json").stdout
    assert "3 row files before, 1 now; 3 rows were merged." in call("compact", tmp_path / "r").stdout
    assert "1 row file, none to merge." in call("compact", tmp_path / "r").stdout
    assert call("leaderboard", tmp_path / "r", "--json").stdout == board


@pytest.mark.parametrize("verb", [["compact"], ["merge", "--into", "x"], ["rows"], ["leaderboard"], ["forget", "abc"]])
def test_a_folder_without_rows_is_a_wrong_call(call: Call, tmp_path: Path, verb: list[str]) -> None:
    result = call(*verb, tmp_path)
    assert result.exit_code == 2
    assert f"there are no rows at {tmp_path}" in " ".join(result.stderr.split())


def test_a_forgotten_cell_is_computed_again(call: Call, tmp_path: Path, write_suite: Callable[..., Path]) -> None:
    suite, results = write_suite(splitters=["toy"], seeds=[0, 1]), tmp_path / "r"
    run = ("run", suite, "--results", results, "--backend", "inline")
    assert call(*run).exit_code == 0
    row = next(row for row in ResultStore(results).read().latest() if row.seed == 1)
    assert "1 row and 0 cached splits removed" in call("forget", row.cell_id[:12], results).stdout
    assert [left.seed for left in ResultStore(results).read().latest()] == [0]
    call(*run)
    assert ResultStore(results).read().attempts(row.cell_id)[0].attempt_id != row.attempt_id


def test_forget_refuses_what_names_no_cell(call: Call, tmp_path: Path) -> None:
    ResultStore(tmp_path / "r").write(toy_row())
    assert call("forget", "zzz", tmp_path / "r").exit_code == 2
    for nothing in ("", " "):
        result = call("forget", nothing, tmp_path / "r")
        assert result.exit_code == 2
        assert "1 cell's id begins with ''" in result.stderr
    assert len(ResultStore(tmp_path / "r").read().latest()) == 1


def test_forget_takes_the_results_as_the_other_verbs_do(call: Call, tmp_path: Path) -> None:
    row = toy_row()
    ResultStore(tmp_path / "r").write(row)
    assert call("forget", row.cell_id).exit_code == 2
    assert call("forget", row.cell_id, tmp_path / "r", "--results", tmp_path / "r").exit_code == 2
    assert call("forget", row.cell_id, "--results", tmp_path / "r").exit_code == 0
    assert ResultStore(tmp_path / "r").read().latest() == []
