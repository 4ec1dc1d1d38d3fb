"""Options that say different things about one matter are refused, instead of one of them being ignored."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from toys import toy_row

from harness.store import ResultStore

Call = Callable[..., Result]


@pytest.mark.parametrize("verb", ["leaderboard", "compare"])
def test_two_formats(call: Call, tmp_path: Path, verb: str) -> None:
    ResultStore(tmp_path / "r").write(toy_row())
    ResultStore(tmp_path / "r").write(toy_row(splitter="other"))
    result = call(verb, tmp_path / "r", "--json", "--format", "latex")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert "--json and --format latex name two formats; give one of them." in result.stderr
    assert call(verb, tmp_path / "r", "--json", "--format", "json").stdout.startswith("[")


@pytest.mark.parametrize(
    "options",
    [("--seeds", "2", "--set", "seeds=[7]"), ("--seeds", "2", "--set", " seeds =3")],
)
def test_seeds_as_an_option_and_as_a_change(call: Call, write_suite: Callable[..., Path], options: list[str]) -> None:
    for verb in ("plan", "run"):
        result = call(verb, write_suite(), *options)
        assert result.exit_code == 2
        assert f"--seeds and --set {options[-1]} change the same; give one of them." in result.stderr


def test_trials_as_an_option_and_as_a_change(call: Call, write_sweep: Callable[..., Path]) -> None:
    result = call("sweep", write_sweep(), "--dry-run", "--trials", "2", "--set", "trials=3")
    assert result.exit_code == 2
    assert "--trials and --set trials=3 change the same" in result.stderr
