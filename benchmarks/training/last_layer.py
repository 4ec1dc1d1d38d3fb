"""Linear probing: a new last layer for other classes on a base model's features."""

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
"""Ridge penalties, of which the one that is best on select is taken."""


@dataclass(frozen=True)
class LastLayer:
    """A base model with a new last layer.

    Args:
        features: The base model without its last layer.
        weight: The new layer's weights.
        bias: The new layer's biases.
        select_accuracy: The accuracy on select by which the layer was chosen.
        seconds: Wall time of the training, computing the features included.
    """

    features: nn.Module
    weight: Float64[Tensor, "class feature"]
    bias: Float64[Tensor, " class"]
    select_accuracy: float
    seconds: float

    def accuracy(self, images: ImageSet) -> float:
        """Return the share of correct answers."""
        logits = F.linear(network_logits(self.features, images).double(), self.weight, self.bias)
        return accuracy(logits.argmax(1), images.labels)


def train_last_layer(network: fx.GraphModule, train: ImageSet, select: ImageSet) -> LastLayer:
    """Fit a new last layer to images of other classes; the layers before it are frozen.

    The cross-entropy with a ridge penalty is convex in the layer and is minimised fully, so that neither a schedule nor
    chance affects the result. The penalty is chosen on select.

    Args:
        network: A base model in canonical form (``ChannelGraph.network``) that ends with a linear layer.
        train: The images that fit the layer, on the network's device.
        select: The images that choose the penalty, on the network's device.

    Raises:
        ConfigurationError: If the network does not end with a linear layer.
    """
    started = time.perf_counter()
    features = feature_extractor(network)
    train_features = network_logits(features, train).double()
    select_features = network_logits(features, select).double()
    mean, std = train_features.mean(0), train_features.std(0, correction=0).clamp(min=1e-6)
    best: tuple[float, Tensor, Tensor] | None = None
    for ridge in _RIDGES:
        weight, bias = _fit((train_features - mean) / std, train.labels, train.n_classes, ridge)
        weight = weight / std
        bias = bias - weight @ mean
        select_accuracy = accuracy(F.linear(select_features, weight, bias).argmax(1), select.labels)
        if best is None or select_accuracy > best[0]:
            best = (select_accuracy, weight, bias)
    assert best is not None, "there is at least one ridge penalty"
    return LastLayer(features, best[1], best[2], best[0], time.perf_counter() - started)


def feature_extractor(network: fx.GraphModule) -> fx.GraphModule:
    """Return a network without its last linear layer; both share their weights.

    Raises:
        ConfigurationError: If the network does not end with a linear layer.
    """
    graph = fx.Graph()
    copies: dict[fx.Node, fx.Node] = {}
    graph.graph_copy(network.graph, copies)
    result = next(node for node in network.graph.nodes if node.op == "output").args[0]
    is_linear = (
        isinstance(result, fx.Node)
        and result.op == "call_module"
        and isinstance(network.get_submodule(str(result.target)), nn.Linear)
    )
    if not is_linear or not isinstance(result, fx.Node):
        raise ConfigurationError(
            f"the network ends with {result}, not with a linear layer; the scenario trains the last layer for other "
            "classes. Take another network."
        )
    graph.output(copies[result.all_input_nodes[0]])
    graph.erase_node(copies[result])
    return fx.GraphModule(network, graph, class_name="Features")


def _fit(
    features: Float64[Tensor, "sample feature"], labels: Tensor, n_classes: int, ridge: float
) -> tuple[Float64[Tensor, "class feature"], Float64[Tensor, " class"]]:
    n_features = features.shape[1]

    def layer(parameters: Tensor) -> tuple[Tensor, Tensor]:
        return parameters[:-n_classes].view(n_classes, n_features), parameters[-n_classes:]

    def loss(parameters: Tensor) -> Tensor:
        weight, bias = layer(parameters)
        return F.cross_entropy(F.linear(features, weight, bias), labels) + ridge * weight.square().sum()

    return layer(minimise(loss, features.new_zeros(n_classes * (n_features + 1))))
