from __future__ import annotations

from click.testing import CliRunner

from harness.speed.__main__ import main
from harness.speed.dispatch import Busy
from harness.speed.driver import READ_FILES, measure


def test_every_step_of_the_driver_is_measured() -> None:
    assert [step.name for step in measure(300)] == [
        "expand the suite", "plan without rows", READ_FILES, "read all rows again",
        "read them on another machine", "choose the rows that count", "plan with a row per cell", "leaderboard",
        "read where a tenth has no copy",
    ]  # fmt: skip


def test_the_share_is_of_all_slots() -> None:
    assert Busy("x", slots=4, cells=8, cell_seconds=2.0, seconds=5.0, driver_cpu_seconds=1.0).share == 0.8


def test_the_command_shows_every_step() -> None:
    result = CliRunner().invoke(main, ["driver", "--cells", "20"])
    assert result.exit_code == 0
    assert result.output.count("of processor time") == 9
