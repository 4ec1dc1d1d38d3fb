"""A call on the command line means one cell, with a suite's settings where it names one."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.config.single_cell import single_cell
from splitters.errors import UnknownNameError


def test_a_data_set_that_the_suite_does_not_have_is_added_to_it() -> None:
    cell = single_cell("simcnn", "folder:pets", splitter="gradsplitter", seed=3, suite="quick")
    own = single_cell("simcnn", "digits", splitter="gradsplitter", seed=3, suite="quick")
    assert cell.dataset.name == "folder:pets"
    assert cell == own.model_copy(update={"dataset": cell.dataset})


def test_scenarios_that_are_for_other_data_sets_play_no_part(tmp_path: Path) -> None:
    suite = tmp_path / "mine.yaml"
    suite.write_text(
        "name: mine\nscenario: [{name: patching, datasets: [digits], splitters: [random]}]\n"
        "splitters: [random, full]\nmodels: [simcnn]\ndatasets: [digits]\n"
    )
    cell = single_cell("simcnn", "folder:pets", splitter="full", suite=str(suite))
    assert (cell.dataset.name, cell.splitter.name) == ("folder:pets", "full")


def test_a_data_set_of_the_suite_keeps_its_settings() -> None:
    assert single_cell("simcnn", "parquet:cifar10", suite="cifar-cpu").dataset.train_images is not None


def test_an_unknown_data_set_is_named() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown data ?set 'digts'\. Did you mean 'digits'"):
        single_cell("simcnn", "digts", suite="quick")
