"""Training of heads on modules whose masks are fixed, so that their logits never change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from splitters.data import ImageSet
from splitters.data.transfer import send
from splitters.methods.scoring.adam import adam
from splitters.modules.score_kinds import HeadScores
from splitters.modules.scores import Scores
from splitters.networks.inference import ModuleNetworks, Tick, accuracy, composed_answers, no_tick

_LOGITS_BYTES = 1 << 30
"""All modules' logits are cached up to this size; beyond it, they are computed batch by batch."""


class ModuleLogits:
    """The logits of modules with fixed masks on one set of images, computed once where they fit in memory.

    Args:
        networks: The modules.
        images: The images, on the networks' device.
        batch_size: Images per forward pass.
        tick: Called after every batch.
    """

    def __init__(
        self, networks: ModuleNetworks, images: ImageSet, *, batch_size: int = 256, tick: Tick = no_tick
    ) -> None:
        self.networks = networks
        self.images = images
        self.batch_size = batch_size
        self.tick = tick

    @cached_property
    def _cached(self) -> Float[Tensor, "module sample class"] | None:
        n_modules = len(self.networks.network_index)
        if len(self.images) * n_modules * self.images.n_classes * 4 > _LOGITS_BYTES:
            return None
        return self.networks.logits(self.images, batch_size=self.batch_size, tick=self.tick)

    def of(self, indices: Int64[Tensor, " batch"]) -> Float[Tensor, "module batch class"]:
        """Return the logits for the images at ``indices``."""
        if self._cached is not None:
            return self._cached[:, indices]
        images, _ = self.images.batch(indices)
        parts = images.split(self.batch_size)
        return torch.cat([self.networks.batch_logits(part, tick=self.tick) for part in parts], dim=1)

    def scores(self, scores: Scores) -> Float[Tensor, "module sample"]:
        """Return the modules' scores for all images, in order."""
        everything = torch.arange(len(self.images), device=self.images.images.device)
        return torch.cat([scores(self.of(part)) for part in everything.split(self.batch_size)], dim=1)

    def composed_accuracy(self, scores: Scores) -> float:
        """Return the accuracy of all modules, composed.

        Raises:
            SplitFailedError: If a score is NaN.
        """
        return accuracy(composed_answers(self.scores(scores)), self.images.labels)


def shuffled_batches(
    n_images: int, *, batch_size: int, steps: int, generator: torch.Generator, device: torch.device
) -> Iterator[Int64[Tensor, " batch"]]:
    """Yield ``steps`` batches of image indices, epoch after epoch, each shuffled; an epoch's last may be smaller."""
    done = 0
    while done < steps:
        order = send(torch.randperm(n_images, generator=generator), device)
        for indices in order.split(batch_size)[: steps - done]:
            yield indices
            done += 1


def train_heads(
    heads: HeadScores,
    logits: ModuleLogits,
    batches: Sequence[Int64[Tensor, " _"]],
    *,
    learning_rate: float,
    only: Bool[Tensor, " module"] | None = None,
) -> tuple[HeadScores, float]:
    """Train heads by Adam and the cross-entropy over the modules' scores, as GradSplitter's head phases do.

    Args:
        heads: Where training begins; they are not changed.
        logits: What the heads read.
        batches: Indices of the images of each step; at least one step.
        learning_rate: Adam's learning rate.
        only: The modules whose heads are trained; None for all.

    Returns:
        The trained heads, and the last step's loss.
    """
    heads = heads.map(lambda tensor: tensor.clone().requires_grad_())
    optimiser = adam(heads.tensors().values(), lr=learning_rate, device=logits.images.images.device)
    loss = torch.zeros(())
    for indices in batches:
        loss = F.cross_entropy(heads(logits.of(indices)).T, logits.images.labels[indices])
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        if only is not None:
            clear_other_gradients(heads.tensors().values(), only)
        optimiser.step()
        logits.tick()
    return heads.map(torch.Tensor.detach), float(loss.detach())


def clear_other_gradients(parameters: Iterable[Tensor], only: Bool[Tensor, " module"]) -> None:
    """Set the gradients of all modules but some to zero: without momentum, Adam leaves such parameters unchanged.

    Args:
        parameters: Each has one row per module.
        only: The modules whose gradients stay.
    """
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.grad.masked_fill_(~only.view(-1, *[1] * (parameter.dim() - 1)), 0)
