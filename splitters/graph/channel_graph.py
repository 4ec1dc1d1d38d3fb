"""The channel graph: which channels of a CNN a module may drop, and which are kept or dropped together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, fx, nn

from splitters.canonical.layers import CONVOLUTIONS, in_channels_last
from splitters.canonical.model_copy import copy_of_model, first_line, hooked
from splitters.canonical.rewriter import canonical_graph
from splitters.errors import GraphError
from splitters.graph.channel_ids import along, varying_axes
from splitters.graph.layout import ALWAYS_KEPT, ChannelGroup, ChannelLayout, Layer
from splitters.graph.propagation import Propagation

_TOLERANCE = 1e-4
"""Allowed difference, relative to the largest logit, between two float32 computations of the same logits."""

_LARGE = 100
"""How much larger images are on which some graphs are compared once more."""


@dataclass(frozen=True)
class FrozenKernels:
    """Kernels that are kept in every module, and why.

    Args:
        node: The node that froze them.
        operation: The operation of that node.
        reason: Why the operation freezes them.
        layers: Convolutions and the number of frozen kernels in each.
    """

    node: str
    operation: str
    reason: str
    layers: tuple[tuple[str, int], ...]

    def __str__(self) -> str:
        """Return one line of text."""
        layers = ", ".join(f"{count} of {name}" for name, count in self.layers)
        return f"{self.node} ({self.operation}): {self.reason}; always kept: {layers}"


@dataclass(frozen=True)
class NodeChannels:
    """The maskable channels in one tensor.

    Args:
        axis: The channel axis.
        channels: The maskable channel at each position of that axis, or ``ALWAYS_KEPT``.
    """

    axis: int
    channels: Int64[Tensor, " position"]


@dataclass(frozen=True)
class ChannelGraph:
    """A CNN in canonical form, and the channels in it that modules may drop.

    Args:
        network: The canonical network; it computes the model's logits in eval mode, with batch norms folded.
        layout: Its convolutions and maskable channels.
        channels: The maskable channels in each tensor that has any; one entry per result for nodes with several.
        consumers: The convolutions and linear layers that read maskable channels, where masks act.
        per_image: The nodes whose value has a batch axis; the others hold constants and sizes.
        moves_images: Whether the images of a batch leave the first axis, or their order along it, somewhere.
        input_shape: Image channels, height and width.
        frozen: Kernels that are always kept, and why.
        targets: The convolutions of ``network``, one for each call, by the convolution's name in the layout.
    """

    network: fx.GraphModule
    layout: ChannelLayout
    channels: dict[fx.Node, tuple[NodeChannels | None, ...]]
    consumers: tuple[fx.Node, ...]
    per_image: frozenset[fx.Node]
    moves_images: bool
    input_shape: tuple[int, int, int]
    frozen: tuple[FrozenKernels, ...]
    targets: Mapping[str, tuple[str, ...]]

    @classmethod
    def trace(cls, model: nn.Module, example: Float[Tensor, "batch channel height width"]) -> ChannelGraph:
        """Trace a model.

        Args:
            model: A CNN whose forward takes ``[batch, channel, height, width]`` images and returns
                ``[batch, class]`` logits. It is not changed; its training mode does not matter.
            example: At least one image of the shape that the model is used with.

        Raises:
            GraphError: If the model cannot be traced, returns something other than logits, or treats images
                differently depending on the batch they are in.
        """
        if example.dim() != 4:
            raise GraphError(f"the example must be [batch, channel, height, width], not {list(example.shape)}.")
        example = example.detach()
        # The second image is none that a forward makes of the first.
        example = torch.cat([example, 0.5 * example.flip(-1)]) if len(example) == 1 else example[:2]
        # A forward with views may not run in another memory order; a copy, since that of one channel is ambiguous.
        example = example.clone(memory_format=torch.contiguous_format)
        frozen = copy_of_model(model)
        with torch.autocast(example.device.type, enabled=False):
            network, values, sources, view_writes = canonical_graph(frozen, example)
            moved = _check_output(frozen, network, example, view_writes)
        in_channels_last(network)
        propagation = Propagation(network, values, sources)
        origins: dict[fx.Node, fx.Node] = {}
        for node in moved:
            origins[node] = next((origins[source] for source in node.all_input_nodes if source in origins), node)
            reason = "from here, the images of a batch do not lie along the first axis, in their order"
            propagation.freeze(origins[node], propagation.ids[node], reason)
        if not any(producer.is_convolution for producer in propagation.producers.values()):
            raise GraphError(
                "the model has no convolution (torch.nn.Conv1d, Conv2d, ConvTranspose2d, or a function of theirs with "
                "stored weights); there is nothing to split."
            )
        return _assemble(propagation, tuple(example.shape[1:]), moves_images=bool(moved))  # type: ignore[arg-type]

    def explain(self) -> str:
        """Return a summary, and one line for each node that freezes kernels, with the reason."""
        maskable = int((self.layout.kernel_channels != ALWAYS_KEPT).sum())
        head = (
            f"{maskable} of {self.layout.n_kernels} kernels in {len(self.layout.layers)} convolutions can be dropped, "
            f"as {self.layout.n_channels} channels in {len(self.layout.groups)} groups."
        )
        return "\n".join([head, *map(str, self.frozen)])

    def convolution(self, layer: Layer) -> nn.Module:
        """Return a convolution of ``network``, with its batch norm folded in.

        Layers of the layout have the model's names (``features.0``), those of the network do not (``features_0``).
        """
        return self.network.get_submodule(self.targets[layer.name][-1])

    def channels_at(self, node: fx.Node) -> NodeChannels | None:
        """Return the maskable channels of a node's tensor, or None if it holds none."""
        parts = self.channels.get(node)
        return parts[0] if parts else None


