"""GradSplitter: kernel masks and heads found by gradient descent (arXiv 2311.04438, section 3)."""

from __future__ import annotations

import torch
from jaxtyping import Bool
from torch import Tensor

from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.gradsplitter.settings import GradSplitterSettings
from splitters.methods.gradsplitter.trainer import Trainer
from splitters.methods.mask_training.mask_reach import reach_warnings
from splitters.methods.mask_training.search import MaskSearch
from splitters.methods.protocol import (
    SPLITTERS,
    Checkpoint,
    NoCheckpoint,
    ProgressCallback,
    SplitResult,
    SplitTask,
    Splitter,
    ignore_progress,
)
from splitters.methods.scoring.fitting import ScoreFitter
from splitters.modules.score_kinds import HeadScores
from splitters.modules.scores import Scores


@SPLITTERS.register("gradsplitter")
class GradSplitter(Splitter[GradSplitterSettings]):
    """Finds all modules at once by gradient descent on real masks over the kernels, with one small head per module.

    A head phase trains the heads first; rounds of a mask phase (masks and heads) and a head phase follow. The end of
    each round is recorded, and ``choose`` picks one of the recorded states.
    """

    Settings = GradSplitterSettings
    version = 1

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
        return _Search(task, graph, self.settings, progress, checkpoint or NoCheckpoint()).run()


class _Search(MaskSearch[GradSplitterSettings, HeadScores]):
    first_stage = "warm-up"

    def new_trainer(self, generator: torch.Generator) -> Trainer:
        return Trainer(self.task, self.graph, self.settings, generator, tick=self.tick)

    def early_warnings(self) -> tuple[str, ...]:
        return reach_warnings(self.settings, samples=len(self.task.train), presets="'small' or 'fast'")

    def begin(self) -> None:
        self.trainer.score_phase(self.settings.warmup, self.settings.warmup_learning_rate)

    def train_scores(self) -> None:
        self.trainer.score_phase(self.settings.head_phase, self.settings.head_learning_rate)

    def train_restored(self, dead: Bool[Tensor, " module"]) -> None:
        self.trainer.score_phase(self.settings.warmup, self.settings.warmup_learning_rate, only=dead)

    def recorded_scores(self) -> Scores:
        if self.settings.score == "head":
            return self.trainer.scores
        fitter = ScoreFitter(self.graph, self.task, tick=self.tick)
        return fitter.fit_networks(self.settings.score, self.trainer.networks())
