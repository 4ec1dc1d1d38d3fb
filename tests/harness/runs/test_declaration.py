"""Several runs on one results folder: whoever comes, dies, sleeps or is late, no cell is left undone."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from processes import splitbench, wait_for
from toys import ROOT, toy_item, toy_row

from benchmarks.rows.row import State
from harness.execution import Limits, SilentListener
from harness.execution.attempt import Surroundings
from harness.execution.inline import InlineBackend
from harness.execution.run_plan import RunReport, run_plan
from harness.planning.plan import make_plan
from harness.runs import declaration
from harness.runs.activity import RunningCell
from harness.runs.declaration import RunDeclaration
from harness.runs.record import RunRecord, parse_record, process_started
from harness.store import ResultStore
from harness.store.files import Storage
from harness.suite_cell import SuiteCell
from splitters.errors import ConfigurationError


def declare(folder: Path, *cell_ids: str, study: str | None = None) -> RunDeclaration:
    return RunDeclaration(Storage(str(folder)), "toys", cell_ids=cell_ids, n_cells=3, study=study)


def elsewhere(folder: Path, *cell_ids: str, age: float = 0.0, **changes: Any) -> Path:
    """Write the record of a driver on another machine, whose last heartbeat is ``age`` seconds old."""
    record = declare(folder, *cell_ids).record
    fields = {"machine": "elsewhere", "hostname": "elsewhere", "pid": 1, "is_settled": True, **changes}
    record = record.model_copy(update=fields)
    path = folder / record.path
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(record.model_dump_json())
    os.utime(path, (time.time() - age,) * 2)
    return path


def record_of(folder: Path, run: RunDeclaration) -> RunRecord:
    record = parse_record((folder / run.record.path).read_bytes())
    assert record is not None
    return record


def test_a_run_leaves_to_a_living_one_what_that_one_declared_and_does_the_rest(tmp_path: Path) -> None:
    with declare(tmp_path, "a", "b") as first, declare(tmp_path, "b", "c") as second:
        assert first.left_to_others == {}
        assert {cell_id: record.run_id for cell_id, record in second.left_to_others.items()} == {
            "b": first.record.run_id
        }
        assert (record_of(tmp_path, second).cell_ids, record_of(tmp_path, second).to_do) == (frozenset("c"), 1)
    with declare(tmp_path, "a", "b", "c") as third:
        assert third.left_to_others == {}, "runs that have ended hold nothing"


def test_a_run_leaves_to_a_living_sweep_the_cells_that_it_is_running(tmp_path: Path) -> None:
    running = {"a": RunningCell(title="a", since=datetime.now(timezone.utc))}
    elsewhere(tmp_path, study="s", running=running)
    with declare(tmp_path, "a", "b") as run:
        assert run.left_to_others.keys() == {"a"}


def test_a_clock_that_is_behind_does_not_make_a_later_run_the_earlier_one(tmp_path: Path) -> None:
    elsewhere(tmp_path, "a", started_at=datetime.now(timezone.utc) + timedelta(hours=1))
    with declare(tmp_path, "a") as run:
        assert run.left_to_others.keys() == {"a"}


@pytest.mark.parametrize(("offset", "left"), [(-1, {"a"}), (1, set())])
def test_of_two_that_look_at_the_same_time_the_later_one_leaves_the_cells(
    tmp_path: Path, offset: int, left: set[str]
) -> None:
    started = datetime.now(timezone.utc) + timedelta(hours=offset)
    elsewhere(tmp_path, "a", started_at=started, is_settled=False)
    with declare(tmp_path, "a") as run:
        assert run.left_to_others.keys() == left


def test_of_many_that_start_at_once_each_cell_is_kept_by_at_least_one(tmp_path: Path) -> None:
    cells = [f"cell{number}" for number in range(20)]
    barrier, kept = threading.Barrier(6), []

    def work() -> None:
        run = declare(tmp_path, *cells)
        barrier.wait()
        with run:
            kept.extend(run.record.cell_ids)
            barrier.wait()

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(kept) == set(cells)


def test_a_driver_that_was_killed_on_this_machine_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from harness.runs.declaration import RunDeclaration\nfrom harness.store import Storage\n"
        "run = RunDeclaration(Storage(sys.argv[1]), 'toys', cell_ids=['a'], n_cells=1)\n"
        "run.__enter__(); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=False)
    assert len(list((tmp_path / "runs").iterdir())) == 1
    with declare(tmp_path, "a") as run:
        assert run.left_to_others == {}


def test_a_driver_elsewhere_is_alive_again_with_its_next_heartbeat(tmp_path: Path) -> None:
    asleep = elsewhere(tmp_path, "a", age=declaration.ALIVE_SECONDS + 5)
    with declare(tmp_path, "a") as run:
        assert run.left_to_others == {}
        assert run.living_others() == []
        asleep.touch()
        assert [record.hostname for record in run.living_others()] == ["elsewhere"]


def test_the_age_of_a_heartbeat_is_taken_by_the_stores_clock(tmp_path: Path) -> None:
    elsewhere(tmp_path, "a", heartbeat_at=datetime.now(timezone.utc) - timedelta(days=1))
    with declare(tmp_path, "a") as run:
        assert run.left_to_others.keys() == {"a"}


def test_a_study_has_one_driver_and_who_is_refused_leaves_no_record(tmp_path: Path) -> None:
    with declare(tmp_path, study="s") as first:
        with pytest.raises(
            ConfigurationError, match=rf"study s has a driver already: process \d+ on {first.record.hostname}, since"
        ):
            declare(tmp_path, study="s").__enter__()
        assert [path.name for path in (tmp_path / "runs").iterdir()] == [f"{first.record.run_id}.json"]
        with declare(tmp_path, study="another"):
            pass
    with declare(tmp_path, study="s"):
        pass


def test_records_that_cannot_be_read_make_no_second_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> None:
        raise PermissionError(13, "no listing")

    with declare(tmp_path, study="s"), monkeypatch.context() as patch:
        patch.setattr(Storage, "files", refuse)
        with pytest.raises(PermissionError):
            declare(tmp_path, study="s").__enter__()
        with declare(tmp_path, "a") as run:
            assert run.record.cell_ids == {"a"}, "a cell that is computed twice harms nothing"


def test_of_drivers_that_start_at_once_one_gets_the_study(tmp_path: Path) -> None:
    barrier, got, refused = threading.Barrier(5), [], []

    def work() -> None:
        run = declare(tmp_path, study="s")
        barrier.wait()
        try:
            with run:
                got.append(run)
                barrier.wait()
        except ConfigurationError:
            refused.append(run)
            barrier.wait()

    threads = [threading.Thread(target=work) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(got), len(refused)) == (1, 4)


def test_a_store_that_hangs_holds_up_neither_progress_nor_deadlines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(declaration, "HEARTBEAT_SECONDS", 0.01)
    put, hanging, release = Storage.put, threading.Event(), threading.Event()

    def hang(self: Storage, *args: Any, **keys: Any) -> None:
        if threading.current_thread().name == "heartbeat":
            hanging.set()
            release.wait(60)
        put(self, *args, **keys)

    monkeypatch.setattr(Storage, "put", hang)
    with declare(tmp_path, "a") as run:
        assert hanging.wait(60)
        run.started(toy_item())
        run.finished(toy_row())
        assert run.record.finished == 1
        release.set()
    assert record_of(tmp_path, run).ended == "done"


def test_a_torn_record_or_one_of_a_newer_version_is_passed_over(tmp_path: Path) -> None:
    elsewhere(tmp_path, "a", format=99)
    (tmp_path / "runs" / "torn.json").write_text('{"format": 1, "run')
    with declare(tmp_path, "a") as run:
        assert run.left_to_others == {}


def test_the_start_of_a_process_does_not_depend_on_the_clock() -> None:
    assert process_started(1) == process_started(1)
    assert process_started(2**22 + 1) is None


def run(folder: Path, seeds: range, *, behaviour: str = "ok", stale: bool = False) -> tuple[RunReport, ResultStore]:
    store = ResultStore(folder / "results")
    items = [toy_item(seed=seed, behaviour=behaviour, folder=str(folder)) for seed in seeds]
    plan = make_plan(items, [] if stale else store.read().latest())
    return run_plan(plan, store, InlineBackend(Surroundings("toys", folder / "cache"), Limits())), store


def test_what_another_run_has_finished_since_the_plan_was_made_is_not_run_again(tmp_path: Path) -> None:
    run(tmp_path, range(2))
    report, store = run(tmp_path, range(3), stale=True)
    assert [row.seed for row in report.rows] == [2]
    assert report.all_well
    assert store.read().table.num_rows == 3


def test_a_failure_of_another_run_counts_too_unless_it_was_asked_for_again(tmp_path: Path) -> None:
    _, store = run(tmp_path, range(1), behaviour="raise")
    report, _ = run(tmp_path, range(1), behaviour="raise", stale=True)
    assert report.rows == ()
    items = [toy_item(seed=0, behaviour="raise", folder=str(tmp_path))]
    again = make_plan(items, store.read().latest(), retry=["failed"])
    run_plan(again, store, InlineBackend(Surroundings("toys", tmp_path / "cache"), Limits()))
    assert store.read().table.num_rows == 2


def test_a_row_of_an_unfinished_cell_does_not_settle_it(tmp_path: Path) -> None:
    store, item = ResultStore(tmp_path / "results"), toy_item(seed=0)
    store.write(toy_row(cell=item.cell, state=State.INTERRUPTED))
    report, _ = run(tmp_path, range(1), stale=True)
    assert [row.state for row in report.rows] == [State.OK]


def test_what_is_left_to_others_is_known_before_the_first_cell_starts(tmp_path: Path) -> None:
    events: list[str] = []

    class Starts(SilentListener):
        def started(self, item: SuiteCell) -> None:
            events.append(f"started {item.cell.seed}")

    items = [toy_item(seed=seed) for seed in range(2)]
    with declare(tmp_path, items[0].cell.cell_id):
        run_plan(
            make_plan(items, []),
            ResultStore(tmp_path),
            InlineBackend(Surroundings("toys", tmp_path / "cache"), Limits()),
            listener=Starts(),
            on_left=lambda left: events.append(f"left {len(left)}"),
        )
    assert events == ["left 1", "started 1"]


def start(suite: Path, results: Path, environment: dict[str, str]) -> Any:
    command = splitbench("run", suite, "--results", results, "--backend", "inline", "--json")
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def test_of_two_runs_started_at_once_both_end_and_every_cell_has_a_row_that_counts(
    write_suite: Callable[..., Path], tmp_path: Path, environment: dict[str, str]
) -> None:
    suite = write_suite(seeds=12, splitters=[{"name": "toy", "settings": {"behaviour": "nap"}}])
    drivers = [start(suite, tmp_path / "r", environment) for _ in range(2)]
    outputs = [driver.communicate(timeout=120) for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0], outputs
    latest = ResultStore(tmp_path / "r").read().latest()
    assert sorted(row.seed for row in latest) == list(range(12))
    assert {row.state for row in latest} == {State.OK}
    (entry,) = json.loads(max((output for output, _ in outputs), key=lambda text: len(json.loads(text)["run"])))[
        "leaderboard"
    ]
    assert entry["n_seeds"] == 12


def test_a_second_run_names_the_first_and_a_run_that_was_suspended_loses_nothing(
    write_suite: Callable[..., Path], tmp_path: Path, environment: dict[str, str], call: Callable[..., Any]
) -> None:
    slow = {"name": "toy", "settings": {"behaviour": "polite_once", "folder": str(tmp_path)}}
    suite, results = write_suite(seeds=3, splitters=[slow, "other"]), tmp_path / "r"
    first = start(suite, results, environment)
    wait_for(tmp_path / "begun")
    first.send_signal(signal.SIGSTOP)
    try:
        second = call("run", suite, "--results", results, "--backend", "inline")
        assert second.exit_code == 0
        text = " ".join(second.stdout.split())
        assert "6 cells are being run by" in text
        assert "UTC; run again later, or use --shard." in text
        assert "6 cells are being run by" in " ".join(second.stderr.split()), "also when it starts, on stderr"
        left = json.loads(call("run", suite, "--results", results, "--backend", "inline", "--json").stdout)
        assert [len(entry["cell_ids"]) for entry in left["left_to_others"]] == [6]
        assert re.search(r"toys on \S+: running; started", call("status", results).stdout)
    finally:
        first.send_signal(signal.SIGCONT)
    first.send_signal(signal.SIGINT)
    _, errors = first.communicate(timeout=120)
    assert first.returncode == 130, errors
    third = call("run", suite, "--results", results, "--backend", "inline")
    assert third.exit_code == 0
    assert "are being run" not in third.stdout
    assert sorted(
        (row.seed, row.splitter) for row in ResultStore(results).read().latest() if row.state is State.OK
    ) == [(seed, name) for seed in range(3) for name in ("other", "toy")]


def test_a_run_takes_over_what_a_killed_one_had_declared(
    write_suite: Callable[..., Path], tmp_path: Path, environment: dict[str, str], call: Callable[..., Any]
) -> None:
    slow = {"name": "toy", "settings": {"behaviour": "block_once", "folder": str(tmp_path)}}
    suite, results = write_suite(seeds=3, splitters=[slow]), tmp_path / "r"
    first = start(suite, results, environment)
    wait_for(tmp_path / "blocked")
    first.kill()
    first.communicate()
    assert call("run", suite, "--results", results, "--backend", "inline").exit_code == 0
    assert sorted(row.seed for row in ResultStore(results).read().latest()) == [0, 1, 2]
