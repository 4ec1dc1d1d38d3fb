"""Channel ids of the nodes of a canonical graph, and the sizes that depend on how many channels there are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx

from splitters.canonical.operations import operation_of
from splitters.graph.channel_ids import FIXED, ChannelIds, along, varying_axes

_NOTHING = torch.empty(0, dtype=torch.int64)


@dataclass(frozen=True)
class Taint:
    """The ids whose number determines a node's value; for a whole ``size()``, one entry per axis."""

    per_axis: tuple[Tensor, ...]

    @property
    def ids(self) -> Tensor:
        """All of them."""
        return torch.cat([part.reshape(-1) for part in self.per_axis])


class NodeIds:
    """The channel ids of a canonical network's tensors, which are filled in node by node.

    Args:
        network: The canonical network.
        values: The value of each node for an example.
    """

    def __init__(self, network: fx.GraphModule, values: dict[fx.Node, Any]) -> None:
        self.network = network
        self.values = values
        self.channels = ChannelIds()
        self.ids: dict[fx.Node, Any] = {}
        self._taints: dict[fx.Node, Taint] = {}

    def freeze(self, node: fx.Node, ids: Tensor, reason: str) -> None:
        """Freeze ids at a node."""
        self.channels.freeze(ids, node=node.name, operation=self.operation_name(node), reason=reason)

    def operation_name(self, node: fx.Node) -> str:
        """Return the name of a node's operation, for messages."""
        if node.op == "call_module":
            return str(self.network.get_submodule(str(node.target))._get_name())
        if node.op == "call_function":
            known = operation_of(node.target)
            return known.name if known else str(getattr(node.target, "__name__", node.target))
        return str(node.target) if node.op == "call_method" else node.op

    def _has_tensor(self, node: fx.Node) -> bool:
        value = self.values[node]
        parts = value if isinstance(value, (tuple, list)) else (value,)
        return bool(parts) and all(isinstance(part, Tensor) for part in parts)

    def _only_along(self, node: fx.Node, source: fx.Node, axis: int) -> Tensor:
        """Return the ids along one axis; if they vary along another one as well, freeze them."""
        ids = self.ids[source]
        if set(varying_axes(ids)) - {axis}:
            self.freeze(node, ids, f"the channels do not lie along axis {axis}")
            return self._fixed((ids.shape[axis],))
        return along(ids, axis)

    def _tie(self, node: fx.Node, left: Tensor, right: Tensor) -> None:
        if left.dim() == right.dim() and left.shape == right.shape:
            axes = set(varying_axes(left)) | set(varying_axes(right))
            if len(axes) <= 1:
                axis = axes.pop() if axes else 0
                left, right = along(left, axis), along(right, axis)
        self.channels.tie(left, right, node=node.name, operation=self.operation_name(node))

    def _tensors_of(self, node: fx.Node) -> tuple[Tensor, ...]:
        return tuple(_tensors_in(self.ids.get(node)))

    def _set_fixed(self, node: fx.Node) -> None:
        ids = self._fixed_like(self.values[node])
        if any(True for _ in _tensors_in(ids)):
            self.ids[node] = ids

    def _fixed_like(self, value: Any) -> Any:
        """Return ids at the place of each tensor in a nested value, None at the place of anything else."""
        if isinstance(value, (tuple, list)):
            return tuple(map(self._fixed_like, value))
        return self._fixed(value.shape) if isinstance(value, Tensor) else None

    @staticmethod
    def _fixed(shape: tuple[int, ...] | torch.Size) -> Tensor:
        return torch.tensor(FIXED).expand(shape)

    # Sizes that count channels

    def _visit_number(self, node: fx.Node) -> None:
        """Track numbers that depend on a channel count, which may only be used as sizes.

        Among arithmetic operations, only multiples and integer fractions stay correct for every number of channels.
        """
        sources = node.all_input_nodes
        name = self.operation_name(node)
        tainted = [isinstance(arg, fx.Node) and arg in self._taints and bool(self._taints[arg].ids.numel())
                   for arg in node.args]  # fmt: skip
        if name == "size":
            ids = self.ids[sources[0]]
            varying = varying_axes(ids)
            per_axis = tuple(along(ids, axis) if axis in varying else _NOTHING for axis in range(ids.dim()))
            dim = node.args[1] if len(node.args) > 1 else node.kwargs.get("dim")
            self._taints[node] = Taint((per_axis[dim],) if isinstance(dim, int) else per_axis)
        elif name == "getitem" and isinstance(node.args[1], (int, slice)) and sources[0] in self._taints:
            selected = self._taints[sources[0]].per_axis[node.args[1]]
            self._taints[node] = Taint(selected if isinstance(selected, tuple) else (selected,))
        elif name == "add" and isinstance(self.values[node], tuple):
            self._taints[node] = Taint(tuple(part for arg in node.args for part in self._counted(arg)))
        elif sum(tainted) == 1 and (name == "mul" or (name == "floordiv" and tainted[0])):
            self._taints[node] = Taint((self._taints[node.args[tainted.index(True)]].ids,))  # type: ignore[index]
        else:
            self._freeze_taints(node)

    def _counted(self, sizes: Any) -> tuple[Tensor, ...]:
        """Return, for each of several sizes, the ids whose number it depends on."""
        if isinstance(sizes, (tuple, list)):
            return tuple(part for size in sizes for part in self._counted(size))
        if isinstance(sizes, fx.Node) and sizes in self._taints:
            return self._taints[sizes].per_axis
        value = self._value(sizes)
        return (_NOTHING,) * (len(value) if isinstance(value, (tuple, list)) else 1)

    def _freeze_taints(self, node: fx.Node) -> None:
        for source in node.all_input_nodes:
            if source in self._taints:
                self.freeze(node, self._taints[source].ids, "computes with the number of channels")

    def _check_sizes(self, node: fx.Node, ids: Tensor) -> None:
        """Freeze channels whose literal sizes could not follow, and tie what must be dropped in whole slices."""
        given = node.args[1]
        sizes = given if isinstance(given, tuple) else self.values[given]  # type: ignore[index]
        counts = self._counted(given)
        varying = varying_axes(ids)
        for axis, counted in enumerate(counts):
            if axis not in varying:
                self.freeze(node, counted, "the number of channels is the size of an axis that holds other values")
        following = [axis for axis in varying if counts[axis].numel()]
        inferred = [axis for axis in varying if isinstance(sizes[axis], int) and sizes[axis] == -1]
        # A literal size follows the channels, because extraction replaces it; the longest axis drops in small steps.
        literal = sorted(varying, key=lambda axis: -ids.shape[axis])
        free = next(iter((*following, *inferred, *literal)), None)
        for axis in varying:
            if axis != free:
                self._tie(node, ids.narrow(axis, 0, 1), ids)
        for axis in following[1:]:
            self.freeze(node, counts[axis], "the number of channels is the size of several axes")
        if following:
            self._match_counts(node, counts[following[0]], along(ids, following[0]))

    def _match_counts(self, node: fx.Node, counted: Tensor, ids: Tensor) -> None:
        """Tie or freeze channels so that an axis loses as many as the tensor that its size was taken from."""
        counted_roots, own_roots = (Counter(map(self._root, side.tolist())) for side in (counted, ids))
        if all(
            counted_roots[root] * len(ids) == own_roots[root] * len(counted) for root in {*counted_roots, *own_roots}
        ):
            return
        if len(counted) == len(ids):
            self._tie(node, counted, ids)
        else:
            for side in (counted, ids):
                self.freeze(node, side, "takes its size from channels of another tensor")

    def _root(self, identifier: int) -> int:
        return FIXED if identifier == FIXED else self.channels.find(identifier)

    def _value(self, size: Any) -> Any:
        return self.values[size] if isinstance(size, fx.Node) else size


def _tensors_in(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from _tensors_in(part)
