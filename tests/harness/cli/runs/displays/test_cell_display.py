"""What is shown while cells run, where lines cannot be written over."""

from __future__ import annotations

import io
from datetime import datetime, timezone

import pytest
from rich.console import Console
from toys import toy_item, toy_row

from benchmarks.rows.row import State
from harness.cli.progress import FEW_SECONDS, MINUTE, Pace, progress_text, show_progress
from harness.cli.runs.displays.cell_display import LiveDisplay, PlainDisplay
from harness.execution.ray.worker import CellWorker
from harness.runs.activity import Activity
from harness.runs.time_left import TimeLeft
from harness.views.running import running_view
from splitters.methods.protocol import Progress

GENERATION = Progress(
    "search", 3, 200,
    {"accuracy": 0.91234, "kernel_retention": 0.625, "jaccard_distance": 0.41, "seconds": 71.3, "fitness": 0.9},
)  # fmt: skip


class Clock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def test_a_generation_is_told_with_its_figures() -> None:
    assert progress_text(GENERATION) == "search 3/200  accuracy 0.912  kernels 0.625  distance 0.41  seconds 71.3"


def test_a_cell_that_takes_minutes_has_a_line_for_each_and_a_short_one_has_none() -> None:
    clock, output = Clock(), io.StringIO()
    display = PlainDisplay(Console(file=output, width=60), 2, Pace(clock))
    long, short = toy_item(seed=1), toy_item(seed=2)
    display.started(long)
    display.started(short)
    for _ in range(5):
        clock.now += MINUTE / 2.5
        display.progressed(long, GENERATION)
    display.finished(short, toy_row(seed=2))
    lines = output.getvalue().splitlines()
    assert len(lines) == 2
    assert lines[0] == f"… {long.title}  {progress_text(GENERATION)}  (1 more running)"
    assert lines[1].startswith("[1/2] ✓ ")


def test_single_commands_tell_it_a_minute_later(capsys: pytest.CaptureFixture[str]) -> None:
    clock = Clock()
    show = show_progress(Pace(clock))
    show(GENERATION)
    assert capsys.readouterr().err == ""
    clock.now += MINUTE
    show(GENERATION)
    show(GENERATION)
    assert capsys.readouterr().err == progress_text(GENERATION) + "\n"


def test_every_generation_has_a_line_of_its_own_however_often_it_is_reported() -> None:
    clock, output = Clock(), io.StringIO()
    display = PlainDisplay(Console(file=output, width=60), 1, Pace(clock))
    item = toy_item(seed=1)
    display.started(item)
    for step in (1, 1, 2, 2, 2, 3):
        clock.now += FEW_SECONDS
        display.progressed(item, Progress("search", step, 3, {"accuracy": 0.5}, milestone=True))
    assert output.getvalue().splitlines() == [f"… {item.title}  search {step}/3  accuracy 0.5" for step in (1, 2, 3)]


def test_milestones_that_follow_each_other_closely_share_a_line() -> None:
    clock, output = Clock(), io.StringIO()
    display = PlainDisplay(Console(file=output, width=60), 1, Pace(clock))
    item = toy_item(seed=1)
    display.started(item)
    for step in range(1, 11):
        display.progressed(item, Progress("search", step, 10, milestone=True))
        clock.now += FEW_SECONDS / 4
    assert [line.split("  ")[1] for line in output.getvalue().splitlines()] == [
        "search 1/10", "search 5/10", "search 9/10",
    ]  # fmt: skip


def test_a_terminal_shows_the_run_and_each_cell_with_stage_and_figures() -> None:
    output = io.StringIO()
    console = Console(file=output, width=160, force_terminal=True, color_system=None)
    left = TimeLeft([toy_item(seed=seed) for seed in range(3)], history={toy_item(seed=0).kind: 7200.0})
    display = LiveDisplay(console, 3, time_left=left)
    with display:
        display.leave({toy_item(seed=2).cell.cell_id})
        display.started(toy_item(seed=0))
        display.finished(toy_item(seed=0), toy_row(seed=0, state=State.FAILED, kind="X"))
        display.started(toy_item(seed=1))
        display.progressed(toy_item(seed=1), GENERATION)
        console.print(display._view())
    text = output.getvalue()
    assert "1/2, 1 not ok" in text
    assert "about " in text
    assert "search 3/200  accuracy 0.912  kernels 0.625" in text
    assert f"✗ {toy_item(seed=0).title}  failed" in text


@pytest.mark.parametrize(("width", "has_bar", "has_title"), [(120, True, True), (95, False, True), (70, False, False)])
def test_a_narrow_terminal_loses_bars_and_then_titles_but_no_figures(
    width: int, has_bar: bool, has_title: bool
) -> None:
    activity, item = Activity(to_do=2), toy_item(seed=1)
    activity.start(item)
    activity.report(item, Progress("search", 150, 200, {"accuracy": 0.75, "kernel_retention": 0.5}))
    output = io.StringIO()
    Console(file=output, width=width).print(running_view(activity, datetime.now(timezone.utc)))
    total, cell = output.getvalue().splitlines()
    assert total.split()[:2] == ["all", "cells"]
    assert "search 150/200  accuracy 0.75  kernels 0.5" in cell
    assert ("━" in cell, item.title in cell) == (has_bar, has_title)


def test_a_very_narrow_terminal_has_all_figures_and_times() -> None:
    activity, item = Activity(to_do=2, seconds_left=3600.0), toy_item(seed=1)
    activity.start(item)
    activity.report(item, Progress("search", 150, 200, {"accuracy": 0.75, "kernel_retention": 0.5}))
    output = io.StringIO()
    Console(file=output, width=64).print(running_view(activity, datetime.now(timezone.utc)))
    total, cell = output.getvalue().splitlines()
    assert total.endswith("about 60.0 min left")
    assert "search 150/200  accuracy 0.75  kernels 0.5" in cell
    assert cell.endswith(" s")


def test_a_worker_hands_on_every_milestone_though_it_is_asked_seldom() -> None:
    worker = CellWorker(gpu_share=1.0)
    for step in (1, 1, 2, 3):
        worker._report(Progress("search", step, 3, milestone=True))
    worker._report(Progress("evaluate", 7))
    told = [worker._next_report() for _ in range(5)]
    assert [report and (report.stage, report.step) for report in told] == [
        ("search", 1), ("search", 2), ("search", 3), ("evaluate", 7), ("evaluate", 7),
    ]  # fmt: skip
