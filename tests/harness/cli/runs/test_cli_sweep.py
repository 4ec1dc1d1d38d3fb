"""The verbs around sweeps, on rows that were written without running anything."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest
from click.testing import Result
from PIL import Image
from toys import ROOT, toy_item, toy_row
from trial_rows import ORIGIN, rows_of

from benchmarks.rows.row import Metrics, Row, State
from harness.cli.runs import sweep as cli_sweep
from harness.cli.runs.displays.tracking import Tracking
from harness.cli.runs.sweep import _exit_code
from harness.config.suite import names_sweep
from harness.config.trust import Consent, names_of_code, trust
from harness.execution import SilentListener
from harness.execution.attempt import Outcome, Surroundings, make_row
from harness.execution.rerun import require_trusted_models
from harness.machines.node_facts import versions
from harness.machines.provenance import provenance
from harness.store import ResultStore
from harness.suite_cell import SuiteCell
from harness.sweep import run as sweep_run
from harness.sweep.definition.file import Sweep
from harness.sweep.definition.load import load_sweep
from harness.sweep.listener import SweepListener
from harness.sweep.plan import plan_sweep
from harness.sweep.run import SweepReport
from harness.sweep.study.record import continue_study, write_study
from harness.sweep.study.trials import Configurations
from splitters.errors import ConfigurationError

Call = Callable[..., Result]
WriteSweep = Callable[..., Path]

CONFIGURATIONS = ((0.5, 0.2), (0.1, 0.0), (0.6, 0.0), (0.9, 0.0), (0.6, 0.3), (0.3, 0.1))


def scored_row(sweep: Sweep, x: float, y: float, seed: int) -> Any:
    configuration = Configurations(sweep).at(sweep.spaces[0], {"x": x, "y": y})
    item = next(item for item in Configurations(sweep).test_items(configuration) if item.cell.seed == seed)
    metrics = Metrics(accuracy_loss=0.1 + (x + y) / 4, kernel_retention=(1 - x) ** 2 / 2 + y / 2)
    outcome = Outcome(State.OK, metrics)
    return make_row(item, sweep.name, outcome, source=provenance(), started_at=ORIGIN, seconds=1.0)


@pytest.fixture
def swept(write_sweep: WriteSweep, tmp_path: Path) -> Path:
    """The results of a sweep of six trials and a failed one, scored on test."""
    sweep = load_sweep(write_sweep(constraints=["accuracy_loss <= 0.8"], trials=7))
    store = ResultStore(tmp_path / "results")
    write_study(store, sweep, continue_study(sweep, []))
    for place, (x, y) in enumerate(CONFIGURATIONS):
        for row in rows_of(sweep, x=x, y=y, at=10.0 * place):
            store.write(row)
        for seed in sweep.seeds:
            store.write(scored_row(sweep, x, y, seed))
    store.write(rows_of(sweep, x=0.7, y=0.4, state=State.FAILED, kind="SplitFailedError", at=99.0)[0])
    trust(names_of_code(sweep.plugin_modules, {}))
    return tmp_path / "results"


def test_the_front_is_shown_with_its_best_volume_importances_and_failures(call: Call, swept: Path) -> None:
    result = call("front", swept)
    assert result.exit_code == 0
    text = " ".join(result.stdout.split())
    assert "7 trials (6 complete, 1 failed)" in text
    assert "x=0.1, y=0" in text
    assert "(default)" in text
    assert "Hypervolume 0." in text
    assert "the default settings alone: 0." in text
    assert "bowl · kernel_retention: x " in text
    assert "6 bowl x=0.7, y=0.4: SplitFailedError: a reason" in text
    assert "Run trial 1 again: splitbench rerun" in text
    assert "hypervolume after each trial: " in text
    assert "Means over 2 seeds; " in text
    assert "only these trials were scored on test." in text


def test_the_front_as_json_has_trials_front_hypervolume_and_best(call: Call, swept: Path) -> None:
    found = json.loads(call("front", swept, "--json").stdout)
    assert [trial["state"] for trial in found["trials"]] == ["complete"] * 6 + ["failed"]
    front = {(trial["configuration"]["x"], trial["configuration"]["y"]) for trial in found["front"]}
    assert front == {(0.1, 0.0), (0.3, 0.1), (0.6, 0.0)}, "0.9 breaks the constraint, the others are dominated"
    for trial in found["front"]:
        on_select, on_test = trial["objectives"]["accuracy_loss"]["mean"], trial["test"]["accuracy_loss"]["mean"]
        assert on_test == pytest.approx(0.1 + on_select / 4)
        assert trial["objectives"]["accuracy_loss"]["by_seed"] == {"0": on_select, "1": on_select}
    assert found["hypervolume"]["value"] > found["hypervolume"]["default"] > 0
    steps = [step["hypervolume"] for step in found["hypervolume"]["over_time"]]
    assert steps == sorted(steps)
    assert steps[-1] == found["hypervolume"]["value"]
    assert found["reference"] == {"accuracy_loss": 1.0, "kernel_retention": 1.0}
    assert found["best"]["bowl"]["number"] in {trial["number"] for trial in found["front"]}
    assert set(found["importances"]["bowl"]) == {"accuracy_loss", "kernel_retention"}
    assert sum(found["importances"]["bowl"]["accuracy_loss"].values()) == pytest.approx(1)


def test_a_definition_whose_code_is_strange_here_is_in_nobody_elses_way(
    call: Call, write_sweep: WriteSweep, swept: Path
) -> None:
    (known,) = (swept / "sweeps").iterdir()
    content = json.loads(known.read_text())
    content["sweep"].update(name="theirs", plugins=["their_plugin"])
    strange = {**content, "study": "theirs", "folder": "/their/folder", "written_at": "2030-01-01T00:00:00+00:00"}
    (swept / "sweeps" / "20300101T000000000000-theirs.json").write_text(json.dumps(strange))
    file = write_sweep(constraints=["accuracy_loss <= 0.8"], trials=9)
    shown = call("sweep", file, "--results", swept, "--dry-run")
    assert shown.exit_code == 0
    assert "bowl: x, y (continuous)" in shown.stdout
    assert call("front", swept, "--study", known.stem.partition("-")[2]).exit_code == 0
    refused = call("front", swept)
    assert refused.exit_code == 2
    assert "plugin their_plugin in /their/folder" in refused.stderr


def test_a_folder_without_a_sweep_is_refused(call: Call, tmp_path: Path) -> None:
    ResultStore(tmp_path / "other").prepare()
    result = call("front", tmp_path / "other")
    assert result.exit_code == 2
    assert "there is no sweep at" in result.stderr


def test_a_dry_run_shows_what_is_known_and_what_would_be_run_without_ray(
    call: Call, write_sweep: WriteSweep, swept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    file = write_sweep(constraints=["accuracy_loss <= 0.8"], trials=9)
    result = call("sweep", file, "--results", swept, "--dry-run")
    assert result.exit_code == 0, result.output
    assert "has grown: trials: 7 before, 9 now." in result.stdout
    assert "7 trials are known from rows." in result.stdout
    assert "2 of 9 trials are to be run." in result.stdout
    plan = json.loads(call("sweep", file, "--results", swept, "--dry-run", "--json").stdout)
    assert (plan["known_trials"], plan["to_run"], plan["changed"]) == (7, 2, [])
    assert plan["seconds_per_trial"] == 2.0


def test_trials_on_images_that_have_changed_since_run_again(
    call: Call, write_sweep: WriteSweep, tmp_path: Path
) -> None:
    for part, number in (("train", 1), ("train", 2), ("test", 1)):
        path = tmp_path / "data" / "pets" / part / "cat" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (16, 16)).save(path)
        os.utime(path, (time.time() - 100,) * 2)
    file = write_sweep(trials=1, datasets=[{"name": "folder:pets", "input_shape": [3, 16, 16]}])
    sweep, store = load_sweep(file), ResultStore(tmp_path / "r")
    for row in rows_of(sweep, x=0.5, y=0.2):
        store.write(row.model_copy(update={"dataset_hash": "0" * 64}))
    options = ["--results", tmp_path / "r", "--dry-run"]
    result = call("sweep", file, *options, "--data-root", tmp_path / "data")
    assert "since 2 rows were written; their cells run again." in result.stderr
    assert "0 trials are known from rows, 1 more are unfinished." in result.stdout
    assert "1 more are unfinished." in call("plan", file, "--results", tmp_path / "r").stdout, "where they were last"


def test_only_a_sweep_that_runs_moves_damaged_files_to_quarantine(
    call: Call, write_sweep: WriteSweep, swept: Path
) -> None:
    (damaged,) = list(swept.glob("rows/**/*.parquet"))[:1]
    damaged.write_bytes(b"torn")
    os.utime(damaged, (time.time() - 1000,) * 2)
    file = write_sweep(constraints=["accuracy_loss <= 0.8"], trials=1)
    call("sweep", file, "--results", swept, "--dry-run")
    assert damaged.exists()
    call("sweep", file, "--results", swept)
    assert not damaged.exists()
    assert list((swept / "quarantine").rglob("*.parquet"))


def test_plan_shows_what_a_sweep_would_do_and_cost(
    call: Call, write_sweep: WriteSweep, swept: Path, tmp_path: Path
) -> None:
    file = write_sweep(constraints=["accuracy_loss <= 0.8"], trials=9)
    cluster = tmp_path / "gcp.yaml"
    cluster.write_text((ROOT / "docs" / "clusters" / "gcp.yaml").read_text().replace("YOUR-", "my-"))
    assert "2 of 9 trials are to be run." in call("plan", file, "--results", swept).stdout
    found = json.loads(call("plan", file, "--results", swept, "--cluster", cluster, "--json").stdout)
    assert (found["to_run"], found["seconds_per_trial"]) == (2, 2.0)
    assert (found["bill"]["cells"], found["bill"]["without_history"]) == (4, 0), (
        "two trials of two seeds, a second each"
    )
    assert found["bill"]["worker_hours"] == pytest.approx(4 / 3600 / 4), "four at once"
    new = json.loads(call("plan", file, "--results", tmp_path / "new", "--cluster", cluster, "--json").stdout)
    assert (new["bill"]["cells"], new["bill"]["without_history"]) == (0, 18)
    assert call("plan", file, "--seeds", 3).exit_code == 2


def test_a_suite_with_a_line_that_looks_like_a_sweeps_is_none(tmp_path: Path) -> None:
    suite = tmp_path / "suite.yaml"
    suite.write_text("name: s\ndescription: |\n  not this\n\n  objectives: none\n")
    assert not names_sweep(str(suite))
    suite.write_text('{"objectives": {"accuracy_loss": "min"}}')
    assert names_sweep(str(suite))
    assert names_sweep("sweep-quick")
    assert not names_sweep("quick")


def test_a_sweep_that_has_all_its_trials_needs_no_ray_and_shows_the_front(
    call: Call, write_sweep: WriteSweep, swept: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    result = call("sweep", write_sweep(constraints=["accuracy_loss <= 0.8"], trials=7), "--results", swept)
    assert result.exit_code == 1, "a trial has failed"
    assert "No trial to run: 7 of 7 are known. More: --trials N." in result.stdout


def test_the_exit_code_says_whether_everything_was_done(write_sweep: WriteSweep, tmp_path: Path) -> None:
    sweep, store = load_sweep(write_sweep(trials=1)), ResultStore(tmp_path / "results")
    for row in rows_of(sweep, x=0.5, y=0.2):
        store.write(row)

    def code(**changes: Any) -> int:
        plan = plan_sweep(sweep, store)
        return _exit_code(SweepReport(plan, plan.results(), **changes))

    assert code() == 1, "what was chosen has no score"
    for seed in sweep.seeds:
        store.write(scored_row(sweep, 0.5, 0.2, seed))
    assert code() == 0
    assert code(interrupted=True) == 130
    store.write(rows_of(sweep, x=0.1, y=0.1)[0])
    assert (code(), code(spent=True)) == (1, 0), "a trial lacks a seed; once the budget is spent, none is expected"
    store.write(rows_of(sweep, x=0.7, y=0.4, state=State.FAILED, kind="SplitFailedError")[0])
    assert code(spent=True) == 1


@pytest.mark.parametrize(
    ("results", "options", "shared_cache"),
    [
        ("s3://bucket/r?region=x", ["--address", "auto"], "s3://bucket/r/cache?region=x"),
        ("s3://bucket/r?region=x", [], None),
        ("here", ["--address", "auto"], None),
        ("here", ["--shared-cache", "/mnt/all"], "/mnt/all"),
    ],
)
def test_machines_share_what_they_train_through_the_results_uri_or_where_one_says(
    call: Call, write_sweep: WriteSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    results: str, options: list[str], shared_cache: str | None,
) -> None:  # fmt: skip
    found: list[Surroundings] = []

    def note(plan: object, store: object, surroundings: Surroundings, **keys: object) -> None:
        found.append(surroundings)
        raise SystemExit(0)

    monkeypatch.setattr(sweep_run, "run_sweep", note)
    monkeypatch.setattr(cli_sweep, "open_store", lambda location: ResultStore(tmp_path / "r"))
    call("sweep", write_sweep(), "--results", results, *options)
    (surroundings,) = found
    assert surroundings.shared_cache == shared_cache
    assert surroundings.expected == versions()


def test_trackers_are_notified_of_a_sweeps_cells_and_their_errors_are_a_warning(
    call: Call, write_sweep: WriteSweep, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, seen = toy_row(), []

    class Broken(SilentListener):
        def finished(self, item: SuiteCell, row: Row) -> None:
            seen.append((item, row))
            raise OSError("no connection")

    def run(*args: object, listener: SweepListener, **keys: object) -> object:
        listener.trials_begin(slots=1, n_trials=1, n_cells=1)
        listener.finished(toy_item(), row)
        return SimpleNamespace()

    monkeypatch.setattr(Tracking, "enter", lambda self, stack, experiment: [Broken()] if self.mlflow else [])
    monkeypatch.setattr(sweep_run, "run_sweep", run)
    monkeypatch.setattr(cli_sweep, "_show_report", lambda report, location: None)
    monkeypatch.setattr(cli_sweep, "_exit_code", lambda report: 0)
    result = call("sweep", write_sweep(), "--results", tmp_path / "r", "--mlflow", "http://localhost")
    assert result.exit_code == 0
    assert seen == [(toy_item(), row)]
    assert "failed (OSError: no connection); its rows are whole" in result.stderr


def test_a_changed_meaning_is_reported_before_anything_runs(call: Call, write_sweep: WriteSweep, swept: Path) -> None:
    result = call("sweep", write_sweep(trials=7), "--results", swept, "--dry-run")
    assert "A new study, " in result.stdout
    assert 'constraints: ["accuracy_loss <= 0.8"] before, [] now' in " ".join(result.stdout.split())


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"splitters": ["bwl"]}, "unknown splitter 'bwl'. Did you mean 'bowl'"),
        ({"splitters": [{"name": "bowl", "space": {"z": [1]}}]}, "unknown setting of bowl 'z'"),
        ({"splitters": [{"name": "bowl", "space": {"x": {"float": [1, 0]}}}]}, "is upside down or empty"),
        ({"objectives": {"accuracy_lss": "min"}}, "Did you mean 'accuracy_loss'"),
        ({"constraints": ["accuracy_loss ~ 3"]}, "cannot be parsed"),
        ({"early_stopping": {"grace": 1}}, "there are 2 objectives"),
    ],
)
def test_a_wrong_file_is_refused_before_ray_starts(
    call: Call, write_sweep: WriteSweep, tmp_path: Path, keys: Any, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    result = call("sweep", write_sweep(**keys), "--results", tmp_path / "none")
    assert result.exit_code == 2
    assert message in result.stderr
    assert "bowls.yaml, line" in result.stderr
    assert not (tmp_path / "none").exists()


def test_the_exported_journal_holds_the_trials_of_all_splitters_and_of_each(
    call: Call, write_sweep: WriteSweep, tmp_path: Path
) -> None:
    spaces = [{"name": name, "space": {"x": {"float": [0, 1]}, "n": [1, 2]}} for name in ("bowl", "dish")]
    sweep = load_sweep(write_sweep(splitters=spaces, constraints=["accuracy_loss <= 0.7"]))
    store = ResultStore(tmp_path / "r")
    write_study(store, sweep, continue_study(sweep, []))
    for splitter, x in ((0, 0.2), (0, 0.4), (1, 0.6)):
        for row in rows_of(sweep, splitter=splitter, x=x, n=2, at=10 * x):
            store.write(row)
    journal = tmp_path / "out" / "study.log"
    result = call("export-study", tmp_path / "r", "--out", journal, "--trust-code")
    assert result.exit_code == 0, result.output
    storage = optuna.storages.JournalStorage(optuna.storages.journal.JournalFileBackend(str(journal)))
    studies = {summary.study_name: summary for summary in optuna.get_all_study_summaries(storage)}
    assert set(studies) == {"bowls", "bowls · bowl", "bowls · dish"}
    whole = optuna.load_study(study_name="bowls", storage=storage)
    assert [trial.params for trial in whole.trials] == [
        {"bowl.x": 0.2, "bowl.n": 2, "splitter": "bowl"},
        {"bowl.x": 0.4, "bowl.n": 2, "splitter": "bowl"},
        {"dish.x": 0.6, "dish.n": 2, "splitter": "dish"},
    ]
    assert [trial.values[0] for trial in whole.trials] == pytest.approx([0.4, 0.6, 0.8])
    assert [trial.duration.total_seconds() for trial in whole.trials] == [2.0, 2.0, 2.0]
    first = whole.trials[0].datetime_start.astimezone()
    assert (first - ORIGIN).total_seconds() == pytest.approx(2.0), "as the rows say, in this machine's zone"
    assert whole.metric_names == ["accuracy_loss", "kernel_retention"]
    assert [trial.number for trial in whole.best_trials] == [0, 1], "the third breaks the constraint"
    again = call("export-study", tmp_path / "r", "--out", journal)
    assert again.exit_code == 2
    assert "exists already" in again.stderr


def test_a_point_is_run_again_with_the_command_that_the_front_gives(call: Call, swept: Path) -> None:
    front = json.loads(call("front", swept, "--json").stdout)["front"][0]
    words = front["rerun"].split()
    assert words[:2] == ["splitbench", "rerun"]
    again = call(*words[1:], "--json")
    assert again.exit_code == 0, "the made-up rows lack the base model's accuracy, which is no difference"
    assert [run["same"] for run in json.loads(again.stdout)] == [True] * len(front["seeds"])


def test_a_row_whose_model_is_code_of_others_is_not_run_again_unasked() -> None:
    row = toy_row()
    config = row.config.replace('"simcnn"', '"python:theirs.nets:make"')
    foreign = row.model_copy(update={"config": config})
    require_trusted_models(row)
    with pytest.raises(ConfigurationError, match=r"never used on this machine: model python:theirs.nets:make\. It"):
        require_trusted_models(foreign)
    require_trusted_models(foreign, Consent(everything=True))
    require_trusted_models(foreign)


def test_cells_that_are_not_there_or_meant_twice_are_not_run(call: Call, swept: Path) -> None:
    missing = call("rerun", "ffffffffffff", "--results", swept)
    assert missing.exit_code == 2
    assert "no cell's id begins with 'ffffffffffff'" in missing.stderr
    many = call("rerun", "", "--results", swept)
    assert many.exit_code == 2
    assert "type more of it" in many.stderr
