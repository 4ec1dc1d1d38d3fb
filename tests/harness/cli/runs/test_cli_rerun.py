"""Cells that are run again: what the exit code says, and that nothing is written for what cannot be run."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from click.testing import Result
from toys import HERE, ROOT, toy_cell, toy_row

from benchmarks.cells import DatasetSpec
from benchmarks.rows.row import Row, State
from benchmarks.scenarios.current_code import with_current_code
from harness.config.cache_folder import cache_folder
from harness.config.plugins import Plugins
from harness.config.trust import Consent, names_of_code, trust, trust_named
from harness.execution.rerun import Rerun, plugins_of_row
from harness.store import ResultStore
from splitters.files.weights_hash import state_hash

Call = Callable[..., Result]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    return tmp_path / "results"


def rows_in(results: Path) -> list[Row]:
    contents = ResultStore(results).read()
    return [row for latest in contents.latest() for row in contents.attempts(latest.cell_id)]


def stored(results: Path, *rows: Row) -> list[str]:
    """Stores rows, and returns the cells' ids."""
    store = ResultStore(results)
    for row in rows:
        store.write(row)
    return [row.cell_id for row in rows]


@pytest.mark.parametrize(
    ("before", "behaviour", "exit_code", "text"),
    [
        (State.FAILED, "raise", 1, "no usable modules\n  failed before: no numbers to compare\n"),
        (State.FAILED, "ok", 0, "ok\n  failed before: no numbers to compare\n"),
        (State.OK, "raise", 1, "no usable modules\n  ok before: no numbers to compare\n"),
        (State.OK, "skip", 1, "nothing to split here\n  ok before: no numbers to compare\n"),
        (State.SKIPPED, "skip", 0, "nothing to split here\n  skipped before: no numbers to compare\n"),
        (State.OK, "ok", 0, "ok\n  the same numbers as before\n"),
    ],
)
def test_the_exit_code_follows_the_new_state(
    call: Call, results: Path, before: State, behaviour: str, exit_code: int, text: str
) -> None:
    cell = with_current_code(toy_cell(behaviour=behaviour))
    (cell_id,) = stored(results, toy_row(state=before, cell=cell, age=60))
    result = call("rerun", cell_id, "--results", results)
    assert result.exit_code == exit_code
    assert result.stdout.endswith(text)
    assert len(rows_in(results)) == 2


def test_a_cell_that_is_named_twice_is_run_once(call: Call, results: Path) -> None:
    (cell_id,) = stored(results, toy_row(cell=with_current_code(toy_cell()), age=60))
    result = call("rerun", cell_id, cell_id[:6], "--results", results)
    assert result.exit_code == 0, result.stderr
    assert len(rows_in(results)) == 2


def test_numbers_that_changed_are_shown_and_those_that_the_earlier_row_lacks_are_not(call: Call, results: Path) -> None:
    (cell_id,) = stored(results, toy_row(loss=0.03, cell=with_current_code(toy_cell(loss=0.02)), age=60))
    result = call("rerun", cell_id, "--results", results)
    assert result.exit_code == 1
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == ["composed_accuracy:", "accuracy_loss:"]
    assert "accuracy_loss: 0.03 before, 0.02 now" in result.stdout
    (found,) = json.loads(call("rerun", cell_id, "--results", results, "--json").stdout)
    assert (found["state_before"], found["same"], found["differing"]) == ("ok", True, {})


