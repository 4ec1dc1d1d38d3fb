"""Predictions from images of any kind are those of the same pixels, prepared by hand."""

import io
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from small_nets import Between
from torch import Tensor, nn

from splitters import SplitResult, compose, extract_modules, load_model, patch
from splitters.data import ImageSet, Normalisation
from splitters.errors import ConfigurationError, DataError
from splitters.graph.channel_graph import ChannelGraph
from splitters.modules.score_kinds import HeadScores, LogitScores
from splitters.modules.scores import Scores
from splitters.networks.masks import KernelMasks
from splitters.reuse.composed import ComposedModel

_NORMALISATION = Normalisation((0.2, 0.3, 0.4), (0.1, 0.2, 0.3))
_NAMES = ("a", "b", "c", "d")


def _composed(scores: Scores | None = None) -> ComposedModel:
    torch.manual_seed(0)
    graph = ChannelGraph.trace(Between(lambda net, x: x.relu()).eval(), torch.rand(2, 3, 8, 8))
    result = SplitResult(KernelMasks.full(graph.layout, 4), scores or LogitScores())
    return compose(extract_modules(graph, result, _NAMES, _NORMALISATION))


def _photo(width: int = 8, height: int = 8, seed: int = 0) -> Image.Image:
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8))


def _by_hand(model: ComposedModel, photo: Image.Image) -> Tensor:
    pixels = torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None]
    with torch.no_grad():
        return model(_NORMALISATION(pixels))


def test_one_image_of_every_kind_is_scored_alike(tmp_path: Path) -> None:
    model, photo = _composed(), _photo()
    photo.save(tmp_path / "photo.png")
    array = np.array(photo)
    expected = _by_hand(model, photo).softmax(1)
    kinds = (
        photo,
        str(tmp_path / "photo.png"),
        tmp_path / "photo.png",
        array,
        array[None],
        array.transpose(2, 0, 1),
        torch.from_numpy(array).permute(2, 0, 1),
        [photo],
        [tmp_path / "photo.png"],
        [array],
    )
    for kind in kinds:
        assert torch.allclose(model.predict_proba(kind), expected), kind
        assert model.predict(kind).tolist() == expected.argmax(1).tolist()
        assert model.predict_names(kind) == [_NAMES[int(expected.argmax())]]


def test_lists_may_mix_kinds_and_sizes(tmp_path: Path) -> None:
    model, large = _composed(), _photo(20, 12)
    large.save(tmp_path / "large.png")
    small = large.resize((8, 8), Image.Resampling.BILINEAR)
    expected = _by_hand(model, small).softmax(1)
    found = model.predict_proba([tmp_path / "large.png", large, np.array(large), np.array(small)])
    assert torch.allclose(found, expected.expand(4, -1))


def test_a_photo_is_turned_upright_before_it_is_resized(tmp_path: Path) -> None:
    model, photo = _composed(), _photo(8, 16)
    exif = Image.Exif()
    exif[0x0112] = 6
    photo.rotate(90, expand=True).save(tmp_path / "turned.png", exif=exif)
    assert torch.allclose(model.predict_proba(tmp_path / "turned.png"), model.predict_proba(photo))


def test_grey_images_become_coloured() -> None:
    model, grey = _composed(), _photo().convert("L")
    expected = model.predict_proba(grey.convert("RGB"))
    assert torch.allclose(model.predict_proba(grey), expected)
    assert torch.allclose(model.predict_proba(np.array(grey)), expected)
    assert torch.allclose(model.predict_proba(torch.from_numpy(np.array(grey))[None, None]), expected)


def test_normalised_floats_are_taken_when_said() -> None:
    model, photo = _composed(), _photo()
    normalised = _NORMALISATION(torch.from_numpy(np.array(photo)).permute(2, 0, 1)[None])
    expected = model.predict_proba(photo)
    for kind in (normalised, normalised[0], normalised.numpy(), [normalised[0]]):
        assert torch.allclose(model.predict_proba(kind, normalised=True), expected)


