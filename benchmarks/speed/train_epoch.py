"""``train.epoch``: an epoch of a base model's training, against a plain torch loop with a DataLoader."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from benchmarks.cache.artifacts import ArtifactCache
from benchmarks.cells import ModelSpec, TrainingSpec
from benchmarks.data.roles import Roles
from benchmarks.models import build_model
from benchmarks.models.papers.simcnn import SimCNN
from benchmarks.seeding import derive_seed
from benchmarks.speed.gradsplitter.contest import layer_flops, synthetic_task
from benchmarks.speed.measurement import Measurement, in_turns
from benchmarks.training.base_model import train_base_model
from splitters.data import ImageSet

_SEED = 0


def measure(
    *,
    width: float = 0.25,
    images: int = 2000,
    select_images: int = 500,
    batch_size: int = 128,
    augment: bool = True,
    repeats: int = 3,
    device: str = "cpu",
) -> Measurement:
    """Compare an epoch with evaluation on select; both start from the same weights.

    Args:
        width: Share of SimCNN's channels.
        images: Training images of CIFAR-10's size.
        select_images: Images on which the epoch is evaluated.
        batch_size: Images per step.
        augment: Whether images are cropped and flipped at random, for which both draw random numbers of their own.
        repeats: Timed epochs.
        device: Where both run.
    """
    train, select = (synthetic_task(width=width, images=count).train for count in (images, select_images))
    spec = ModelSpec(name="simcnn", settings={"width": width, "dropout": 0.0})
    recipe = TrainingSpec(
        epochs=1, batch_size=batch_size, crop_padding=4 if augment else 0, flip=augment, learning_rate=0.01
    )
    plain = _PlainTraining(train, select, spec, recipe, device)
    trained: list[nn.Module] = []

    def ours() -> None:
        with tempfile.TemporaryDirectory() as folder:
            model = train_base_model(
                spec,
                recipe,
                Roles(train, select, select),
                dataset_hash="",
                flips=False,
                seed=_SEED,
                threads=torch.get_num_threads(),
                cache=ArtifactCache(Path(folder)),
                device=device,
            )
        trained.append(model.model)

    seconds, reference_seconds = in_turns(ours, plain.run, repeats=repeats, device=device)
    if not augment:
        for expected, actual in zip(plain.model.parameters(), trained[-1].parameters(), strict=True):
            torch.testing.assert_close(actual, expected, rtol=1e-2, atol=1e-3)
    convolutions, linear = layer_flops(plain.model)
    return Measurement(
        "train.epoch",
        seconds=seconds,
        reference_seconds=reference_seconds,
        detail=f"SimCNN at width {width:g}, {images} images, batches of {batch_size}, evaluated on {select_images}",
        ours=ours,
        # Forward, and backward to weights and, after the first convolution, to inputs.
        flops=images * (3 * (sum(convolutions) + linear) - convolutions[0])
        + select_images * (sum(convolutions) + linear),
        repeats=repeats,
    )


class _PlainTraining:
    """The papers' recipe as torch's tutorials write it: images one by one, the loss read in every step."""

    def __init__(self, train: ImageSet, select: ImageSet, spec: ModelSpec, recipe: TrainingSpec, device: str) -> None:
        self.train, self.select, self.spec, self.recipe, self.device = train, select, spec, recipe, device
        self.model = self._new_model()

    def run(self) -> float:
        self.model = self._new_model()
        optimiser = torch.optim.SGD(
            self.model.parameters(),
            lr=self.recipe.learning_rate,
            momentum=self.recipe.momentum,
            weight_decay=self.recipe.weight_decay,
        )
        self.model.train()
        losses = []
        augmented = _Images(self.train, padding=self.recipe.crop_padding, flip=bool(self.recipe.flip))
        for images, labels in DataLoader(augmented, batch_sampler=self._order()):
            loss = F.cross_entropy(self.model(images.to(self.device)), labels.to(self.device))
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        self.model.eval()
        correct = 0
        with torch.no_grad():
            for images, labels in DataLoader(_Images(self.select), batch_size=256):
                correct += int((self.model(images.to(self.device)).argmax(1).cpu() == labels).sum())
        return correct / len(self.select)

    def _new_model(self) -> SimCNN:
        seed = derive_seed(_SEED, "base model")
        shape = self.train.input_shape
        model = build_model(self.spec, n_classes=self.train.n_classes, input_shape=shape, seed=seed)
        assert isinstance(model, SimCNN)
        return model.to(self.device)

    def _order(self) -> Sequence[list[int]]:
        """Return the order of our first epoch."""
        generator = torch.Generator().manual_seed(derive_seed(_SEED, "order", 0))
        order = torch.randperm(len(self.train), generator=generator)
        return [part.tolist() for part in order.split(self.recipe.batch_size)]


class _Images(Dataset[tuple[Tensor, int]]):
    """Images that are cropped, flipped and normalised one by one."""

    def __init__(self, images: ImageSet, *, padding: int = 0, flip: bool = False) -> None:
        self.images, self.padding, self.flip = images, padding, flip
        self.mean, self.std = (
            torch.tensor(values).view(-1, 1, 1) for values in (images.normalisation.mean, images.normalisation.std)
        )

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image, label = self.images.images[index], int(self.images.labels[index])
        if self.padding:
            _, height, width = image.shape
            top, left = torch.randint(0, 2 * self.padding + 1, (2,)).tolist()
            image = F.pad(image, [self.padding] * 4)[:, top : top + height, left : left + width]
        if self.flip and torch.rand(()) < 0.5:
            image = image.flip(2)
        return (image.float() / 255 - self.mean) / self.std, label