def test_damaged_files_are_moved_to_quarantine(call: Call, results: Path) -> None:
    (cell_id,) = stored(results, toy_row(cell=with_current_code(toy_cell()), age=60))
    damaged = results / "rows" / "torn.parquet"
    damaged.write_bytes(b"torn")
    os.utime(damaged, (0, 0))
    assert call("rerun", cell_id, "--results", results).exit_code == 0
    assert not damaged.exists()
    assert list((results / "quarantine").rglob("torn.parquet"))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"scenario": "nowhere"}, "unknown scenario 'nowhere'"),
        ({"splitter": {"name": "toi"}}, "unknown splitter 'toi'"),
        ({"model": {"name": "simcn"}}, "unknown model 'simcn'"),
        ({"dataset": {"name": "digit"}}, "unknown data set 'digit'"),
    ],
)
def test_a_name_that_is_unknown_here_ends_the_call_before_any_cell_is_run(
    call: Call, results: Path, wrong: dict[str, object], message: str
) -> None:
    foreign = type(toy_cell()).model_validate({**toy_cell(seed=1).model_dump(mode="json"), **wrong})
    known, strange = stored(results, toy_row(), toy_row(cell=foreign))
    result = call("rerun", known, strange, "--results", results)
    assert result.exit_code == 2
    assert f"cell {strange[:10]}" in result.stderr
    assert message in result.stderr
    assert len(rows_in(results)) == 2


