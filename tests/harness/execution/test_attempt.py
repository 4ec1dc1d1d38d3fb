from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from toys import toy_cell, toy_item

from benchmarks.cells import Cell, DatasetSpec, ModelSpec, SplitterSpec, TrainingSpec
from benchmarks.rows.row import Row, State
from harness.execution.attempt import CellStopped, Surroundings, run_attempt
from harness.machines.node_facts import versions
from harness.machines.provenance import git_commit, package_version
from harness.store import ResultStore
from harness.suite_cell import SuiteCell
from splitters.methods.baselines import Random
from splitters.methods.protocol import Progress, ProgressCallback, SplitResult, ignore_progress
from splitters.networks.execution.gpu_memory import available_bytes


def attempt(surroundings: Surroundings, progress: ProgressCallback = ignore_progress, **keys: object) -> Row:
    return run_attempt(toy_item(**keys), surroundings, device="cpu", progress=progress)


def test_a_good_cell_becomes_a_whole_row(surroundings: Surroundings) -> None:
    cell = toy_cell(seed=4, loss=0.1)
    row = run_attempt(toy_item(seed=4, loss=0.1, label="mine"), surroundings, device="cpu")
    assert row.state is State.OK
    assert row.accuracy_loss == pytest.approx(0.104)
    assert (row.cell_id, row.suite, row.scenario, row.splitter, row.splitter_label) == (
        cell.cell_id, "toys", "toy", "toy", "mine",
    )  # fmt: skip
    assert (row.model, row.dataset, row.seed, row.threads, row.gpu_share) == ("simcnn", "digits", 4, 1, 0.0)
    assert Cell.model_validate_json(row.config).cell_id == row.cell_id
    assert row.splitbench_version == package_version()
    assert row.git_commit == git_commit()
    assert row.torch_version == torch.__version__
    assert row.seconds > 0


@pytest.mark.parametrize(
    ("behaviour", "state", "kind", "reason"),
    [
        ("raise", State.FAILED, "SplitFailedError", "no usable modules"),
        ("exit", State.FAILED, "SystemExit", "3"),
        ("panic", State.FAILED, "GeneratorExit", "as little an Exception as the panic of a Rust extension"),
        ("mute", State.FAILED, "MuteError", "MuteError (its message cannot be shown)"),
        ("nan", State.FAILED, "not_finite", "not finite: accuracy_loss is nan"),
        ("memory", State.OUT_OF_MEMORY, "MemoryError", "no memory left"),
        ("disk_full", State.FAILED, "node_disk", "[Errno 28] No space left on device"),
        ("no_file", State.FAILED, "FileNotFoundError", "[Errno 2] No such file or directory: '/no/such/file'"),
        ("skip", State.SKIPPED, None, "nothing to split here"),
    ],
)
def test_whatever_happens_becomes_a_row(
    surroundings: Surroundings, behaviour: str, state: State, kind: str | None, reason: str
) -> None:
    row = attempt(surroundings, behaviour=behaviour)
    assert (row.state, row.failure_kind, row.reason) == (state, kind, reason)
    assert row.accuracy_loss is None
    assert (row.traceback is None) == (state is State.SKIPPED)


def test_on_a_machine_of_other_versions_nothing_is_computed(surroundings: Surroundings) -> None:
    assert attempt(replace(surroundings, expected=versions())).state is State.OK
    row = attempt(replace(surroundings, expected={**versions(), "torch": "1.0"}))
    assert (row.state, row.failure_kind) == (State.FAILED, "node_differs")
    assert row.reason == f"this machine has torch {torch.__version__} and not 1.0"


def test_a_long_reason_is_cut_and_the_traceback_has_all_of_it(surroundings: Surroundings) -> None:
    row = attempt(surroundings, behaviour="long_reason")
    assert row.reason == "x" * 500 + "… (1,500 more characters)"
    assert "x" * 2000 in row.traceback


