"""The order in which recorded states are tuned."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hypothesis import given
from hypothesis import strategies as st

from splitters.methods.scalesplitter.bisection import SmallestState

_ACCURACIES = st.lists(st.integers(0, 12), min_size=1, max_size=16)


def _tried(accuracies: Sequence[float], will_do: Callable[[int], bool]) -> list[int]:
    search, tried = SmallestState(accuracies), []
    while (position := search.next()) is not None:
        tried.append(position)
        search.note(position, will_do=will_do(position))
    assert len(tried) <= search.at_most
    return tried


@given(accuracies=_ACCURACIES, data=st.data())
def test_the_smallest_state_is_found_where_accuracy_grows_with_kernels(
    accuracies: list[int], data: st.DataObject
) -> None:
    smallest = data.draw(st.integers(0, len(accuracies)))
    tried = _tried(accuracies, lambda position: position >= smallest)
    assert tried[0] == 0, "the fewest kernels come first"
    assert len(set(tried)) == len(tried)
    assert [position for position in tried if position >= smallest][-1:] == [smallest][: len(accuracies) - smallest]


def test_a_state_that_larger_ones_do_not_surpass_is_not_passed_over() -> None:
    # By size alone, the bisection would try 0, 3 and 4, none of which will do, and end with 5.
    assert _tried([0.90, 0.97, 0.93, 0.94, 0.95, 0.98], lambda position: position in (1, 5)) == [0, 5, 1]


def test_states_that_a_smaller_one_surpasses_are_tried_between_the_others() -> None:
    assert _tried([0.90, 0.89, 0.88, 0.95], lambda position: position >= 2) == [0, 3, 2, 1]
