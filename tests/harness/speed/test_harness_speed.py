from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from harness.config.expand import expand
from harness.config.suite import load_suite
from harness.planning.plan import make_plan
from harness.ranking.leaderboard import make_leaderboard
from harness.speed import driver
from harness.speed.__main__ import main
from harness.speed.dispatch import Busy
from harness.speed.driver import Cost, Step, cost_of, write_study
from harness.speed.plain import plain_leaderboard, plain_plan, plain_rows
from harness.store import ResultStore


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a study of 132 rows in ``merged``, and its suite."""
    folder = tmp_path_factory.mktemp("study")
    return folder, write_study(folder, n_seeds=3, n_widths=1)[0]


def test_a_study_has_a_row_for_each_cell_of_its_suite(study: tuple[Path, str]) -> None:
    folder, suite = study
    cells, contents = expand(load_suite(suite)), ResultStore(folder / "merged").read()
    assert contents.table.num_rows == 132
    assert make_plan(cells, contents.latest()).queue() == []
    assert plain_plan(plain_rows(folder / "merged"), cells) == [True] * 120


def test_leaderboards_of_columns_are_those_of_models(study: tuple[Path, str]) -> None:
    folder, _ = study
    board = make_leaderboard(ResultStore(folder / "merged").read().latest())
    found = [dict(entry.estimates) for section in board.sections for entry in section.entries]
    plain = plain_leaderboard(plain_rows(folder / "merged")).values()
    assert len(found) == 40 + 4 * 6
    assert sorted(map(str, found)) == sorted(map(str, plain))


def test_the_share_is_of_all_slots() -> None:
    assert Busy("x", slots=4, cells=8, cell_seconds=2.0, seconds=5.0, driver_cpu_seconds=1.0).share == 0.8


def test_the_cost_of_a_program_is_its_own_and_a_failure_is_none() -> None:
    assert cost_of([sys.executable, "-c", "b'x' * 10**8"], os.environ).peak_bytes > 1e8
    with pytest.raises(RuntimeError, match="exit code 3"):
        cost_of([sys.executable, "-c", "raise SystemExit(3)"], os.environ)


def test_the_command_shows_every_step(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = [Step("driver.plan", 440, Cost(2.0, 1.5, 10**9), Cost(9.0, 6.0, 8 * 10**9))]
    monkeypatch.setattr(driver, "measure", lambda rows: steps if rows == 440 else [])
    result = CliRunner().invoke(main, ["driver", "--rows", "440"])
    assert result.output == (
        "driver.plan, 440 rows: 2.00 s, 1.50 s of processor time, 1.00 GB\n"
        "  a model object per row: 9.00 s, 6.00 s of processor time, 8.00 GB; 4.0x\n"
    )
