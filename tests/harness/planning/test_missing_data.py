"""Data sets are looked for before the first cell: what is missing is said, and nothing runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from PIL import Image

from harness.store import ResultStore

Call = Callable[..., Result]

SUITE = """
name: own
models: [{{name: simplecnn, settings: {{width: 0.05, convolutions: 2}}}}]
datasets: [{datasets}]
training: {{recipe: one_cycle, epochs: 1, batch_size: 8}}
splitters: [full]
threads: 1
"""

PETS = '{name: "folder:pets", input_shape: [3, 16, 16]}'


def write_images(root: Path) -> None:
    for part in ("train", "test"):
        for grey, name in ((50, "cat"), (200, "dog")):
            for number in range(6):
                path = root / part / name / f"{number}.png"
                path.parent.mkdir(parents=True, exist_ok=True)
                Image.new("L", (16, 16), grey + number).save(path)


@pytest.fixture
def write_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Write a suite into a folder of its own, beside the current one."""
    (tmp_path / "here").mkdir()
    (tmp_path / "suites").mkdir()
    monkeypatch.chdir(tmp_path / "here")

    def write(*datasets: str) -> str:
        path = tmp_path / "suites" / "own.yaml"
        path.write_text(SUITE.format(datasets=", ".join(datasets)))
        return str(path)

    return write


def test_run_names_all_missing_data_and_runs_nothing(
    call: Call, write_suite: Callable[..., str], tmp_path: Path
) -> None:
    suite = write_suite("digits", PETS, "mnist", '"parquet:birds"')
    (tmp_path / "data").mkdir()
    result = call("run", suite, "--backend", "inline", "--data-root", tmp_path / "data", "--results", "rows")
    assert result.exit_code == 2
    for name, searched in (
        ("folder:pets", [tmp_path / "data" / "pets", tmp_path / "suites" / "pets"]),
        ("mnist", [tmp_path / "data"]),
        ("parquet:birds", [tmp_path / "data" / "birds", tmp_path / "suites" / "birds"]),
    ):
        (line,) = (line for line in result.stderr.splitlines() if line.startswith(f"Missing data: {name}: "))
        assert all(str(path) in line for path in searched)
    assert "nothing was run: 3 data sets that the cells need cannot be used" in result.stderr
    assert "digits" not in result.stderr
    assert ResultStore("rows").read().latest() == []


def test_data_that_may_be_downloaded_are_not_missing(call: Call, write_suite: Callable[..., str]) -> None:
    suite = write_suite("mnist")
    assert "Missing data: mnist" in call("run", suite, "--dry-run").stderr
    assert call("run", suite, "--dry-run", "--download").stderr == ""
    assert call("plan", suite, "--download").stderr == ""


def test_plan_shows_the_plan_and_what_is_missing(call: Call, write_suite: Callable[..., str], tmp_path: Path) -> None:
    suite = write_suite("digits", PETS)
    result = call("plan", suite, "--json")
    assert result.exit_code == 0
    planned = json.loads(result.stdout)
    assert planned["counts"]["to do"] == 2
    (line,) = planned["missing_data"]
    assert line.startswith("folder:pets: ")
    assert f"Missing data: {line}" in result.stderr
    write_images(tmp_path / "data" / "pets")
    found = call("plan", suite, "--json", "--data-root", tmp_path / "data")
    assert json.loads(found.stdout)["missing_data"] == []
    assert found.stderr == ""


def test_the_second_data_set_of_a_scenario_is_looked_for_too(call: Call, write_suite: Callable[..., str]) -> None:
    suite = Path(write_suite("digits"))
    suite.write_text(
        suite.read_text()
        + "scenario: [{name: new_task, settings: {other_dataset: {name: 'folder:pets'}, size: 2, tasks: 1}}]\n"
    )
    assert "Missing data: folder:pets" in call("plan", suite).stderr


def test_images_beside_the_suite_are_found_and_skipped_files_are_in_the_row(
    call: Call, write_suite: Callable[..., str], tmp_path: Path
) -> None:
    suite = write_suite(PETS)
    write_images(tmp_path / "suites" / "pets")
    (tmp_path / "suites" / "pets" / "train" / "cat" / "photo.heic").write_bytes(b"x")
    result = call("run", suite, "--backend", "inline", "--results", "rows")
    assert result.exit_code == 0, result.stderr
    warning = "folder:pets: 1 file is not read (1 .heic), e.g. train/cat/photo.heic."
    assert f"Warning: {warning}" in result.stderr
    (row,) = ResultStore("rows").read().latest()
    assert row.warnings == [warning]
    done = call("run", suite, "--backend", "inline", "--results", "rows")
    assert "Nothing to do" in done.stdout


def test_data_of_finished_cells_are_not_looked_for(call: Call, write_suite: Callable[..., str], tmp_path: Path) -> None:
    suite = write_suite(PETS)
    write_images(tmp_path / "data" / "pets")
    arguments = ("run", suite, "--backend", "inline", "--results", "rows")
    assert call(*arguments, "--data-root", tmp_path / "data").exit_code == 0
    (tmp_path / "data" / "pets").rename(tmp_path / "data" / "gone")
    again = call(*arguments, "--data-root", tmp_path / "data")
    assert (again.exit_code, "Nothing to do" in again.stdout) == (0, True)
