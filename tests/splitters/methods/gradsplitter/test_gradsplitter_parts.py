"""GradSplitter's small parts: bits and their gradient, recorded states, and the rule that chooses."""

import pytest
import torch
from hand_made_layout import LAYOUT
from hypothesis import given
from hypothesis import strategies as st

from splitters.methods.mask_training.binarise import binarise, kept_channels
from splitters.methods.mask_training.recorded_states import RecordedState, choose
from splitters.modules.score_kinds import HeadScores
from splitters.networks.masks import KernelMasks


def test_bits_are_where_masks_are_positive() -> None:
    masks = torch.tensor([[1.0, 0.0, -1.0, 0.5, 1e-30, 1.0, -1e-30, 1.0, 1.0, 1.0]])
    assert binarise(LAYOUT, masks).tolist() == [[1, 0, 0, 1, 1, 1, 0, 1, 1, 1]]


def test_the_highest_mask_stays_where_a_layer_would_be_lost() -> None:
    masks = torch.full((1, 10), -1.0)
    masks[0, [1, 4, 6, 7]] = -0.5
    masks[0, 9] = -0.7
    bits = kept_channels(LAYOUT, masks)
    assert bits.nonzero()[:, 1].tolist() == [1, 4, 6, 7, 9]


def test_the_gradient_passes_straight_through_and_is_clipped_to_one() -> None:
    masks = torch.linspace(-2, 2, 20).view(2, 10).requires_grad_()
    incoming = torch.tensor([-3.0, -1.0, -0.25, 0.0, 0.5, 1.0, 1.5, 100.0, -torch.inf, 0.99]).expand(2, 10)
    binarise(LAYOUT, masks).backward(incoming)
    assert torch.equal(masks.grad, incoming.clamp(-1, 1))


def _state(number: int, accuracy: float, kernels: int) -> RecordedState:
    """Return a state that keeps this many of the 14 kernels; channels 0, 1, 2, 5, 6, 7, 9 carry one kernel each."""
    bits = torch.zeros(1, 10, dtype=torch.bool)
    bits[0, [0, 3, 5, 8]] = True  # with two frozen kernels and one that is tied, 7 in all
    for channel in [1, 2, 6, 7, 9][: kernels - 7]:
        bits[0, channel] = True
    masks = KernelMasks(LAYOUT, bits)
    assert masks.kernels.tolist() == [kernels]
    heads = HeadScores.initialised(1, 3, 2, generator=torch.Generator())
    return RecordedState(
        number, float(number), masks, heads, accuracy, torch.tensor([accuracy]), torch.tensor([False]), 0.5
    )


def _chosen(*states: tuple[float, int], base: float = 0.9, tolerance: float = 0.01) -> tuple[int, bool]:
    recorded = [_state(number, *figures) for number, figures in enumerate(states, start=1)]
    state, met = choose(recorded, base_accuracy=base, tolerance=tolerance)
    return state.round, met


@pytest.mark.parametrize(
    ("states", "expected"),
    [
        ([(0.95, 12), (0.90, 10), (0.80, 7)], (2, True)),  # the fewest kernels within the tolerance
        ([(0.90, 10), (0.92, 10), (0.91, 10)], (2, True)),  # of equals, the more accurate one
        ([(0.90, 10), (0.90, 10)], (1, True)),  # then the earlier one
        ([(0.89, 8), (0.95, 12)], (1, True)),  # just within: 0.9 - 0.01 is 0.89
        ([(0.8899, 8), (0.95, 12)], (2, True)),  # just outside
        ([(0.5, 7), (0.7, 12), (0.6, 8)], (2, False)),  # none within: the most accurate one
        ([(0.7, 12), (0.7, 8), (0.7, 8)], (2, False)),  # of equals, the one with fewer kernels, then the earlier one
    ],
)
def test_the_rule_that_chooses(states: list[tuple[float, int]], expected: tuple[int, bool]) -> None:
    assert _chosen(*states) == expected


def test_rounding_of_differences_plays_no_part() -> None:
    assert _chosen((0.7, 8), (1.0, 12), base=0.8, tolerance=0.1) == (1, True)
    assert _chosen((0.2, 8), (1.0, 12), base=0.3, tolerance=0.1) == (1, True)


def test_facts_of_a_state() -> None:
    assert _state(2, 0.5, 7).facts() == {
        "step": 2.0, "seconds": 2.0, "accuracy": 0.5, "kernel_retention": 0.5, "min_f1": 0.5, "loss": 0.5,
    }  # fmt: skip


_FIGURES = st.tuples(st.integers(0, 20).map(lambda count: count / 20), st.integers(7, 12))


@given(first=st.lists(_FIGURES, min_size=1, max_size=4), more=st.lists(_FIGURES, min_size=1, max_size=4))
def test_more_rounds_never_choose_a_worse_state(first: list[tuple[float, int]], more: list[tuple[float, int]]) -> None:
    """With the same states first, a longer search keeps the tolerance and kernels, or comes closer to the tolerance."""
    states = [*first, *more]
    (before, met_before), (after, met_after) = _chosen(*first, tolerance=0.1), _chosen(*states, tolerance=0.1)
    assert met_after >= met_before
    if met_before:
        assert states[after - 1][1] <= states[before - 1][1]
    else:
        assert states[after - 1][0] >= states[before - 1][0]
