"""Masks: the channels that each of N modules keeps, and the counts derived from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Bool, Float, Int64, Shaped
from torch import Tensor

from splitters.errors import MaskError
from splitters.graph.layout import ALWAYS_KEPT, ChannelLayout


@dataclass(frozen=True)
class KernelMasks:
    """N masks over the M maskable channels of one network.

    Kernels are counted as in the papers: the kept kernels of every convolution, tied ones included. Kernels that no
    module may drop count as kept.

    Args:
        layout: The network's channels.
        bits: True where a module keeps a channel, on the CPU.
        scales: The factor by which a module multiplies a kept channel wherever it is consumed, on the CPU; None where
            no method has learned any. Extraction folds them into the consuming layers' weights.

    Raises:
        MaskError: If bits or scales do not fit the layout, or a module would lose a whole layer.
    """

    layout: ChannelLayout
    bits: Bool[Tensor, "module channel"]
    scales: Float[Tensor, "module channel"] | None = None

    def __post_init__(self) -> None:
        """Check shape and type, and that no layer is lost."""
        _check_bits(self.layout, self.bits)
        if self.scales is not None and (self.scales.shape != self.bits.shape or not self.scales.is_floating_point()):
            raise MaskError(
                f"scales are {list(self.bits.shape)} floats for these masks, "
                f"not {list(self.scales.shape)} of {self.scales.dtype}."
            )
        lost = empty_sets(self.layout, self.bits)
        if lost.any():
            module, number = lost.nonzero()[0].tolist()
            raise MaskError(
                f"module {module} keeps none of the channels {list(self.layout.required[number])[:8]} but needs at "
                "least one of them; KernelMasks.repaired adds the best one."
            )

    @classmethod
    def full(cls, layout: ChannelLayout, n_modules: int) -> KernelMasks:
        """Return masks that keep everything."""
        return cls(layout, torch.ones(n_modules, layout.n_channels, dtype=torch.bool))

    @classmethod
    def repaired(
        cls, layout: ChannelLayout, bits: Bool[Tensor, "module channel"], priority: Float[Tensor, "module channel"]
    ) -> KernelMasks:
        """Return masks in which no module loses a layer, by adding channels.

        Args:
            layout: The network's channels.
            bits: True keeps, on any device.
            priority: Of the channels that a module may not lose altogether, the one with the highest is added, of
                equal ones the first.

        Raises:
            MaskError: If bits do not fit the layout, or the priority does not fit them.
        """
        _check_bits(layout, bits)
        if priority.shape != bits.shape:
            raise MaskError(f"priorities are {list(bits.shape)} for these masks, not {list(priority.shape)}.")
        return cls(layout, repair(layout, bits.cpu(), priority.cpu()))

    def __len__(self) -> int:
        """Return the number of modules N."""
        return self.bits.shape[0]

    def __getitem__(self, modules: int | slice | Sequence[int]) -> KernelMasks:
        """Return the masks of one module, or of some in the given order."""
        if isinstance(modules, int):
            modules = [modules]
        elif isinstance(modules, slice):
            modules = range(len(self))[modules]
        chosen = list(modules)
        return KernelMasks(self.layout, self.bits[chosen], None if self.scales is None else self.scales[chosen])

    def scales_of(self, module: int) -> Float[Tensor, " channel"] | None:
        """Return one module's scales, or None if there are none."""
        return None if self.scales is None else self.scales[module]

    @cached_property
    def gates(self) -> Float[Tensor, "module channel"]:
        """The factor of each channel where it is consumed: 0 where it is dropped, else its scale, or 1 without any."""
        bits = self.bits.float()
        return bits if self.scales is None else bits * self.scales

    @cached_property
    def kernel_bits(self) -> Bool[Tensor, "module kernel"]:
        """Which kernels each module keeps, layer after layer."""
        always = torch.ones(len(self), 1, dtype=torch.bool)
        assert ALWAYS_KEPT == -1, "kernels that are always kept read the last column"
        return torch.cat([self.bits, always], dim=1)[:, self.layout.kernel_channels]

    @cached_property
    def kernels(self) -> Int64[Tensor, " module"]:
        """Kept kernels per module."""
        return self.kernel_bits.sum(1)

    @cached_property
    def kernels_per_layer(self) -> Int64[Tensor, "module layer"]:
        """Kept kernels per module and convolution."""
        parts = self.kernel_bits.split([layer.kernels for layer in self.layout.layers], dim=1)
        return torch.stack([part.sum(1) for part in parts], dim=1)

    @cached_property
    def union(self) -> KernelMasks:
        """One mask that keeps what any of the modules keeps."""
        return KernelMasks(self.layout, self.bits.any(0, keepdim=True))

    @property
    def retention(self) -> float:
        """Kept kernels / all kernels, averaged over the modules, in [0, 1]."""
        return float(self.kernels.double().mean()) / self.layout.n_kernels

    @property
    def union_retention(self) -> float:
        """The retention of the union of the modules: a kernel counts once if any module keeps it."""
        return self.union.retention

    @property
    def shared_kernels(self) -> Int64[Tensor, "module module"]:
        """The number of kernels that each two modules both keep."""
        bits = self.kernel_bits.to(torch.float32)  # counts below 2**24 are exact
        return (bits @ bits.T).long()

    @cached_property
    def jaccard_distances(self) -> Float[Tensor, "module module"]:
        """Pairwise Jaccard distances of the kept-kernel sets: 1 - |intersection| / |union|."""
        return jaccard_distances(self.kernel_bits)

    @property
    def mean_jaccard_distance(self) -> float:
        """The mean over all pairs of different modules; 0 for a single module."""
        pairs = len(self) * (len(self) - 1)
        return float(self.jaccard_distances.sum()) / pairs if pairs else 0.0


