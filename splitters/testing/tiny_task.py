"""A task so small that it can be split in a moment."""

from __future__ import annotations

import copy
import functools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from splitters.data import ImageSet, Normalisation
from splitters.methods.protocol import SplitTask

_N_CLASSES = 3
_IMAGE_SIZE = 8


class TinyNet(nn.Module):
    """A CNN with typical structures: batch norm, nested layers, a residual sum that ties two of them, a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.block = nn.Sequential(nn.Conv2d(6, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1))
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(8, _N_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        x = F.max_pool2d(F.relu(self.norm(self.first(images))), 2)
        x = F.relu(self.block[0](x))
        x = F.relu(self.block[1](x) + x)
        logits: Tensor = self.classifier(self.dropout(x.mean((2, 3))))
        return logits


def tiny_task(seed: int = 0) -> SplitTask:
    """Return a task of three classes with a tiny trained CNN that is nearly always correct.

    Args:
        seed: The task's seed; images and base model do not depend on it.
    """
    model, train, select = _trained()
    return SplitTask(copy.deepcopy(model), train, select, seed)


@functools.cache
def _trained() -> tuple[nn.Module, ImageSet, ImageSet]:
    train, select = _images(20, seed=1), _images(12, seed=2)
    with torch.random.fork_rng(devices=[]), torch.enable_grad():
        torch.manual_seed(0)
        model = TinyNet()
        optimiser = torch.optim.Adam(model.parameters(), lr=0.02)
        for _ in range(40):
            images, labels = train.batch(torch.randperm(len(train))[:32])
            loss = F.cross_entropy(model(images), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    for parameter in model.parameters():
        parameter.grad = None
    return model.eval(), train, select


def _images(per_class: int, *, seed: int) -> ImageSet:
    """Return noisy images in which each class brightens one colour in the upper half."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(_N_CLASSES).repeat(per_class)
    images = torch.randint(0, 120, (len(labels), 3, _IMAGE_SIZE, _IMAGE_SIZE), generator=generator)
    for image, label in zip(images, labels.tolist(), strict=True):
        image[label, : _IMAGE_SIZE // 2] += 100
    names = tuple(f"colour {number}" for number in range(_N_CLASSES))
    return ImageSet(images.to(torch.uint8), labels, names, Normalisation((0.5,) * 3, (0.25,) * 3))
