"""Networks and settings that a search refuses."""

import dataclasses

import pytest
from torch import nn

from splitters.errors import ConfigurationError, SplitFailedError
from splitters.graph.layout import ChannelGroup, ChannelLayout, Layer
from splitters.methods.cnnsplitter.presets import PRESETS
from splitters.methods.cnnsplitter.settings import CNNSplitterSettings, check_layers
from splitters.methods.protocol import make_splitter
from splitters.testing import tiny_task


def parsed(**values):
    return CNNSplitterSettings.parse(values, where="here")


def layout_with(convolutions):
    layers = tuple(Layer(f"conv{number}", (number,)) for number in range(convolutions))
    groups = tuple(ChannelGroup((number,), (number,)) for number in range(convolutions))
    return ChannelLayout(layers, groups, tuple(group.channels for group in groups))


@pytest.mark.parametrize("splitter", ["cnnsplitter", "importance"])
def test_a_net_without_a_kernel_to_drop_is_refused_and_the_reason_is_quoted(splitter):
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3), nn.GroupNorm(1, 8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)
    )
    task = dataclasses.replace(tiny_task(), model=net)
    with pytest.raises(SplitFailedError, match="no kernel can be dropped") as refusal:
        make_splitter(splitter, {}).split(task)
    assert "group_norm" in str(refusal.value)
    assert "always kept: 8 of 0" in str(refusal.value)


def test_sensitive_layers_that_the_net_does_not_have_are_refused_before_anything_runs():
    reports = []
    splitter = make_splitter("cnnsplitter", {"sensitive_layers": [1, 3, 7]})
    with pytest.raises(ConfigurationError, match=r"names \[3, 7\]; this net has 3 convolutions, counted from 0 to 2"):
        splitter.split(tiny_task(), progress=reports.append)
    assert not reports


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_is_for_nets_with_as_many_convolutions_as_the_papers(name):
    own, other = (13, 12) if name.startswith("simcnn") else (12, 13)
    check_layers(parsed(preset=name), layout_with(own))
    with pytest.raises(ConfigurationError, match=f"'{name}' names layers of a net with {own} .* this one has {other}"):
        check_layers(parsed(preset=name), layout_with(other))


@pytest.mark.parametrize(
    "values", [{"sensitive_layers": [0, 2]}, {"sensitive_layers": None}, {"initialization": "random"}]
)
def test_a_preset_fits_any_net_where_its_layers_are_not_used(values):
    check_layers(parsed(preset="simcnn-cifar10", **values), layout_with(3))


def test_all_layers_of_a_net_may_be_sensitive():
    check_layers(parsed(sensitive_layers=[0, 1, 2]), layout_with(3))
