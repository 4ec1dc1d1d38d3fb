"""Nets and settings with which a search cannot start."""

import dataclasses

import pytest
from torch import nn

from splitters.base import make_splitter
from splitters.errors import SplitFailedError
from splitters.testing import tiny_task


@pytest.mark.parametrize("splitter", ["cnnsplitter", "importance"])
def test_a_net_without_a_kernel_to_drop_is_refused_and_the_reason_is_quoted(splitter):
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.GroupNorm(2, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    )
    task = dataclasses.replace(tiny_task(), model=net)
    with pytest.raises(SplitFailedError, match="no kernel that a module could drop") as refusal:
        make_splitter(splitter, {}).split(task)
    assert "group_norm" in str(refusal.value)
    assert "always kept: 8 of 0" in str(refusal.value)