def jaccard_distances(sets: Bool[Tensor, "set item"]) -> Float[Tensor, "set set"]:
    """Return the pairwise Jaccard distances of sets given as bit rows, in float64; two empty sets have distance 0."""
    rows = sets.to(torch.float32)  # counts below 2**24 are exact
    intersection = (rows @ rows.T).double()
    sizes = sets.sum(1, dtype=torch.float64)
    union = sizes[:, None] + sizes[None, :] - intersection
    return torch.where(union > 0, 1 - intersection / union.clamp(min=1), torch.zeros_like(union))


def empty_sets(layout: ChannelLayout, bits: Bool[Tensor, "module channel"]) -> Bool[Tensor, "module required"]:
    """Return which required sets each module has lost entirely."""
    if not layout.required:
        return bits.new_zeros(len(bits), 0)
    return ~_of_required(layout, bits).any(2)


def _check_bits(layout: ChannelLayout, bits: Tensor) -> None:
    if bits.dim() != 2 or bits.shape[1] != layout.n_channels or bits.dtype != torch.bool:
        raise MaskError(
            f"masks are [module, {layout.n_channels}] booleans for this network, "
            f"not {list(bits.shape)} of {bits.dtype}."
        )


def repair(
    layout: ChannelLayout, bits: Bool[Tensor, "module channel"], priority: Float[Tensor, "module channel"]
) -> Bool[Tensor, "module channel"]:
    """Add channels so that no module loses a whole layer.

    In every required set that a module has lost, it keeps the channel of highest priority; of equal ones, that with the
    lowest index. Nothing here waits for the device: the work is the same whether or not a layer was lost.

    Args:
        layout: The network's channels.
        bits: True where a module keeps a channel.
        priority: A module prefers to keep the channels with the highest values.
    """
    if not layout.required:
        return bits
    best = _of_required(layout, priority).argmax(2)
    channels = layout.required_channels(bits.device).gather(1, best.T).T
    # A set that is not lost adds a channel past the end, which is cut off.
    added = torch.where(empty_sets(layout, bits), channels, layout.n_channels)
    return bits | bits.new_zeros(len(bits), layout.n_channels + 1).scatter_(1, added, True)[:, :-1]


def _of_required(
    layout: ChannelLayout, values: Shaped[Tensor, "module channel"]
) -> Shaped[Tensor, "module required member"]:
    channels = layout.required_channels(values.device)
    members: Tensor = values.index_select(1, channels.flatten()).unflatten(1, channels.shape)
    return members
