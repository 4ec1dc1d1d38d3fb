from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from processes import splitbench, states, wait_for

from harness.config.expand import expand
from harness.config.suite import load_suite
from harness.runs.declaration import RunDeclaration
from harness.store import ResultStore

Call = Callable[..., Result]
WriteSuite = Callable[..., Path]


def inline(call: Call, suite: Path, folder: Path, *options: str) -> Result:
    return call("run", suite, "--results", folder / "results", "--backend", "inline", *options)


def test_a_run_prints_its_cells_the_leaderboard_and_where_the_rows_are(
    call: Call, write_suite: WriteSuite, tmp_path: Path
) -> None:
    result = inline(call, write_suite(seeds=2), tmp_path)
    assert result.exit_code == 0
    assert "[4/4] ✓ toy · other · simcnn · digits · seed 1" in result.stderr
    assert "loss 2.10 points, kernels 40.0 %" in result.stderr
    assert "digits · simcnn" in result.stdout
    assert "4 cells run, 0 were done before." in result.stdout
    assert f"Rows: {tmp_path}/results/rows" in result.stdout
    assert len(list((tmp_path / "results" / "rows").rglob("*.parquet"))) == 4


def test_a_second_run_has_nothing_to_do_and_says_so(call: Call, write_suite: WriteSuite, tmp_path: Path) -> None:
    suite = write_suite()
    inline(call, suite, tmp_path)
    result = inline(call, suite, tmp_path)
    assert result.exit_code == 0
    assert result.stderr == ""
    assert "Nothing to do: all 2 cells have rows." in result.stdout


def test_failed_cells_make_the_exit_code_one_and_are_tried_again_on_request(
    call: Call, write_suite: WriteSuite, tmp_path: Path
) -> None:
    suite = write_suite(splitters=["toy", {"name": "other", "settings": {"behaviour": "raise"}}])
    first = inline(call, suite, tmp_path)
    assert first.exit_code == 1
    assert "✗ toy · other · simcnn · digits · seed 0  failed, no usable modules" in first.stderr
    assert "SplitFailedError: no usable modules" in first.stdout
    second = inline(call, suite, tmp_path)
    assert second.exit_code == 1
    assert "1 failed before and were not retried (--retry failed)" in second.stdout
    third = inline(call, suite, tmp_path, "--retry", "failed")
    assert "1 cell run, 1 was done before" in third.stdout


def test_json_is_the_only_thing_on_stdout(call: Call, write_suite: WriteSuite, tmp_path: Path) -> None:
    suite = write_suite(splitters=["toy", {"name": "other", "settings": {"behaviour": "raise"}}])
    report = json.loads(inline(call, suite, tmp_path, "--json").stdout)
    assert report["suite"] == "toys"
    assert {cell["state"] for cell in report["run"]} == {"ok", "failed"}
    assert report["failures"][0]["kind"] == "SplitFailedError"
    assert [entry["splitter"] for entry in report["leaderboard"]] == ["toy", "other"]


def test_a_dry_run_shows_the_plan_and_writes_nothing(call: Call, write_suite: WriteSuite, tmp_path: Path) -> None:
    result = inline(call, write_suite(), tmp_path, "--dry-run")
    assert result.exit_code == 0
    assert "2 cells: 0 done, 0 failed, 2 to do." in result.stdout
    assert not (tmp_path / "results").exists()


def test_options_change_and_filter_the_suite(call: Call, write_suite: WriteSuite, tmp_path: Path) -> None:
    options = ["--set", "splitters.toy.loss=0.3", "--only", "splitter=toy", "--seeds", "3", "--timeout", "5m"]
    result = inline(call, write_suite(), tmp_path, *options, "--json")
    (entry,) = json.loads(result.stdout)["leaderboard"]
    assert entry["n_seeds"] == 3
    assert entry["accuracy_loss"] == pytest.approx(0.301)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--set", "training.epoch=3"], "unknown key 'epoch'. Did you mean 'epochs'"),
        (["--only", "splitter=tony"], "unknown splitter of this suite 'tony'. Did you mean 'toy'"),
        (["--retry", "faild"], "unknown state or failure kind 'faild'. Did you mean 'failed'"),
        (["--retry", ","], "--retry: name at least one kind of failure"),
        (["--only", "seed=0,1"], "a seed is one number; for several, repeat it: --only seed=0 --only seed=1"),
        (["--timeout", "soon"], "a duration is written"),
        (["--workers", "2"], "--address and --workers belong to --backend ray"),
        (["--backend", "cloud"], "'cloud' is not one of"),
        (["--data-root", "/no/such/folder"], "does not exist"),
    ],
)
def test_a_wrong_call_runs_nothing_and_exits_with_two(
    call: Call, write_suite: WriteSuite, tmp_path: Path, options: list[str], message: str
) -> None:
    result = inline(call, write_suite(), tmp_path, *options)
    assert result.exit_code == 2
    assert message in result.stderr
    assert "Traceback" not in result.stderr
    assert not (tmp_path / "results").exists()


