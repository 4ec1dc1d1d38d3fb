"""Channel ids: union-find over channels, and functions on tensors of ids."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch
from jaxtyping import Int64
from torch import Tensor

FIXED = -1
"""The id of values that no kernel produced: images, constants, results of unknown operations."""


@dataclass(frozen=True)
class Freeze:
    """Channels that every module must keep, and why.

    Args:
        node: The node that froze them.
        operation: The operation of that node.
        reason: Why the operation freezes them.
        ids: The frozen channel ids.
    """

    node: str
    operation: str
    reason: str
    ids: frozenset[int]


@dataclass
class ChannelIds:
    """All allocated ids, with the ties between them and the frozen ones."""

    parents: list[int] = field(default_factory=list)
    freezes: list[Freeze] = field(default_factory=list)

    def new(self, count: int) -> Int64[Tensor, " count"]:
        """Give out ``count`` new ids."""
        first = len(self.parents)
        self.parents.extend(range(first, first + count))
        return torch.arange(first, first + count)

    def find(self, identifier: int) -> int:
        """Return the representative of the ids tied to this one."""
        root = identifier
        while self.parents[root] != root:
            root = self.parents[root]
        while self.parents[identifier] != root:
            self.parents[identifier], identifier = root, self.parents[identifier]
        return root

    def roots(self) -> Int64[Tensor, " identifier"]:
        """Return the representative of every id."""
        return torch.tensor([self.find(number) for number in range(len(self.parents))], dtype=torch.int64)

    def tie(self, left: Int64[Tensor, ...], right: Int64[Tensor, ...], *, node: str, operation: str) -> None:
        """Tie the ids at equal positions; ids that meet ``FIXED`` freeze."""
        left, right = (side.reshape(-1) for side in torch.broadcast_tensors(left, right))
        different = left != right
        pairs = torch.unique(torch.stack([left[different], right[different]], dim=1), dim=0)
        met_fixed = (pairs == FIXED).any(1)
        for one, other in pairs[~met_fixed].tolist():
            one, other = self.find(one), self.find(other)
            self.parents[max(one, other)] = min(one, other)
        if met_fixed.any():
            self.freeze(pairs[met_fixed], node=node, operation=operation, reason="meets values that are no kernel's")

    def freeze(self, ids: Int64[Tensor, ...], *, node: str, operation: str, reason: str) -> None:
        """Freeze all ids in a tensor."""
        frozen = frozenset(torch.unique(ids).tolist()) - {FIXED}
        if frozen:
            self.freezes.append(Freeze(node, operation, reason, frozen))


def varying_axes(ids: Int64[Tensor, ...]) -> list[int]:
    """Return the axes along which the ids are not constant."""
    return [
        axis
        for axis in range(ids.dim())
        if ids.shape[axis] > 1 and ids.stride(axis) != 0 and bool((ids != ids.narrow(axis, 0, 1)).any())
    ]


def along(ids: Int64[Tensor, ...], axis: int) -> Int64[Tensor, " position"]:
    """Return the ids along one axis, at the first position of every other axis."""
    index: list[int | slice] = [0] * ids.dim()
    index[axis] = slice(None)
    return ids[tuple(index)]


def spread(ids: Int64[Tensor, " position"], shape: torch.Size, axis: int) -> Int64[Tensor, ...]:
    """Return ids that vary along one axis only, as a view of the given shape."""
    view = [1] * len(shape)
    view[axis] = -1
    return ids.view(view).expand(shape)
