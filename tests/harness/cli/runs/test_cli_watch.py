"""``splitbench watch``."""

from __future__ import annotations

import io
import json
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import Result
from toys import toy_item, toy_row

from benchmarks.rows.row import State
from harness.cli.output import PlainConsole
from harness.cli.runs.watch import _follow, _states
from harness.runs.declaration import RunDeclaration
from harness.runs.time_left import TimeLeft
from harness.store import ResultStore
from splitters.methods.protocol import Progress

Call = Callable[..., Result]


@contextmanager
def running(store: ResultStore) -> Iterator[RunDeclaration]:
    """Run the last of three cells; the second has failed."""
    items = [toy_item(seed=seed) for seed in range(3)]
    ids = [item.cell.cell_id for item in items]
    left = TimeLeft(items, history={items[0].kind: 3600.0}, clock=lambda: 0.0)
    with RunDeclaration(store.storage, "toys", cell_ids=ids, n_cells=3, time_left=left) as run:
        for row in (toy_row(seed=0), toy_row(seed=1, state=State.FAILED, kind="X")):
            store.write(row)
            run.finished(row)
        run.started(items[2])
        run.progressed(items[2], Progress("search", 3, 8, {"accuracy": 0.75, "kernel_retention": 0.5}))
        run._try_to_write()
        yield run


def test_once_shows_running_cells_failures_and_the_leaderboard(call: Call, tmp_path: Path) -> None:
    with running(ResultStore(tmp_path)):
        text = call("watch", tmp_path, "--once").stdout
        state = json.loads(call("watch", tmp_path, "--once", "--json").stdout)
    assert re.search(r"toys on \S+: running; started", text)
    assert "2/3, 1 not ok" in text
    assert "search 3/8  accuracy 0.75  kernels 0.5" in text
    assert "Not ok" in text
    assert "Ordered by accuracy_loss." in text
    (run,) = state["runs"]
    (cell,) = run["running"].values()
    assert cell["metrics"] == {"accuracy": 0.75, "kernel_retention": 0.5}
    assert (run["cells_finished"], run["to_do"], run["state"]) == (2, 3, "running")
    assert run["seconds_left"] > 0
    assert [entry["splitter"] for entry in state["leaderboard"] if entry["measured"]] == ["toy"]


def test_it_follows_a_run_and_ends_with_it(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = ResultStore(tmp_path)
    with running(store) as run:
        waits: list[float] = []

        def end(seconds: float) -> None:
            waits.append(seconds)
            if len(waits) == 2:
                store.write(row := toy_row(seed=2))
                run.finished(row)
                run.note_end("done")
                run._try_to_write()

        monkeypatch.setattr(time, "sleep", end)
        result = call("watch", tmp_path)
    assert result.exit_code == 0
    progress, *final = result.stdout.splitlines()
    assert progress.startswith("toys: 2/3, 1 not ok, 1 running, about ")
    assert progress.endswith("search 3/8  accuracy 0.75  kernels 0.5")
    assert re.match(r"toys on \S+: done; started", final[0])
    assert len(waits) == 2


def test_as_json_every_state_is_a_line(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(ResultStore(tmp_path)) as run:

        def end(seconds: float) -> None:
            run.note_end("interrupted")
            run._try_to_write()

        monkeypatch.setattr(time, "sleep", end)
        states = [json.loads(line) for line in call("watch", tmp_path, "--json").stdout.splitlines()]
    assert [state["runs"][0]["state"] for state in states] == ["running", "interrupted"]


def test_ctrl_c_ends_it(call: Call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(seconds: float) -> None:
        raise KeyboardInterrupt

    with running(ResultStore(tmp_path)):
        monkeypatch.setattr(time, "sleep", interrupt)
        assert call("watch", tmp_path).exit_code == 130


def test_where_no_run_is_it_ends_at_once(call: Call, tmp_path: Path) -> None:
    assert call("watch", tmp_path / "none").exit_code == 2
    result = call("watch", tmp_path)
    assert result.exit_code == 0
    assert "No run has been recorded here." in result.stdout


def test_a_board_that_is_taller_than_the_terminal_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = io.StringIO()
    console = PlainConsole(file=output, force_terminal=True, width=60, height=8)
    monkeypatch.setattr("harness.cli.output.PlainConsole", lambda: console)
    with running(ResultStore(tmp_path)):
        state = next(_states(ResultStore(tmp_path)))
        _follow(iter([state, replace(state, status=replace(state.status, runs=()))]), "results")
    assert "Ordered by" not in output.getvalue(), "the end of the board"
