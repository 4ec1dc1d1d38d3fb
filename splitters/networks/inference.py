"""Inference on image sets: logits of networks and modules, composed answers, and metrics per class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from splitters.data import ImageSet
from splitters.errors import SplitFailedError
from splitters.graph.channel_graph import ChannelGraph
from splitters.networks.execution.precision import run_network
from splitters.networks.extraction import extract_network
from splitters.networks.masks import KernelMasks

Tick = Callable[[], None]
"""Called after every batch; it may raise, which stops the work."""


def no_tick() -> None:
    """Do nothing."""


@torch.no_grad()
def network_logits(
    network: nn.Module, images: ImageSet, *, batch_size: int = 256, tick: Tick = no_tick
) -> Float[Tensor, "sample class"]:
    """Return a network's logits for all images, in order.

    Args:
        network: The network, on the images' device.
        images: The images.
        batch_size: Images per forward pass.
        tick: Called after every batch.
    """
    logits = []
    for batch in images.batches(batch_size):
        logits.append(run_network(network, batch))
        tick()
    return torch.cat(logits)


def module_logits(
    graph: ChannelGraph, masks: KernelMasks, images: ImageSet, *, batch_size: int = 256, tick: Tick = no_tick
) -> Float[Tensor, "module sample class"]:
    """Return every module's logits for all images, in order.

    Each module runs as its physically small network; equal ones run once.

    Args:
        graph: The CNN, on the images' device.
        masks: The modules.
        images: The images.
        batch_size: Images per forward pass.
        tick: Called after every batch of every network, and after each extraction.
    """
    return ModuleNetworks.of(graph, masks, tick=tick).logits(images, batch_size=batch_size, tick=tick)


@dataclass(frozen=True)
class ModuleNetworks:
    """The physically small networks of modules with fixed masks.

    Args:
        networks: One for each distinct mask and set of scales.
        network_index: The index of each module's network.
    """

    networks: tuple[nn.Module, ...]
    network_index: Int64[Tensor, " module"]

    @classmethod
    def of(cls, graph: ChannelGraph, masks: KernelMasks, *, tick: Tick = no_tick) -> ModuleNetworks:
        """Extract the networks from a CNN; ``tick`` is called after each."""
        distinct, network_index = torch.unique(masks.gates, dim=0, return_inverse=True)
        networks = []
        for index in range(len(distinct)):
            first = int((network_index == index).nonzero()[0])
            networks.append(extract_network(graph, masks.bits[first], masks.scales_of(first)))
            tick()
        return cls(tuple(networks), network_index)

    @torch.no_grad()
    def logits(
        self, images: ImageSet, *, batch_size: int = 256, tick: Tick = no_tick
    ) -> Float[Tensor, "module sample class"]:
        """Return every module's logits for all images, in order; ``tick`` is called after every batch."""
        return self._of_each_module(
            [network_logits(network, images, batch_size=batch_size, tick=tick) for network in self.networks]
        )

    @torch.no_grad()
    def batch_logits(
        self, batch: Float[Tensor, "batch channel height width"], *, tick: Tick = no_tick
    ) -> Float[Tensor, "module batch class"]:
        """Return every module's logits for one normalised batch; ``tick`` is called after every network."""
        logits = []
        for network in self.networks:
            logits.append(run_network(network, batch))
            tick()
        return self._of_each_module(logits)

    def _of_each_module(self, logits: list[Tensor]) -> Tensor:
        return torch.stack([logits[index] for index in self._positions])

    @cached_property
    def _positions(self) -> list[int]:
        positions: list[int] = self.network_index.tolist()
        return positions


def composed_answers(scores: Float[Tensor, "module sample"]) -> Int64[Tensor, " sample"]:
    """Return the class of the highest score; of equal scores, that of the lowest class.

    Raises:
        SplitFailedError: If a score is NaN.
    """
    if bool(torch.isnan(scores).any()):
        modules = torch.isnan(scores).any(1).nonzero().flatten().tolist()
        raise SplitFailedError(f"the scores of the modules {modules} contain NaN; their networks overflow.")
    highest = scores.max(0, keepdim=True).values
    return (scores == highest).to(torch.uint8).argmax(0)


def accuracy(answers: Int64[Tensor, " sample"], labels: Int64[Tensor, " sample"]) -> float:
    """Return the share of correct answers, in [0, 1]."""
    return float((answers == labels).double().mean())


def plausible_accuracy(n_classes: int) -> float:
    """Return the least accuracy of a trained model: twice chance; for two classes, halfway between chance and 1."""
    chance = 1 / n_classes
    return min(2 * chance, (1 + chance) / 2)


@dataclass(frozen=True)
class ClassReport:
    """Precision, recall and F1 of each class, in [0, 1]; 0 where undefined.

    Args:
        precision: Share of correct answers among the answers that are this class.
        recall: Share of correct answers among the images of this class.
        f1: Their harmonic mean.
    """

    precision: Float[Tensor, " class"]
    recall: Float[Tensor, " class"]
    f1: Float[Tensor, " class"]


def class_report(answers: Int64[Tensor, " sample"], labels: Int64[Tensor, " sample"], n_classes: int) -> ClassReport:
    """Return precision, recall and F1 per class, in float64 on the CPU."""
    answers, labels = answers.cpu(), labels.cpu()
    correct = torch.bincount(labels[answers == labels], minlength=n_classes).double()
    answered = torch.bincount(answers, minlength=n_classes).double()
    present = torch.bincount(labels, minlength=n_classes).double()
    return ClassReport(
        precision=correct / answered.clamp(min=1),
        recall=correct / present.clamp(min=1),
        f1=2 * correct / (answered + present).clamp(min=1),
    )
