"""GradSplitter's training phases: masks together with heads, and heads alone."""

from __future__ import annotations

from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from splitters.methods.gradsplitter.settings import GradSplitterSettings
from splitters.methods.mask_training.trainer import MaskTrainer
from splitters.methods.scoring.head_training import ModuleLogits, train_heads
from splitters.modules.score_kinds import HeadScores
from splitters.settings import Length


class Trainer(MaskTrainer[GradSplitterSettings, HeadScores]):
    """Trains real masks and heads by the cross-entropy over the modules' scores; see ``MaskTrainer``."""

    @property
    def score_learning_rate(self) -> float:
        """The heads' learning rate in mask phases."""
        return self.settings.head_learning_rate

    def new_scores(self) -> HeadScores:
        """Return newly initialised heads for all modules."""
        heads = HeadScores.initialised(
            self.n_modules, self.n_modules, self.settings.head_width, generator=self.generator
        )
        return heads.map(lambda tensor: tensor.to(self.images.images.device))

    def loss_of(
        self, gates: Float[Tensor, "module channel"], scores: HeadScores, indices: Int64[Tensor, " batch"]
    ) -> Float[Tensor, ""]:
        """Return the cross-entropy over the vector of the modules' scores."""
        images, labels = self.images.batch(indices)
        return F.cross_entropy(scores(self.network(images, gates)).T, labels)

    def sparsity(self, bits: Float[Tensor, "module channel"]) -> Float[Tensor, ""]:
        """Return the share of kept channels, or of the kernels that may be dropped."""
        if self.settings.sparsity == "channels":
            return super().sparsity(bits)
        return (bits @ self._kernels_per_channel).mean() / self._kernels_per_channel.sum()

    @cached_property
    def _kernels_per_channel(self) -> Float[Tensor, " channel"]:
        return self.layout.kernels_per_channel.to(self.masks)

    def score_phase(self, length: Length, learning_rate: float, only: Bool[Tensor, " module"] | None = None) -> None:
        """Train heads alone, on the logits of the current modules.

        Args:
            length: The length of the phase.
            learning_rate: Adam's learning rate.
            only: The modules whose heads are trained; None for all.
        """
        batches = list(self.batches(self.steps_of(length)))
        if not batches:
            return
        used, positions = torch.unique(torch.cat(batches), return_inverse=True)
        self.scores, self.loss = train_heads(
            self.scores,
            ModuleLogits(self.networks(), self.images.subset(used), tick=self.tick),
            positions.split([len(batch) for batch in batches]),
            learning_rate=learning_rate,
            only=only,
        )
        self.check_finite()
