"""N masked forward passes of one frozen CNN, batched.

The masked network is the canonical graph with masks where channels are consumed. Everything before the first mask is
computed once for all modules; from there on, the modules are folded into the batch axis, one after the other.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, Int64
from torch import Tensor, fx

from splitters.graph.channel_graph import ChannelGraph
from splitters.graph.layout import ALWAYS_KEPT
from splitters.networks.masked_convolution import MaskedConvolution, apply_first_masks, apply_masks, is_sliceable


def masked_network(graph: ChannelGraph) -> fx.GraphModule:
    """Build the network that runs N masked copies of a CNN at once.

    Args:
        graph: The CNN. Its weights are shared, not copied.

    Returns:
        A module whose forward takes ``images`` (``[batch, channel, height, width]``) and ``bits`` (float,
        ``[module, maskable channel]``: 1 keeps, 0 drops, another factor scales) and returns ``[module, batch, class]``
        logits. Gradients flow to the bits.
    """
    builder = _Builder(graph)
    for node in graph.network.graph.nodes:
        builder.add(node)
    return builder.finish()


class _Builder:
    def __init__(self, graph: ChannelGraph) -> None:
        self.source = graph
        self.graph = fx.Graph()
        self.root = torch.nn.Module()
        self.renamed: dict[fx.Node, fx.Node] = {}
        self.folded: set[fx.Node] = set()
        self._masked: dict[fx.Node, fx.Node] = {}
        self._bits: fx.Node | None = None
        self._columns: dict[tuple[int, ...], fx.Node] = {}
        for name, child in graph.network.named_children():
            self.root.add_module(name, child)
        for name, buffer in graph.network.named_buffers(recurse=False):
            self.root.register_buffer(name, buffer)

    def finish(self) -> fx.GraphModule:
        network = fx.GraphModule(self.root, self.graph, class_name="MaskedNetwork")
        network.graph.lint()
        return network.eval()

    @property
    def bits(self) -> fx.Node:
        if self._bits is None:
            raise RuntimeError("the images come first among the nodes")
        return self._bits

    def add(self, node: fx.Node) -> None:
        if node.op == "output":
            (logits,) = (self._fold(self.renamed[source]) for source in node.all_input_nodes)
            self.graph.output(self.graph.call_function(_unfold, (logits, self.bits)))
            return
        convolution = self._masked_convolution(node)
        new = convolution or self.graph.node_copy(node, self._inputs_of(node).__getitem__)
        self.renamed[node] = new
        if node.op == "placeholder":
            self._bits = self.graph.placeholder("bits")
            if self.source.moves_images:  # later, a copy per module might lie in another order
                self.renamed[node] = self._fold(new)
        elif convolution or any(source in self.folded for source in new.all_input_nodes):
            self.folded.add(new)

    def _masked_convolution(self, node: fx.Node) -> fx.Node | None:
        """Add a convolution that masks its inputs itself, or return None if it is none, or shares them with others."""
        layer = self.root.get_submodule(str(node.target)) if node.op == "call_module" else None
        if node not in self.source.consumers or not is_sliceable(layer):
            return None
        (source,) = node.all_input_nodes
        held, results = self.source.channels_at(source), self.source.channels_at(node)
        if held is None or sum(user in self.source.consumers for user in source.users) > 1:
            return None
        x = self.renamed[source]
        name = f"masked_{node.name}"
        self.root.add_module(name, MaskedConvolution(layer, is_first=x not in self.folded))
        output_gates = None if results is None else self._columns_of(results.channels)
        return self.graph.call_module(name, (x, self._columns_of(held.channels), output_gates))

    def _inputs_of(self, node: fx.Node) -> dict[fx.Node, fx.Node]:
        """Return a node's inputs here: masked where it consumes them, folded if any of them is."""
        inputs = {source: self.renamed[source] for source in node.all_input_nodes}
        if node in self.source.consumers:
            (only,) = node.all_input_nodes
            inputs[only] = self._mask(only)
        if any(new in self.folded for new in inputs.values()):
            inputs = {
                source: new if new in self.folded else self._ensure_folded(source) for source, new in inputs.items()
            }
        return inputs

    def _ensure_folded(self, source: fx.Node) -> fx.Node:
        """Return a value that was computed once, repeated for each module."""
        if source in self.source.per_image:
            return self._fold(self.renamed[source])
        if not source.all_input_nodes:
            return self.renamed[source]
        number = self.graph.node_copy(source, self._ensure_folded)
        if any(below in self.folded for below in number.all_input_nodes):
            self.folded.add(number)
        return number

    def _mask(self, source: fx.Node) -> fx.Node:
        """Mask a consumed tensor, once for all of its consumers."""
        if source not in self._masked:
            held = self.source.channels_at(source)
            if held is None:
                raise RuntimeError(f"{source} holds no maskable channel")
            x = self.renamed[source]
            function = apply_masks if x in self.folded else apply_first_masks
            new = self.graph.call_function(function, (x, self._columns_of(held.channels), held.axis))
            self.folded.add(new)
            self._masked[source] = new
        return self._masked[source]

    def _columns_of(self, channels: Tensor) -> fx.Node:
        """Add the node that selects the bits of a tensor's channels, once per order of channels."""
        key = tuple(channels.tolist())
        if key not in self._columns:
            name = f"channels_{len(self._columns)}"
            self.root.register_buffer(name, channels)
            index = self.graph.get_attr(name)
            function = select_bits_or_keep if ALWAYS_KEPT in key else select_bits
            self._columns[key] = self.graph.call_function(function, (self.bits, index))
        return self._columns[key]

    def _fold(self, new: fx.Node) -> fx.Node:
        """Repeat a tensor that the modules share, where it is combined with one that they do not share."""
        if new in self.folded:
            return new
        repeated = self.graph.call_function(_repeat, (new, self.bits))
        self.folded.add(repeated)
        return repeated


def select_bits(bits: Float[Tensor, "module maskable"], channels: Int64[Tensor, " channel"]) -> Tensor:
    """Return each module's bit of each channel: ``[module, channel]``."""
    return bits.index_select(1, channels)


def select_bits_or_keep(bits: Float[Tensor, "module maskable"], channels: Int64[Tensor, " channel"]) -> Tensor:
    """Return each module's bit of each channel; channels of index -1 are always kept."""
    extended = torch.cat([bits, bits.new_ones(bits.shape[0], 1)], dim=1)
    return extended.index_select(1, channels % extended.shape[1])


def _repeat(x: Tensor, bits: Tensor) -> Tensor:
    return x.unsqueeze(0).expand(bits.shape[0], *x.shape).flatten(0, 1)


def _unfold(logits: Tensor, bits: Tensor) -> Tensor:
    return torch.unflatten(logits, 0, (bits.shape[0], -1))
