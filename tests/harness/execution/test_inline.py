from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest
from inline_runs import FaultyListener, Recorder, run
from toy_plugin import ToyScenario
from toys import toy_item

from benchmarks.cells import Cell
from benchmarks.pipeline.workspace import Workspace
from benchmarks.rows.row import Metrics, State
from harness.execution import StopSignal
from harness.execution.attempt import Surroundings
from harness.planning.plan import make_plan
from harness.store import ResultStore
from splitters.errors import ConfigurationError
from splitters.networks.execution.compilation import is_compiling
from splitters.networks.execution.precision import current_precision


def test_a_run_stores_a_row_per_cell_and_a_second_one_does_nothing(surroundings: Surroundings, tmp_path: Path) -> None:
    items = [toy_item(seed=seed) for seed in range(3)]
    first = run(items, surroundings, tmp_path)
    assert [row.state for row in first.latest()] == [State.OK] * 3
    assert first.all_well
    again = run(items, surroundings, tmp_path)
    assert again.rows == ()
    assert again.all_well
    assert again.contents.table.num_rows == 3


def test_a_grown_suite_runs_only_what_is_new(surroundings: Surroundings, tmp_path: Path) -> None:
    run([toy_item(seed=0)], surroundings, tmp_path)
    report = run([toy_item(seed=0), toy_item(seed=1)], surroundings, tmp_path)
    assert [row.seed for row in report.rows] == [1]


def test_each_row_is_stored_before_the_next_cell_begins(surroundings: Surroundings, tmp_path: Path) -> None:
    recorder = Recorder()
    run([toy_item(seed=0), toy_item(seed=1, behaviour="raise")], surroundings, tmp_path, listener=recorder)
    assert recorder.events == [
        "started 0", "progressed 0", "progressed 0", "finished 0 ok",
        "started 1", "progressed 1", "progressed 1", "finished 1 failed",
    ]  # fmt: skip


def test_a_failed_cell_leaves_the_others_alone_and_is_not_tried_again(
    surroundings: Surroundings, tmp_path: Path
) -> None:
    items = [toy_item(behaviour="raise"), toy_item(seed=1)]
    first = run(items, surroundings, tmp_path)
    assert {row.state for row in first.latest()} == {State.FAILED, State.OK}
    again = run(items, surroundings, tmp_path)
    assert again.rows == ()
    assert not again.all_well


def test_a_cell_that_outlives_its_deadline_is_a_timeout(surroundings: Surroundings, tmp_path: Path) -> None:
    begun = time.monotonic()
    report = run([toy_item(behaviour="polite")], surroundings, tmp_path, timeout=0.3)
    assert time.monotonic() - begun < 20
    (row,) = report.rows
    assert (row.state, row.reason) == (State.TIMEOUT, "it took longer than 0.3 s")


def test_a_stopped_run_ends_its_cell_as_interrupted_and_the_next_one_goes_on(
    surroundings: Surroundings, tmp_path: Path
) -> None:
    items = [toy_item(seed=0), toy_item(seed=1, behaviour="polite"), toy_item(seed=2)]
    stop = StopSignal()
    report = run(items, surroundings, tmp_path, stop=stop, listener=Recorder(stop=stop, after=7))
    assert report.interrupted
    assert {row.seed: row.state for row in report.latest()} == {0: State.OK, 1: State.INTERRUPTED}
    left = make_plan(items, report.contents.latest()).queue()
    assert sorted(item.cell.seed for item in left) == [1, 2]


def test_the_first_signal_asks_and_the_second_one_interrupts() -> None:
    before = signal.getsignal(signal.SIGINT)
    with StopSignal() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_signals_are_left_alone() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def enter() -> None:
        with StopSignal():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [before]


def test_a_gpu_that_is_not_there_is_refused_before_anything_runs(
    surroundings: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigurationError, match="device: cuda is asked for, but torch finds no GPU"):
        run([toy_item(), toy_item(seed=1, device="cuda")], surroundings, tmp_path)
    assert ResultStore(tmp_path / "results").read().latest() == []


def test_tf32_without_a_gpu_is_refused_before_anything_runs(
    surroundings: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(ConfigurationError, match=r"precision: tf32 is for GPUs.*--set precision=float32 or bf16"):
        run([toy_item(), toy_item(seed=1, precision="tf32")], surroundings, tmp_path)
    assert ResultStore(tmp_path / "results").read().latest() == []


def test_a_cell_computes_in_its_precision_compiled_if_it_says_so(
    surroundings: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def measure(scenario: ToyScenario, cell: Cell, workspace: Workspace) -> Metrics:
        seen.append((current_precision(), is_compiling()))
        return Metrics()

    monkeypatch.setattr(ToyScenario, "measure", measure)
    rows = run([toy_item(), toy_item(precision="bf16"), toy_item(compile=True)], surroundings, tmp_path).rows
    assert seen == [("float32", False), ("bf16", False), ("float32", True)]
    assert [json.loads(row.config).get("precision") for row in rows] == [None, "bf16", None]
    assert [json.loads(row.config).get("compile") for row in rows] == [None, None, True]


def test_errors_of_a_listener_end_neither_cells_nor_the_run(surroundings: Surroundings, tmp_path: Path) -> None:
    listener = FaultyListener()
    report = run([toy_item(seed=0), toy_item(seed=1)], surroundings, tmp_path, listener=listener)
    assert [row.state for row in report.rows] == [State.OK] * 2
    assert listener.events == ["started 0", "finished 0 ok", "started 1", "finished 1 ok"]
    assert report.listener_error == "ValueError: [/data/w.pt]"


def test_the_harness_costs_little_per_cell(surroundings: Surroundings, tmp_path: Path) -> None:
    run([toy_item(seed=1000)], surroundings, tmp_path)
    begun = time.process_time()
    run([toy_item(seed=seed) for seed in range(50)], surroundings, tmp_path)
    assert (time.process_time() - begun) / 50 < 0.1
