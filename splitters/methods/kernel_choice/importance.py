"""Importance of every channel for every class: the mean L1 norm of its feature map (CNNSplitter)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, fx, nn

from splitters.canonical.layers import CONVOLUTIONS
from splitters.data import ImageSet
from splitters.errors import SplitFailedError
from splitters.graph.channel_graph import ChannelGraph
from splitters.graph.layout import ALWAYS_KEPT


@dataclass(frozen=True)
class Importance:
    """How strongly each channel responds to each class.

    Args:
        norms: Mean L1 norm of the channel's feature map over the images of a class.
        warnings: One for each class whose images the base model never recognises with enough confidence.
    """

    norms: Float[Tensor, "class channel"]
    warnings: tuple[str, ...]


@torch.no_grad()
def channel_importance(
    graph: ChannelGraph, images: ImageSet, *, confidence: float = 0.9, batch_size: int = 256
) -> Importance:
    """Measure the importance of every channel for every class in one pass over the images.

    A channel's feature map is read where its mask acts: at the input of the layers that consume it, after activation
    and pooling. For tied layers that is the sum of their maps; tensors that only some of these layers contribute to do
    not count. Where several tensors hold the channel, its norms are averaged.

    Args:
        graph: The base model.
        images: Images, on the graph's device; built-in splitters take ``train``.
        confidence: Only images count to whose class the base model gives at least this probability. If a class has
            none, all its images count, with a warning.
        batch_size: Images per forward pass.

    Raises:
        SplitFailedError: If the network has no channel that a module could drop.
    """
    check_droppable(graph)
    reader = _consumed_tensors(graph)
    n_classes, n_channels = images.n_classes, graph.layout.n_channels
    device = images.images.device
    totals = torch.zeros(2, n_classes, n_channels, dtype=torch.float64, device=device)
    counts = torch.zeros(2, n_classes, dtype=torch.float64, device=device)
    sites = torch.zeros(n_channels, dtype=torch.float64, device=device)
    for _, channels in reader.sites:
        used = channels.to(device)
        sites[used[used >= 0].unique()] += 1
    for number, batch in enumerate(images.batches(batch_size)):
        labels = images.labels[number * batch_size : number * batch_size + len(batch)]
        logits, *tensors = reader.network(batch)
        norms = reader.channel_norms(tensors, n_channels)
        certain = torch.softmax(logits, dim=1).gather(1, labels[:, None]).squeeze(1) >= confidence
        for kind, chosen in enumerate((certain, torch.ones_like(certain))):
            totals[kind].index_add_(0, labels[chosen], norms[chosen])
            counts[kind] += _count(labels, chosen, n_classes)
    means = totals / counts.clamp(min=1)[:, :, None] / sites.clamp(min=1)
    recognised = counts[0] > 0
    names = [images.class_names[index] for index in (~recognised).nonzero().flatten().tolist()]
    warnings = tuple(
        f"the importance for class {name!r} was measured on all of its images: the base model gives none of them the "
        f"class with a probability of {confidence:g} or more."
        for name in names
    )
    return Importance(torch.where(recognised[:, None], means[0], means[1]).float().cpu(), warnings)


@torch.no_grad()
def reading_bytes(graph: ChannelGraph) -> int:
    """Return the bytes per image of all tensors in which importance is read; they are in memory at the same time."""
    device = next(iter(graph.network.parameters())).device
    _, *tensors = _consumed_tensors(graph).network(torch.zeros(1, *graph.input_shape, device=device))
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _count(labels: Int64[Tensor, " batch"], chosen: Bool[Tensor, " batch"], n_classes: int) -> Tensor:
    return torch.bincount(labels[chosen], minlength=n_classes).double()


def check_droppable(graph: ChannelGraph) -> None:
    """Check that modules can drop any channel at all.

    Raises:
        SplitFailedError: If there is none, with the reason.
    """
    if not graph.layout.n_channels:
        raise SplitFailedError(f"no kernel can be dropped: {graph.explain()}")


@dataclass(frozen=True)
class _Reader:
    network: fx.GraphModule
    sites: tuple[tuple[int, Tensor], ...]

    def channel_norms(self, tensors: list[Tensor], n_channels: int) -> Float[Tensor, "batch channel"]:
        """Return the L1 norm of every channel's map for every image, summed over the tensors that hold it."""
        norms = torch.zeros(len(tensors[0]), n_channels, dtype=torch.float64, device=tensors[0].device)
        for tensor, (axis, channels) in zip(tensors, self.sites, strict=True):
            others = [dim for dim in range(1, tensor.dim()) if dim != axis]
            sums = tensor.abs().sum(others) if others else tensor.abs()
            maskable = (channels >= 0).to(tensor.device)
            norms.index_add_(1, channels.to(tensor.device)[maskable], sums[:, maskable].double())
        return norms


def _consumed_tensors(graph: ChannelGraph) -> _Reader:
    """Build the network that returns, beside the logits, every tensor in which channels are consumed."""
    new_graph = fx.Graph()
    renamed: dict[fx.Node, fx.Node] = {}
    for node in graph.network.graph.nodes:
        if node.op != "output":
            renamed[node] = new_graph.node_copy(node, lambda source: renamed[source])
    (logits,) = next(node for node in graph.network.graph.nodes if node.op == "output").all_input_nodes
    sources = list(dict.fromkeys(node.all_input_nodes[0] for node in graph.consumers))
    new_graph.output(tuple(renamed[node] for node in (logits, *sources)))
    reached = torch.stack([_layers_behind(graph, source) for source in sources])
    whole = reached == reached.amax(0)
    held = [(graph.channels_at(source), counts) for source, counts in zip(sources, whole, strict=True)]
    sites = tuple((site.axis, _select(site.channels, counts)) for site, counts in held if site is not None)
    return _Reader(fx.GraphModule(graph.network, new_graph), sites)


def _layers_behind(graph: ChannelGraph, source: fx.Node) -> Int64[Tensor, " channel"]:
    """Count, for each channel in a node's tensor, the convolutions that produce it and were summed up there."""
    counts = torch.zeros(graph.layout.n_channels, dtype=torch.int64)
    held = graph.channels_at(source)
    pending, seen = [source] if held else [], set[fx.Node]()
    while pending:
        node = pending.pop()
        if node in seen:
            continue
        seen.add(node)
        layer = graph.network.get_submodule(str(node.target)) if node.op == "call_module" else None
        made = graph.channels_at(node)
        if isinstance(layer, CONVOLUTIONS) and made is not None:
            counts[made.channels[made.channels != ALWAYS_KEPT].unique()] += 1
        # A grouped convolution's channels are tied to its inputs; any other layer produces new ones.
        if not isinstance(layer, (*CONVOLUTIONS, nn.Linear)) or (isinstance(layer, CONVOLUTIONS) and layer.groups > 1):
            pending.extend(node.all_input_nodes)
    return counts if held is None else counts * torch.isin(torch.arange(len(counts)), held.channels)


def _select(channels: Int64[Tensor, " position"], chosen: Bool[Tensor, " channel"]) -> Int64[Tensor, " position"]:
    """Return the channel of each position, ``ALWAYS_KEPT`` instead of those that are not chosen."""
    return torch.where((channels != ALWAYS_KEPT) & chosen[channels.clamp(min=0)], channels, ALWAYS_KEPT)