@pytest.mark.parametrize("images", [[], np.zeros((0, 9, 8, 3), np.uint8), torch.zeros(0, 3, 8, 8, dtype=torch.uint8)])
def test_no_images_have_no_answers(images: object) -> None:
    def flatten(module: nn.Module, args: tuple[Tensor]) -> None:
        args[0].reshape(len(args[0]), -1)  # as many a forward does; of no image, torch knows no such shape

    model = _composed()
    for module in model.modules_in_order:
        module.register_forward_pre_hook(flatten)
    assert model.predict(images).tolist() == model.predict_names(images) == []
    assert model.predict_proba(images).shape == (0, 4)
    assert model.modules_in_order[0].predict_scores(images).shape == (0,)


def test_no_normalised_images_have_no_answers() -> None:
    assert _composed().predict([], normalised=True).tolist() == []


def test_the_transform_is_what_predictions_do(tmp_path: Path) -> None:
    model, photo = _composed(), _photo(20, 12)
    clear, deep = photo.copy(), Image.fromarray(np.linspace(0, 65535, 240).reshape(12, 20).astype(np.uint16))
    clear.putalpha(photo.convert("L"))
    palette = photo.quantize(4)
    palette.info["transparency"] = 0
    turned = photo.copy()
    turned.getexif()[0x0112] = 6
    for picture in (photo, photo.convert("L"), clear, deep, palette, turned):
        images = model.transform(picture)
        assert images.shape == (3, 8, 8)
        found, expected = model.predict_proba(images, normalised=True), model.predict_proba(picture)
        assert torch.allclose(found, expected, atol=1e-6)
    assert torch.equal(pickle.loads(pickle.dumps(model.transform))(photo), model.transform(photo))
    module = model.modules_in_order[0]
    assert torch.equal(module.transform(photo), model.transform(photo))


@pytest.mark.usefixtures("unchecked_shapes")
@pytest.mark.parametrize(
    ("images", "normalised", "message"),
    [
        (torch.rand(1, 3, 8, 8), False, "pixels are uint8, 0 to 255, not float32 .*normalised=True"),
        (np.zeros((8, 8, 3)), False, "pixels are uint8, 0 to 255, not float64"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.int64), False, "not int64"),
        (torch.rand(1, 3, 9, 8), True, r"floats \[image, 3, 8, 8\] for this model, not float32 \[1, 3, 9, 8\]"),
        (torch.rand(1, 1, 8, 8), True, r"floats \[image, 3, 8, 8\]"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), True, "without normalised=True"),
        ([Image.new("RGB", (8, 8))], True, "not a Image"),
        (
            torch.full((1, 3, 8, 8), 255.0),
            True,
            r"from 255 to 255 are not normalised; this model's input is from -2 to 8",
        ),
        (
            [torch.rand(3, 8, 8), torch.rand(3, 9, 8)],
            True,
            r"all of one shape, \[3, 8, 8\] here, not \[3, 8, 8\] and \[3, 9, 8\]",
        ),
        (torch.full((1, 3, 8, 8), torch.nan), True, "the images hold NaN or infinity"),
        ([torch.full((3, 8, 8), torch.inf)], True, "the images hold NaN or infinity"),
        (Image.new("RGB", (0, 5)), False, "the image has no pixels: it is 0 x 5"),
        (np.zeros((8, 8, 3), np.uint16), False, r"not uint16 \[8, 8, 3\]"),
        (Image.new("La", (8, 8)), False, "images of mode 'La' are not taken"),
        (torch.zeros(7, 9, 11, dtype=torch.uint8), False, "an image is"),
        ("absent.png", False, "absent.png is no file"),
        (".", False, "is a folder; list its files"),
        (5, False, "not a int"),
        ([None], False, "not a NoneType"),
        (b"\x89PNG", False, "not a bytes"),
    ],
)
def test_what_is_no_image_is_refused_in_one_line(images: object, normalised: bool, message: str) -> None:
    with pytest.raises(DataError, match=message) as error:
        _composed().predict(images, normalised=normalised)
    assert "\n" not in str(error.value)


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "damaged.png").write_bytes(b"no image")
    with pytest.raises(DataError, match=r"damaged\.png: the image cannot be decoded"):
        _composed().predict(tmp_path / "damaged.png")
    _photo(64, 64).save(tmp_path / "whole.png")
    cut = (tmp_path / "whole.png").read_bytes()[:-4000]
    with pytest.raises(DataError, match="the image cannot be decoded"):
        _composed().predict(Image.open(io.BytesIO(cut)))


