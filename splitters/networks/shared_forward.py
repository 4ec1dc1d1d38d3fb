"""Running many small networks extracted from one CNN, with shared computation done once.

The canonical graph is cut into segments; a new one starts at each layer that reads channels that no earlier layer has
read. Candidates that keep the same channels up to there have computed the same values. The candidates thus form a tree,
which is walked depth first: a branch computes the channels that any of its candidates keeps, and each fork inherits
only those that its own candidates keep. At a leaf, that is exactly the physically small network. Only one branch is
alive at a time, so memory does not grow with the number of candidates.

On a GPU, operations this small would leave it idle. There, candidates are masked copies instead, folded into the batch;
as many run at once as fit in memory.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float32, Int64
from torch import Tensor, fx

from splitters.data import ImageSet
from splitters.data.transfer import send
from splitters.graph.channel_graph import ChannelGraph
from splitters.networks.channels import take_channels
from splitters.networks.execution.precision import autocast, run_network
from splitters.networks.extraction import LayerSlicer
from splitters.networks.masked_network import masked_network

_Values = dict[fx.Node, Any]

_FLOAT_BYTES = 4

_ZERO, _ONE, _TWO = ((number, (number, number)) for number in range(3))


@dataclass(frozen=True)
class _Segment:
    """Consecutive nodes that run once for all candidates of a branch.

    Args:
        reads: The maskable channels that are first read here; candidates that differ in them fork here.
        nodes: The nodes to run.
        incoming: Nodes of earlier segments whose values this one or a later one uses.
        last_uses: For each node, the nodes whose values are not used afterwards.
    """

    reads: Tensor
    nodes: tuple[fx.Node, ...]
    incoming: tuple[fx.Node, ...]
    last_uses: tuple[tuple[fx.Node, ...], ...]


class SharedForward:
    """The forward passes of many candidates.

    Args:
        graph: The CNN, on the device of the images.
        batch_size: Maximum number of images per pass.
        memory_bytes: Memory for activations and the candidates' logits of one pass; it limits the number of images per
            pass, which is at least one. The result of ``class_logits`` comes on top.
        on_batch: Called before every pass; it may raise, which stops the work.
    """

    def __init__(
        self, graph: ChannelGraph, *, batch_size: int, memory_bytes: int, on_batch: Callable[[], None] = lambda: None
    ) -> None:
        self.graph = graph
        self._on_batch = on_batch
        self.peak_bytes = 0
        self._segments = _segments(graph)
        device = next(iter(graph.network.parameters())).device
        full = torch.ones(1, graph.layout.n_channels, dtype=torch.bool)
        example = torch.zeros(1, *graph.input_shape, device=device).to(memory_format=torch.channels_last)
        self._run(full, torch.zeros(1, dtype=torch.int64), example)
        # No branch holds more than the whole network does while it keeps what the branches of a candidate hold. Nor
        # does a masked copy: where a branch holds a layer's inputs, a slice of them and its outputs, it masks inputs.
        self.bytes_per_image = self.peak_bytes
        self.peak_bytes = 0
        self._masked = masked_network(graph).to(device) if is_launch_bound(device) else None
        self._max_images = batch_size
        self._memory_bytes = memory_bytes

    def batch_size(self, *, extra_bytes: int = 0) -> int:
        """Return the number of images per pass, if each needs ``extra_bytes`` beside the activations of a branch."""
        return max(1, min(self._max_images, self._memory_bytes // max(self.bytes_per_image + extra_bytes, 1)))

    @torch.no_grad()
    def class_logits(
        self, bits: Bool[Tensor, "candidate channel"], classes: Int64[Tensor, " candidate"], images: ImageSet
    ) -> Float32[Tensor, "candidate sample"]:
        """Return one logit of every candidate for all images, in order.

        Args:
            bits: The channels that each candidate keeps; at least one per layer.
            classes: The class whose logit is returned, for each candidate.
            images: The images.
        """
        parts = []
        # Passes of equal size: the CPU's convolutions prepare a new kernel for every batch size.
        passes = -(-len(images) // self.batch_size(extra_bytes=_FLOAT_BYTES * len(bits)))
        for batch in images.batches(-(-len(images) // passes)):
            self._on_batch()
            if self._masked is None:
                parts.append(self._run(bits, classes, batch))
            else:
                parts.append(self._run_folded(self._masked, bits, classes, batch))
        return torch.cat(parts, dim=1)

    def _run_folded(self, masked: fx.GraphModule, bits: Tensor, classes: Tensor, batch: Tensor) -> Tensor:
        gates, columns = send(bits.float(), batch.device), send(classes, batch.device)
        held, each = _FLOAT_BYTES * len(bits) * len(batch), self.bytes_per_image * len(batch)
        chunk = min(len(bits), max(1, (self._memory_bytes - held) // each))
        self.peak_bytes = max(self.peak_bytes, held + chunk * each)
        parts = []
        for some, column in zip(gates.split(chunk), columns.split(chunk), strict=True):
            logits = run_network(masked, batch, some)
            parts.append(logits.gather(2, column[:, None, None].expand(-1, len(batch), 1)).squeeze(2))
        return torch.cat(parts)

    def _run(self, bits: Tensor, classes: Tensor, batch: Tensor) -> Tensor:
        walk = _Walk(self.graph, self._segments, bits.cpu(), classes.tolist(), batch)
        held = _FLOAT_BYTES * walk.logits.numel()
        with autocast(batch.device):
            walk.descend(0, range(len(bits)), {}, torch.ones(bits.shape[1], dtype=torch.bool), held=held)
        self.peak_bytes = max(self.peak_bytes, walk.peak_bytes)
        return walk.logits


def is_launch_bound(device: torch.device) -> bool:
    """Return whether starting an operation on a device takes longer than a small operation itself."""
    return device.type != "cpu"


class _Walk:
    def __init__(
        self, graph: ChannelGraph, segments: Sequence[_Segment], bits: Tensor, classes: Sequence[int], batch: Tensor
    ) -> None:
        self.graph = graph
        self.segments = segments
        self.bits = bits
        self.batch = batch
        self.classes = classes
        self.logits = torch.empty(len(bits), len(batch), device=batch.device)
        self.peak_bytes = 0

    def descend(self, depth: int, members: Sequence[int], values: _Values, kept: Tensor, *, held: int) -> None:
        """Run one segment and all later ones, for candidates that have kept the same channels so far.

        Args:
            depth: The segment.
            members: The candidates.
            values: The values computed by earlier segments.
            kept: The channels in these values.
            held: Bytes held by the enclosing branches.
        """
        segment = self.segments[depth]
        for fork in self._forks(segment, members):
            fork_kept = self.bits[fork].any(0)
            fork_values = {node: self._narrowed(node, values[node], kept, fork_kept) for node in segment.incoming}
            self._execute(segment, fork_values, fork_kept, held)
            if depth + 1 < len(self.segments):
                self.descend(depth + 1, fork, fork_values, fork_kept, held=held + _bytes(fork_values))
            else:
                (logits,) = (fork_values[node] for node in _output(self.graph).all_input_nodes)
                for member in fork:
                    self.logits[member] = logits[:, self.classes[member]]

    def _forks(self, segment: _Segment, members: Sequence[int]) -> list[list[int]]:
        """Group the candidates by what they keep of the channels that are first read here."""
        if len(members) == 1 or not len(segment.reads):
            return [list(members)]
        forks: dict[bytes, list[int]] = {}
        rows = self.bits[list(members)][:, segment.reads].numpy()
        for member, row in zip(members, rows, strict=True):
            forks.setdefault(row.tobytes(), []).append(member)
        return list(forks.values())

    def _narrowed(self, node: fx.Node, value: Any, before: Tensor, after: Tensor) -> Any:
        """Return a value without the channels that a group of candidates drops."""
        sites = self.graph.channels.get(node)
        if sites is None:
            return value
        parts = value if isinstance(value, tuple) else (value,)
        narrowed = []
        for part, site in zip(parts, sites, strict=True):
            if site is None:
                narrowed.append(part)
                continue
            always = site.channels < 0
            present = (before[site.channels] | always).nonzero().squeeze(1)
            kept = (after[site.channels] | always)[present]
            if not bool(kept.all()):
                part = _narrowed_part(part, site.axis, kept.nonzero().squeeze(1).to(part.device))
            narrowed.append(part)
        return tuple(narrowed) if isinstance(value, tuple) else narrowed[0]

    def _execute(self, segment: _Segment, values: _Values, kept: Tensor, held: int) -> None:
        """Run a segment's nodes; afterwards, ``values`` holds what later segments need."""
        slicer = LayerSlicer(self.graph, kept)
        for node, done in zip(segment.nodes, segment.last_uses, strict=True):
            values[node] = self._value(node, slicer, values)
            self.peak_bytes = max(self.peak_bytes, held + _bytes(values))
            for used in done:
                del values[used]

    def _value(self, node: fx.Node, slicer: LayerSlicer, values: _Values) -> Any:
        match node.op:
            case "placeholder":
                return self.batch
            case "get_attr":
                return slicer.constant(node)
        function: Any = node.target
        args: tuple[Any, ...] = fx.map_arg(slicer.arguments(node), values.__getitem__)
        kwargs: dict[str, Any] = fx.map_arg(dict(node.kwargs), values.__getitem__)
        if node.op == "call_module":
            return slicer.module(node)(*args, **kwargs)
        if node.op == "call_method":
            return getattr(args[0], function)(*args[1:], **kwargs)
        if function is F.max_pool2d and _is_halving(*args, **kwargs):
            return _halve(args[0])
        return function(*args, **kwargs)


