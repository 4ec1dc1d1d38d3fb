"""A splitter: a module keeps the channels that respond to its class more than to the other classes."""

from __future__ import annotations

from pydantic import Field

from splitters import (
    ChannelGraph,
    Checkpoint,
    KernelMasks,
    LogitScores,
    Progress,
    ProgressCallback,
    Settings,
    SplitResult,
    SplitTask,
    Splitter,
    channel_importance,
    ignore_progress,
)


class ContrastSettings(Settings):
    """Settings of ``contrast``.

    Args:
        retention: Share of the channels that each module keeps.
    """

    retention: float = Field(default=0.5, gt=0, le=1)


class Contrast(Splitter[ContrastSettings]):
    """Every module keeps the channels that respond to its class more than to the other classes."""

    Settings = ContrastSettings

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
        importance = channel_importance(graph, task.on_device().train)
        contrast = importance.norms / importance.norms.mean(0).clamp(min=1e-12)
        threshold = contrast.quantile(1 - self.settings.retention, dim=1, keepdim=True)
        masks = KernelMasks.repaired(graph.layout, contrast >= threshold, priority=contrast)
        progress(Progress("split", 1, 1, {"kernel_retention": masks.retention}))
        return SplitResult(masks, LogitScores(), warnings=importance.warnings)