def _moves_images(both: Any, *alone: Any) -> bool:
    """Return whether a value for two images has those for each of them in another order than one after the other."""
    if not isinstance(both, Tensor) or both.dim() == 0:
        return False
    if both.shape[1:] != alone[0].shape[1:]:
        return True
    if not both.is_floating_point() or len(both) == len(alone[0]):
        return False
    first, second = alone
    difference, rounding = both - torch.cat(alone), 1e-3 * both.abs().mean()
    is_order = difference.sum(0).abs().mean() <= rounding  # not, for example, a division by the number of images
    return bool(is_order and difference.abs().mean() > 0.1 * (first - second).abs().mean() + rounding)


def _check_output(model: nn.Module, network: fx.GraphModule, example: Tensor, view_writes: list[str]) -> list[fx.Node]:
    """Check that a network computes the model's logits, for each image alone; return the nodes that move images."""
    with torch.no_grad():
        expected = model(example)
    if not isinstance(expected, Tensor) or expected.dim() != 2 or len(expected) != len(example):
        shape = list(expected.shape) if isinstance(expected, Tensor) else type(expected).__name__
        raise GraphError(f"the model must return [batch, class] logits; for {len(example)} images it returns {shape}.")
    if not bool(expected.isfinite().all()):
        raise GraphError("the model's logits are not finite; check its weights and the normalisation of the images.")
    allowed = _TOLERANCE * max(float(expected.abs().max()), 1e-6)
    with torch.no_grad():
        both = fx.Interpreter(network, garbage_collect_values=False)
        logits = both.run(example)
        is_same = logits.shape == expected.shape and float((logits - expected).abs().max()) <= allowed
        is_same = is_same and float((model(example) - expected).abs().max()) <= allowed  # a second call gives the same
        if is_same and view_writes:  # clamp_(max=6), for example, changes large values only
            large = model(_LARGE * example)
            difference = float((network(_LARGE * example) - large).abs().max())
            is_same = not difference > _TOLERANCE * float(large.abs().max())  # what is not finite tells nothing
        if not is_same:
            raise GraphError(
                "the traced graph does not compute what the model computes; "
                f"{_likely_cause(model, example, view_writes)}"
            )
        try:
            interpreters = [fx.Interpreter(network, garbage_collect_values=False) for _ in example]
            alone = [runner.run(image[None]) for runner, image in zip(interpreters, example, strict=True)]
        except Exception as error:
            raise GraphError(
                f"the model does not take an image alone, or joins views of all images: {first_line(error)}"
            ) from error
    if any(one.shape != logits[:1].shape for one in alone):
        raise GraphError(
            f"for one image the model returns {list(alone[0].shape)}, not {list(logits[:1].shape)}: it mixes the "
            "images of a batch, or drops its axis (squeeze() without an axis does that, flatten(1) does not)."
        )
    if not float((torch.cat(alone) - logits).abs().max()) <= allowed:
        raise GraphError(
            "the model mixes the images of a batch; each image's logits must depend on that image alone"
            f"{_cause_of_mixing(model, example)}."
        )
    nodes = both.env.items()
    return [node for node, value in nodes if _moves_images(value, *(runner.env[node] for runner in interpreters))]