def test_without_a_folder_rows_go_to_the_suites_own(
    call: Call, write_suite: WriteSuite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = call("run", write_suite(), "--backend", "inline")
    assert "Rows: results/toys/rows" in result.stdout
    assert (tmp_path / "results" / "toys" / "rows").is_dir()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stores_the_running_cell_as_interrupted_and_the_next_run_goes_on(
    write_suite: WriteSuite, tmp_path: Path, environment: dict[str, str], number: signal.Signals
) -> None:
    slow = {"name": "other", "settings": {"behaviour": "polite", "folder": str(tmp_path)}}
    suite, results = write_suite(splitters=["toy", slow]), tmp_path / "results"
    process = subprocess.Popen(
        splitbench("run", suite, "--results", results, "--backend", "inline"),
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(number, signal.SIG_DFL),  # tests may run with signals ignored
    )
    wait_for(tmp_path / "begun")
    process.send_signal(number)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "Interrupted after 2 cells; the same command continues from here." in output
    assert "Traceback" not in errors
    assert states(results) == ["interrupted", "ok"]


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_run_whose_terminal_goes_stores_what_it_has(
    write_suite: WriteSuite, tmp_path: Path, environment: dict[str, str], options: list[str]
) -> None:
    slow = {"name": "other", "settings": {"behaviour": "polite", "folder": str(tmp_path)}}
    suite, results = write_suite(splitters=["toy", slow]), tmp_path / "results"
    outside, terminal = pty.openpty()

    def take_terminal() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)

    process = subprocess.Popen(
        splitbench("run", suite, "--results", results, "--backend", "inline", *options),
        env=environment,
        stdin=terminal,
        stdout=terminal,
        stderr=terminal,
        start_new_session=True,
        preexec_fn=take_terminal,
        pass_fds=[terminal],
    )
    os.close(terminal)
    wait_for(tmp_path / "begun")
    os.close(outside)  # the kernel sends SIGHUP, and further writes fail
    assert process.wait(timeout=60) == 130
    assert states(results) == ["interrupted", "ok"]


def test_a_hangup_that_is_ignored_stays_ignored(
    write_suite: WriteSuite, tmp_path: Path, environment: dict[str, str]
) -> None:
    slow = {"name": "other", "settings": {"behaviour": "polite", "folder": str(tmp_path)}}
    process = subprocess.Popen(
        splitbench("run", write_suite(splitters=[slow]), "--results", tmp_path / "results", "--backend", "inline"),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),  # as nohup does
    )
    wait_for(tmp_path / "begun")
    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(timeout=2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=60) == 130


def test_a_killed_run_loses_no_finished_row(
    write_suite: WriteSuite, tmp_path: Path, environment: dict[str, str]
) -> None:
    slow = {"name": "other", "settings": {"behaviour": "polite", "folder": str(tmp_path)}}
    suite, results = write_suite(splitters=["toy", slow]), tmp_path / "results"
    process = subprocess.Popen(
        splitbench("run", suite, "--results", results, "--backend", "inline"), env=environment, stderr=subprocess.PIPE
    )
    wait_for(tmp_path / "begun")
    process.kill()
    process.communicate(timeout=60)
    assert states(results) == ["ok"]


@pytest.mark.ray
@pytest.mark.slow
def test_control_c_ends_a_run_on_ray_in_order(
    write_suite: WriteSuite, tmp_path: Path, environment: dict[str, str]
) -> None:
    slow = {"name": "toy", "settings": {"behaviour": "polite", "folder": str(tmp_path)}}
    suite, results = write_suite(splitters=[slow]), tmp_path / "results"
    home = tmp_path / "home"
    home.mkdir()
    environment = {name: value for name, value in environment.items() if not name.startswith("RAY_")}
    process = subprocess.Popen(
        splitbench("run", suite, "--results", results),
        env={**environment, "HOME": str(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for(tmp_path / "begun")
    # As a terminal does it: the whole process group gets the signal, Ray's processes too.
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=90)
    assert process.returncode == 130, errors
    assert "Interrupted after 1 cell;" in output
    assert "Traceback" not in errors
    assert states(results) == ["interrupted"]
    assert list(home.iterdir()) == [], "Ray left its token behind"


def test_a_run_whose_cells_another_one_has_declared_says_whose_rows_are_missing(
    call: Call, write_suite: WriteSuite, tmp_path: Path
) -> None:
    path = write_suite()
    cells = [item.cell.cell_id for item in expand(load_suite(path))]
    store = ResultStore(tmp_path / "r")
    with RunDeclaration(store.storage, "toys", cell_ids=cells, n_cells=len(cells)):
        result = call("run", path, "--results", tmp_path / "r", "--backend", "inline")
    assert result.exit_code == 0
    assert result.stdout.startswith("No rows yet from the other run.\n")
    assert "2 cells are being run by" in result.stdout


@pytest.mark.parametrize("verb", ["run", "rerun"])
def test_a_cache_folder_that_cannot_be_made_is_refused_before_a_row_is_written(
    call: Call, write_suite: WriteSuite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str
) -> None:
    suite, results = write_suite(splitters=["toy"]), tmp_path / "r"
    (tmp_path / "file").touch()
    if verb == "rerun":
        assert call("run", suite, "--results", results, "--backend", "inline").exit_code == 0
    rows = ResultStore(results).read().table
    monkeypatch.setenv("SPLITBENCH_CACHE", str(tmp_path / "file" / "cache"))
    if verb == "rerun":
        result = call("rerun", rows["cell_id"][0].as_py(), "--results", results, "--trust-code")
    else:
        result = call("run", suite, "--results", results, "--backend", "inline")
    assert result.exit_code == 2
    assert f"the cache folder {tmp_path / 'file' / 'cache'} cannot be written to: " in result.stderr
    assert ResultStore(results).read().table.num_rows == rows.num_rows


def test_work_goes_on_when_the_reader_of_progress_has_gone(
    write_suite: WriteSuite, tmp_path: Path, environment: dict[str, str]
) -> None:
    call = ["run", str(write_suite(splitters=["toy"])), "--seeds", "3", "--backend", "inline", "--json"]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        [sys.executable, "-m", "harness", *call, "--results", str(tmp_path / "r")],
        env=environment, stdout=subprocess.PIPE, stderr=writer, check=False,
    )  # fmt: skip
    os.close(writer)
    assert done.returncode == 0
    assert [cell["state"] for cell in json.loads(done.stdout)["run"]] == ["ok", "ok", "ok"]
