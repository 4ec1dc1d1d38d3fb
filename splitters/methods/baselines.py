"""Baselines: splitters without a search, to which every comparison needs to refer."""

from __future__ import annotations

from abc import abstractmethod
from typing import TypeVar

import torch
from jaxtyping import Float, Int64
from pydantic import Field
from torch import Tensor

from splitters.graph.channel_graph import ChannelGraph
from splitters.graph.layout import ChannelLayout
from splitters.methods.kernel_choice.importance import channel_importance
from splitters.methods.kernel_choice.kernel_multiples import KernelMultiples, rounding_warnings
from splitters.methods.kernel_choice.taylor import taylor_terms
from splitters.methods.protocol import (
    SPLITTERS,
    Checkpoint,
    Progress,
    ProgressCallback,
    SplitResult,
    SplitTask,
    Splitter,
    SplitterReference,
    ignore_progress,
)
from splitters.methods.scoring.fitting import ScoreFitter
from splitters.methods.scoring.kinds import DEFAULT_HEAD_STEPS, BaselineScore, HeadSettings
from splitters.networks.inference import Tick
from splitters.networks.masks import KernelMasks


class BaselineSettings(HeadSettings):
    """Settings that all baselines have.

    Args:
        score: How modules are scored: by the raw logit of their class (``logit``), by that logit with a scale and a
            shift that give it the base model's mean and standard deviation (``moments``), by a trained head
            (``head``), or by the kind of these with the highest composed accuracy on select (``best``); of equally
            good kinds, the one named first here.
    """

    score: BaselineScore = "best"


def _is_logit(value: object) -> bool:
    return value == "logit"


def _is_default_head_steps(value: object) -> bool:
    return value == DEFAULT_HEAD_STEPS


class FullSettings(BaselineSettings):
    """Settings of ``full``.

    Args:
        score: By default raw logits, with which all modules together answer exactly as the base model does.
    """

    # Left out of dumps at their defaults, so that the identities of earlier results stay what they were.
    score: BaselineScore = Field(default="logit", exclude_if=_is_logit)
    head_steps: int = Field(default=DEFAULT_HEAD_STEPS, ge=1, exclude_if=_is_default_head_steps)


class RankingSettings(BaselineSettings, KernelMultiples):
    """Settings of baselines that rank kernels, and the only ones of ``random`` and ``taylor``.

    Args:
        retention: Share of each channel group that a module keeps; at least one channel.
        like: Keep, per module and channel group, as many channels as this splitter does on the same task; overrides
            ``retention``.
    """

    retention: float = Field(default=0.5, gt=0, le=1)
    like: SplitterReference | None = None


class ImportanceSettings(RankingSettings):
    """Settings of ``importance``.

    Args:
        confidence: Only images count to whose class the base model gives at least this probability.
    """

    confidence: float = Field(default=0.9, ge=0, le=1)


BaselineSettingsT = TypeVar("BaselineSettingsT", bound=BaselineSettings)
RankingSettingsT = TypeVar("RankingSettingsT", bound=RankingSettings)


class _Baseline(Splitter[BaselineSettingsT]):
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
        graph.network.to(task.device)
        task = task.on_device()

        def tick() -> None:
            progress(Progress("split", 0, 1))

        masks, warnings = self._masks(task, graph, tick)
        facts = {"kernel_retention": masks.retention}
        fitter = ScoreFitter(graph, task, self.settings.head_steps, tick)
        if self.settings.score == "best":
            best = fitter.fit_best(masks)
            scores = best.scores
            facts["accuracy"] = max(best.accuracy.values())
            facts |= {f"accuracy_{kind}": reached for kind, reached in best.accuracy.items()}
        else:
            scores = fitter.fit(self.settings.score, masks)
        progress(Progress("split", 1, 1, facts))
        return SplitResult(masks, scores, warnings=warnings, history=({"step": 1.0, **facts},))

    @abstractmethod
    def _masks(self, task: SplitTask, graph: ChannelGraph, tick: Tick) -> tuple[KernelMasks, tuple[str, ...]]:
        """Return the masks and the warnings."""


@SPLITTERS.register("full")
class Full(_Baseline[FullSettings]):
    """Every module is the whole CNN: the upper bound of accuracy, and of cost."""

    Settings = FullSettings

    def _masks(self, task: SplitTask, graph: ChannelGraph, tick: Tick) -> tuple[KernelMasks, tuple[str, ...]]:
        return KernelMasks.full(graph.layout, task.n_classes), ()


class _Ranking(_Baseline[RankingSettingsT]):
    """Keeps the channels of highest rank of each channel group."""

    def references(self) -> tuple[SplitterReference, ...]:
        """Return the splitter whose counts are kept, if there is one."""
        return (self.settings.like,) if self.settings.like else ()

    def _masks(self, task: SplitTask, graph: ChannelGraph, tick: Tick) -> tuple[KernelMasks, tuple[str, ...]]:
        counts = kept_counts(self.settings, task, graph.layout)
        priority, warnings = self._priority(task, graph, tick)
        rounding = rounding_warnings(graph.layout, self.settings.round_to)
        return keep_highest(graph.layout, priority, counts), (*rounding, *warnings)

    @abstractmethod
    def _priority(self, task: SplitTask, graph: ChannelGraph, tick: Tick) -> tuple[Tensor, tuple[str, ...]]:
        """Return each channel's rank for each class (``[class, channel]``, the highest are kept) and the warnings."""


@SPLITTERS.register("random")
class Random(_Ranking[RankingSettings]):
    """Every module keeps random kernels of each layer."""

    Settings = RankingSettings
    version = 2

    def _priority(self, task: SplitTask, graph: ChannelGraph, tick: Tick) -> tuple[Tensor, tuple[str, ...]]:
        generator = torch.Generator().manual_seed(task.seed)
        return torch.rand(task.n_classes, graph.layout.n_channels, generator=generator), ()


@SPLITTERS.register("importance")
class MostImportant(_Ranking[ImportanceSettings]):
    """Every module keeps the most important kernels of each layer for its class (CNNSplitter's importance)."""

    Settings = ImportanceSettings
    version = 3

    def _priority(self, task: SplitTask, graph: ChannelGraph, tick: Tick) -> tuple[Tensor, tuple[str, ...]]:
        importance = channel_importance(graph, task.train, confidence=self.settings.confidence)
        return importance.norms, importance.warnings


@SPLITTERS.register("taylor")
class Taylor(_Ranking[RankingSettings]):
    """Every module keeps the kernels of each layer without which its class's log-odds change most, to first order."""

    Settings = RankingSettings

    def _priority(self, task: SplitTask, graph: ChannelGraph, tick: Tick) -> tuple[Tensor, tuple[str, ...]]:
        return taylor_terms(graph, task.train, tick=tick), ()


def kept_counts(settings: RankingSettings, task: SplitTask, layout: ChannelLayout) -> Int64[Tensor, "module group"]:
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
