"""Plain references, written from the papers' text: lists of scores, arg max, Python sets, one individual at a time."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.models.papers.simcnn import SimCNN
from splitters.data import ImageSet
from splitters.graph.channel_graph import ChannelGraph
from splitters.networks.extraction import extract_network
from splitters.networks.inference import network_logits

Scores = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


def plain_answers(parts: Mapping[int, Scores]) -> Labels:
    """Return the class of the highest score of each image; of equal scores, the lowest class."""
    classes = sorted(parts)
    highest = np.stack([parts[c] for c in classes]).argmax(axis=0)
    answers: Labels = np.asarray(classes, dtype=np.int64)[highest]
    return answers


def plain_accuracy(parts: Mapping[int, Scores], labels: Labels) -> float:
    """Return a composition's accuracy on the images of its own classes, or 0 if there are none.

    Args:
        parts: One candidate's scores, for each class.
        labels: The images' classes.
    """
    inside = np.isin(labels, list(parts))
    if not inside.any():
        return 0.0
    return plain_accuracy_inside({c: row[inside] for c, row in parts.items()}, labels[inside])


def plain_accuracy_inside(parts: Mapping[int, Scores], labels: Labels) -> float:
    """Return the same, for scores and labels of images of the composition's own classes only."""
    return float((plain_answers(parts) == labels).mean())


def plain_distance(one: AbstractSet[int], other: AbstractSet[int]) -> float:
    """Return the Jaccard distance of two sets; 0 for two empty ones."""
    union = len(one | other)
    return 1 - len(one & other) / union if union else 0.0


def plain_mean_distance(sets: Sequence[AbstractSet[int]]) -> float:
    """Return the mean Jaccard distance of all pairs."""
    pairs = list(itertools.combinations(sets, 2))
    return sum(plain_distance(one, other) for one, other in pairs) / len(pairs)


def plain_scores(graph: ChannelGraph, bits: Tensor, classes: Sequence[int], images: ImageSet) -> Tensor:
    """Extract and run each individual in turn. Return the ``[individual, sample]`` logits of each one's own class.

    Args:
        graph: The base model.
        bits: The channels that each individual keeps.
        classes: Each individual's class.
        images: The images.
    """
    pairs = zip(bits, classes, strict=True)
    return torch.stack([network_logits(extract_network(graph, kept), images)[:, c] for kept, c in pairs])


@torch.no_grad()
def plain_simcnn_logits(model: SimCNN, kept: Sequence[Tensor], images: Tensor) -> Tensor:
    """Slice a SimCNN's weights layer by layer, and run it on images of 32x32 pixels.

    Args:
        model: In eval mode.
        kept: The indices of the kept kernels of each convolution.
        images: Normalised.
    """
    x, channels, remaining = images, torch.arange(images.shape[1]), iter(kept)
    for layer in model.features.modules():
        if isinstance(layer, nn.Conv2d):
            kernels = next(remaining)
            bias = None if layer.bias is None else layer.bias[kernels]
            x, channels = F.conv2d(x, layer.weight[kernels][:, channels], bias, padding=1), kernels
        elif isinstance(layer, nn.BatchNorm2d):
            assert layer.running_mean is not None
            assert layer.running_var is not None
            mean, variance = layer.running_mean[channels], layer.running_var[channels]
            x = F.batch_norm(x, mean, variance, layer.weight[channels], layer.bias[channels], eps=layer.eps)
        elif isinstance(layer, (nn.ReLU, nn.MaxPool2d)):
            x = layer(x)
    _, first, *others = model.classifier
    assert isinstance(first, nn.Linear)
    x = F.linear(x.flatten(1), first.weight[:, channels], first.bias)
    for layer in others:
        x = layer(x)
    return x
