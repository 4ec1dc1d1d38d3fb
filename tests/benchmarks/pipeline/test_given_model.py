"""Given models in a cell: checked on select before anything is searched."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from benchmarks.cells import ChannelStatistics, ModelSpec
from benchmarks.data.roles import Roles
from benchmarks.pipeline import given_model
from benchmarks.pipeline.given_model import (
    ImplausibleModelError,
    best_order,
    prepare_given,
    settled_normalisation,
)
from benchmarks.pipeline.workspace import Workspace
from splitters.data import ImageSet, Normalisation
from splitters.errors import ConfigurationError
from splitters.networks.inference import plausible_accuracy

NAMES = ("dark", "dim", "light", "bright")
RIGHT = Normalisation((0.5, 0.5, 0.5), (0.25, 0.25, 0.25))


class Brightness(nn.Module):
    """Tells four levels of red apart, in images normalised by ``RIGHT``; green and blue say nothing."""

    def __init__(self, order: tuple[int, ...] = (0, 1, 2, 3)) -> None:
        super().__init__()
        self.levels = nn.Parameter(torch.tensor([-1.5, -0.5, 0.5, 1.5])[list(order)])

    def forward(self, images: Tensor) -> Tensor:
        return -((images[:, 0].mean((1, 2))[:, None] - self.levels) ** 2)


def images() -> ImageSet:
    labels = torch.arange(40) % 4
    pixels = torch.full((40, 3, 4, 4), 128, dtype=torch.uint8)
    pixels[:, 0] = (32 + 64 * labels).to(torch.uint8).view(-1, 1, 1)
    return ImageSet(pixels, labels, NAMES, RIGHT)


def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network: nn.Module, **fields: object) -> ModelSpec:
    """Returns a given model with the weights of ``network``, whose code is this module's class."""
    torch.save(network.state_dict(), tmp_path / "w.pth")
    monkeypatch.syspath_prepend(Path(__file__).parent)
    (tmp_path / "brightness_net.py").write_text("from test_given_model import Brightness as net\n")
    monkeypatch.syspath_prepend(tmp_path)
    return ModelSpec.model_validate({"name": "python:brightness_net:net", "weights": str(tmp_path / "w.pth"), **fields})


def roles(normalisation: Normalisation = RIGHT, select: ImageSet | None = None) -> Roles:
    shown = replace(select or images(), normalisation=normalisation)
    return Roles(shown, shown, shown)


@pytest.mark.parametrize(("n_classes", "bound"), [(2, 0.75), (3, 2 / 3), (4, 0.5), (10, 0.2)])
def test_a_trained_model_reaches_twice_chance(n_classes: int, bound: float) -> None:
    assert plausible_accuracy(n_classes) == pytest.approx(bound)


def test_a_plausible_model_is_taken_with_what_is_not_known_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base, warnings = prepare_given(spec(tmp_path, monkeypatch, Brightness()), roles(), Workspace(cache=tmp_path))
    assert (base.select_accuracy, base.is_given, base.source) == (1.0, True, str(tmp_path / "w.pth"))
    assert warnings == (given_model.UNKNOWN_TRAINING,)


def test_a_wrong_normalisation_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given = spec(tmp_path, monkeypatch, Brightness())
    wrong = Normalisation((8.0, 8.0, 8.0), (0.25, 0.25, 0.25))
    monkeypatch.setattr(given_model, "likely_normalisations", lambda _: [("RIGHT", RIGHT), ("WRONG", wrong)])
    message = (
        "25.0 % of the select images are right, less than 50.0 %, twice chance.*on 100.0 % with normalisation RIGHT"
    )
    with pytest.raises(ImplausibleModelError, match=message):
        prepare_given(given, roles(wrong), Workspace(cache=tmp_path))


def test_reversed_channels_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    select = replace(images(), images=images().images.flip(1))
    with pytest.raises(ImplausibleModelError, match=r"100.0 % with blue before red"):
        prepare_given(spec(tmp_path, monkeypatch, Brightness()), roles(select=select), Workspace(cache=tmp_path))


@pytest.mark.parametrize(
    ("named", "shown"),
    [((), "dim, light, bright, dark"), (("bright", "dark", "dim", "light"), "dark, dim, light, bright")],
)
def test_the_order_of_classes_that_would_be_right_is_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: tuple[str, ...], shown: str
) -> None:
    order = (1, 2, 3, 0) if not named else (0, 1, 2, 3)
    given = spec(tmp_path, monkeypatch, Brightness(order), class_names=named)
    with pytest.raises(ImplausibleModelError, match=rf"100.0 % with class_names: \[{shown}\]"):
        prepare_given(given, roles(), Workspace(cache=tmp_path))
    forced = given.model_copy(update={"force": True})
    base, warnings = prepare_given(forced, roles(), Workspace(cache=tmp_path))
    assert base.select_accuracy == 0.0
    assert "The model was used all the same, as 'force' says." in warnings[-1]


def test_the_best_order_is_that_of_the_confusion_matrix() -> None:
    labels = torch.tensor([0, 0, 0, 1, 1, 1, 2, 2, 2])
    answers = torch.tensor([2, 2, 1, 0, 0, 0, 1, 1, 1])
    order, right = best_order(answers, labels, 3)
    assert order == [1, 2, 0]
    assert right == pytest.approx(8 / 9)


def test_an_unsaid_normalisation_is_imagenets_unless_another_one_fits_better(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = spec(tmp_path, monkeypatch, Brightness())
    warnings: list[str] = []
    workspace = Workspace(cache=tmp_path, warn=warnings.append)
    said = given.model_copy(update={"normalisation": ChannelStatistics(mean=(0.5,) * 3, std=(0.25,) * 3)})
    assert settled_normalisation(said, images(), workspace) == said
    assert warnings == []
    assert settled_normalisation(given, images(), workspace).normalisation == "imagenet"
    assert "ImageNet's statistics are assumed" in warnings[0]
    narrow = replace(images(), images=(images().images.float() * 0.3).to(torch.uint8))
    with pytest.raises(
        ConfigurationError, match=r"does not say how(.|\n)*25.0 % with none\n(.|\n)*100.0 % with .*the images' own"
    ):
        settled_normalisation(given, narrow, workspace)
