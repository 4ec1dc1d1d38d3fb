"""A call on the command line means one cell, with a suite's settings where it names one."""

from __future__ import annotations

import pytest

from harness.config.single_cell import single_cell
from splitters.errors import UnknownNameError


def test_a_data_set_that_the_suite_does_not_have_is_added_to_it() -> None:
    cell = single_cell("simcnn", "folder:pets", splitter="gradsplitter", seed=3, suite="quick")
    own = single_cell("simcnn", "digits", splitter="gradsplitter", seed=3, suite="quick")
    assert cell.dataset.name == "folder:pets"
    assert cell == own.model_copy(update={"dataset": cell.dataset})


def test_a_data_set_of_the_suite_keeps_its_settings() -> None:
    assert single_cell("simcnn", "parquet:cifar10", suite="cifar-cpu").dataset.train_images is not None


def test_an_unknown_data_set_is_named() -> None:
    with pytest.raises(UnknownNameError, match=r"unknown data ?set 'digts'\. Did you mean 'digits'"):
        single_cell("simcnn", "digts", suite="quick")
