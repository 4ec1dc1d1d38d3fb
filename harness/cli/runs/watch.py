"""``splitbench watch``: runs on a results folder while they go on."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from harness.cli.errors import report_errors
from harness.cli.options import json_option, open_store

if TYPE_CHECKING:
    from rich.console import RenderableType

    from harness.ranking.leaderboard import Leaderboard
    from harness.runs.activity import Activity
    from harness.runs.status import ResultsStatus, RunStatus
    from harness.store import ResultStore, StoreContents

POLL_SECONDS = 5.0
"""Between two looks; records change every ten seconds."""


@click.command()
@click.argument("results", metavar="RESULTS")
@click.option("--once", is_flag=True, help="Show the state now, and end.")
@json_option
@report_errors
def command(results: str, once: bool, as_json: bool) -> None:
    """Watch the runs on a results folder or URI until they end, from any machine that can read it.

    Shows each running cell, the time left, and the leaderboard as it grows. Without a terminal, a line whenever
    something has changed, and the leaderboard at the end; with --json, a JSON object per line.
    """
    from harness.cli.output import show, show_json

    store = open_store(results)
    store.require()
    states = _states(store)
    if once:
        state = next(states)
        show_json(_state_object(state)) if as_json else show(_view(state, results))
    elif as_json:
        _write_objects(states)
    else:
        show(_view(_follow(states, results), results))


@dataclass(frozen=True)
class _State:
    """What is to be seen at one time."""

    status: ResultsStatus
    contents: StoreContents
    board: Leaderboard

    @property
    def running(self) -> list[RunStatus]:
        return [run for run in self.status.runs if run.state == "running"]


def _states(store: ResultStore) -> Iterator[_State]:
    """Yield the state of a results folder again and again, until no run goes on; the last one is final."""
    from dataclasses import replace
    from datetime import datetime, timezone

    from harness.ranking.leaderboard import columns_for, make_leaderboard
    from harness.runs.status import results_status, run_statuses

    state: _State | None = None
    known: list[tuple[str, int, str]] = []
    while True:
        now = datetime.now(timezone.utc)
        runs = run_statuses(store, now)
        ended = [(run.record.run_id, run.record.finished, run.state) for run in runs]
        if state is None or ended != known:
            # Rows are many, and are read only when there are new ones.
            contents = store.read(columns=columns_for(None))
            status = results_status(store, now, contents=contents, runs=runs)
            state, known = _State(status, contents, make_leaderboard(contents.latest())), ended
        else:
            state = replace(state, status=replace(state.status, runs=runs))
        yield state
        if not state.running:
            return
        time.sleep(POLL_SECONDS)


def _follow(states: Iterator[_State], results: str) -> _State:
    """Show each state until the last, which is returned: drawn in place on a terminal, in lines elsewhere."""
    from rich.live import Live
    from rich.text import Text

    from harness.cli.output import PlainConsole, write_line

    console, state = PlainConsole(), next(states)
    if not console.is_terminal:
        shown: list[str] = []
        while state.running:
            lines = _lines(state)
            if lines != shown:
                write_line("\n".join(lines))
            shown, state = lines, next(states)
        return state
    is_over = False
    # Live shows its last frame whole and then removes it, which fails where it is taller than the terminal.
    with Live(
        console=console,
        get_renderable=lambda: Text() if is_over else _view(state, results),
        refresh_per_second=1,
        transient=True,
    ):
        try:
            while state.running:
                state = next(states)
        finally:
            is_over = True
    return state


def _write_objects(states: Iterator[_State]) -> None:
    import json

    from harness.cli.output import write

    for state in states:
        write(json.dumps(_state_object(state), allow_nan=False))


def _lines(state: _State) -> list[str]:
    from harness.views.running import running_line

    return [f"{run.record.suite}: {running_line(run.record)}" for run in state.running]


def _view(state: _State, results: str) -> RenderableType:
    from datetime import datetime, timezone

    from rich.console import Group
    from rich.text import Text

    from harness.cli.runs.status import run_line
    from harness.views.leaderboards.terminal import leaderboard_view
    from harness.views.running import running_view

    now = datetime.now(timezone.utc)
    parts: list[RenderableType] = []
    for run in state.running or state.status.runs[:1]:
        parts.append(Text(run_line(run)))
        if run.state == "running":
            parts.append(running_view(_activity(run), now))
    if not state.status.runs:
        parts.append(Text("No run has been recorded here."))
    return Group(*parts, Text(), leaderboard_view(state.board, contents=state.contents, results=results))


def _activity(run: RunStatus) -> Activity:
    """Return what a run does, with the time left since its last heartbeat; None where it has taken longer."""
    left = run.record.seconds_left
    return run.record.model_copy(update={"seconds_left": None if left is None or left <= run.age else left - run.age})


def _state_object(state: _State) -> dict[str, Any]:
    from harness.cli.runs.status import status_object
    from harness.views.leaderboards.formats import leaderboard_objects

    return {**status_object(state.status), "leaderboard": leaderboard_objects(state.board)}
