"""GradSplitter in plain torch, from the paper's description (arXiv 2311.04438): one masked copy after the other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.models.papers.simcnn import SimCNN

Batches = Iterable[tuple[Tensor, Tensor]]
"""Normalised images and labels, step by step."""


class PlainGradSplitter:
    """Real masks and heads for N modules of a SimCNN, trained without regard to speed.

    Args:
        model: The base model, frozen and in eval mode.
        masks: The real masks to begin with: ``[module, kernel]``, layer after layer.
        heads: One head per module, from the logits to a score.
        alpha: Weight of the share of kept kernels.
    """

    def __init__(self, model: SimCNN, masks: Tensor, heads: Sequence[nn.Module], *, alpha: float) -> None:
        self.model = model
        self.heads = heads
        self.alpha = alpha
        self.loss = math.nan
        kernels = [layer.out_channels for layer in model.features.modules() if isinstance(layer, nn.Conv2d)]
        self.masks = [[part.clone().requires_grad_() for part in row.split(kernels)] for row in masks]

    @property
    def all_masks(self) -> Tensor:
        """The real masks: ``[module, kernel]``."""
        return torch.stack([torch.cat(parts) for parts in self.masks]).detach()

    def mask_phase(self, batches: Batches, *, mask_learning_rate: float, head_learning_rate: float) -> None:
        """Train masks and heads together."""
        masks = [mask for parts in self.masks for mask in parts]
        optimiser = torch.optim.Adam(
            [
                {"params": masks, "lr": mask_learning_rate},
                {"params": list(self._head_parameters()), "lr": head_learning_rate},
            ]
        )
        for images, labels in batches:
            bits = [[_binarise(mask) for mask in parts] for parts in self.masks]
            share = torch.cat([torch.cat(parts) for parts in bits]).mean()
            loss = F.cross_entropy(self.scores(images, bits), labels) + self.alpha * share
            self._step(optimiser, loss)

    def head_phase(self, batches: Batches, *, learning_rate: float) -> None:
        """Train heads alone."""
        optimiser = torch.optim.Adam(list(self._head_parameters()), lr=learning_rate)
        with torch.no_grad():
            bits = [[_binarise(mask) for mask in parts] for parts in self.masks]
        for images, labels in batches:
            self._step(optimiser, F.cross_entropy(self.scores(images, bits), labels))

    @torch.no_grad()
    def accuracy(self, batches: Batches) -> float:
        """Return the share of images whose highest score is their class's."""
        bits = [[_binarise(mask) for mask in parts] for parts in self.masks]
        correct = [self.scores(images, bits).argmax(1) == labels for images, labels in batches]
        return float(torch.cat(correct).double().mean())

    def scores(self, images: Tensor, bits: Sequence[Sequence[Tensor]]) -> Tensor:
        """Return the scores of all modules: ``[batch, module]``."""
        pairs = zip(self.heads, bits, strict=True)
        return torch.cat([head(self._masked_logits(images, parts)) for head, parts in pairs], dim=1)

    def _masked_logits(self, images: Tensor, bits: Sequence[Tensor]) -> Tensor:
        x, remaining = images, iter(bits)
        for block in self.model.features:
            x = block(x)
            if not isinstance(block, nn.MaxPool2d):
                x = x * next(remaining).view(1, -1, 1, 1)
        logits: Tensor = self.model.classifier(x.flatten(1))
        return logits

    def _head_parameters(self) -> Iterator[nn.Parameter]:
        for head in self.heads:
            yield from head.parameters()

    def _step(self, optimiser: torch.optim.Optimizer, loss: Tensor) -> None:
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        self.loss = float(loss.detach())


class _Binarise(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, mask: Tensor) -> Tensor:
        return (mask > 0).to(mask.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return gradients[0].clamp(-1, 1)


def _binarise(mask: Tensor) -> Tensor:
    bits: Tensor = _Binarise.apply(mask)
    return bits
