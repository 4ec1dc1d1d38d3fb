from __future__ import annotations

from conftest import toy_item

from harness.dispatch.preparations import Preparations
from splitters.methods.protocol import Progress


def test_cells_of_one_base_model_wait_for_the_one_that_trains_it() -> None:
    preparations = Preparations()
    first, second, other = toy_item(loss=0.1), toy_item(loss=0.2), toy_item(seed=1)
    assert preparations.may_begin(first)
    preparations.begins(first)
    assert not preparations.may_begin(second)
    assert preparations.may_begin(other)
    preparations.reports(first, Progress("train", 3, 10))
    assert not preparations.may_begin(second)
    preparations.reports(first, Progress("masks", 0, 10))
    assert preparations.may_begin(second)
    assert preparations.is_there(second)
    preparations.begins(second)
    assert preparations.may_begin(toy_item(loss=0.3))


def test_if_the_one_that_trains_it_fails_the_next_one_may() -> None:
    preparations = Preparations()
    first, second = toy_item(loss=0.1), toy_item(loss=0.2)
    preparations.begins(first)
    preparations.ends(first)
    assert preparations.may_begin(second)
    preparations.begins(second)
    preparations.ends(first)
    assert not preparations.may_begin(first), "it is the second's to train now"