def test_probabilities_of_heads_are_their_shares() -> None:
    heads = HeadScores.initialised(4, 4, 3, generator=torch.Generator().manual_seed(0))
    model, photo = _composed(heads), _photo()
    scores = _by_hand(model, photo)
    assert torch.allclose(model.predict_proba(photo), scores / scores.sum())


@pytest.mark.parametrize("rule", ["logistic", "min_max", "gate", "temperature"])
def test_probabilities_of_a_patched_model_sum_to_one_and_agree_with_its_answers(rule: str, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(1)
    pixels = torch.randint(0, 256, (24, 3, 8, 8), generator=generator, dtype=torch.uint8)
    images = ImageSet(pixels, torch.arange(24) % 4, _NAMES, _NORMALISATION)
    module = _composed().modules_in_order[2]
    patch(Between(lambda net, x: x.relu()).eval(), module, images, rule=rule).save(tmp_path / "patched")
    model = load_model(tmp_path / "patched")
    found = model.predict_proba(pixels)
    assert torch.allclose(found.sum(1), torch.ones(24))
    assert torch.equal(found.argmax(1), model.predict(pixels))
    if rule == "logistic":
        assert torch.allclose(found, model(_NORMALISATION(pixels)).softmax(1))


def test_modules_on_several_devices_are_named() -> None:
    modules = _composed().modules_in_order
    # Cut from another graph: modules of one graph share the layers that lose nothing, and move together.
    modules[1] = _composed().modules_in_order[1].to("meta")
    message = "the modules lie on several devices: 'a', 'c', 'd' on cpu; 'b' on meta. Move them"
    with pytest.raises(ConfigurationError, match=message):
        compose(modules)


def test_a_module_scores_images_of_any_kind_as_in_its_composed_model(tmp_path: Path) -> None:
    model, photo = _composed(), _photo(8, 16)
    photo.save(tmp_path / "photo.png")
    expected = torch.stack([part.predict_scores([photo]) for part in model.modules_in_order], dim=1)
    assert torch.equal(expected, _by_hand(model, photo.resize((8, 8), Image.Resampling.BILINEAR)))
    module = model.modules_in_order[2]
    for kind in (tmp_path / "photo.png", np.array(photo), torch.from_numpy(np.array(photo)).permute(2, 0, 1)):
        assert torch.equal(module.predict_scores(kind), expected[:, 2])
    normalised = module.transform(photo.resize((8, 8)))
    assert module.predict_scores(normalised, normalised=True).shape == (1,)


def test_a_notebook_shows_what_modules_and_models_hold_and_cost() -> None:
    model = _composed()
    right = '</td><td style="text-align: right">'
    module = model.modules_in_order[0]
    assert module._repr_html_().startswith("<p>Module of &#x27;a&#x27;, one of 4 classes of a network</p><table>")
    assert f"kernels{right}{module.n_kernels}</td>" in module._repr_html_()
    composed = model._repr_html_()
    assert composed.startswith("<p>Composed model of 4 modules, for images of 3x8x8</p><table>")
    assert f"sum{right}{model.n_kernels}{right}{model.cost().flops:,}{right}{model.cost().parameters:,}" in composed
    pixels = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8)
    images = ImageSet(pixels, torch.arange(40) % 4, _NAMES, _NORMALISATION)
    patched = patch(Between(lambda net, x: x.relu()).eval(), module, images)
    assert "corrects &#x27;a&#x27;, by the rule temperature</p>" in patched._repr_html_()
    assert f"sum{right}{patched.cost().flops:,}" in patched._repr_html_()
