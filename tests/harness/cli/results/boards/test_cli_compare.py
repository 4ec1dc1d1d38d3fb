from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from recorded_rows import recorded_row
from toys import toy_row

from benchmarks.rows.row import State
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


def test_a_difference_that_is_not_shown_is_inconclusive(call: Call, tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "r")
    for seed, loss in enumerate([0.01, 0.02, 0.03]):
        store.write(toy_row(seed=seed, loss=loss))
        store.write(toy_row(splitter="other", seed=seed, loss=0.03 - loss))
    output = call("compare", "toy", "other", tmp_path / "r").stdout
    assert "Of 1 comparison, 1 is inconclusive (significance level 0.05)." in output


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
    output = call("compare", "toy", "other", tmp_path / "r").stdout
    assert "Of 1 comparison, 1 has too few pairs to test." in output


@pytest.mark.parametrize(
    ("losses", "sentence"),
    [
        ((0.11, 0.12, 0.13), "toy is better than other (paired t-test over seeds: p = 0"),
        ((0.5, 0.03, 0.02), "toy and other do not differ significantly (paired t-test over seeds: p = 0."),
        ((0.5, 0.6), "toy and other are not tested"),
    ],
)
def test_two_methods_are_called_better_only_where_the_test_separates_them(
    losses: tuple[float, ...], sentence: str, call: Call, tmp_path: Path
) -> None:
    store = ResultStore(tmp_path / "r")
    for seed, loss in enumerate(losses):
        store.write(toy_row(seed=seed, loss=0.01 * (seed + 1)))
        store.write(toy_row(splitter="other", seed=seed, loss=loss))
    output = " ".join(call("compare", tmp_path / "r").stdout.split())
    assert sentence in output
    assert output.count("is better than ") == sentence.count("is better than")
    assert "toy has the better value on" in output


def test_an_unknown_splitter_is_refused_with_the_nearest_name(call: Call, results: Path) -> None:
    result = call("compare", "toi", "other", results)
    assert result.exit_code == 2
    assert "unknown splitter in these results 'toi'. Did you mean 'toy'" in result.stderr


@pytest.fixture
def three(tmp_path: Path) -> Path:
    """Three methods on two seeds of a cell; the third one failed on one of them."""
    store = ResultStore(tmp_path / "three")
    for seed, loss in enumerate([0.01, 0.02]):
        store.write(toy_row(seed=seed, loss=loss, label="ours"))
        store.write(toy_row(splitter="other", seed=seed, loss=loss + 0.1, folder="a", label="theirs"))
        state = State.FAILED if seed else State.OK
        store.write(toy_row(splitter="other", seed=seed, loss=0.0, state=state, folder="b", label="broken"))
    return tmp_path / "three"


def test_without_names_all_methods_are_compared_over_cells(call: Call, three: Path) -> None:
    output = " ".join(call("compare", three).stdout.split())
    assert "1 ours 1.50 0 2 theirs 11.50 0 3 broken – 1" in output
    assert "1 ours – 100 50 2 theirs 0 – 50 3 broken 50 50 –" in output
    assert "Cells: digits · simcnn (2 seeds)." in output


def test_named_methods_alone_are_compared_over_cells(call: Call, three: Path) -> None:
    values = json.loads(call("compare", "ours", "theirs", "other", three, "--json").stdout)
    assert [method["method"] for method in values[0]["methods"]] == ["ours", "theirs", "broken"]
    (overview,) = json.loads(call("compare", three, "--json").stdout)
    assert [(pair["first"], pair["probability_first_is_better"]) for pair in overview["pairs"]] == [
        ("ours", 1.0), ("ours", 0.5), ("theirs", 0.5),
    ]  # fmt: skip


def test_every_format_has_the_tables(call: Call, three: Path, results: Path) -> None:
    assert "| 1 ours | 1.50 | 0 |" in call("compare", three, "--format", "md").stdout
    assert r"1 ours & 1.50 & 0 \\" in call("compare", three, "--format", "latex").stdout
    lines = call("compare", three, "--format", "csv").stdout.splitlines()
    assert lines[1] == "toy,accuracy_loss,ours,1.0,0.015,,,0"
    record = call("compare", "toy", "other", results, "--format", "csv").stdout.splitlines()[1]
    assert record.startswith("digits · simcnn,toy,,accuracy_loss,False,toy other,0 1 2,0.02,0.121")


def test_a_measure_without_a_column_can_be_compared(call: Call, results: Path) -> None:
    output = call("compare", "toy", "other", results, "--sort", "composed_accuracy").stdout
    assert "mean of pairs 88.00 77.90" in " ".join(output.split())
    lone = ResultStore(results)
    for seed in range(3):
        row = toy_row(seed=seed, age=-1).model_copy(update={"kernel_retention_union": 0.5})
        lone.write(row)
        other = toy_row(splitter="other", seed=seed, age=-1).model_copy(update={"kernel_retention_union": 0.6})
        lone.write(other)
    output = call("compare", "toy", "other", results, "--sort", "kernel_retention_union").stdout
    assert "mean of pairs 50.00 60.00 -10.00" in " ".join(output.split())


def test_one_splitter_alone_is_refused(call: Call, results: Path) -> None:
    result = call("compare", "toy", results)
    assert result.exit_code == 2
    assert "'toy' alone has nothing to be compared with" in result.stderr


def test_two_splitters_are_compared_at_an_equal_budget(call: Call, tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "r")
    for seed in range(3):
        store.write(recorded_row([(0.8, 0.0, 1.0), (0.4, 0.04 + seed / 100, 3.0)], seed=seed))
        store.write(recorded_row([(0.5, 0.1, 2.0)], splitter="other", seed=seed))
    values = json.loads(call("compare", "toy", "other", tmp_path / "r", "--at", "retention=60%", "--json").stdout)
    (comparison,) = values["comparisons"]
    assert comparison["measure"] == "loss_at_retention_0.6"
    assert comparison["first"] == pytest.approx([0.02, 0.025, 0.03])
    assert comparison["second"] == pytest.approx([0.1] * 3)
    assert values["verdict"] == "Of 1 comparison, toy is better in 1 (p < 0.05)."


def test_rows_of_several_folders_are_compared_together(call: Call, tmp_path: Path) -> None:
    for seed in range(4):
        store = ResultStore(tmp_path / ("a" if seed < 2 else "b"))
        store.write(toy_row(seed=seed, loss=0.01))
        store.write(toy_row(splitter="other", seed=seed, loss=0.5))
    values = json.loads(call("compare", "toy", "other", tmp_path / "a", tmp_path / "b", "--json").stdout)
    assert values["comparisons"][0]["subjects"] == ["0", "1", "2", "3"]
    assert "(4 seeds)" in call("compare", tmp_path / "a", tmp_path / "b").stdout
    absent = call("compare", "toy", "other", tmp_path / "a", tmp_path / "c")
    assert (absent.exit_code, "there are no results at" in absent.stderr) == (2, True)


def test_a_splitter_is_not_compared_with_itself(call: Call, results: Path) -> None:
    result = call("compare", "toy", "toy", results)
    assert result.exit_code == 2
    assert "compare: 'toy' is named twice; a splitter is compared with another one." in result.stderr
