"""A plug-in that was edited is another method: its cells run anew, and reruns say so."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from toys import toy_cell, toy_row

from benchmarks.scenarios.current_code import CodeChangedError, changed_code, check_code_unchanged, with_current_code
from benchmarks.scenarios.scenario import make_scenario
from harness.config.expand import completed_splitter
from harness.config.plugins import Plugins
from harness.execution.attempt import Surroundings
from harness.execution.rerun import require_runnable, rerun_cell
from harness.store import ResultStore
from splitters.errors import ConfigurationError

PLUGIN = """
from lab_numbers import LOSS
from benchmarks.rows.row import Metrics
from benchmarks.scenarios.scenario import SCENARIOS, Scenario
from splitters.methods.protocol import SPLITTERS, Splitter
from splitters.settings import Settings

@SPLITTERS.register("mine")
class Mine(Splitter):
    Settings = Settings
    def split(self, *args, **kwargs): ...

@SCENARIOS.register("quickly")
class Quickly(Scenario):
    def check(self, cell): ...
    def measure(self, cell, workspace):
        return Metrics(accuracy_loss=LOSS)
"""
SUITE = """
name: edited
plugins: lab_method
scenario: quickly
models: [simcnn]
datasets: [digits]
splitters: [mine]
"""


@pytest.mark.slow
def test_cells_of_an_edited_plugin_run_anew(tmp_path: Path, environment: dict[str, str]) -> None:
    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "harness", *arguments]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)

    def run() -> dict[str, object]:
        done = call("run", "suite.yaml", "--backend", "inline", "--results", "rows", "--json")
        assert done.returncode == 0, done.stderr
        report: dict[str, object] = json.loads(done.stdout)
        return report

    (tmp_path / "suite.yaml").write_text(SUITE)
    (tmp_path / "lab_method.py").write_text(PLUGIN)
    (tmp_path / "lab_numbers.py").write_text("LOSS = 0.25\n")
    (first,) = run()["run"]  # type: ignore[misc]
    assert run()["run"] == []
    (tmp_path / "lab_numbers.py").write_text("LOSS = 0.5\n")
    (second,) = run()["run"]  # type: ignore[misc]
    assert second["cell_id"] != first["cell_id"]


def test_a_cell_knows_what_has_other_code_than_it_was_planned_with() -> None:
    cell = with_current_code(toy_cell())
    assert len(cell.splitter.code) == len(cell.scenario_code) == 64
    assert cell.model.code == cell.dataset.code == ""
    assert changed_code(cell, with_current_code(cell)) == []
    older = cell.model_copy(update={"scenario_code": "0" * 64})
    assert changed_code(older, with_current_code(older)) == ["the scenario 'toy'"]
    assert older.cell_id != cell.cell_id
    with pytest.raises(CodeChangedError, match="the code of the scenario 'toy' changed after this run was planned"):
        check_code_unchanged(older)
    check_code_unchanged(toy_cell())


def test_a_rerun_after_an_edit_says_so_and_its_row_is_another_cells(tmp_path: Path, surroundings: Surroundings) -> None:
    current = with_current_code(toy_cell())
    before = toy_row(cell=current.model_copy(update={"scenario_code": "0" * 64}))
    rerun = rerun_cell(before, ResultStore(tmp_path / "rows"), surroundings)
    assert rerun.changed_code == ["the scenario 'toy'"]
    assert rerun.row.cell_id == current.cell_id != before.cell_id
    same = rerun_cell(toy_row(cell=current), ResultStore(tmp_path / "rows"), surroundings)
    assert (same.changed_code, same.row.cell_id) == ([], current.cell_id)


@pytest.mark.parametrize(
    ("splitter", "change", "named"),
    [
        ("scalesplitter", lambda settings: settings.pop("distillation"), "distillation of 'scalesplitter'"),
        ("random", lambda settings: settings["like"].update(version=1), "like of 'random'"),
    ],
)
def test_a_row_whose_settings_have_another_meaning_today_is_not_run_again(
    splitter: str, change: Callable[[dict[str, Any]], object], named: str, tmp_path: Path, surroundings: Surroundings
) -> None:
    settings = {"like": {"name": "scalesplitter"}} if splitter == "random" else {}
    complete = completed_splitter(splitter, settings)
    cell = toy_cell().model_copy(update={"scenario": "modularization", "splitter": complete})
    require_runnable(toy_row(cell=cell), Plugins())
    stored = complete.model_dump(mode="json")["settings"]
    change(stored)
    row = toy_row(cell=cell.model_copy(update={"splitter": complete.model_copy(update={"settings": stored})}))
    store = ResultStore(tmp_path / "rows")
    for attempt in lambda: require_runnable(row, Plugins()), lambda: rerun_cell(row, store, surroundings):
        with pytest.raises(
            ConfigurationError, match=f"reads {named} in another way. Use the version that wrote the row"
        ):
            attempt()
    assert not store.read().latest()


def test_other_code_of_a_splitter_that_settings_name_is_changed_code(
    tmp_path: Path, surroundings: Surroundings
) -> None:
    current = with_current_code(toy_cell(splitter="other"))
    complete = completed_splitter("other", {"like": {"name": "toy"}})
    current = current.model_copy(update={"splitter": complete})
    older = {**complete.settings, "like": {**complete.settings["like"], "code": "0" * 64}}
    before = toy_row(cell=current.model_copy(update={"splitter": complete.model_copy(update={"settings": older})}))
    require_runnable(before, Plugins())
    rerun = rerun_cell(before, ResultStore(tmp_path / "rows"), surroundings)
    assert rerun.changed_code == ["the splitter 'toy'"]
    assert rerun.row.cell_id == current.cell_id != before.cell_id


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda settings: settings.pop("loss"), "what runs today reads like of 'random' in another way"),
        (lambda settings: settings.update(gone=1), "splitter 'toy': unknown key 'gone'.*"),
    ],
)
def test_other_settings_of_a_plug_in_are_not_blamed_on_this_version(
    change: Callable[[dict[str, Any]], object], what: str
) -> None:
    complete = completed_splitter("random", {"like": {"name": "toy"}})
    change(complete.settings["like"]["settings"])
    cell = toy_cell().model_copy(update={"scenario": "modularization", "splitter": complete})
    with pytest.raises(ConfigurationError, match=rf"^cell {cell.cell_id[:10]}: {what}\. .*plug-in 'toy' have changed"):
        require_runnable(toy_row(cell=cell), Plugins())


@pytest.mark.parametrize("splitter", ["scalesplitter", "taylor"])
def test_a_setting_that_this_version_no_longer_has_names_the_cell_and_the_version(splitter: str) -> None:
    settings = {"like": {"name": "scalesplitter"}} if splitter == "taylor" else {}
    complete = completed_splitter(splitter, settings)
    (complete.settings["like"]["settings"] if settings else complete.settings).update(tune_loss="hard")
    cell = toy_cell().model_copy(update={"scenario": "modularization", "splitter": complete})
    message = rf"^cell {cell.cell_id[:10]}: .*unknown key 'tune_loss'.* Use the version that wrote the row: \S+ \("
    with pytest.raises(ConfigurationError, match=message):
        require_runnable(toy_row(cell=cell), Plugins())


def test_the_rows_of_built_in_cells_do_not_depend_on_code() -> None:
    assert make_scenario("patching", {}).code_fingerprint() == ""
    assert make_scenario("accuracy_composition", {"networks": [{"name": "rescnn"}]}).code_fingerprint() == ""


def test_further_networks_of_ones_own_are_part_of_the_identity(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    (tmp_path / "lab_nets.py").write_text("def net(): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    request.addfinalizer(lambda: sys.modules.pop("lab_nets", None))
    made: Callable[[], str] = make_scenario(
        "accuracy_composition", {"networks": [{"name": "python:lab_nets:net"}]}
    ).code_fingerprint
    assert len(made()) == 64
