"""Several drivers on one results folder: one row per cell, whoever comes, dies or is late."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from conftest import ROOT, toy_item, toy_row

from benchmarks.records import State
from harness import claims
from harness.attempt import Surroundings
from harness.claims import Patience, RunRegister
from harness.dispatch import Limits
from harness.dispatch.base import Claim
from harness.dispatch.inline import InlineBackend
from harness.plan import make_plan
from harness.run import RunReport, _PlannedClaims, run_plan
from harness.run_record import Hold, RunRecord, parse_record, process_started
from harness.store import ResultStore, Storage
from harness.sweep.claiming import RegisteredClaims


def register(folder: Path, *, lease: float = 60.0) -> RunRegister:
    return RunRegister(Storage(str(folder)), "toys", cells=3, to_do=3, lease=lease)


def record_of(folder: Path, run: RunRegister) -> RunRecord:
    record = parse_record((folder / run.record.path).read_bytes())
    assert record is not None
    return record


def pretend_other_machine(folder: Path, run: RunRegister, **changes: object) -> RunRecord:
    """Writes a run's record as a driver of another machine would, under a name of its own."""
    told = {**run.record.model_dump(), "run_id": "0-other", "machine": "elsewhere", "pid": 1, **changes}
    record = RunRecord.model_validate(told)
    (folder / record.path).write_text(record.model_dump_json())
    return record


def test_a_cell_is_held_by_one_run_until_it_is_given_back(tmp_path: Path) -> None:
    with register(tmp_path) as first, register(tmp_path) as second:
        assert first.take(["a", "b"]) == {"a": Claim.OURS, "b": Claim.OURS}
        assert second.take(["a", "c"]) == {"a": Claim.THEIRS, "c": Claim.OURS}
        first.release("a")
        first.take(["d"])
        assert second.take(["a", "b"]) == {"a": Claim.OURS, "b": Claim.THEIRS}


def test_a_run_that_has_ended_holds_nothing(tmp_path: Path) -> None:
    with register(tmp_path) as first:
        first.take(["a"])
    assert record_of(tmp_path, first).ended == "done"
    with register(tmp_path) as second:
        assert second.take(["a"]) == {"a": Claim.OURS}