def _narrowed_part(x: Tensor, axis: int, positions: Int64[Tensor, " position"]) -> Tensor:
    """Return some positions along an axis. Images stay in ``channels_last`` order, the fastest for convolutions."""
    return take_channels(x, positions) if x.dim() == 4 and axis == 1 else x.index_select(axis, positions)


def _is_halving(
    x: Tensor,
    kernel_size: object,
    stride: object = None,
    padding: object = 0,
    dilation: object = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> bool:
    """Return whether ``max_pool2d`` with these arguments halves an image of even sides, without overlap."""
    plain = kernel_size in _TWO and stride in (*_TWO, None) and padding in _ZERO and dilation in _ONE
    return plain and not return_indices and not (x.shape[-2] % 2 or x.shape[-1] % 2)


def _halve(x: Tensor) -> Tensor:
    """Return ``max_pool2d(x, 2)``, several times faster on a CPU."""
    rows = torch.maximum(x[..., ::2, :], x[..., 1::2, :])
    return torch.maximum(rows[..., ::2], rows[..., 1::2])


def _segments(graph: ChannelGraph) -> tuple[_Segment, ...]:
    seen = torch.zeros(graph.layout.n_channels, dtype=torch.bool)
    starts: list[tuple[Tensor, list[fx.Node]]] = [(torch.empty(0, dtype=torch.int64), [])]
    for node in graph.network.graph.nodes:
        if node.op == "output":
            continue
        if node in graph.consumers:
            read = _channels_read(graph, node)
            fresh = read[~seen[read]].unique()
            if len(fresh):
                seen[fresh] = True
                starts.append((fresh, []))
        starts[-1][1].append(node)
    nodes = [_with_numbers(graph, started) for _, started in starts]
    # Backwards: what later segments use is computed by this one, or passes through it.
    wanted = set(_output(graph).all_input_nodes)
    segments: list[_Segment] = []
    for (reads, _), inside in zip(reversed(starts), reversed(nodes), strict=True):
        segments.append(_segment(reads, inside, wanted))
        wanted = set(segments[-1].incoming)
    return tuple(reversed(segments))


def _segment(reads: Tensor, nodes: list[fx.Node], wanted: set[fx.Node]) -> _Segment:
    used = set(wanted)
    last_uses: list[tuple[fx.Node, ...]] = []
    for node in reversed(nodes):
        touched = dict.fromkeys([node, *node.all_input_nodes])
        last_uses.append(tuple(source for source in touched if source not in used))
        used.update(touched)
    made = set(nodes)
    incoming = tuple(sorted(used - made))
    return _Segment(reads, tuple(nodes), incoming, tuple(reversed(last_uses)))


def _with_numbers(graph: ChannelGraph, nodes: list[fx.Node]) -> list[fx.Node]:
    """Add the sizes and constants that the nodes use, because sizes differ between groups of candidates."""
    needed: set[fx.Node] = set()
    pending = [source for node in nodes for source in node.all_input_nodes]
    while pending:
        node = pending.pop()
        if node not in graph.per_image and node not in needed:
            needed.add(node)
            pending.extend(node.all_input_nodes)
    tensors = [node for node in nodes if node in graph.per_image]
    return sorted({*needed, *tensors})


def _channels_read(graph: ChannelGraph, node: fx.Node) -> Tensor:
    held = graph.channels_at(node.all_input_nodes[0])
    if held is None:
        raise RuntimeError(f"{node} reads no maskable channel")
    return held.channels[held.channels >= 0]


def _output(graph: ChannelGraph) -> fx.Node:
    output: fx.Node = next(node for node in graph.network.graph.nodes if node.op == "output")
    return output


def _bytes(values: _Values) -> int:
    return sum(
        part.numel() * part.element_size()
        for value in values.values()
        for part in (value if isinstance(value, tuple) else (value,))
        if isinstance(part, Tensor)
    )
