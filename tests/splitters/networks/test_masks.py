"""Counts, unions, overlaps and repair of masks, against plain Python sets."""

import itertools

import pytest
import torch
from hand_made_layout import LAYOUT
from hypothesis import given, settings
from hypothesis import strategies as st

from splitters.errors import MaskError
from splitters.graph.layout import ALWAYS_KEPT, ChannelGroup, ChannelLayout, Layer
from splitters.networks.masks import KernelMasks, empty_sets, jaccard_distances, repair

N_KERNELS = 14


@st.composite
def bit_rows(draw: st.DrawFn, repaired: bool = True) -> torch.Tensor:
    n_modules = draw(st.integers(1, 4))
    rows = draw(st.lists(st.lists(st.booleans(), min_size=10, max_size=10), min_size=n_modules, max_size=n_modules))
    bits = torch.tensor(rows)
    return repair(LAYOUT, bits, torch.zeros(bits.shape)) if repaired else bits


def kept_sets(bits: torch.Tensor) -> list[set[tuple[str, int]]]:
    """Return the kernels that each module keeps, as (layer, position)."""
    return [
        {
            (layer.name, position)
            for layer in LAYOUT.layers
            for position, channel in enumerate(layer.channels)
            if channel == ALWAYS_KEPT or row[channel]
        }
        for row in bits.tolist()
    ]


@settings(deadline=None)
@given(bits=bit_rows())
def test_counts_are_those_of_plain_sets(bits: torch.Tensor) -> None:
    masks, sets = KernelMasks(LAYOUT, bits), kept_sets(bits)
    assert len(masks) == len(sets)
    assert masks.kernels.tolist() == [len(kept) for kept in sets]
    names = [layer.name for layer in LAYOUT.layers]
    assert masks.kernels_per_layer.tolist() == [
        [sum(name == layer for layer, _ in kept) for name in names] for kept in sets
    ]
    assert masks.retention == pytest.approx(sum(map(len, sets)) / len(sets) / N_KERNELS)
    assert masks.union_retention == pytest.approx(len(set.union(*sets)) / N_KERNELS)


@settings(deadline=None)
@given(bits=bit_rows())
def test_jaccard_distances_are_those_of_plain_sets(bits: torch.Tensor) -> None:
    masks, sets = KernelMasks(LAYOUT, bits), kept_sets(bits)
    expected = [[1 - len(one & other) / len(one | other) for other in sets] for one in sets]
    assert masks.jaccard_distances.tolist() == [pytest.approx(row) for row in expected]
    assert masks.shared_kernels.tolist() == [[len(one & other) for other in sets] for one in sets]
    pairs = [expected[i][j] for i, j in itertools.combinations(range(len(sets)), 2)]
    assert masks.mean_jaccard_distance == pytest.approx(sum(pairs) / len(pairs) if pairs else 0)


def test_empty_sets_do_not_differ() -> None:
    assert jaccard_distances(torch.tensor([[False, False], [False, False], [True, False]])).tolist() == [
        [0, 0, 1],
        [0, 0, 1],
        [1, 1, 0],
    ]


@settings(deadline=None)
@given(bits=bit_rows(repaired=False), seed=st.integers(0, 1000))
def test_repair_keeps_the_best_of_what_would_be_lost(bits: torch.Tensor, seed: int) -> None:
    priority = torch.randint(-2, 3, bits.shape, generator=torch.Generator().manual_seed(seed)).float()
    before = bits.clone()
    repaired = repair(LAYOUT, bits, priority)
    assert torch.equal(bits, before)
    expected = bits.clone()
    for module, channels in itertools.product(range(len(bits)), LAYOUT.required):
        if not any(bits[module, channel] for channel in channels):
            expected[module, max(channels, key=lambda channel: (priority[module, channel], -channel))] = True
    assert torch.equal(repaired, expected)
    assert not empty_sets(LAYOUT, repaired).any()


def test_repair_takes_a_member_even_if_all_have_the_lowest_priority() -> None:
    bits = repair(LAYOUT, torch.zeros(1, 10, dtype=torch.bool), torch.full((1, 10), -torch.inf))
    assert bits.nonzero()[:, 1].tolist() == [0, 3, 5, 7, 8]


def test_full_masks_keep_everything() -> None:
    masks = KernelMasks.full(LAYOUT, 3)
    assert masks.retention == masks.union_retention == 1
    assert masks.mean_jaccard_distance == 0
    assert masks.kernels.tolist() == [N_KERNELS] * 3


def test_some_modules_in_a_given_order() -> None:
    bits = torch.ones(3, 10, dtype=torch.bool)
    bits[1, 0] = bits[2, 1] = False
    assert torch.equal(KernelMasks(LAYOUT, bits)[[2, 0]].bits, bits[[2, 0]])


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize("bits", [torch.ones(2, 9).bool(), torch.ones(10).bool(), torch.ones(2, 10)])
def test_bits_that_do_not_fit_are_refused(bits: torch.Tensor) -> None:
    with pytest.raises(MaskError, match=r"masks are \[module, 10\] booleans"):
        KernelMasks(LAYOUT, bits)
    with pytest.raises(MaskError, match=r"masks are \[module, 10\] booleans"):
        KernelMasks.repaired(LAYOUT, bits, torch.zeros(bits.shape))


@pytest.mark.usefixtures("unchecked_shapes")
def test_priorities_that_do_not_fit_are_refused() -> None:
    with pytest.raises(MaskError, match=r"priorities are \[2, 10\] for these masks, not \[2, 9\]"):
        KernelMasks.repaired(LAYOUT, torch.ones(2, 10).bool(), torch.zeros(2, 9))


def test_a_lost_layer_is_refused_and_named() -> None:
    bits = torch.ones(2, 10, dtype=torch.bool)
    bits[1, 3:5] = False
    with pytest.raises(MaskError, match=r"module 1 keeps none of the channels \[3, 4\]"):
        KernelMasks(LAYOUT, bits)


def test_layout_counts() -> None:
    assert (LAYOUT.n_channels, LAYOUT.n_kernels) == (10, N_KERNELS)
    assert LAYOUT.kernels_per_channel.tolist() == [1, 1, 1, 2, 2, 1, 1, 1, 1, 1]


def test_required_channels_are_padded_with_their_first_one() -> None:
    layout = ChannelLayout((), (), required=((2, 5, 6), (4,)))
    assert layout.required_channels(torch.device("cpu")).tolist() == [[2, 5, 6], [4, 4, 4]]


def test_a_layout_without_maskable_channels_loses_nothing() -> None:
    layout = ChannelLayout((Layer("conv", (ALWAYS_KEPT,)),), (), ())
    nothing = torch.zeros(2, 0, dtype=torch.bool)
    assert empty_sets(layout, nothing).shape == repair(layout, nothing, nothing.float()).shape == (2, 0)


def test_masks_of_one_module_or_a_slice_are_masks() -> None:
    layout = ChannelLayout((Layer("conv", (0, 1)),), (ChannelGroup((0,), (0, 1)),), ((0, 1),))
    masks = KernelMasks(layout, torch.tensor([[True, False], [True, True], [False, True]]))
    assert masks[1].bits.tolist() == [[True, True]]
    assert masks[-1].bits.tolist() == [[False, True]]
    assert masks[1:].bits.tolist() == [[True, True], [False, True]]
    assert [one.retention for one in masks] == [0.5, 1.0, 0.5]
    with pytest.raises(IndexError):
        masks[3]
