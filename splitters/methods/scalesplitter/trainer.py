"""ScaleSplitter's training phases: masks with scales and read-outs, and scales and read-outs alone."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.mask_training.trainer import MaskTrainer
from splitters.methods.protocol import SplitTask
from splitters.methods.scalesplitter.settings import ScaleSplitterSettings
from splitters.methods.scoring.adam import adam
from splitters.methods.scoring.head_training import clear_other_gradients
from splitters.modules.score_kinds import LinearScores
from splitters.networks.inference import Tick, network_logits, no_tick
from splitters.settings import Length


class Trainer(MaskTrainer[ScaleSplitterSettings, LinearScores]):
    """Trains masks, scales and read-outs by each module's binary cross-entropy and the base model's soft answers.

    See ``MaskTrainer``.
    """

    scales: Float[Tensor, "module channel"]

    def __init__(
        self,
        task: SplitTask,
        graph: ChannelGraph,
        settings: ScaleSplitterSettings,
        generator: torch.Generator,
        *,
        tick: Tick = no_tick,
    ) -> None:
        super().__init__(task, graph, settings, generator, tick=tick)
        self.scales = torch.ones_like(self.masks)
        self._classes = torch.arange(self.n_modules, device=task.device)
        self._soft_answers: Float[Tensor, "sample class"] | None = None
        if settings.distillation:
            self._soft_answers = network_logits(graph.network, task.train, tick=tick).log_softmax(1)

    @property
    def score_learning_rate(self) -> float:
        """The learning rate of scales and read-outs."""
        return self.settings.learning_rate

    def new_scores(self) -> LinearScores:
        """Return read-outs of the modules' own logits."""
        return LinearScores.own_logits(self.n_modules).map(lambda tensor: tensor.to(self.images.images.device))

    def loss_of(
        self, gates: Float[Tensor, "module channel"], scores: LinearScores, indices: Int64[Tensor, " batch"]
    ) -> Float[Tensor, ""]:
        """Return the mean binary cross-entropy of "my class or not", plus the weighted divergence from the teacher."""
        images, labels = self.images.batch(indices)
        found = scores(self.network(images, gates))
        own = (labels[:, None] == self._classes).T
        loss = F.binary_cross_entropy_with_logits(found, own.to(found.dtype))
        if self._soft_answers is None:
            return loss
        divergence = F.kl_div(
            found.T.log_softmax(1), self._soft_answers[indices], reduction="batchmean", log_target=True
        )
        return loss + self.settings.distillation * divergence

    def score_phase(self, length: Length, learning_rate: float, only: Bool[Tensor, " module"] | None = None) -> None:
        """Train scales and read-outs alone, through the current modules; the rate falls to 0 along the phase.

        Args:
            length: The length of the phase.
            learning_rate: Adam's learning rate at the beginning.
            only: The modules that are trained; None for all.
        """
        steps = self.steps_of(length)
        if not steps:
            return
        bits = self.kernel_masks().bits.to(self.masks)
        scales, scores = self.scales.clone().requires_grad_(), self.trainable_scores()
        parameters = [*scores.tensors().values(), scales]
        optimiser = adam(parameters, lr=learning_rate, device=scales.device)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: 1 - step / steps)
        for indices in self.batches(steps):
            loss = self.loss_of(bits * scales, scores, indices)
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            if only is not None:
                clear_other_gradients(parameters, only)
            optimiser.step()
            schedule.step()
            self.loss = loss.detach()
            self.tick()
        self.scales, self.scores = scales.detach(), scores.map(torch.Tensor.detach)
        self.check_finite()
