"""Baselines: splitters without a search, to which every comparison needs to refer."""

from __future__ import annotations

from abc import abstractmethod

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from splitters.graph.channel_graph import ChannelGraph
from splitters.graph.layout import ChannelLayout
from splitters.methods.kernel_choice.importance import channel_importance
from splitters.methods.kernel_choice.kernel_multiples import KernelMultiples, rounding_warnings
from splitters.methods.protocol import (
    SPLITTERS,
    Checkpoint,
    Progress,
    ProgressCallback,
    SettingsT,
    SplitResult,
    SplitTask,
    Splitter,
    SplitterReference,
    ignore_progress,
)
from splitters.modules.score_kinds import LogitScores
from splitters.networks.masks import KernelMasks
from splitters.settings import Settings


class FullSettings(Settings):
    """Settings of ``full``: none."""


class RandomSettings(KernelMultiples):
    """Settings of ``random``.

    Args:
        retention: Share of each channel group that a module keeps; at least one channel.
        like: Keep, per module and channel group, as many channels as this splitter does on the same task; overrides
            ``retention``.
    """

    retention: float = Field(default=0.5, gt=0, le=1)
    like: SplitterReference | None = None


class ImportanceSettings(RandomSettings):
    """Settings of ``importance``.

    Args:
        confidence: Only images count to whose class the base model gives at least this probability.
    """

    confidence: float = Field(default=0.9, ge=0, le=1)


class _Baseline(Splitter[SettingsT]):
    def split(
        self,
        task: SplitTask,
        *,
        graph: ChannelGraph | None = None,
        progress: ProgressCallback = ignore_progress,
        checkpoint: Checkpoint | None = None,
    ) -> SplitResult:
        """Split the task's base model; see ``Splitter.split``."""
        graph = task.usable_graph(graph)
        masks, warnings = self._masks(task, graph)
        facts = {"kernel_retention": masks.retention}
        progress(Progress("split", 1, 1, facts))
        return SplitResult(masks, LogitScores(), warnings=warnings, history=({"step": 1.0, **facts},))

    @abstractmethod
    def _masks(self, task: SplitTask, graph: ChannelGraph) -> tuple[KernelMasks, tuple[str, ...]]:
        """Return the masks and the warnings."""


@SPLITTERS.register("full")
class Full(_Baseline[FullSettings]):
    """Every module is the whole CNN: the upper bound of accuracy, and of cost."""

    Settings = FullSettings

    def _masks(self, task: SplitTask, graph: ChannelGraph) -> tuple[KernelMasks, tuple[str, ...]]:
        return KernelMasks.full(graph.layout, task.n_classes), ()


@SPLITTERS.register("random")
class Random(_Baseline[RandomSettings]):
    """Every module keeps random kernels of each layer."""

    Settings = RandomSettings

    def references(self) -> tuple[SplitterReference, ...]:
        """Return the splitter whose counts are kept, if there is one."""
        return (self.settings.like,) if self.settings.like else ()

    def _masks(self, task: SplitTask, graph: ChannelGraph) -> tuple[KernelMasks, tuple[str, ...]]:
        counts = kept_counts(self.settings, task, graph.layout)
        generator = torch.Generator().manual_seed(task.seed)
        priority = torch.rand(task.n_classes, graph.layout.n_channels, generator=generator)
        return keep_highest(graph.layout, priority, counts), rounding_warnings(graph.layout, self.settings.round_to)


@SPLITTERS.register("importance")
class MostImportant(_Baseline[ImportanceSettings]):
    """Every module keeps the most important kernels of each layer for its class (CNNSplitter's importance)."""

    Settings = ImportanceSettings
    version = 2

    def references(self) -> tuple[SplitterReference, ...]:
        """Return the splitter whose counts are kept, if there is one."""
        return (self.settings.like,) if self.settings.like else ()

    def _masks(self, task: SplitTask, graph: ChannelGraph) -> tuple[KernelMasks, tuple[str, ...]]:
        counts = kept_counts(self.settings, task, graph.layout)
        graph.network.to(task.device)
        importance = channel_importance(graph, task.on_device().select, confidence=self.settings.confidence)
        rounding = rounding_warnings(graph.layout, self.settings.round_to)
        return keep_highest(graph.layout, importance.norms, counts), (*rounding, *importance.warnings)


def kept_counts(settings: RandomSettings, task: SplitTask, layout: ChannelLayout) -> Int64[Tensor, "module group"]:
    """Return the number of channels of each group that each module keeps."""
    sizes = torch.tensor([len(group.channels) for group in layout.groups])
    if settings.like is not None:
        bits = task.result_of(settings.like.name, settings.like.settings).masks.bits
        counts = torch.stack([bits[:, list(group.channels)].sum(1) for group in layout.groups], dim=1)
    else:
        counts = torch.round(sizes * settings.retention).long().clamp(min=1).expand(task.n_classes, -1)
    return (-(-counts // settings.round_to) * settings.round_to).minimum(sizes)


def keep_highest(
    layout: ChannelLayout, priority: Float[Tensor, "module channel"], counts: Int64[Tensor, "module group"]
) -> KernelMasks:
    """Return masks that keep, in each group, the channels of highest priority; of equal ones, the first."""
    bits = torch.zeros(priority.shape, dtype=torch.bool)
    for number, group in enumerate(layout.groups):
        channels = torch.tensor(group.channels)
        order = priority[:, channels].argsort(dim=1, descending=True, stable=True)
        rank = torch.empty_like(order).scatter_(1, order, torch.arange(len(channels)).expand_as(order))
        bits[:, channels] = rank < counts[:, number : number + 1]
    return KernelMasks.repaired(layout, bits, priority)
