"""What masks are worth on images: the modules' logits, the composed model's answers, and figures per class."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from splitters.data import ImageSet
from splitters.errors import SplitFailedError
from splitters.graph.channel_graph import ChannelGraph
from splitters.networks.extraction import extract_network
from splitters.networks.masks import KernelMasks

Tick = Callable[[], None]
"""Called after every batch. It may raise, and so stop the work."""


def no_tick() -> None:
    """The tick that does nothing."""


@torch.no_grad()
def network_logits(
    network: nn.Module, images: ImageSet, *, batch_size: int = 256, tick: Tick = no_tick
) -> Float[Tensor, "sample class"]:
    """Returns a network's logits for all images, in order.

    Args:
        network: The network, on the images' device.
        images: The images.
        batch_size: Images per forward pass.
        tick: Called after every batch.
    """
    logits = []
    for batch in images.batches(batch_size):
        logits.append(network(batch))
        tick()
    return torch.cat(logits)


def module_logits(
    graph: ChannelGraph, masks: KernelMasks, images: ImageSet, *, batch_size: int = 256, tick: Tick = no_tick
) -> Float[Tensor, "module sample class"]:
    """Returns every module's logits for all images, in order.

    Each module runs as the physically small network that its mask leaves; equal masks run once.

    Args:
        graph: The CNN, on the images' device.
        masks: The modules.
        images: The images.
        batch_size: Images per forward pass.
        tick: Called after every batch of every network, and after each cut.
    """
    return ModuleNetworks.of(graph, masks, tick=tick).logits(images, batch_size=batch_size, tick=tick)


@dataclass(frozen=True)
class ModuleNetworks:
    """The physically small networks of modules whose masks stay as they are.

    Args:
        networks: One for each distinct mask.
        which: The place of each module's network among them.
    """

    networks: tuple[nn.Module, ...]
    which: Int64[Tensor, " module"]

    @classmethod
    def of(cls, graph: ChannelGraph, masks: KernelMasks, *, tick: Tick = no_tick) -> ModuleNetworks:
        """Cuts the networks out of a CNN; ``tick`` is called after each."""
        distinct, which = torch.unique(masks.bits, dim=0, return_inverse=True)
        networks = []
        for bits in distinct:
            networks.append(extract_network(graph, bits))
            tick()
        return cls(tuple(networks), which)

    @torch.no_grad()
    def logits(
        self, images: ImageSet, *, batch_size: int = 256, tick: Tick = no_tick
    ) -> Float[Tensor, "module sample class"]:
        """Returns every module's logits for all images, in order; ``tick`` is called after every batch."""
        found = [network_logits(network, images, batch_size=batch_size, tick=tick) for network in self.networks]
        logits = torch.stack(found)
        return logits[self.which.to(logits.device)]


def composed_answers(scores: Float[Tensor, "module sample"]) -> Int64[Tensor, " sample"]:
    """Returns the class of the highest score; of equal scores, the lowest class wins.

    Raises:
        SplitFailedError: If a score is NaN, which no comparison can rank.
    """
    if bool(torch.isnan(scores).any()):
        modules = torch.isnan(scores).any(1).nonzero().flatten().tolist()
        raise SplitFailedError(f"the scores of the modules {modules} contain NaN; their networks overflow.")
    highest = scores.max(0, keepdim=True).values
    return (scores == highest).to(torch.uint8).argmax(0)


def accuracy(answers: Int64[Tensor, " sample"], labels: Int64[Tensor, " sample"]) -> float:
    """Returns the share of right answers."""
    return float((answers == labels).double().mean())


@dataclass(frozen=True)
class ClassReport:
    """How well each class is recognised, as tensors with one entry per class; 0 where a figure is undefined.

    Args:
        precision: Right answers among those that name the class.
        recall: Right answers among the class's images.
        f1: Their harmonic mean.
    """

    precision: Float[Tensor, " class"]
    recall: Float[Tensor, " class"]
    f1: Float[Tensor, " class"]


def class_report(answers: Int64[Tensor, " sample"], labels: Int64[Tensor, " sample"], n_classes: int) -> ClassReport:
    """Returns precision, recall and F1 per class, in float64 on the CPU."""
    answers, labels = answers.cpu(), labels.cpu()
    right = torch.bincount(labels[answers == labels], minlength=n_classes).double()
    named = torch.bincount(answers, minlength=n_classes).double()
    there = torch.bincount(labels, minlength=n_classes).double()
    return ClassReport(
        precision=right / named.clamp(min=1),
        recall=right / there.clamp(min=1),
        f1=2 * right / (named + there).clamp(min=1),
    )
