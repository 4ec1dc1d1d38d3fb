"""What is shown while cells run, where lines cannot be written over."""

from __future__ import annotations

import io

import pytest
from conftest import toy_item, toy_row
from rich.console import Console

from harness.cli.progress import MINUTE, Pace, progress_text, show_progress
from harness.cli.runs.cell_display import PlainDisplay
from harness.execution.ray.worker import CellWorker
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
    assert lines[0] == f"… {long.title}  {progress_text(GENERATION)}"
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
        display.progressed(item, Progress("search", step, 3, {"accuracy": 0.5}, milestone=True))
    assert output.getvalue().splitlines() == [f"… {item.title}  search {step}/3  accuracy 0.5" for step in (1, 2, 3)]


def test_a_worker_hands_on_every_milestone_though_it_is_asked_seldom() -> None:
    worker = CellWorker(gpu_share=1.0)
    for step in (1, 1, 2, 3):
        worker._report(Progress("search", step, 3, milestone=True))
    worker._report(Progress("evaluate", 7))
    told = [worker._next_report() for _ in range(5)]
    assert [report and (report.stage, report.step) for report in told] == [
        ("search", 1), ("search", 2), ("search", 3), ("evaluate", 7), ("evaluate", 7),
    ]  # fmt: skip