def test_a_suites_cell_knows_its_plugins(
    call: Call, write_suite: Callable[..., Path], results: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    suite = write_suite(splitters=["toy"])
    call("run", suite, "--results", results, "--backend", "inline", "--seeds", "1")
    (row,) = rows_in(results)
    assert row.plugins == ["toy_plugin"]

    def rerun(*options: str | Path, cache: Path | None = None) -> subprocess.CompletedProcess[str]:
        own = {"PYTHONPATH": str(ROOT), **({"SPLITBENCH_CACHE": str(cache)} if cache else {})}
        return subprocess.run(
            [sys.executable, "-m", "harness", "rerun", row.cell_id, "--results", str(results), *map(str, options)],
            env={**environment, **own},
            capture_output=True,
            text=True,
            check=False,
        )

    again = rerun()
    assert again.returncode == 0, again.stderr
    assert "the same numbers as before" in again.stdout
    elsewhere = tmp_path / "other-machine"
    strange = rerun(cache=elsewhere)
    assert strange.returncode == 2
    assert "names code that was never used on this machine: plugin toy_plugin" in strange.stderr
    found = rerun("--plugins", HERE, cache=elsewhere)
    assert found.returncode == 0, found.stderr
    assert len(rows_in(results)) == 3


def test_of_two_folders_with_a_plugin_one_has_to_be_named(call: Call, results: Path, tmp_path: Path) -> None:
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
        (folder / "toy_plugin.py").write_text("")
        trust(names_of_code(Plugins(("toy_plugin",), str(folder)), {}))
    (cell_id,) = stored(results, toy_row(age=60).model_copy(update={"plugins": ["toy_plugin"]}))
    refused = call("rerun", cell_id, "--results", results)
    assert refused.exit_code == 2
    assert f"is in several folders on this machine: {folders[0]}, {folders[1]}. Say which with --plugins" in (
        refused.stderr
    )
    assert call("rerun", cell_id, "--results", results, "--plugins", folders[0]).exit_code == 0
    (folders[1] / "toy_plugin.py").unlink()
    assert call("rerun", cell_id, "--results", results).exit_code == 0


def test_a_plugin_that_is_no_longer_where_it_was_is_asked_for(call: Call, results: Path, tmp_path: Path) -> None:
    trust(names_of_code(Plugins(("gone_plugin",), str(tmp_path)), {}))
    (cell_id,) = stored(results, toy_row().model_copy(update={"plugins": ["gone_plugin"]}))
    for options in ([], ["--trust-code"], ["--plugins", results]):
        refused = call("rerun", cell_id, "--results", results, *options)
        folder = options[-1] if "--plugins" in options else tmp_path
        assert refused.exit_code == 2
        assert (
            f"the plugin 'gone_plugin' is neither in {folder} nor installed. Say where it is with --plugins DIR."
            in (refused.stderr)
        )
    assert len(rows_in(results)) == 1


def test_a_model_beside_its_suite_is_found_again(call: Call, results: Path, tmp_path: Path) -> None:
    source = tmp_path / "net_of_rerun.py"
    source.write_text("from splitters.testing import TinyNet as net")
    model = {"name": "python:net_of_rerun:net"}
    cell = type(toy_cell()).model_validate({**toy_cell().model_dump(mode="json"), "model": model})
    (cell_id,) = stored(results, toy_row(cell=cell).model_copy(update={"plugins": []}))
    trust_named(Plugins(folder=str(tmp_path), models=True), {"models": [model]})
    (row,) = rows_in(results)
    assert plugins_of_row(row) == Plugins(folder=str(tmp_path), models=True)
    result = call("rerun", cell_id, "--results", results)
    assert result.exit_code == 0, result.stderr
    moved = tmp_path / "moved"
    moved.mkdir()
    source.rename(moved / source.name)
    assert plugins_of_row(row) == Plugins(models=True)
    assert plugins_of_row(row, Consent(folder=str(moved))) == Plugins(folder=str(moved), models=True)


def test_a_missing_data_set_ends_the_call_before_any_cell_is_run(call: Call, results: Path) -> None:
    absent = toy_cell().model_copy(update={"dataset": DatasetSpec(name="folder:pets", input_shape=(3, 8, 8))})
    known, lost = stored(results, toy_row(), toy_row(cell=with_current_code(absent)))
    result = call("rerun", known, lost, "--results", results)
    assert result.exit_code == 2
    assert "is no folder. Type --data-root DIR, where DIR holds pets" in result.stderr
    assert len(rows_in(results)) == 2


def test_weights_that_are_gone_or_others_end_the_call_before_any_cell_is_run(
    call: Call, results: Path, tmp_path: Path
) -> None:
    path = tmp_path / "net.pth"
    torch.save({"weight": torch.zeros(2)}, path)
    given = {"name": "simcnn", "weights": str(path), "weights_hash": state_hash({"weight": torch.zeros(2)})}
    cell = type(toy_cell()).model_validate({**toy_cell().model_dump(mode="json"), "model": given})
    known, measured = stored(results, toy_row(age=60), toy_row(cell=with_current_code(cell), age=60))
    assert call("rerun", measured, "--results", results).exit_code == 0

    def refusal() -> str:
        refused = call("rerun", known, measured, "--results", results)
        assert refused.exit_code == 2
        assert len(rows_in(results)) == 3
        return refused.stderr

    torch.save({"weight": torch.ones(2)}, path)
    assert f"cell {measured[:10]}: {path} no longer holds the weights that the cell was measured with" in refusal()
    path.unlink()
    assert f"cell {measured[:10]}: the weights of 'simcnn' are gone; put {path} back." in refusal()


def test_images_that_have_changed_are_named() -> None:
    before = toy_row().model_copy(update={"dataset_hash": "these"})
    now = [toy_row().model_copy(update={"dataset_hash": value}) for value in ("these", "others", None)]
    assert [Rerun(row, before).changed_images for row in now] == [[], ["digits"], []]


def test_published_weights_are_looked_for_before_a_row_is_written(
    call: Call, results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    model = {"name": "torchvision:squeezenet1_1", "weights": "IMAGENET1K_V1", "normalisation": "imagenet"}
    cell = type(toy_cell()).model_validate({**toy_cell().model_dump(mode="json"), "model": model})
    (cell_id,) = stored(results, toy_row(cell=with_current_code(cell), age=60))
    result = call("rerun", cell_id, "--results", results)
    assert result.exit_code == 2
    assert "SqueezeNet1_1_Weights.IMAGENET1K_V1 are not on this machine" in result.stderr
    assert len(rows_in(results)) == 1
    here = cache_folder() / "published-weights" / "squeezenet1_1-b8a52dc0.pth"
    here.parent.mkdir(parents=True)
    here.touch()
    assert call("rerun", cell_id, "--results", results, "--fresh").exit_code == 0, (
        "fresh ones are not made, but fetched"
    )
    assert here.exists()
