"""Batches in which every module has images of its own, of which a fixed number show its class."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor

from splitters.data import ImageSet


@dataclass(frozen=True)
class OwnImages:
    """Draws each module's images and weighs their losses, so that rare positives cost no bias.

    In a batch that all modules share, an image of a class is rare: with N classes, a module learns from one image in N
    what it is to recognise. Here ``positives`` images of every batch show the module's class, and weights give them the
    share of the loss that the class has among ``prior`` images.

    Args:
        images: The images to draw from.
        batch_size: Images of a module per step.
        positives: How many of them show its class.
        prior: The share of the loss that they make up.
        generator: Draws the images, with replacement.
    """

    images: ImageSet
    batch_size: int
    positives: int
    prior: float
    generator: torch.Generator

    def batches(self, steps: int) -> Iterator[Int64[Tensor, "module batch"]]:
        """Yield the indices of every module's images, its class's first."""
        for _ in range(steps):
            rows = [
                torch.cat([self._draw(own, self.positives), self._draw(others, self.batch_size - self.positives)])
                for own, others in self._indices
            ]
            yield torch.stack(rows).to(self.images.images.device)

    def loss(self, scores: Float[Tensor, "module batch"], indices: Int64[Tensor, "module batch"]) -> Float[Tensor, ""]:
        """Return the binary cross-entropy of each module's scores with its class, weighted, averaged over modules."""
        modules = torch.arange(len(indices), device=indices.device)
        targets = (self.images.labels[indices] == modules[:, None]).to(scores.dtype)
        losses: Tensor = F.binary_cross_entropy_with_logits(scores, targets, reduction="none")
        own, others = losses[:, : self.positives], losses[:, self.positives :]
        return (self.prior * own.mean(1) + (1 - self.prior) * others.mean(1)).mean()

    @cached_property
    def _indices(self) -> list[tuple[Tensor, Tensor]]:
        """The indices of each class's images, and of all others; of all images where there are none."""
        labels = self.images.labels.cpu()
        everything = torch.arange(len(labels))

        def chosen(wanted: Tensor) -> Tensor:
            return everything[wanted] if bool(wanted.any()) else everything

        return [(chosen(labels == index), chosen(labels != index)) for index in range(self.images.n_classes)]

    def _draw(self, indices: Tensor, count: int) -> Tensor:
        return indices[torch.randint(len(indices), (count,), generator=self.generator)]
