"""Genes: kernels of similar importance that a candidate keeps or drops together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from splitters.graph.layout import ChannelGroup, ChannelLayout
from splitters.methods.kernel_choice.kernel_multiples import round_up
from splitters.networks.masks import repair


@dataclass(frozen=True)
class GeneMap:
    """The mapping of channels to genes, per class and channel group, most important genes first.

    All classes have the same number of genes in a channel group, formed from different channels. Tied layers share
    their channels, and so their genes.

    Args:
        layout: The channels.
        counts: Number of genes in each channel group.
        gene_of_channel: The gene, among all of a class's genes, of each channel.
        priority: Each channel's importance for each class.
        round_to: Candidates keep a multiple of this of each channel group; see ``round_up``.
    """

    layout: ChannelLayout
    counts: tuple[int, ...]
    gene_of_channel: Int64[Tensor, "class channel"]
    priority: Float[Tensor, "class channel"]
    round_to: int = 1

    @property
    def n_genes(self) -> int:
        """The length of a chromosome."""
        return sum(self.counts)

    @property
    def group_slices(self) -> list[slice]:
        """The slice of a chromosome that holds each channel group's genes."""
        ends = torch.tensor(self.counts).cumsum(0).tolist()
        return [slice(end - count, end) for end, count in zip(ends, self.counts, strict=True)]

    def repaired(self, chromosomes: Bool[Tensor, "candidate gene"]) -> Bool[Tensor, "candidate gene"]:
        """Switch on the most important gene of every channel group without an active gene."""
        result = chromosomes.clone()
        for genes in self.group_slices:
            result[:, genes.start] |= ~chromosomes[:, genes].any(1)
        return result

    def channels(self, class_index: int, chromosomes: Bool[Tensor, "candidate gene"]) -> Bool[Tensor, "cand channel"]:
        """Return the channels that candidates of a class keep; at least one per layer."""
        bits = chromosomes[:, self.gene_of_channel[class_index]]
        priority = self.priority[class_index].expand(len(bits), -1)
        return round_up(self.layout, repair(self.layout, bits, priority), priority, self.round_to)


def group_channels(
    layout: ChannelLayout,
    importance: Float[Tensor, "class channel"],
    *,
    grouping: Literal["importance", "random", "none"],
    genes: int,
    genes_wide: int,
    wide_from: int,
    generator: torch.Generator,
    round_to: int = 1,
) -> GeneMap:
    """Form genes.

    A channel group's channels, in descending order of importance for the class (of equal ones, the first channel
    first), are cut into equal parts, one gene each; if they do not divide evenly, the first genes have one channel
    more. A group with fewer channels than genes gets one gene per channel.

    Args:
        layout: The channels.
        importance: Each channel's importance for each class.
        grouping: ``random`` takes the channels in random order instead; ``none`` makes every channel a gene.
        genes: Genes per channel group.
        genes_wide: Genes in groups of at least ``wide_from`` channels.
        wide_from: See ``genes_wide``.
        generator: Draws the order of ``random``.
        round_to: See ``GeneMap``.
    """
    gene_of_channel = torch.empty(importance.shape, dtype=torch.int64)
    counts: list[int] = []
    for group in layout.groups:
        size = len(group.channels)
        count = size if grouping == "none" else min(size, genes_wide if size >= wide_from else genes)
        sizes = torch.tensor([size // count + (number < size % count) for number in range(count)])
        gene_of_rank = sum(counts) + torch.arange(count).repeat_interleave(sizes)
        channels = torch.tensor(group.channels)
        for class_index, row in enumerate(importance):
            if grouping == "random":
                order = torch.randperm(size, generator=generator)
            else:
                order = row[channels].argsort(descending=True, stable=True)
            gene_of_channel[class_index, channels[order]] = gene_of_rank
        counts.append(count)
    return GeneMap(layout, tuple(counts), gene_of_channel, importance, round_to)


def group_name(layout: ChannelLayout, group: ChannelGroup) -> str:
    """Return the names of a channel group's convolutions, e.g. ``features.1+features.3``."""
    return "+".join(layout.layers[index].name for index in group.layers)