def _cause_of_mixing(model: nn.Module, example: Tensor) -> str:
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is None:
            return f": the layer {name!r} normalises by the batch, as it was made with track_running_stats=False"
    changed = _changed_buffers(model, example)
    return f": its forward changes {changed[0]!r} in eval mode; change buffers only if self.training" if changed else ""


def _changed_buffers(model: nn.Module, example: Tensor) -> list[str]:
    """Return the names of the buffers that a forward in eval mode changes."""
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model(-example)  # other images: a buffer may hold those of the last call
    return [name for name, buffer in model.named_buffers() if not torch.equal(buffer, before.get(name, buffer))]


def _likely_cause(model: nn.Module, example: Tensor, view_writes: list[str]) -> str:
    """Return why a model computes something else than its forward says."""
    if not torch.equal(model(example), model(example)):
        changed = _changed_buffers(model, example)
        if not torch.equal(_seeded(model, example), _seeded(model, example)):
            if changed:
                return f"its forward changes {changed[0]!r} in eval mode; change buffers only if self.training."
            return "its forward draws random numbers, or keeps a state, in eval mode; do so only if self.training."
        return "its forward draws random numbers in eval mode; draw them only if self.training."
    with_hooks = hooked(model)
    if with_hooks:
        return f"the hooks of {', '.join(map(repr, with_hooks))} change its values. Do that in its forward."
    if view_writes:
        return view_writes[0]
    return "its forward keeps a state between calls, or overwrites tensors in a way that tracing does not see."


def _seeded(model: nn.Module, example: Tensor) -> Tensor:
    with torch.random.fork_rng([example.device] if example.is_cuda else []):
        torch.manual_seed(0)
        logits: Tensor = model(example)
    return logits


def _assemble(propagation: Propagation, input_shape: tuple[int, int, int], *, moves_images: bool) -> ChannelGraph:
    """Turn ids into maskable channels, freezing ids that cannot be dropped as whole slices until none is left."""
    while True:
        index = _maskable_index(propagation)
        channels, stuck = _channels_of_nodes(propagation, index)
        if not stuck:
            break
        for node, ids in stuck:
            propagation.freeze(node, ids, "channels lie along several axes and cannot be dropped as whole slices")
    layers = tuple(
        Layer(producer.name, tuple(index[producer.outputs].tolist()))
        for producer in propagation.producers.values()
        if producer.is_convolution
    )
    groups = _groups(layers)
    reading = tuple(node for node, ids in propagation.consumers.items() if bool((index[ids] != ALWAYS_KEPT).any()))
    held = [part.channels for parts in channels.values() for part in parts if part is not None]
    layout = ChannelLayout(layers, groups, _required(groups, held))
    return ChannelGraph(
        network=propagation.network,
        layout=layout,
        channels=channels,
        consumers=reading,
        per_image=_per_image(propagation),
        moves_images=moves_images,
        input_shape=input_shape,
        frozen=_explanations(propagation, layers, index),
        targets=_targets(propagation),
    )


def _targets(propagation: Propagation) -> dict[str, tuple[str, ...]]:
    network = propagation.network
    calls = [node for node in network.graph.nodes if node.op == "call_module"]
    targets: dict[str, tuple[str, ...]] = {}
    for node in calls:
        target = str(node.target)
        if isinstance(network.get_submodule(target), CONVOLUTIONS):
            source = propagation.sources[node]
            targets[source] = (*targets.get(source, ()), target)
    return targets


def _per_image(propagation: Propagation) -> frozenset[fx.Node]:
    nodes: set[fx.Node] = set()
    for node in propagation.network.graph.nodes:
        value = propagation.values.get(node)
        tensors = any(isinstance(part, Tensor) for part in (value if isinstance(value, tuple) else (value,)))
        if tensors and (node.op == "placeholder" or nodes.intersection(node.all_input_nodes)):
            nodes.add(node)
    return frozenset(nodes)