def test_text_that_parquet_cannot_hold_becomes_a_row_too(surroundings: Surroundings, tmp_path: Path) -> None:
    row = attempt(surroundings, behaviour="no_text")
    store = ResultStore(tmp_path / "results")
    store.write(row)
    (read,) = store.read().attempts(row.cell_id)
    assert (read.reason, read.failure_kind) == (r"no caf\udce9 here", "OSError")
    assert r"caf\udce9" in read.traceback


def test_an_error_of_who_observes_changes_nothing_and_is_logged_once(
    surroundings: Surroundings, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(progress: Progress) -> None:
        raise ValueError(f"no room for {progress.stage}")

    row = attempt(surroundings, fail)
    assert (row.state, row.accuracy_loss) == (State.OK, 0.02)
    assert [record.getMessage() for record in caplog.records] == [
        "toy · toy · simcnn · digits · seed 0: reporting its progress failed: ValueError: no room for start"
    ]


def test_an_unknown_scenario_becomes_a_failure(surroundings: Surroundings) -> None:
    item = type(toy_item())(toy_cell().model_copy(update={"scenario": "gone"}))
    row = run_attempt(item, surroundings, device="cpu")
    assert (row.state, row.failure_kind) == (State.FAILED, "UnknownNameError")


@pytest.mark.parametrize("state", [State.TIMEOUT, State.INTERRUPTED])
def test_the_progress_callback_ends_a_cell(surroundings: Surroundings, state: State) -> None:
    def stop(progress: Progress) -> None:
        raise CellStopped(state, "because")

    row = attempt(surroundings, stop)
    assert (row.state, row.reason, row.failure_kind) == (state, "because", None)


def test_an_interrupt_from_the_keyboard_ends_a_cell(surroundings: Surroundings) -> None:
    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt

    assert attempt(surroundings, stop).state is State.INTERRUPTED


def test_a_cell_gets_its_threads_and_gives_them_back(surroundings: Surroundings) -> None:
    before = torch.get_num_threads()
    seen = []
    attempt(surroundings, lambda progress: seen.append(torch.get_num_threads()), threads=before + 1)
    assert set(seen) == {before + 1}
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(("share", "owned"), [(0.25, 25), (0.0, 100)])
def test_a_cell_has_its_share_of_the_memory_of_a_gpu(
    surroundings: Surroundings, monkeypatch: pytest.MonkeyPatch, share: float, owned: int
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (100, 100))
    seen: list[int] = []

    def look(progress: Progress) -> None:
        seen.append(available_bytes(torch.device("cuda")))

    run_attempt(toy_item(), surroundings, device="cpu", gpu_share=share, progress=look)
    assert seen[-1] == owned


def test_reports_carry_stage_and_numbers(surroundings: Surroundings) -> None:
    reports: list[Progress] = []
    attempt(surroundings, reports.append)
    assert reports[-1] == Progress("split", 1, 2, {"accuracy": 0.5})


def test_what_a_splitter_leaves_behind_does_not_change_what_its_modules_are_measured_with(
    surroundings: Surroundings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    split = Random.split

    def careless(self: Random, *args: Any, **kwargs: Any) -> SplitResult:
        result = split(self, *args, **kwargs)
        torch.nn.modules.module.register_module_forward_hook(lambda module, images, output: 0 * output)
        return result

    cell = Cell(
        scenario="modularization",
        splitter=SplitterSpec(name="random", settings={"retention": 0.9, "score": "logit"}),
        model=ModelSpec(name="rescnn", settings={"width": 0.05}),
        dataset=DatasetSpec(name="digits", train_images=200, select_images=50),
        training=TrainingSpec(recipe="one_cycle", epochs=1, learning_rate=0.05, batch_size=32),
    )
    rows = []
    for folder, method in (("clean", split), ("careless", careless)):
        monkeypatch.setattr(Random, "split", method)
        places = replace(surroundings, cache=tmp_path / folder)
        rows.append(run_attempt(SuiteCell(cell), places, device="cpu"))
    for row in rows:
        assert row.state is State.OK, row.traceback
    assert rows[0].base_accuracy == rows[1].base_accuracy
    assert rows[0].composed_accuracy == rows[1].composed_accuracy
