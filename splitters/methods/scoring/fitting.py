"""Fitting scores to modules whose masks are known, and choosing the kind that does best."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import torch

from splitters.data import ImageSet
from splitters.errors import SplitFailedError
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.protocol import SplitTask
from splitters.methods.scoring.head_training import ModuleLogits, shuffled_batches, train_heads
from splitters.methods.scoring.kinds import DEFAULT_HEAD_STEPS, SCORE_KINDS, ScoreKind
from splitters.modules.calibration import MomentsCalibration
from splitters.modules.score_kinds import HeadScores, LogitScores
from splitters.modules.scores import Scores
from splitters.networks.inference import ModuleNetworks, Tick, network_logits, no_tick
from splitters.networks.masks import KernelMasks

# GradSplitter's heads and how it first trains them (arXiv 2311.04438).
_WIDTH = 10
_LEARNING_RATE = 0.01
_BATCH_SIZE = 64


@dataclass(frozen=True)
class BestScores:
    """Scores of the kind with the highest composed accuracy.

    Args:
        scores: The scores.
        accuracy: The composed accuracy of every kind on select.
    """

    scores: Scores
    accuracy: Mapping[ScoreKind, float]


@dataclass
class ScoreFitter:
    """Fits scores to modules on a task's train images, which are the same for every splitter.

    Args:
        graph: The base model's channel graph, on the task's device.
        task: The task, its images on its device.
        head_steps: Training steps of heads.
        tick: Called after every batch and training step.
        batch_size: Images per forward pass.
    """

    graph: ChannelGraph
    task: SplitTask
    head_steps: int = DEFAULT_HEAD_STEPS
    tick: Tick = field(default=no_tick)
    batch_size: int = 256

    def fit(self, kind: ScoreKind, masks: KernelMasks) -> Scores:
        """Return scores of one kind.

        Raises:
            SplitFailedError: If a head cannot be trained.
        """
        return LogitScores() if kind == "logit" else self.fit_networks(kind, self._networks(masks))

    def fit_networks(self, kind: ScoreKind, networks: ModuleNetworks) -> Scores:
        """Return scores of one kind for modules that have been cut; see ``fit``."""
        return self._fit(kind, self._logits(networks, self.task.train))

    def fit_best(self, masks: KernelMasks) -> BestScores:
        """Return scores of the kind with the highest composed accuracy on select; of equal ones, the simplest.

        Raises:
            SplitFailedError: If a head cannot be trained, or scores are not numbers.
        """
        networks = self._networks(masks)
        train, select = (self._logits(networks, images) for images in (self.task.train, self.task.select))
        fitted = {kind: self._fit(kind, train) for kind in SCORE_KINDS}
        reached = {kind: select.composed_accuracy(scores) for kind, scores in fitted.items()}
        return BestScores(fitted[max(SCORE_KINDS, key=reached.__getitem__)], reached)

    def composed_accuracy(self, scores: Scores, masks: KernelMasks, images: ImageSet) -> float:
        """Return the accuracy of all modules, composed, on some images."""
        return self._logits(self._networks(masks), images).composed_accuracy(scores)

    def _logits(self, networks: ModuleNetworks, images: ImageSet) -> ModuleLogits:
        return ModuleLogits(networks, images, batch_size=self.batch_size, tick=self.tick)

    def _networks(self, masks: KernelMasks) -> ModuleNetworks:
        return ModuleNetworks.of(self.graph, masks, tick=self.tick)

    def _fit(self, kind: ScoreKind, train: ModuleLogits) -> Scores:
        if kind == "logit":
            return LogitScores()
        if kind == "moments":
            return self._base_moments.scores(train.scores(LogitScores()))
        return self._train_heads(train)

    @cached_property
    def _base_moments(self) -> MomentsCalibration:
        logits = network_logits(self.graph.network, self.task.train, batch_size=self.batch_size, tick=self.tick)
        return MomentsCalibration.of_base_model(logits)

    def _train_heads(self, train: ModuleLogits) -> HeadScores:
        device = self.task.device
        # A new generator each time, so that heads do not depend on what was fitted before.
        generator = torch.Generator().manual_seed(self.task.seed)
        heads = HeadScores.initialised(self.task.n_classes, self.task.n_classes, _WIDTH, generator=generator)
        batches = shuffled_batches(
            len(train.images), batch_size=_BATCH_SIZE, steps=self.head_steps, generator=generator, device=device
        )
        heads, loss = train_heads(
            heads.map(lambda tensor: tensor.to(device)), train, list(batches), learning_rate=_LEARNING_RATE
        )
        if not torch.isfinite(torch.tensor(loss)):
            raise SplitFailedError(f"the loss of the heads became {loss}: the modules' logits overflow.")
        return heads
