"""Fine-tuning of the last layer: a base model's features, and a new linear layer for other classes."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float64
from torch import Tensor, fx, nn

from splitters.data import ImageSet
from splitters.errors import ConfigurationError
from splitters.networks.inference import accuracy, network_logits
from splitters.reuse.fusion.convex import minimise

_RIDGES = (1e-4, 1e-3, 1e-2, 1e-1)
"""Weights of the squared layer, of which the one that is best on select is taken."""


@dataclass(frozen=True)
class LastLayer:
    """A base model whose last layer was made anew.

    Args:
        features: The base model without its last layer.
        weight: The new layer's weights.
        bias: Its biases.
        select_accuracy: The accuracy on select by which the layer was chosen.
        seconds: How long it took, the features included.
    """

    features: nn.Module
    weight: Float64[Tensor, "class feature"]
    bias: Float64[Tensor, " class"]
    select_accuracy: float
    seconds: float

    def accuracy(self, images: ImageSet) -> float:
        """Returns the share of right answers."""
        logits = F.linear(network_logits(self.features, images).double(), self.weight, self.bias)
        return accuracy(logits.argmax(1), images.labels)


def train_last_layer(network: fx.GraphModule, train: ImageSet, select: ImageSet) -> LastLayer:
    """Fits a new last layer to train images of other classes; all that lies before it stays as it is.

    The cross-entropy with a ridge is convex in the layer, and is brought to its lowest point, so that neither a
    schedule nor chance has a part in the result. The ridge is chosen on select.

    Args:
        network: A base model in canonical form (``ChannelGraph.network``) that ends with a linear layer.
        train: The images that fit the layer.
        select: The images that choose the ridge. Both lie on the network's device.

    Raises:
        ConfigurationError: If the network does not end with a linear layer.
    """
    started = time.perf_counter()
    features = feature_extractor(network)
    seen = network_logits(features, train).double()
    held_out = network_logits(features, select).double()
    centre, width = seen.mean(0), seen.std(0, correction=0).clamp(min=1e-6)
    best: tuple[float, Tensor, Tensor] | None = None
    for ridge in _RIDGES:
        weight, bias = _fitted((seen - centre) / width, train.labels, train.n_classes, ridge)
        weight = weight / width
        bias = bias - weight @ centre
        found = accuracy(F.linear(held_out, weight, bias).argmax(1), select.labels)
        if best is None or found > best[0]:
            best = (found, weight, bias)
    assert best is not None, "there are ridges"
    return LastLayer(features, best[1], best[2], best[0], time.perf_counter() - started)


def feature_extractor(network: fx.GraphModule) -> fx.GraphModule:
    """Returns the network that ends before its last linear layer, sharing its weights.

    Raises:
        ConfigurationError: If it does not end with a linear layer.
    """
    graph = fx.Graph()
    renamed: dict[fx.Node, fx.Node] = {}
    graph.graph_copy(network.graph, renamed)
    result = next(node for node in network.graph.nodes if node.op == "output").args[0]
    is_linear = (
        isinstance(result, fx.Node)
        and result.op == "call_module"
        and isinstance(network.get_submodule(str(result.target)), nn.Linear)
    )
    if not is_linear or not isinstance(result, fx.Node):
        raise ConfigurationError(
            f"the network ends with {result}, not with a linear layer; the scenario needs a last layer that can be "
            "trained for other classes. Take another network."
        )
    graph.output(renamed[result.all_input_nodes[0]])
    graph.erase_node(renamed[result])
    return fx.GraphModule(network, graph, class_name="Features")


def _fitted(
    features: Float64[Tensor, "sample feature"], labels: Tensor, n_classes: int, ridge: float
) -> tuple[Float64[Tensor, "class feature"], Float64[Tensor, " class"]]:
    n_features = features.shape[1]

    def layer(numbers: Tensor) -> tuple[Tensor, Tensor]:
        return numbers[:-n_classes].view(n_classes, n_features), numbers[-n_classes:]

    def loss(numbers: Tensor) -> Tensor:
        weight, bias = layer(numbers)
        return F.cross_entropy(F.linear(features, weight, bias), labels) + ridge * weight.square().sum()

    return layer(minimise(loss, features.new_zeros(n_classes * (n_features + 1))))
