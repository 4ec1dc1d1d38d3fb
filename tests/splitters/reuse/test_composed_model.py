"""Composed models: the highest score wins, whatever the order of the modules."""

import itertools
import json
from pathlib import Path

import pytest
import safetensors
import torch
from exactness import images, random_bits, shaken
from small_nets import Between
from torch import Tensor, nn

from splitters.data import IMAGENET, ImageSet, Normalisation
from splitters.errors import ConfigurationError, DataError, SplitFailedError
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.protocol import SplitResult, SplitTask, make_splitter
from splitters.modules.module import Module, extract_modules, require_modules
from splitters.modules.score_kinds import HeadScores, LogitScores
from splitters.networks.inference import accuracy, composed_answers, module_logits
from splitters.networks.masks import KernelMasks
from splitters.reuse.composed import ComposedModel, compose
from splitters.reuse.model_file import load_model
from splitters.testing import tiny_task

_BATCH = images(16, 3, 8, 8)


def _modules(*names: str, seed: int = 0, normalisation: Normalisation = IMAGENET, size: int = 8) -> list[Module]:
    """Return modules of a base model of four classes, the first ones with these names."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = shaken(Between(lambda net, x: x.relu()), seed=seed)
    graph = ChannelGraph.trace(model, images(1, 3, size, size))
    masks = KernelMasks(graph.layout, random_bits(graph, 4, keep=0.7, seed=seed))
    all_names = (*names, *[f"other {number}" for number in range(4 - len(names))])
    return extract_modules(graph, SplitResult(masks, LogitScores()), all_names, normalisation)[: len(names)]


def test_the_order_of_modules_makes_no_difference() -> None:
    modules = _modules("d", "b", "a", "c")
    expected = ComposedModel(modules)
    for order in itertools.permutations(modules):
        composed = ComposedModel(order)
        assert composed.class_names == ("d", "b", "a", "c")
        with torch.no_grad():
            assert torch.equal(composed(_BATCH), expected(_BATCH))
        assert torch.equal(composed.predict(_BATCH, normalised=True), expected.predict(_BATCH, normalised=True))


def test_answers_are_the_arg_max_over_the_modules_scores() -> None:
    modules = _modules("a", "b", "c", "d")
    with torch.no_grad():
        scores = torch.stack([module(_BATCH) for module in modules])
    assert torch.equal(ComposedModel(modules).predict(_BATCH, normalised=True), scores.argmax(0))


def test_a_subset_of_classes_and_modules_of_two_base_models_compose() -> None:
    composed = ComposedModel([*_modules("a", "b")[1:], *_modules("x", "c", seed=1)])
    assert composed.class_names == ("b", "c", "x")
    assert composed(_BATCH).shape == (16, 3)


def test_the_caller_may_give_the_order_of_classes() -> None:
    modules = _modules("a", "b", "c")
    composed = ComposedModel(modules, class_names=("c", "a", "b"))
    with torch.no_grad():
        assert torch.equal(composed(_BATCH), ComposedModel(modules)(_BATCH)[:, [2, 0, 1]])


def test_cost_is_the_sum_of_the_modules() -> None:
    modules = _modules("a", "b", "c")
    cost = ComposedModel(modules).cost()
    assert cost.flops == sum(module.cost().flops for module in modules)
    assert cost.parameters == sum(module.cost().parameters for module in modules)


def test_kernels_are_counted_as_sum_and_as_union_over_base_models() -> None:
    def composed(*sources: tuple[str, tuple[int, ...]]) -> ComposedModel:
        modules = _modules("a", "b", "c")[: len(sources)]
        for module, (base, kept) in zip(modules, sources, strict=True):
            module.info = module.info.model_copy(update={"base_model_hash": base, "kept": {"conv": kept}})
        return ComposedModel(modules)

    same, other = composed(("x", (1, 2)), ("x", (2, 3, 4))), composed(("x", (1, 2)), ("y", (2, 3, 4)))
    assert (same.n_kernels, same.n_kernels_union) == (5, 4)
    assert (other.n_kernels, other.n_kernels_union) == (5, 5)
    unknown = composed(("", (1, 2)), ("", (2,)))
    assert (unknown.n_kernels, unknown.n_kernels_union) == (3, 3)


@pytest.mark.parametrize(
    ("modules", "message"),
    [
        ([], "at least one module"),
        (_modules("a", "b") + _modules("b", seed=1), "there are several for ['b']"),
    ],
)
def test_what_does_not_fit_is_refused(modules: list[Module], message: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        ComposedModel(modules)
    assert message in str(error.value)


def test_a_file_is_no_module() -> None:
    with pytest.raises(ConfigurationError, match=r"expected a Module, got str; load_model\(FILE\) reads one"):
        require_modules([*_modules("a"), "b.safetensors"])


def test_images_are_adapted_to_each_modules_size_and_normalisation() -> None:
    other = Normalisation((0.5,) * 3, (0.25,) * 3)
    (small,), (large,) = _modules("a"), _modules("b", size=16, normalisation=other)
    composed = ComposedModel([small, large])
    assert composed.input_form == large.input_form
    # Images of one colour are the same at any size.
    bytes_ = torch.tensor([[10, 200, 90], [0, 255, 31]], dtype=torch.uint8).view(2, 3, 1, 1)
    scores = composed(other(bytes_.expand(-1, -1, 16, 16)))
    assert torch.allclose(scores[:, 0], small(IMAGENET(bytes_.expand(-1, -1, 8, 8))), atol=1e-5)
    assert torch.equal(scores[:, 1], large(other(bytes_.expand(-1, -1, 16, 16))))
    assert torch.equal(ComposedModel([large, small])(_BATCH), ComposedModel([small, large])(_BATCH))


@pytest.mark.parametrize("names", [("a",), ("a", "c"), ("a", "b", "c"), ("a", "a", "b")])
def test_an_order_of_other_classes_is_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(ConfigurationError, match="but the classes are"):
        ComposedModel(_modules("a", "b"), class_names=names)


def test_of_equal_scores_the_lowest_class_wins() -> None:
    scores = torch.tensor([[1.0, 0.0, -torch.inf, 2.0], [1.0, 3.0, -torch.inf, 2.0], [0.5, 3.0, -torch.inf, 2.5]])
    assert composed_answers(scores).tolist() == [0, 1, 0, 2]


def test_nan_scores_name_their_modules() -> None:
    with pytest.raises(SplitFailedError, match=r"modules \[1\] contain NaN"):
        composed_answers(torch.tensor([[1.0, 2.0], [0.0, torch.nan]]))


def test_module_logits_are_those_of_the_modules_alone() -> None:
    generator = torch.Generator().manual_seed(0)
    bytes_ = torch.randint(0, 256, (5, 3, 8, 8), generator=generator, dtype=torch.uint8)
    image_set = ImageSet(bytes_, torch.tensor([0, 1, 2, 3, 0]), ("a", "b", "c", "d"), IMAGENET)
    graph = ChannelGraph.trace(shaken(Between(lambda net, x: x.relu())), _BATCH)
    bits = random_bits(graph, 4, keep=0.5)
    bits[3] = bits[0]
    masks = KernelMasks(graph.layout, bits)
    found = module_logits(graph, masks, image_set, batch_size=2)
    result = SplitResult(masks, LogitScores())
    for index, module in enumerate(extract_modules(graph, result, image_set.class_names, image_set.normalisation)):
        with torch.no_grad():
            expected: Tensor = module.network(IMAGENET(bytes_))
        assert torch.allclose(found[index], expected, atol=1e-5)
    assert torch.equal(found[3], found[0])


def test_batched_heads_equal_single_heads() -> None:
    heads = HeadScores.initialised(3, 4, 10, generator=torch.Generator().manual_seed(0))
    logits = images(3, 7, 4)
    alone = torch.stack([heads.of(module)(logits[module]) for module in range(3)])
    assert torch.allclose(heads(logits), alone, atol=1e-6)
    assert ((alone > 0) & (alone < 1)).all()
    by_hand = torch.sigmoid(
        torch.relu(torch.relu(logits[1]) @ heads.hidden_weight[1] + heads.hidden_bias[1]) @ heads.output_weight[1]
        + heads.output_bias[1]
    )
    assert torch.allclose(alone[1], by_hand[:, 0])


def test_logit_scores_are_the_modules_own_logits() -> None:
    logits = images(3, 7, 3)
    expected = torch.stack([logits[module, :, module] for module in range(3)])
    assert torch.equal(LogitScores()(logits), expected)
    assert torch.equal(torch.stack([LogitScores().of(c)(logits[c]) for c in range(3)]), expected)


@pytest.mark.parametrize("size", [8, 16])
def test_modules_of_grey_and_of_coloured_images_compose_to_one_of_grey_images(size: int) -> None:
    net = nn.Sequential(
        nn.Conv2d(1, 6, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)
    )
    graph = ChannelGraph.trace(net.eval(), images(1, 1, size, size))
    result = SplitResult(KernelMasks.full(graph.layout, 4), LogitScores())
    (grey, *_) = extract_modules(graph, result, ("g", "h", "i", "j"), Normalisation(mean=(0.5,), std=(0.5,)))
    (coloured,) = _modules("c")
    for modules in ([grey, coloured], [coloured, grey]):
        composed = ComposedModel(modules)
        assert composed.input_form == grey.input_form
        scores = composed(images(3, 1, size, size))
        place = composed.class_names.index("g")
        torch.testing.assert_close(scores[:, place], grey(images(3, 1, size, size)))


# Scores of different kinds


def _mixed_task() -> tuple[SplitTask, list[Module]]:
    """Return a task, and its modules: one with a head, two with logits."""
    task = tiny_task()
    graph = task.trace()
    parts = {"warmup": "60 steps", "mask_phase": "1 steps", "head_phase": "60 steps", "rounds": 1}
    trained = make_splitter("gradsplitter", parts).split(task, graph=graph)
    names, normalisation = task.select.class_names, task.select.normalisation
    logits = SplitResult(trained.masks, LogitScores())
    return task, [
        extract_modules(graph, trained, names, normalisation)[0],
        *extract_modules(graph, logits, names, normalisation)[1:],
    ]


def test_scores_of_different_kinds_are_refused_with_kinds_classes_and_the_way_out() -> None:
    _, modules = _mixed_task()
    with pytest.raises(ConfigurationError) as error:
        compose(modules)
    assert str(error.value) == (
        "scores of different kinds do not compare: 'head' (modules of 'colour 0'); 'logit' (modules of 'colour 1', "
        "'colour 2'). Take modules whose scores are of one kind, or calibrate them on labelled images: "
        "splitters.compose(modules, calibration=images)."
    )


def test_calibration_makes_scores_of_different_kinds_comparable(tmp_path: Path) -> None:
    task, modules = _mixed_task()
    images = task.train.normalisation(task.select.images)
    composed = compose(modules, calibration=task.train)
    assert accuracy(composed.predict(images, normalised=True), task.select.labels) > 0.9
    # By hand: head scores as log-odds, then a scale and a shift each.
    with torch.no_grad():
        scores = torch.stack([module(images) for module in modules], dim=1)
        scores[:, 0] = scores[:, 0].clamp(1e-6, 1 - 1e-6).logit()
        assert torch.allclose(composed(images), scores * composed.scale + composed.shift, atol=1e-5)
    composed.save(tmp_path / "composed")
    loaded = load_model(tmp_path / "composed")
    assert torch.equal(loaded(images), composed(images))


def test_the_fitted_calibration_has_the_lowest_cross_entropy() -> None:
    task, modules = _mixed_task()
    composed = compose(modules, calibration=task.train)
    images = task.train.normalisation(task.train.images)

    def loss(shift: Tensor) -> float:
        with torch.no_grad():
            return float(torch.nn.functional.cross_entropy(composed(images) + shift, task.train.labels))

    best = loss(torch.zeros(3))
    for index in range(3):
        for step in (-0.5, 0.5):
            assert loss(step * torch.eye(3)[index]) > best


def test_calibration_needs_images_of_every_class() -> None:
    task, modules = _mixed_task()
    with pytest.raises(DataError, match="there are none of 'colour 1'"):
        compose(modules, calibration=task.train.subset((task.train.labels != 1).nonzero().flatten()))
    with pytest.raises(DataError, match="there are no images of 'colour 2'"):
        compose(modules, calibration=task.train.of_classes(("colour 0", "colour 1")))


def test_files_of_uncalibrated_models_stay_readable_for_version_2(tmp_path: Path) -> None:
    ComposedModel(_modules("a", "b")).save(tmp_path / "composed")
    with safetensors.safe_open(tmp_path / "composed", "pt") as file:
        header = json.loads(file.metadata()["splitbench"])
    assert header["format_version"] == 2
    assert set(header) == {
        "format", "format_version", "kind", "class_names", "input_shape", "normalisation", "modules", "patch"
    }  # fmt: skip


def test_a_class_is_the_same_in_either_unicode_form() -> None:
    composed = ComposedModel(_modules("cafe\u0301", "tea"), class_names=("tea", "cafe\u0301"))
    assert composed.class_names == ("tea", "caf\u00e9")
    assert {module.info.class_name for module in composed.modules_in_order} == {"caf\u00e9", "tea"}
