from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from click.testing import Result
from toys import toy_item, toy_row

from benchmarks.rows.row import State
from harness.runs.declaration import RunDeclaration
from harness.runs.status import results_status
from harness.store import ResultStore
from harness.store.files import Storage
from harness.store.maintenance.fetch import fetch_rows
from splitters.errors import ConfigurationError
from splitters.methods.protocol import Progress

Call = Callable[..., Result]
NOW = datetime.now(timezone.utc)


def test_it_counts_cells_and_tells_of_runs(call: Call, write_suite: Callable[..., Path], tmp_path: Path) -> None:
    splitters = ["toy", {"name": "other", "settings": {"behaviour": "raise"}}]
    call("run", write_suite(splitters=splitters), "--results", tmp_path / "r", "--backend", "inline")
    result = call("status", tmp_path / "r")
    assert result.exit_code == 0
    assert "2 cells with rows: 1 ok, 1 failed." in result.stdout
    assert re.search(r"toys on \S+: done; started", result.stdout)
    assert "UTC with 2 of 2 cells to do; 2 attempts finished, 1 of them not ok" in " ".join(result.stdout.split())
    told = json.loads(call("status", tmp_path / "r", "--json").stdout)
    assert told["cells"] == {"ok": 1, "failed": 1}
    (failure,) = told["failures"]
    assert (failure["cell"], failure["state"]) == ("toy · other · simcnn · digits · seed 0", "failed")
    text = " ".join(result.stdout.split())
    assert failure["cell_id"][:10] in text
    assert failure["reason"].split()[0] in text
    assert [run["state"] for run in told["runs"]] == ["done"]


