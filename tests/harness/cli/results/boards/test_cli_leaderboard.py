from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from recorded_rows import recorded_row
from toys import toy_cell, toy_row

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
        ([__file__], f"there are no results at {__file__}"),
        (["RESULTS", "--scenario", "tony"], "unknown scenario in these results 'tony'. Did you mean 'toy'"),
        (["RESULTS", "--sort", "loss"], "unknown measure 'loss'"),
        (["RESULTS", "--columns", ","], "--columns: name at least one measure"),
        (["RESULTS", "--group-by", " "], "--group-by: name at least one field"),
        (["RESULTS", "--columns", "kernels"], "--columns: unknown measure 'kernels'"),
        (["RESULTS", "--baseline", "tony"], "--baseline: unknown splitter in these results 'tony'. Did you mean 'toy'"),
        (["RESULTS", "--group-by", "modle"], "--group-by: unknown key of rows 'modle'. Did you mean 'model'"),
        (["RESULTS", "--where", "modle=x"], "--where modle=x: unknown key of rows 'modle'. Did you mean 'model'"),
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


@pytest.fixture
def two_models(tmp_path: Path) -> Path:
    """Rows of two splitters on two models; the second one was not measured on every seed of the second model."""
    store = ResultStore(tmp_path / "models")
    for n, model in enumerate(("simcnn", "rescnn")):
        for seed in range(3):
            for splitter, loss in (("toy", 0.02 + seed / 100 + n / 10), ("other", 0.03 + seed / 50 + n / 10)):
                if (model, splitter, seed) != ("rescnn", "other", 2):
                    cell = toy_cell(splitter=splitter, seed=seed)
                    cell = cell.model_copy(update={"model": cell.model.model_copy(update={"name": model})})
                    store.write(toy_row(loss=loss, cell=cell))
    return tmp_path / "models"


def entries_of(call: Call, *arguments: str | Path) -> list[dict[str, Any]]:
    result = call("leaderboard", *arguments, "--json")
    assert result.exit_code == 0, result.stderr
    return [entry for entry in json.loads(result.stdout) if entry["measured"]]


def test_several_folders_are_one_leaderboard_and_a_row_in_two_of_them_counts_once(
    call: Call, results: Path, tmp_path: Path
) -> None:
    other = ResultStore(tmp_path / "other")
    other.write(ResultStore(results).read().latest()[0])
    other.write(toy_row(seed=7))
    (toy, _) = entries_of(call, results, tmp_path / "other")
    assert toy["seeds"] == [0, 1, 2, 7]


def test_where_keeps_rows_and_group_by_averages_over_the_rest(call: Call, two_models: Path) -> None:
    assert {entry["model"] for entry in entries_of(call, two_models, "--where", "model=res*")} == {"rescnn"}
    toy, other = entries_of(call, two_models, "--group-by", "dataset")
    assert (toy["label"], toy["n_seeds"], toy["model"]) == ("toy", 6, "rescnn, simcnn")
    assert toy["accuracy_loss"] == pytest.approx(0.03 + 0.05)
    assert toy["seeds"][0] == "digits · rescnn · 0"
    assert other["missing_seeds"] == ["digits · rescnn · 2"], "seeds of one model do not stand in for another's"
    text = call("leaderboard", two_models, "--group-by", "dataset").stdout
    assert "Rows that differ in model are averaged" in text
    assert " cells " in text
    by_model = entries_of(call, two_models, "--group-by", "model")
    assert [entry["seeds"] for entry in by_model] == [entry["seeds"] for entry in entries_of(call, two_models)]


def test_a_baseline_turns_values_into_paired_differences(call: Call, two_models: Path) -> None:
    entries = entries_of(call, two_models, "--baseline", "toy")
    (other,) = [entry for entry in entries if (entry["label"], entry["model"]) == ("other", "rescnn")]
    assert other["baseline"] == "toy"
    assert other["accuracy_loss_difference"] == pytest.approx(0.01 + 0.005), "on the seeds that both have"
    assert other["accuracy_loss"] == pytest.approx(0.13 + 0.01)
    assert {entry["accuracy_loss_difference"] for entry in entries if entry["label"] == "toy"} == {None}
    text = call("leaderboard", two_models, "--baseline", "toy", "--where", "model=simcnn", "--format", "md").stdout
    assert "| toy | 3 | 90.0 | 87.0 | 3.00 ±2.48 | 40.0 |" in text
    assert "| other | 3 | 0.0 | -2.0 | +2.00 ±2.48 | 0.0 |" in text
    assert "Differences from toy, whose own values are shown" in text


def test_columns_are_those_that_were_named_in_their_order(call: Call, results: Path) -> None:
    named = ["--columns", "split_seconds,kernel_retention"]
    head = call("leaderboard", results, *named, "--format", "md").stdout.splitlines()[2]
    assert head == "| rank | splitter | seeds | split ↓ | kernels % ↓ |"
    entry = entries_of(call, results, *named)[0]
    assert list(entry)[7:9] == ["split_seconds", "kernel_retention"]
    assert "accuracy_loss" not in entry


def test_colours_stay_out_where_no_color_is_set(results: Path, environment: dict[str, str]) -> None:
    command = [sys.executable, "-m", "harness", "leaderboard", str(results)]
    for name, coloured in (("FORCE_COLOR", True), ("NO_COLOR", False)):
        keys = {**environment, "FORCE_COLOR": "1", "TERM": "xterm-256color", name: "1"}
        text = subprocess.run(command, env=keys, capture_output=True, text=True, check=True).stdout
        assert bool(re.search(r"\x1b\[[0-9;]*3[0-9]m", text)) == coloured, name


def test_a_run_that_has_no_rows_yet_is_no_wrong_call(call: Call, tmp_path: Path) -> None:
    ResultStore(tmp_path / "r").prepare()
    result = call("leaderboard", tmp_path / "r")
    assert (result.exit_code, result.stdout.strip()) == (0, "No rows yet.")


def test_a_baseline_that_failed_everywhere_is_not_called_unknown(call: Call, tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "r")
    store.write(toy_row())
    store.write(toy_row(splitter="other", state=State.FAILED))
    result = call("leaderboard", tmp_path / "r", "--baseline", "other")
    assert result.exit_code == 2
    assert "--baseline other: it has no cell that is ok" in result.stderr
    assert call("leaderboard", tmp_path / "r", "--baseline", "").exit_code == 2
