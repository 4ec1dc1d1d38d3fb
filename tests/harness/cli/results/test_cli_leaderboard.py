from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from conftest import toy_row
from recorded_rows import recorded_row

from benchmarks.rows.row import State
from harness.store import ResultStore

Call = Callable[..., Result]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    store = ResultStore(tmp_path / "r")
    for seed in range(3):
        store.write(toy_row(seed=seed))
    store.write(toy_row(splitter="other", state=State.FAILED, kind="SplitFailedError"))
    return tmp_path / "r"


def test_it_ranks_what_is_in_a_folder(call: Call, results: Path) -> None:
    result = call("leaderboard", results)
    assert result.exit_code == 0
    assert "digits · simcnn" in result.stdout
    assert "SplitFailedError: a reason" in result.stdout
    assert "\x1b" not in result.stdout


@pytest.mark.parametrize("options", [["--json"], ["--format", "json"]])
def test_json_is_a_list_of_entries(call: Call, results: Path, options: list[str]) -> None:
    entries = json.loads(call("leaderboard", results, *options).stdout)
    assert [(entry["rank"], entry["splitter"], entry["n_failed"]) for entry in entries] == [
        (1, "toy", 0), (None, "other", 1),
    ]  # fmt: skip


@pytest.mark.parametrize(("form", "begin"), [("md", "### digits"), ("csv", "rank,splitter,"), ("latex", "% needs")])
def test_text_formats(call: Call, results: Path, form: str, begin: str) -> None:
    assert call("leaderboard", results, "--format", form).stdout.startswith(begin)


def test_damage_is_reported_beside_every_format(call: Call, results: Path) -> None:
    torn = next((results / "rows").rglob("*.parquet"))
    torn.write_bytes(b"torn")
    assert "still being written: " in call("leaderboard", results, "--json").stderr
    os.utime(torn, (0, 0))
    assert "1 damaged file(s)" in call("leaderboard", results).stdout
    assert "damaged: " in call("leaderboard", results, "--json").stderr
    assert torn.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no/such"], "there are no results at no/such"),
        (["RESULTS", "--scenario", "tony"], "unknown scenario in these results 'tony'. Did you mean 'toy'"),
        (["RESULTS", "--sort", "loss"], "unknown measure 'loss'"),
    ],
)
def test_a_wrong_call_exits_with_two(call: Call, results: Path, arguments: list[str], message: str) -> None:
    result = call("leaderboard", *(str(results) if word == "RESULTS" else word for word in arguments))
    assert result.exit_code == 2
    assert message in result.stderr


def test_at_shows_each_splitters_front(call: Call, tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "r")
    for seed in range(3):
        store.write(recorded_row([(0.8, 0.0, 1.0), (0.4, 0.04 + seed / 100, 3.0)], seed=seed))
        store.write(recorded_row([(0.5, 0.01 * seed, 2.0)], splitter="other", seed=seed))
    output = call("leaderboard", tmp_path / "r", "--at", "loss=0%,1%,5%").stdout
    lines = {line.split()[1]: line.split() for line in output.splitlines() if "toy" in line or "other" in line}
    assert lines["toy"][2:] == ["3", "80.0", "71.8", "42.2", "44.4", "58.0", "3.0"]
    assert lines["other"][2:] == ["3", "50.0", "1/3", "50.0", "2/3", "50.0", "0.0", "49.5", "2.0"]
    assert "digits · simcnn · kernels at a loss of at most" in output
    assert "losses are on select images" in " ".join(output.split())
    markdown = call("leaderboard", tmp_path / "r", "--at", "loss=0%,1%,5%", "--format", "md").stdout
    assert "| 50.0 1/3 | 50.0 2/3 | 50.0 |" in markdown
    (first, second) = json.loads(call("leaderboard", tmp_path / "r", "--at", "loss=0.01", "--json").stdout)
    assert {entry["splitter"]: entry["retention_at_loss_0.01_n_seeds"] for entry in (first, second)} == {
        "toy": 3, "other": 2,
    }  # fmt: skip


def test_an_impossible_budget_is_refused(call: Call, tmp_path: Path) -> None:
    ResultStore(tmp_path / "r").write(toy_row())
    result = call("leaderboard", tmp_path / "r", "--at", "retention=40")
    assert result.exit_code == 2
    assert "such as retention=0.4 or retention=40%" in result.stderr
    result = call("leaderboard", tmp_path / "r", "--at", "retention=40%")
    assert (result.exit_code, "no row has states" in result.stderr) == (2, True)