def test_a_driver_that_was_killed_on_this_machine_holds_nothing(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "from harness.claims import RunRegister\nfrom harness.store import Storage\n"
        "run = RunRegister(Storage(sys.argv[1]), 'toys', cells=1, to_do=1)\n"
        "run.__enter__(); run.take(['a']); os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], cwd=ROOT, check=False)
    assert len(list((tmp_path / "runs").iterdir())) == 1
    with register(tmp_path) as run:
        assert run.take(["a"]) == {"a": Claim.OURS}


def test_a_driver_elsewhere_holds_its_cells_until_its_record_has_long_been_silent(tmp_path: Path) -> None:
    with register(tmp_path, lease=0.2) as run:
        other = pretend_other_machine(tmp_path, run, claims={"a": "held"})
        assert run.take(["a"]) == {"a": Claim.THEIRS}
        time.sleep(0.3)
        pretend_other_machine(tmp_path, run, claims={"a": "held"}, beat=other.beat + 1)
        assert run.take(["a"]) == {"a": Claim.THEIRS}, "it beats"
        time.sleep(0.3)
        assert run.take(["a"]) == {"a": Claim.OURS}


def test_of_two_that_want_a_cell_the_first_by_name_gets_it(tmp_path: Path) -> None:
    with register(tmp_path) as run:
        pretend_other_machine(tmp_path, run, claims={"a": "wanted"})
        assert run.take(["a"]) == {"a": Claim.THEIRS}
        behind = pretend_other_machine(tmp_path, run, run_id="9-other", claims={"b": "wanted"})

        def step_back() -> None:
            time.sleep(0.3)
            (tmp_path / behind.path).write_text(behind.model_copy(update={"claims": {}}).model_dump_json())

        thread = threading.Thread(target=step_back)
        thread.start()
        assert run.take(["b"]) == {"b": Claim.OURS}
        thread.join()


def test_many_that_want_the_same_cells_at_once_never_share_one(tmp_path: Path) -> None:
    cells = [f"cell{number}" for number in range(20)]
    held: Counter[str] = Counter()
    barrier = threading.Barrier(4)

    def work() -> None:
        with register(tmp_path) as run:
            barrier.wait()
            for cell in cells:
                if run.take([cell])[cell] is Claim.OURS:
                    held[cell] += 1
            barrier.wait()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(held.values()) == 1
    assert held


def test_where_nothing_can_be_written_a_driver_goes_on_alone_and_waits_if_it_has_met_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise PermissionError(13, "read-only")

    with register(tmp_path) as alone, register(tmp_path / "shared") as first, register(tmp_path / "shared") as second:
        monkeypatch.setattr(Storage, "put", refuse)
        assert alone.take(["a"]) == {"a": Claim.OURS}
        assert second.take(["a"]) == {"a": Claim.THEIRS}
        assert first.take([]) == {}


def test_what_could_not_be_claimed_keeps_nobody_waiting_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(28, "no space left on device")

    with register(tmp_path) as first, register(tmp_path) as second:
        second.take([])
        with monkeypatch.context() as patch:
            patch.setattr(Storage, "put", refuse)
            second.met_others = True
            assert second.take(["a"]) == {"a": Claim.THEIRS}
            assert second.record.claims == {}
            second.met_others = False
            assert second.take(["b"]) == {"b": Claim.OURS}
        second.take(["c"])
        assert record_of(tmp_path, second).claims == {"b": Hold.HELD, "c": Hold.HELD}
        assert first.take(["a", "b"]) == {"a": Claim.OURS, "b": Claim.THEIRS}


def test_of_cells_that_belong_together_a_driver_takes_all_or_none(tmp_path: Path) -> None:
    with register(tmp_path) as first, register(tmp_path) as second:
        first.take(["a"])
        assert second.take(["a", "b"], all_or_none=True) == dict.fromkeys("ab", Claim.THEIRS)
        assert record_of(tmp_path, second).claims == {}
        assert first.take(["b"]) == {"b": Claim.OURS}
        assert second.take(["c", "d"], all_or_none=True) == dict.fromkeys("cd", Claim.OURS)


def test_a_store_that_cannot_tell_what_others_have_done_makes_cells_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, item = ResultStore(tmp_path), toy_item()
    with register(tmp_path) as own, register(tmp_path):
        planned, of_trials = _PlannedClaims(make_plan([item], []), store, own), RegisteredClaims(own, store)

        def refuse(*args: object) -> None:
            raise OSError("503 Slow Down")

        with monkeypatch.context() as patch:
            patch.setattr(store, "read_cells", refuse)
            assert planned.take([item]) == [Claim.THEIRS]
            assert (of_trials.take([item]), of_trials.is_blind) == (None, True)
        assert own.met_others
        assert own.record.claims == {}
        assert (of_trials.take([item]), of_trials.is_blind) == ([], False)
        assert planned.take([item]) == [Claim.OURS]


def test_rows_that_cannot_be_read_for_long_are_an_error_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [0.0]
    monkeypatch.setattr(claims.time, "monotonic", lambda: clock[0])
    patience = Patience(seconds=60.0)

    def refuse() -> int:
        raise OSError("the token has expired")

    for now in (0.0, 30.0, 60.0):
        clock[0] = now
        assert patience.read(refuse) is None
    assert patience.read(lambda: 1) == 1
    for now in (70.0, 3600.0, 3630.0, 3660.0):
        clock[0] = now
        assert patience.read(refuse) is None, "what fails once in a while is no outage"
    clock[0] = 3661.0
    with pytest.raises(OSError, match="the token has expired"):
        patience.read(refuse)


def test_the_age_of_a_process_does_not_come_from_the_clock() -> None:
    here = process_started(1)
    assert here == process_started(1)
    assert process_started(2**22 + 1) is None


def run(folder: Path, seeds: range, *, behaviour: str = "ok", latest: object = None) -> tuple[RunReport, ResultStore]:
    surroundings = Surroundings("toys", folder / "cache")
    store = ResultStore(folder / "results")
    items = [toy_item(seed=seed, behaviour=behaviour, folder=str(folder)) for seed in seeds]
    plan = make_plan(items, store.read().latest() if latest is None else [])
    return run_plan(plan, store, InlineBackend(surroundings, Limits())), store


def test_what_another_run_has_finished_since_the_plan_was_made_is_not_run_again(tmp_path: Path) -> None:
    run(tmp_path, range(2))
    report, store = run(tmp_path, range(3), latest="planned before the first run")
    assert [row.seed for row in report.rows] == [2]
    assert report.all_well
    assert store.read().table.num_rows == 3


def test_a_failure_of_another_run_counts_too_unless_it_was_asked_for_again(tmp_path: Path) -> None:
    _, store = run(tmp_path, range(1), behaviour="raise")
    report, _ = run(tmp_path, range(1), behaviour="raise", latest="planned before")
    assert report.rows == ()
    items = [toy_item(seed=0, behaviour="raise", folder=str(tmp_path))]
    again = make_plan(items, store.read().latest(), retry=["failed"])
    run_plan(again, store, InlineBackend(Surroundings("toys", tmp_path / "cache"), Limits()))
    assert store.read().table.num_rows == 2


def test_two_drivers_at_once_share_the_work_and_leave_one_row_per_cell(
    write_suite: Callable[..., Path], tmp_path: Path, environment: dict[str, str]
) -> None:
    suite, results = (
        write_suite(seeds=12, splitters=[{"name": "toy", "settings": {"behaviour": "nap"}}]),
        tmp_path / "r",
    )
    command = [sys.executable, "-m", "harness", "run", str(suite), "--results", str(results), "--backend", "inline"]
    drivers = [
        subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [driver.communicate(timeout=120) for driver in drivers]
    assert [driver.returncode for driver in drivers] == [0, 0], outputs
    contents = ResultStore(results).read()
    assert sorted(contents.table.column("seed").to_pylist()) == list(range(12))
    assert {row.state for row in contents.latest()} == {State.OK}
    run_by = [
        int(output.partition(" cells run")[0].rpartition("\n")[2]) for output, _ in outputs if "cells run" in output
    ]
    assert sum(run_by) == 12
    assert len(run_by) == 2, f"one of them did nothing: {outputs}"


def test_a_driver_takes_over_what_a_killed_one_had_begun(
    write_suite: Callable[..., Path], tmp_path: Path, environment: dict[str, str]
) -> None:
    suite = write_suite(
        seeds=3, splitters=[{"name": "toy", "settings": {"behaviour": "block_once", "folder": str(tmp_path)}}]
    )
    results = tmp_path / "r"
    command = [sys.executable, "-m", "harness", "run", str(suite), "--results", str(results), "--backend", "inline"]
    first = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 60
    while not (tmp_path / "blocked").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    second = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(1.0)
    first.kill()
    first.wait()
    _, errors = second.communicate(timeout=120)
    assert second.returncode == 0, errors
    contents = ResultStore(results).read()
    assert sorted(contents.table.column("seed").to_pylist()) == [0, 1, 2]
    assert {row.state for row in contents.latest()} == {State.OK}


def test_a_torn_record_or_one_of_a_newer_version_is_passed_over(tmp_path: Path) -> None:
    with register(tmp_path) as run:
        (tmp_path / "runs" / "torn.json").write_text('{"format": 1, "run')
        pretend_other_machine(tmp_path, run, format=99, claims={"a": "held"})
        assert run.take(["a"]) == {"a": Claim.OURS}


def test_a_row_of_an_unfinished_cell_does_not_settle_it(tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "results")
    item = toy_item(seed=0)
    store.write(toy_row(cell=item.cell, state=State.INTERRUPTED))
    report = run_plan(make_plan([item], []), store, InlineBackend(Surroundings("toys", tmp_path / "c"), Limits()))
    assert [row.state for row in report.rows] == [State.OK]


def test_what_one_run_has_alone_is_lost_by_a_driver_that_died_elsewhere_and_by_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "_WATCH_SECONDS", 0.05)
    with register(tmp_path, lease=0.3) as run:
        silent = pretend_other_machine(tmp_path, run, claims={"study": Hold.HELD})
        began = time.monotonic()
        assert run.take_alone("study") is None
        assert time.monotonic() - began > 0.3, "it was given the time to show that it lives"
        run.release("study")
        alive = pretend_other_machine(tmp_path, run, run_id="0-alive", claims={"study": Hold.HELD})
        beats = iter(range(100))
        take = run.take

        def take_while_the_other_beats(cell_ids: Sequence[str]) -> dict[str, Claim]:
            pretend_other_machine(
                tmp_path, run, run_id="0-alive", claims={"study": Hold.HELD}, beat=alive.beat + next(beats)
            )
            return take(cell_ids)

        monkeypatch.setattr(run, "take", take_while_the_other_beats)
        found = run.take_alone("study")
    assert found is not None
    assert found.run_id == "0-alive" != silent.run_id
