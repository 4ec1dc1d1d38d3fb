from __future__ import annotations

from click.testing import CliRunner

from harness.speed.__main__ import main
from harness.speed.dispatch import Busy
from harness.speed.driver import measure


def test_the_driver_plans_resumes_and_ranks_a_few_hundred_cells_in_no_time() -> None:
    steps = {step.name: step for step in measure(300)}
    assert list(steps) == [
        "expand the suite", "plan without rows", "read all rows, the first time", "read all rows, again",
        "choose the rows that count", "plan with a row per cell", "leaderboard",
    ]  # fmt: skip
    again = steps["read all rows, again"].cpu_seconds
    assert again < steps["read all rows, the first time"].cpu_seconds
    assert all(step.cpu_seconds < 5 for step in steps.values())


def test_the_share_is_of_all_slots() -> None:
    assert Busy(slots=4, cells=8, cell_seconds=2.0, seconds=5.0, driver_cpu_seconds=1.0).share == 0.8


def test_the_command_shows_every_step() -> None:
    result = CliRunner().invoke(main, ["driver", "--cells", "20"])
    assert result.exit_code == 0
    assert result.output.count("of processor time") == 7
