from __future__ import annotations

import pytest
from toys import toy_item

from harness.config.expand import expand
from harness.config.suite import load_suite
from harness.execution.ray.preparations import Preparations
from splitters.methods.protocol import Progress


def test_cells_of_one_base_model_wait_for_the_one_that_trains_it() -> None:
    preparations = Preparations()
    first, second, other = toy_item(loss=0.1), toy_item(loss=0.2), toy_item(seed=1)
    assert preparations.may_start(first)
    preparations.start(first)
    assert not preparations.may_start(second)
    assert preparations.may_start(other)
    preparations.progress(first, Progress("train", 3, 10))
    assert not preparations.may_start(second)
    preparations.progress(first, Progress("masks", 0, 10))
    assert preparations.may_start(second)
    assert preparations.is_prepared(second)
    preparations.start(second)
    assert preparations.may_start(toy_item(loss=0.3))


def test_if_the_one_that_trains_it_fails_the_next_one_may() -> None:
    preparations = Preparations()
    first, second = toy_item(loss=0.1), toy_item(loss=0.2)
    preparations.start(first)
    preparations.end(first)
    assert preparations.may_start(second)
    preparations.start(second)
    preparations.end(first)
    assert not preparations.may_start(first), "it is the second's to train now"


def test_a_cell_that_reads_anothers_split_waits_until_that_cell_is_not_tried_again() -> None:
    maker = toy_item(loss=0.1)
    like = maker.cell.splitter.model_dump(mode="json")
    reader, of_another_seed = toy_item(splitter="other", like=like), toy_item(splitter="other", like=like, seed=1)
    preparations = Preparations([reader, maker, of_another_seed])
    assert not preparations.reads_unfinished(maker)
    assert preparations.reads_unfinished(reader)
    assert not preparations.reads_unfinished(of_another_seed), "no cell of this run makes the split that it reads"
    preparations.start(maker)
    preparations.progress(maker, Progress("masks", 0, 10))
    assert preparations.is_prepared(reader)
    assert preparations.reads_unfinished(reader)
    preparations.end(maker)
    assert preparations.reads_unfinished(reader)
    preparations.finish(maker)
    assert not preparations.reads_unfinished(reader)


@pytest.mark.parametrize("suite", ["quick", "paper"])
def test_the_suites_cells_that_are_like_another_wait_for_that_one(suite: str) -> None:
    items = expand(load_suite(suite))
    readers = [item for item in items if item.reads_another]
    preparations = Preparations(items)
    assert readers
    assert all(preparations.reads_unfinished(item) for item in readers)
    for item in items:
        if not item.reads_another:
            preparations.finish(item)
    assert not any(preparations.reads_unfinished(item) for item in readers)
