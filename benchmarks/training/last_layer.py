"""Linear probing: a new last layer for other classes on a base model's features."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch.nn.functional as F
from jaxtyping import Float, Float64, Int64
from torch import Tensor, fx, nn

from splitters.data import ImageSet
from splitters.errors import ConfigurationError
from splitters.networks.inference import accuracy, network_logits
from splitters.reuse.fusion.convex import minimise

_RIDGES = (1e-4, 1e-3, 1e-2, 1e-1)
"""Ridge penalties, of which the one that is best on select is taken."""


@dataclass(frozen=True)
class Features:
    """What a last layer reads of labelled images.

    Args:
        values: The outputs of the layer before it.
        labels: The class of each image.
        n_classes: The number of classes.
        seconds: Wall time of the computation.
    """

    values: Float[Tensor, "sample feature"]
    labels: Int64[Tensor, " sample"]
    n_classes: int
    seconds: float = 0.0

    @classmethod
    def of(cls, extractor: nn.Module, images: ImageSet) -> Features:
        """Compute the features of some images with a network's ``feature_extractor``, on its device."""
        started = time.perf_counter()
        values = network_logits(extractor, images)
        return cls(values, images.labels, images.n_classes, time.perf_counter() - started)

    def subset(self, indices: Int64[Tensor, " chosen"]) -> Features:
        """Return the features at ``indices``, with their share of the seconds."""
        indices = indices.to(self.values.device)
        seconds = self.seconds * len(indices) / len(self.labels)
        return Features(self.values[indices], self.labels[indices], self.n_classes, seconds)


@dataclass(frozen=True)
class LastLayer:
    """A new last layer for a base model.

    Args:
        weight: The new layer's weights.
        bias: The new layer's biases.
        select_accuracy: The accuracy on select by which the layer was chosen.
        seconds: Wall time of the training, computing the features included.
    """

    weight: Float64[Tensor, "class feature"]
    bias: Float64[Tensor, " class"]
    select_accuracy: float
    seconds: float

    def accuracy(self, features: Features) -> float:
        """Return the share of correct answers."""
        logits = F.linear(features.values.double(), self.weight, self.bias)
        return accuracy(logits.argmax(1), features.labels)


def train_last_layer(train: Features, select: Features) -> LastLayer:
    """Fit a new last layer to images of other classes; the layers before it are frozen.

    The cross-entropy with a ridge penalty is convex in the layer and is minimised fully, so that neither a schedule nor
    chance affects the result. The penalty is chosen on select.

    Args:
        train: The features of the images that fit the layer.
        select: Those of the images that choose the penalty.
    """
    started = time.perf_counter()
    train_features, select_features = train.values.double(), select.values.double()
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
    seconds = train.seconds + select.seconds + time.perf_counter() - started
    return LastLayer(best[1], best[2], best[0], seconds)


def feature_extractor(network: fx.GraphModule) -> fx.GraphModule:
    """Return a network without its last linear layer; both share their weights.

    Args:
        network: A base model in canonical form (``ChannelGraph.network``).

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