def _maskable_index(propagation: Propagation) -> Tensor:
    """Return the maskable channel of every id, with ``ALWAYS_KEPT`` last, which is what id -1 reads."""
    ids = propagation.channels
    roots = ids.roots()
    frozen = {ids.find(number) for freeze in ids.freezes for number in freeze.ids}
    numbers: dict[int, int] = {}
    for producer in propagation.producers.values():
        if producer.is_convolution:
            for root in roots[producer.outputs].tolist():
                if root not in frozen:
                    numbers.setdefault(root, len(numbers))
    maskable = [numbers.get(root, ALWAYS_KEPT) for root in roots.tolist()]
    return torch.tensor([*maskable, ALWAYS_KEPT], dtype=torch.int64)


def _channels_of_nodes(
    propagation: Propagation, index: Tensor
) -> tuple[dict[fx.Node, tuple[NodeChannels | None, ...]], list[tuple[fx.Node, Tensor]]]:
    channels: dict[fx.Node, tuple[NodeChannels | None, ...]] = {}
    stuck: list[tuple[fx.Node, Tensor]] = []
    for node, stored in propagation.ids.items():
        parts = (stored,) if isinstance(stored, Tensor) else tuple(stored)
        held: list[NodeChannels | None] = []
        for ids in parts:
            if not isinstance(ids, Tensor) or ids.dim() == 0:
                held.append(None)
                continue
            raw_axes = varying_axes(ids)
            if len(raw_axes) <= 1:
                axis = raw_axes[0] if raw_axes else _channel_axis(ids)
                mapped = index[along(ids, axis)]
            else:
                full = index[ids]
                axes = varying_axes(full)
                if len(axes) > 1:
                    stuck.append((node, ids))
                axis = axes[0] if axes else _channel_axis(ids)
                mapped = along(full, axis)
            held.append(NodeChannels(axis, mapped) if bool((mapped != ALWAYS_KEPT).any()) else None)
        if any(part is not None for part in held):
            channels[node] = tuple(held)
    return channels, stuck


def _channel_axis(ids: Tensor) -> int:
    return 1 if ids.dim() > 1 else 0


def _groups(layers: tuple[Layer, ...]) -> tuple[ChannelGroup, ...]:
    producers: dict[int, set[int]] = {}
    for number, layer in enumerate(layers):
        for channel in layer.channels:
            if channel != ALWAYS_KEPT:
                producers.setdefault(channel, set()).add(number)
    members: dict[tuple[int, ...], list[int]] = {}
    for channel, made_by in producers.items():
        members.setdefault(tuple(sorted(made_by)), []).append(channel)
    return tuple(ChannelGroup(made_by, tuple(sorted(channels))) for made_by, channels in sorted(members.items()))


def _required(groups: tuple[ChannelGroup, ...], held: list[Tensor]) -> tuple[tuple[int, ...], ...]:
    """Return all groups, and the channels of tensors that hold no whole group, because no tensor may become empty."""
    required = [frozenset(group.channels) for group in groups]
    for channels in dict.fromkeys(frozenset(part.tolist()) for part in held):
        if ALWAYS_KEPT not in channels and not any(known <= channels for known in required):
            required.append(channels)
    return tuple(tuple(sorted(channels)) for channels in required)


def _explanations(propagation: Propagation, layers: tuple[Layer, ...], index: Tensor) -> tuple[FrozenKernels, ...]:
    ids = propagation.channels
    roots = ids.roots()
    merged: dict[tuple[str, str, str], set[int]] = {}
    for freeze in ids.freezes:
        merged.setdefault((freeze.node, freeze.operation, freeze.reason), set()).update(map(ids.find, freeze.ids))
    found = []
    for (node, operation, reason), frozen in merged.items():
        counts: Counter[str] = Counter()
        for layer in layers:
            counts[layer.name] += sum(
                root in frozen for root in roots[propagation.producers[layer.name].outputs].tolist()
            )
        touched = tuple((name, count) for name, count in counts.items() if count)
        if touched:
            found.append(FrozenKernels(node, operation, reason, touched))
    return tuple(found)
