"""``splitbench fusion``: rules are ranked by their gain on select, and never by that on test."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from toys import patch_record, patching_row, toy_row

from harness.store import ResultStore

Call = Callable[..., Result]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    """Return rows of two splitters: platt gains most on select, gate on test; only one splitter has min_max."""
    store = ResultStore(tmp_path / "r")
    gains = {"platt": (0.3, 0.1), "gate": (0.1, 0.5)}
    toy = [
        patch_record(target, rule, gain=test, select_tc_f1_gain=select)
        for target in ("3", "8")
        for rule, (select, test) in gains.items()
    ]
    other = [
        patch_record("3", "platt", gain=-0.2, select_tc_f1_gain=0.0),
        patch_record("3", "gate", gain=0.1, select_tc_f1_gain=0.1),
    ]
    store.write(patching_row(toy))
    store.write(patching_row(other, splitter="other"))
    return tmp_path / "r"


def test_the_rule_with_the_highest_mean_over_groups_on_select_is_chosen(call: Call, results: Path) -> None:
    values = json.loads(call("fusion", results, "--json").stdout)
    assert (values["chosen"], values["groups"]) == ("platt", 2)
    platt, gate = values["rules"]
    assert platt == pytest.approx(
        {"rule": "platt", "select_gain": 0.15, "worst_select_gain": 0.0, "test_gain": -0.05, "worst_test_gain": -0.2}
    )
    assert gate == pytest.approx(
        {"rule": "gate", "select_gain": 0.1, "worst_select_gain": 0.1, "test_gain": 0.3, "worst_test_gain": 0.1}
    )


def test_the_table_shows_points_and_the_choice(call: Call, results: Path) -> None:
    output = " ".join(call("fusion", results).stdout.split())
    assert "platt +15.00 +0.00 -5.00 -20.00 gate +10.00 +10.00 +30.00 +10.00" in output
    assert output.endswith("platt gains most on select.")


def test_groups_that_lack_a_rule_do_not_count(call: Call, results: Path) -> None:
    gains = {"min_max": 0.5, "platt": 0.4, "gate": 0.3}
    records = [patch_record("3", rule, select_tc_f1_gain=gain) for rule, gain in gains.items()]
    ResultStore(results).write(patching_row(records, seed=7))
    third = [patch_record("3", rule, select_tc_f1_gain=gain) for rule, gain in (("platt", 0.9), ("gate", 0.0))]
    ResultStore(results).write(patching_row(third, splitter="third"))
    values = json.loads(call("fusion", results, "--json").stdout)
    assert values["groups"] == 1
    assert [rule["rule"] for rule in values["rules"]] == ["min_max", "platt", "gate"]


def test_rules_are_compared_on_the_seeds_and_classes_that_all_have(call: Call, tmp_path: Path) -> None:
    store = ResultStore(tmp_path / "r")
    gains = {"platt": 0.3, "gate": 0.2}
    store.write(patching_row([patch_record("3", rule, select_tc_f1_gain=gain) for rule, gain in gains.items()]))
    # Harder seeds and classes, on which only one rule was measured.
    store.write(patching_row([patch_record("3", "platt", select_tc_f1_gain=-0.9)], seed=1))
    store.write(patching_row([patch_record("8", "platt", select_tc_f1_gain=-0.9)], seed=2))
    values = json.loads(call("fusion", tmp_path / "r", "--json").stdout)
    assert values["chosen"] == "platt"
    assert [rule["select_gain"] for rule in values["rules"]] == pytest.approx([0.3, 0.2])


def test_rows_without_gains_on_select_are_refused_with_the_way_out(call: Call, tmp_path: Path) -> None:
    ResultStore(tmp_path / "r").write(patching_row([patch_record()]))
    result = call("fusion", tmp_path / "r")
    assert result.exit_code == 2
    assert "lack these. Run the suite again, into a new results folder." in " ".join(result.stderr.split())


def test_results_without_patches_are_refused(call: Call, tmp_path: Path) -> None:
    ResultStore(tmp_path / "r").write(toy_row())
    result = call("fusion", tmp_path / "r")
    assert result.exit_code == 2
    assert result.stderr.startswith(f"Error: there are no patches at {tmp_path / 'r'}; suites with the scenario")
