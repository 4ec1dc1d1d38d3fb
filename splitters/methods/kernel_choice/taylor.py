"""Taylor terms: to first order, how much a class's own loss changes when a channel is dropped.

Molchanov et al., *Pruning Convolutional Neural Networks for Resource Efficient Inference* (2017, arXiv 1611.06440), and
*Importance Estimation for Neural Network Pruning* (2019, arXiv 1906.10771), whose gates are the mask bits here.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, fx

from splitters.data import ImageSet
from splitters.graph.channel_graph import ChannelGraph
from splitters.graph.layout import ALWAYS_KEPT
from splitters.methods.kernel_choice.importance import check_droppable
from splitters.networks.inference import Tick, no_tick
from splitters.networks.masked_convolution import apply_masks
from splitters.networks.masked_network import select_bits, select_bits_or_keep


def taylor_terms(
    graph: ChannelGraph, images: ImageSet, *, batch_size: int = 256, tick: Tick = no_tick
) -> Float[Tensor, "class channel"]:
    """Return, for every class and channel, the mean of ``abs(d loss / d bit)`` over the class's images, at full masks.

    The loss of class c is ``log((1 - p) / p)`` with its probability p: minus the log-odds, which a module of c should
    keep high. Cross-entropy, whose gradient is this one times 1 - p, would count the few images on which the model errs
    and hardly any other.

    The derivative by a channel's mask bit is the sum of activation times gradient over the channel's map, wherever
    layers consume it. It is taken image by image, so that images on which a channel helps and those on which it harms
    do not cancel out.

    Args:
        graph: The base model.
        images: Images, on the graph's device; usually ``train``.
        batch_size: Images per pass; a pass goes forward and backward once.
        tick: Called after every batch.

    Raises:
        SplitFailedError: If the network has no channel that a module could drop.
    """
    check_droppable(graph)
    device = images.images.device
    network = _gated_network(graph).to(device)
    totals = torch.zeros(images.n_classes, graph.layout.n_channels, dtype=torch.float64, device=device)
    for number, batch in enumerate(images.batches(batch_size)):
        labels = images.labels[number * batch_size : number * batch_size + len(batch)]
        with torch.enable_grad():
            gates = torch.ones(len(batch), graph.layout.n_channels, device=device, requires_grad=True)
            (gradients,) = torch.autograd.grad(_log_odds(network(batch, gates), labels).sum(), gates)
        totals.index_add_(0, labels, gradients.abs().double())
        tick()
    counts = torch.bincount(images.labels, minlength=images.n_classes).clamp(min=1)
    return (totals / counts[:, None]).float().cpu()


def _log_odds(logits: Float[Tensor, "batch class"], labels: Int64[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Return log(p / (1 - p)) of each image's class."""
    own = F.one_hot(labels, logits.shape[1]).bool()
    return logits[own] - logits.masked_fill(own, -torch.inf).logsumexp(1)


def _gated_network(graph: ChannelGraph) -> fx.GraphModule:
    """Build the network that multiplies every image's channels by gates of its own where masks act.

    Its forward takes images and gates (``[image, maskable channel]``), and returns logits.
    """
    gated = fx.Graph()
    renamed: dict[fx.Node, fx.Node] = {}
    through_gates: dict[fx.Node, fx.Node] = {}
    root = torch.nn.Module()
    for name, child in graph.network.named_children():
        root.add_module(name, child)
    for name, buffer in graph.network.named_buffers(recurse=False):
        root.register_buffer(name, buffer)
    gates: fx.Node | None = None

    def gate(source: fx.Node) -> fx.Node:
        held = graph.channels_at(source)
        if source not in through_gates and held is not None:
            name = f"channels_{len(through_gates)}"
            root.register_buffer(name, held.channels)
            select = select_bits_or_keep if bool((held.channels == ALWAYS_KEPT).any()) else select_bits
            columns = gated.call_function(select, (gates, gated.get_attr(name)))
            through_gates[source] = gated.call_function(apply_masks, (renamed[source], columns, held.axis))
        return through_gates.get(source, renamed[source])

    for node in graph.network.graph.nodes:
        renamed[node] = gated.node_copy(node, gate if node in graph.consumers else renamed.__getitem__)
        if node.op == "placeholder":
            gates = gated.placeholder("gates")
    return fx.GraphModule(root, gated, class_name="GatedNetwork").eval()
