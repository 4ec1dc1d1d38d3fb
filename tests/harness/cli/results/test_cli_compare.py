from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from conftest import toy_row

from harness.store import ResultStore

Call = Callable[..., Result]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    store = ResultStore(tmp_path / "r")
    for seed, loss in enumerate([0.01, 0.02, 0.03]):
        store.write(toy_row(seed=seed, loss=loss))
        store.write(toy_row(splitter="other", seed=seed, loss=loss + 0.1 + 0.001 * seed))
    store.write(toy_row(splitter="other", seed=9, loss=0.9))
    return tmp_path / "r"


def test_it_compares_on_the_seeds_that_both_have_and_gives_a_verdict(call: Call, results: Path) -> None:
    output = call("compare", "toy", "other", results).stdout
    assert "mean of pairs 2.00 12.10 -10.10 ±0.25 100 %" in " ".join(output.split())
    assert "Of 1 comparison, toy is better in 1 (p < 0.05)." in output
    assert "90.00" not in output, "a seed that only one of them has"


def test_json_has_the_pairs_and_the_p_value(call: Call, results: Path) -> None:
    values = json.loads(call("compare", "other", "toy", results, "--json").stdout)
    (comparison,) = values["comparisons"]
    assert comparison["subjects"] == ["0", "1", "2"]
    assert comparison["difference"] == pytest.approx(0.101)
    assert comparison["probability_first_is_better"] == 0.0
    assert comparison["significant"]
    assert values["verdict"] == "Of 1 comparison, toy is better in 1 (p < 0.05)."


def test_two_seeds_cannot_be_told_apart(call: Call, tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "r")
    for seed in range(2):
        store.write(toy_row(seed=seed, loss=0.01))
        store.write(toy_row(splitter="other", seed=seed, loss=0.5))
    assert "Of 1 comparison, 1 is inconclusive (p < 0.05)." in call("compare", "toy", "other", tmp_path / "r").stdout


def test_an_unknown_splitter_is_refused_with_the_nearest_name(call: Call, results: Path) -> None:
    result = call("compare", "toi", "other", results)
    assert result.exit_code == 2
    assert "unknown splitter in these results 'toi'. Did you mean 'toy'" in result.stderr
