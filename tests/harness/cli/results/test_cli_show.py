from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from toys import toy_row

from benchmarks.rows.row import LayerRecord, State
from harness.store import ResultStore

Call = Callable[..., Result]


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    store = ResultStore(tmp_path / "results" / "toys")
    store.write(toy_row(state=State.TIMEOUT, age=5))
    for seed in range(20):
        store.write(toy_row(seed=seed))
    return tmp_path / "results" / "toys"


def test_the_beginning_of_an_id_shows_the_row_and_its_attempts(call: Call, results: Path) -> None:
    cell_id = toy_row().cell_id
    result = call("show", cell_id[:10], "--results", results)
    assert result.exit_code == 0
    assert cell_id in result.stdout
    assert "2 attempts: timeout, ok" in result.stdout


def test_without_a_place_all_results_are_searched(call: Call, results: Path) -> None:
    assert call("show", toy_row().cell_id[:10]).exit_code == 0


def test_json_is_the_row_and_its_attempts(call: Call, results: Path) -> None:
    shown = json.loads(call("show", toy_row().cell_id, "--json").stdout)
    assert shown["state"] == "ok"
    assert shown["accuracy_loss"] == pytest.approx(0.02)
    assert [attempt["state"] for attempt in shown["attempts"]] == ["timeout", "ok"]


def test_an_ambiguous_beginning_lists_the_candidates(call: Call, results: Path) -> None:
    result = call("show", "")
    assert result.exit_code == 2
    assert "20 cells' ids begin with ''; type more of it:" in result.stderr
    assert result.stderr.count("toy · simcnn · digits · seed") == 10


def test_an_unknown_id_is_said_to_be_unknown(call: Call, results: Path) -> None:
    result = call("show", "zzz")
    assert result.exit_code == 2
    assert "no cell's id begins with 'zzz'" in result.stderr


def test_a_folder_without_results_says_how_to_name_one(
    call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("show", "abc")
    assert result.exit_code == 2
    assert "--results" in result.stderr


@pytest.mark.parametrize("columns", ["20", "30", "40"])
def test_on_a_narrow_terminal_names_are_broken_and_not_cut(
    call: Call, results: Path, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    layers = [LayerRecord(name=f"features.{end}", kernels=8, kept=[4], union_kept=4) for end in ("one", "two")]
    row = toy_row(seed=30).model_copy(update={"layers": layers})
    ResultStore(results).write(row)
    monkeypatch.setenv("COLUMNS", columns)
    shown = call("show", row.cell_id).stdout
    assert "composed" in shown
    assert "…" not in shown
