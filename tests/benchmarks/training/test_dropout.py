"""Dropout is turned off completely, or training without it is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.cache.artifacts import ArtifactCache
from benchmarks.cells import ModelSpec, TrainingSpec
from benchmarks.data.roles import Roles
from benchmarks.models import build_model
from benchmarks.training.base_model import train_base_model
from benchmarks.training.dropout import switch_off_dropout
from splitters.data import IMAGENET, ImageSet
from splitters.errors import ConfigurationError


def answers_differ(model: nn.Module, images: Tensor) -> bool:
    """Return whether two passes of a network in train mode differ."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.momentum = 0.0
    with torch.no_grad():
        return not torch.equal(model(images), model(images))


@pytest.mark.parametrize(
    ("name", "settings", "side"),
    [
        ("torchvision:mobilenet_v2", {}, 32),
        ("torchvision:vgg11_bn", {}, 32),
        ("torchvision:efficientnet_b0", {}, 32),
        ("torchvision:densenet121", {"drop_rate": 0.5}, 32),
        ("simcnn", {"width": 0.05}, 32),
        ("incecnn", {"width": 0.05}, 16),
    ],
)
def test_networks_of_every_kind_lose_their_dropout(name: str, settings: dict[str, object], side: int) -> None:
    spec = ModelSpec(name=name, settings=settings)
    model = build_model(spec, n_classes=10, input_shape=(3, side, side), seed=0)
    images = torch.rand(8, 3, side, side, generator=torch.Generator().manual_seed(0))
    assert answers_differ(model, images), "it has dropout"
    state = torch.get_rng_state()
    switch_off_dropout(model, (3, side, side), name=name)
    assert torch.equal(torch.get_rng_state(), state)
    assert not answers_differ(model, images)


class _HardCodedDropout(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3 * 4 * 4, 2)

    def forward(self, images: Tensor) -> Tensor:
        answers: Tensor = self.layer(functional.dropout(images.flatten(1), 0.5, training=self.training))
        return answers


def test_dropout_that_cannot_be_turned_off_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="model 'own' draws random numbers in training"):
        switch_off_dropout(_HardCodedDropout(), (3, 4, 4), name="own")


def test_a_recipe_without_dropout_trains_the_weights_of_a_network_without(tmp_path: Path) -> None:
    pixels = torch.randint(0, 256, (12, 3, 32, 32), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    images = ImageSet(pixels, torch.arange(12) % 2, ("a", "b"), IMAGENET)

    def weights(dropout: float, *, recipe: bool) -> str:
        return train_base_model(
            ModelSpec(name="rescnn", settings={"width": 0.05, "dropout": dropout}),
            TrainingSpec(epochs=2, batch_size=4, dropout=recipe),
            Roles(images, images, images),
            dataset_hash="",
            flips=False,
            seed=0,
            threads=1,
            cache=ArtifactCache(tmp_path),
        ).weights_hash

    assert weights(0.5, recipe=False) == weights(0.0, recipe=True) != weights(0.5, recipe=True)


def test_recipes_with_dropout_keep_their_earlier_cell_ids() -> None:
    assert "dropout" not in TrainingSpec().model_dump_json()
    assert '"dropout":false' in TrainingSpec(dropout=False).model_dump_json()
