"""A new last layer on frozen features."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from benchmarks.training.last_layer import Features, feature_extractor, train_last_layer
from splitters.data import ImageSet, Normalisation
from splitters.errors import ConfigurationError
from splitters.graph.channel_graph import ChannelGraph

_IDENTITY = Normalisation((0.0,), (1.0,))


def network() -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        layers = (nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.5))
        return nn.Sequential(*layers, nn.Linear(6 * 4, 3)).eval()


def stripes(n: int, seed: int) -> ImageSet:
    """Return images that are bright on the left (class 0) or on the right (class 1)."""
    pixels = torch.randint(0, 90, (n, 1, 4, 4), generator=torch.Generator().manual_seed(seed), dtype=torch.uint8)
    labels = torch.arange(n) % 2
    pixels[labels == 0, :, :, :2] += 120
    pixels[labels == 1, :, :, 2:] += 120
    return ImageSet(pixels, labels, ("left", "right"), _IDENTITY)


def canonical(model: nn.Module) -> ChannelGraph:
    return ChannelGraph.trace(model, torch.zeros(2, 1, 4, 4))


def test_features_are_what_the_last_layer_sees() -> None:
    model = network()
    batch = stripes(5, 0).normalisation(stripes(5, 0).images)
    with torch.no_grad():
        features: Tensor = feature_extractor(canonical(model).network)(batch)
        assert torch.allclose(features, model[:-1](batch), atol=1e-6)


def test_a_new_layer_learns_from_the_features_and_leaves_the_network_unchanged() -> None:
    graph = canonical(network())
    before = {name: tensor.clone() for name, tensor in graph.network.state_dict().items()}
    extractor = feature_extractor(graph.network)
    train, select, others = (Features.of(extractor, stripes(*images)) for images in ((40, 1), (20, 2), (50, 3)))
    layer, again = (train_last_layer(train, select) for _ in range(2))
    assert layer.select_accuracy == 1
    assert layer.accuracy(others) == 1
    assert layer.weight.shape == (2, 24)
    assert layer.seconds > train.seconds + select.seconds > 0
    assert torch.equal(layer.weight, again.weight)
    assert all(torch.equal(tensor, before[name]) for name, tensor in graph.network.state_dict().items())


def test_a_network_that_does_not_end_with_a_linear_layer_is_refused() -> None:
    pooled = nn.Sequential(nn.Conv2d(1, 3, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    with pytest.raises(ConfigurationError, match=r"not with a linear layer.*Take another network"):
        feature_extractor(canonical(pooled).network)
