"""Running many small networks cut from one CNN, where each computes only what it shares with no other.

The canonical graph is cut into segments: a new one begins at each layer that reads channels which no earlier layer
has read. Candidates that keep the same channels up to there have computed the same so far. So the candidates form a
tree, which is walked depth first: a branch computes the channels that any of its candidates keeps, and where it forks,
each fork takes over only what its own candidates keep. At a leaf that is exactly the physically small network. At most
one branch is alive at a time, so memory does not grow with the number of candidates.
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
from splitters.graph.channel_graph import ChannelGraph
from splitters.networks.extraction import NetworkCutter

_Values = dict[fx.Node, Any]

_FLOAT_BYTES = 4

_ZERO, _ONE, _TWO = ((number, (number, number)) for number in range(3))


@dataclass(frozen=True)
class _Segment:
    """Nodes that run one after the other for all candidates of a branch.

    Args:
        reads: The maskable channels that are read here first; candidates that differ in them part here.
        nodes: What runs.
        incoming: The tensors of earlier segments that this one or a later one uses.
        last_uses: For each node, the tensors that nothing later uses.
    """

    reads: Tensor
    nodes: tuple[fx.Node, ...]
    incoming: tuple[fx.Node, ...]
    last_uses: tuple[tuple[fx.Node, ...], ...]


class SharedForward:
    """The forward passes of many candidates.

    Args:
        graph: The CNN, on the device of the images.
        batch_size: Images per pass at most.
        memory_bytes: Activations, and the candidates' logits of one pass, that may be held at once; it lowers the
            number of images per pass, to one at least. What ``class_logits`` returns comes on top.
        on_batch: Called before every pass; it may raise, and so stop the work.
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
        # No branch holds more than the whole network does, if it keeps what the branches of a candidate hold.
        self.bytes_per_image = self.peak_bytes
        self.peak_bytes = 0
        self._most_images = batch_size
        self._memory_bytes = memory_bytes

    def batch_size(self, *, extra_bytes: int = 0) -> int:
        """Returns how many images a pass may take if each needs so many bytes beside the activations of a branch."""
        return max(1, min(self._most_images, self._memory_bytes // max(self.bytes_per_image + extra_bytes, 1)))

    @torch.no_grad()
    def class_logits(
        self, bits: Bool[Tensor, "candidate channel"], classes: Int64[Tensor, " candidate"], images: ImageSet
    ) -> Float32[Tensor, "candidate sample"]:
        """Returns one logit of every candidate for all images, in order.

        Args:
            bits: What each candidate keeps; no layer may be lost.
            classes: Which logit of each candidate.
            images: The images.
        """
        parts = []
        # Passes of equal size: every other size costs the CPU's convolutions a new kernel.
        passes = -(-len(images) // self.batch_size(extra_bytes=_FLOAT_BYTES * len(bits)))
        for batch in images.batches(-(-len(images) // passes)):
            self._on_batch()
            parts.append(self._run(bits, classes, batch))
        return torch.cat(parts, dim=1)

    def _run(self, bits: Tensor, classes: Tensor, batch: Tensor) -> Tensor:
        walk = _Walk(self.graph, self._segments, bits.cpu(), classes.tolist(), batch)
        held = _FLOAT_BYTES * walk.logits.numel()
        walk.descend(0, range(len(bits)), {}, torch.ones(bits.shape[1], dtype=torch.bool), held=held)
        self.peak_bytes = max(self.peak_bytes, walk.peak_bytes)
        return walk.logits


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
        """Runs one segment and all that follow it, for candidates that are alike so far.

        Args:
            depth: The segment.
            members: The candidates.
            values: What earlier segments computed.
            kept: The channels that these values hold.
            held: Bytes that the branches above hold.
        """
        segment = self.segments[depth]
        for fork in self._forks(segment, members):
            own = self.bits[fork].any(0)
            taken = {node: self._narrowed(node, values[node], kept, own) for node in segment.incoming}
            self._execute(segment, taken, own, held)
            if depth + 1 < len(self.segments):
                self.descend(depth + 1, fork, taken, own, held=held + _bytes(taken))
            else:
                (logits,) = (taken[node] for node in _output(self.graph).all_input_nodes)
                for member in fork:
                    self.logits[member] = logits[:, self.classes[member]]

    def _forks(self, segment: _Segment, members: Sequence[int]) -> list[list[int]]:
        """Parts the candidates by what they keep of the channels that are read here first."""
        if len(members) == 1 or not len(segment.reads):
            return [list(members)]
        forks: dict[bytes, list[int]] = {}
        rows = self.bits[list(members)][:, segment.reads].numpy()
        for member, row in zip(members, rows, strict=True):
            forks.setdefault(row.tobytes(), []).append(member)
        return list(forks.values())

    def _narrowed(self, node: fx.Node, value: Any, before: Tensor, after: Tensor) -> Any:
        """Returns a value without the channels that a fork does not keep."""
        found = self.graph.channels.get(node)
        if found is None:
            return value
        parts = value if isinstance(value, tuple) else (value,)
        narrowed = []
        for part, site in zip(parts, found, strict=True):
            if site is None:
                narrowed.append(part)
                continue
            always = site.channels < 0
            there = (before[site.channels] | always).nonzero().squeeze(1)
            wanted = (after[site.channels] | always)[there]
            if not bool(wanted.all()):
                part = _taken(part, site.axis, wanted.nonzero().squeeze(1).to(part.device))
            narrowed.append(part)
        return tuple(narrowed) if isinstance(value, tuple) else narrowed[0]

    def _execute(self, segment: _Segment, values: _Values, own: Tensor, held: int) -> None:
        """Runs a segment's nodes; afterwards ``values`` holds what later segments use."""
        cutter = NetworkCutter(self.graph, own)
        for node, done in zip(segment.nodes, segment.last_uses, strict=True):
            values[node] = self._value(node, cutter, values)
            self.peak_bytes = max(self.peak_bytes, held + _bytes(values))
            for used in done:
                del values[used]

    def _value(self, node: fx.Node, cutter: NetworkCutter, values: _Values) -> Any:
        match node.op:
            case "placeholder":
                return self.batch
            case "get_attr":
                return self.graph.network.get_buffer(str(node.target))
            case "call_module":
                (source,) = node.all_input_nodes
                return cutter.module(node)(values[source])
        function: Any = node.target
        args: tuple[Any, ...] = fx.map_arg(cutter.arguments(node), values.__getitem__)
        kwargs: dict[str, Any] = fx.map_arg(dict(node.kwargs), values.__getitem__)
        if function is F.max_pool2d and _halves(*args, **kwargs):
            return _halved(args[0])
        return function(*args, **kwargs)


def _taken(x: Tensor, axis: int, positions: Int64[Tensor, " position"]) -> Tensor:
    """Returns some positions along an axis. Images stay in ``channels_last`` order, which convolutions run best in."""
    if x.dim() == 4 and axis == 1:
        return x.permute(0, 2, 3, 1).index_select(3, positions).permute(0, 3, 1, 2)
    return x.index_select(axis, positions)


def _halves(
    x: Tensor,
    kernel_size: object,
    stride: object = None,
    padding: object = 0,
    dilation: object = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> bool:
    """Says whether these arguments of ``max_pool2d`` take the maximum of each square of four, of even sides."""
    plain = kernel_size in _TWO and stride in (*_TWO, None) and padding in _ZERO and dilation in _ONE
    return plain and not return_indices and not (x.shape[-2] % 2 or x.shape[-1] % 2)


def _halved(x: Tensor) -> Tensor:
    """Returns the same as ``max_pool2d(x, 2)``, several times faster on a CPU."""
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
    nodes = [_with_numbers(graph, own) for _, own in starts]
    # Backwards: what later segments use must come out of this one, or pass through it.
    wanted = set(_output(graph).all_input_nodes)
    segments: list[_Segment] = []
    for (reads, _), own in zip(reversed(starts), reversed(nodes), strict=True):
        segments.append(_segment(reads, own, wanted))
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
    """Adds the sizes and constants that the nodes use, as a size may differ from one fork to the next."""
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
    found = graph.channels_at(node.all_input_nodes[0])
    if found is None:
        raise RuntimeError(f"{node} reads no maskable channel")
    return found.channels[found.channels >= 0]


def _output(graph: ChannelGraph) -> fx.Node:
    found: fx.Node = next(node for node in graph.network.graph.nodes if node.op == "output")
    return found


def _bytes(values: _Values) -> int:
    return sum(
        part.numel() * part.element_size()
        for value in values.values()
        for part in (value if isinstance(value, tuple) else (value,))
        if isinstance(part, Tensor)
    )