def test_a_run_that_goes_on_shows_its_cells(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.runs.declaration.HEARTBEAT_SECONDS", 0.01)
    item = toy_item(seed=3)
    with RunDeclaration(Storage(str(tmp_path)), "toys", cell_ids=[item.cell.cell_id], n_cells=5) as run:
        run.started(item)
        run.progressed(item, Progress("split", 3, 8))
        deadline = time.monotonic() + 60
        while "split 3/8" not in (text := call("status", tmp_path).stdout):
            assert time.monotonic() < deadline, text
    assert re.search(r"toys on \S+: running; started", text)
    assert "toy · toy · simcnn · digits · seed 3  split 3/8" in text


@pytest.mark.parametrize(
    ("changes", "state"),
    [
        ({"pid": 2**22 + 1}, "lost"),
        ({"machine": "elsewhere"}, "running"),
        ({"machine": "elsewhere", "heartbeat_at": NOW - timedelta(hours=1)}, "silent"),
        ({"machine": "elsewhere", "heartbeat_at": NOW + timedelta(hours=1)}, "running"),
        ({"ended": "interrupted"}, "interrupted"),
    ],
)
def test_a_driver_that_is_gone_is_told_from_one_that_works(
    tmp_path: Path, changes: dict[str, object], state: str
) -> None:
    with RunDeclaration(Storage(str(tmp_path)), "toys", cell_ids=["a"], n_cells=1) as run:
        record = run.record.model_copy(update={"run_id": "other", **changes})
        (tmp_path / record.path).write_text(record.model_dump_json())
        status = results_status(ResultStore(tmp_path), NOW)
    assert {found.record.run_id: found.state for found in status.runs}["other"] == state


def test_where_there_is_nothing_it_says_so(call: Call, tmp_path: Path) -> None:
    assert call("status", tmp_path / "none").exit_code == 2
    assert "No run has been recorded here" in call("status", tmp_path).stdout


def test_fetch_copies_what_is_new_and_nothing_twice(call: Call, tmp_path: Path) -> None:
    source = ResultStore(tmp_path / "far" / "toys")
    for seed in range(3):
        source.write(toy_row(seed=seed))
    target = tmp_path / "here"
    assert "3 new rows, 3 in all" in call("fetch", tmp_path / "far" / "toys", "--to", target).stdout
    source.write(toy_row(seed=3, state=State.FAILED, kind="X"))
    told = json.loads(call("fetch", tmp_path / "far" / "toys", "--to", target, "--json").stdout)
    assert told == {"results": str(target), "new": 1, "rows": 4}
    assert {row.seed for row in ResultStore(target).read().latest()} == {0, 1, 2, 3}


def test_fetch_brings_a_sweeps_definitions_and_curves(tmp_path: Path) -> None:
    source, target = ResultStore(tmp_path / "far"), ResultStore(tmp_path / "here")
    source.write(toy_row())
    for path in ("sweeps/a.json", "curves/in_splitter=x/b.parquet", "sweeps/.tmp-1-a.json"):
        source.write_file(path, path.encode())
    assert (fetch_rows(source, target), fetch_rows(source, target)) == (1, 0)
    found = {
        path.relative_to(tmp_path / "here").as_posix() for path in (tmp_path / "here").rglob("*") if path.is_file()
    }
    assert {path for path in found if not path.startswith("rows/")} == {
        "sweeps/a.json",
        "curves/in_splitter=x/b.parquet",
    }


def test_fetch_copies_a_damaged_row_once_and_nothing_foreign(tmp_path: Path) -> None:
    source, target = ResultStore(tmp_path / "far"), ResultStore(tmp_path / "here")
    torn = Path(source.write(toy_row()))
    torn.write_bytes(torn.read_bytes()[:-9])
    (torn.parent / "_SUCCESS").touch()
    (torn.parent / ".tmp-12345678-a.parquet").write_bytes(b"half")
    assert fetch_rows(source, target) == 1
    assert len(target.read().being_written) == 1
    assert fetch_rows(source, target) == 0
    (copied,) = (tmp_path / "here").rglob("*.parquet")
    os.utime(copied, (time.time() - 7200,) * 2)
    assert len(target.read(quarantine=True).damaged) == 1
    assert fetch_rows(source, target) == 0


def test_a_row_that_was_fetched_while_it_was_being_written_is_fetched_again(tmp_path: Path) -> None:
    source, target = ResultStore(tmp_path / "far"), ResultStore(tmp_path / "here")
    path = Path(source.write(row := toy_row()))
    whole = path.read_bytes()
    path.write_bytes(whole[:100])
    fetch_rows(source, target)
    path.write_bytes(whole)
    assert fetch_rows(source, target) == 1
    assert target.read().latest() == [row]
    path.write_bytes(whole[:100])
    assert fetch_rows(source, target) == 0
    assert target.read().latest() == [row], "a good row is not replaced by a torn one"


def test_a_row_that_was_damaged_here_is_fetched_again(tmp_path: Path) -> None:
    source, target = ResultStore(tmp_path / "far"), ResultStore(tmp_path / "here")
    source.write(row := toy_row())
    fetch_rows(source, target)
    (here,) = (tmp_path / "here").rglob("*.parquet")
    here.write_bytes(here.read_bytes()[:-9])
    os.utime(here, (time.time() - 7200,) * 2)
    assert target.read(quarantine=True).latest() == []
    assert not here.exists()
    assert fetch_rows(source, target) == 1
    assert target.read().latest() == [row]


def test_a_copy_of_others_rows_never_stands_for_ones_own(tmp_path: Path) -> None:
    own, others = ResultStore(tmp_path / "own"), ResultStore(tmp_path / "others")
    rows = [toy_row(seed=seed) for seed in range(200)]
    for row in rows:
        own.write(row)
        others.write(row.model_copy(update={"accuracy_loss": 0.9}))
    others.read(share=True)
    others.write(toy_row(seed=200))
    assert fetch_rows(others, own) == 1
    losses = {row.accuracy_loss for row in own.read().latest()}
    assert losses == {rows[0].accuracy_loss}
    assert fetch_rows(others, ResultStore(tmp_path / "new")) == 201
    assert (tmp_path / "new" / "copy" / "rows").is_file()


def test_fetch_by_default_keeps_the_last_name(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ResultStore(tmp_path / "far" / "toys").write(toy_row())
    monkeypatch.chdir(tmp_path)
    assert call("fetch", tmp_path / "far" / "toys").exit_code == 0
    assert len(list((tmp_path / "results" / "toys" / "rows").rglob("*.parquet"))) == 1


def test_fetch_of_nothing_is_an_error(call: Call, tmp_path: Path) -> None:
    result = call("fetch", tmp_path / "none")
    assert result.exit_code == 2
    assert "there are no results at" in result.stderr


def test_a_name_in_the_source_cannot_lead_out_of_the_target(tmp_path: Path) -> None:
    class Sly(Storage):
        def relative(self, info: object) -> str:
            return "rows/../../escaped.parquet"

        def read(self, path: str) -> bytes:
            return b"whatever lies there"

    source = ResultStore(tmp_path / "far")
    source.write(toy_row())
    source.storage.__class__ = Sly
    with pytest.raises(ConfigurationError, match="leads out of"):
        fetch_rows(source, ResultStore(tmp_path / "here"))
    assert not (tmp_path / "escaped.parquet").exists()
