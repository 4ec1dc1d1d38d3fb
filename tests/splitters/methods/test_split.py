"""Splitting with one call: the modules are those of the splitter, and what does not fit is refused by name."""

import logging
import re
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import pytest
import torch

import splitters
from splitters import ImageSet, KernelMasks, Normalisation, SplitTask, compose, extract_modules, make_splitter, split
from splitters.errors import ConfigurationError, DataError, SplitbenchError
from splitters.files.weights_hash import weights_hash
from splitters.methods.protocol import SPLITTERS, Progress, Splitter, list_splitters
from splitters.testing import assert_equal_results, tiny_task

_HALF = {"retention": 0.5}


def test_split_returns_what_the_splitter_finds_and_the_modules_of_it() -> None:
    task = tiny_task(seed=3)
    result = split(task.model, task.train, task.select, "random", seed=3, **_HALF)
    expected = make_splitter("random", _HALF).split(task)
    assert_equal_results(replace(expected), splitters.SplitResult(result.masks, result.scores, history=result.history))
    modules = result.modules()
    graph = task.trace()
    by_hand = extract_modules(graph, expected, task.train.class_names, task.train.normalisation)
    batch = task.select.batch(torch.arange(5))[0]
    for module, other in zip(modules, by_hand, strict=True):
        assert torch.equal(module(batch), other(batch))
        assert module.info.normalisation == other.info.normalisation
        assert module.info.splitter == "random"
        assert module.info.base_model_hash == weights_hash(task.model)
    inputs = task.select.normalisation(task.select.images)
    scores = torch.stack([module(inputs) for module in by_hand])
    assert torch.equal(compose(modules).predict(task.select.images), scores.argmax(0))


def test_what_is_no_model_or_image_set_is_refused_by_name() -> None:
    task = tiny_task()
    with pytest.raises(ConfigurationError, match=r"model must be a torch\.nn\.Module, got ImageSet"):
        split(task.train, task.model, task.select)
    with pytest.raises(DataError, match="select must be an ImageSet, got list"):
        split(task.model, task.train, [])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"seed": "a"}, "seed must be an integer from 0 to 2^63 - 1, got 'a'."),
        ({"seed": 2**70}, f"seed must be an integer from 0 to 2^63 - 1, got {2**70}."),
        ({"callbacks": print}, "callbacks must be a list of functions, got <built-in function print>."),
    ],
)
def test_arguments_of_another_type_are_refused_by_name(arguments: dict[str, Any], message: str) -> None:
    task = tiny_task()
    with pytest.raises(ConfigurationError, match=f"^{re.escape(message)}$"):
        split(task.model, task.train, task.select, "random", **arguments)


@pytest.mark.parametrize("around", [torch.no_grad(), torch.inference_mode(), torch.autocast("cpu", torch.bfloat16)])
def test_what_surrounds_the_call_changes_nothing(around: AbstractContextManager[object]) -> None:
    task = tiny_task()
    schedule = {"rounds": 1, "mask_phase": "3 steps", "tune_phase": "3 steps", "final_phase": "3 steps"}
    expected = split(task.model, task.train, task.select, "scalesplitter", **schedule)
    with around:
        found = split(task.model, task.train, task.select, "scalesplitter", **schedule)
    for name, tensor in expected.scores.tensors().items():
        assert torch.equal(found.scores.tensors()[name], tensor)


@pytest.mark.parametrize(("role", "consequence"), [("train", "learns nothing"), ("select", "cannot be judged")])
def test_a_class_without_images_is_reported(role: str, consequence: str) -> None:
    task = tiny_task()
    images: ImageSet = getattr(task, role)
    fewer = replace(task, **{role: images.subset((images.labels != 1).nonzero().flatten())})
    (warning,) = split(fewer.model, fewer.train, fewer.select, "random", **_HALF).warnings
    assert warning == f"{role} has no image of {images.class_names[1]!r}; without any, a module {consequence}."


def test_one_set_of_images_in_both_roles_is_reported() -> None:
    task = tiny_task()
    assert "the same images" in split(task.model, task.train, task.train, "random", **_HALF).warnings[-1]
    assert not split(task.model, task.train, task.select, "random", **_HALF).warnings


def test_callbacks_see_each_report_and_may_stop_the_split() -> None:
    task, reports = tiny_task(), []

    def stop(progress: Progress) -> None:
        reports.append(progress)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        split(task.model, task.train, task.select, preset="fast", callbacks=[stop])
    assert [report.stage for report in reports] == ["warm-up"]


def test_a_model_that_hardly_knows_its_classes_is_reported(caplog: pytest.LogCaptureFixture) -> None:
    task = tiny_task()
    wrong = task.select.labels.roll(1)
    with caplog.at_level(logging.WARNING):
        result = split(task.model, task.train, replace(task.select, labels=wrong), "full")
    assert "check the normalisation, the order of the class names" in caplog.messages[0]
    assert result.warnings == tuple(caplog.messages)
    assert split(task.model, task.train, task.select, "full").warnings == ()


@pytest.mark.parametrize("method", ["full", "random", "importance", "gradsplitter", "cnnsplitter"])
@pytest.mark.parametrize("names", [("a", "b"), ("a", "b", "c", "d")])
def test_more_or_fewer_logits_than_classes_are_refused_with_both_counts(method: str, names: tuple[str, ...]) -> None:
    task = tiny_task()
    kept = task.train.labels < len(names)
    images = ImageSet(task.train.images[kept], task.train.labels[kept], names, task.train.normalisation)
    message = rf"the model has 3 logits, but the images have {len(names)} classes \({', '.join(names)}\)"
    with pytest.raises(ConfigurationError, match=message):
        split(task.model, images, images, method)
    with pytest.raises(ConfigurationError, match=message):
        make_splitter(method).split(SplitTask(task.model, images, images, 0), graph=task.trace())


def test_labels_that_count_from_1_are_named_as_the_cause_of_a_class_too_many() -> None:
    task = tiny_task()
    images = ImageSet(task.train.images, task.train.labels + 1, ("0", "1", "2", "3"), task.train.normalisation)
    with pytest.raises(
        ConfigurationError, match=r"has 3 logits, .* 4 classes .*; no image has the label 0, from which"
    ):
        split(task.model, images, images, "full")


def test_train_and_select_must_be_normalised_alike() -> None:
    task = tiny_task()
    other = replace(task.select, normalisation=Normalisation((0.0,) * 3, (1.0,) * 3))
    with pytest.raises(DataError, match="train and select differ in their normalisation"):
        split(task.model, task.train, other, "full")


def test_extraction_needs_a_normalisation_that_fits_and_a_name_for_each_module() -> None:
    task = tiny_task()
    graph = task.trace()
    result = make_splitter("full").split(task, graph=graph)
    with pytest.raises(TypeError, match="normalisation"):
        extract_modules(graph, result, task.train.class_names)
    with pytest.raises(ConfigurationError, match="takes images of 3 channels, but the normalisation has 1"):
        extract_modules(graph, result, task.train.class_names, Normalisation((0.5,), (0.5,)))
    with pytest.raises(ConfigurationError, match="there are 3 modules, but 2 class names"):
        extract_modules(graph, result, ("a", "b"), task.train.normalisation)


def test_splitters_are_listed_by_pattern_and_made_without_settings() -> None:
    assert list_splitters("grad*") == ["gradsplitter"]
    assert list_splitters() == list(SPLITTERS)
    assert list_splitters("nothing*") == []
    made = make_splitter("gradsplitter")
    assert isinstance(made, Splitter)
    assert made.settings == make_splitter("gradsplitter", {}).settings


def test_the_packages_public_names_are_what_dir_shows() -> None:
    assert dir(splitters) == sorted(splitters.__all__)
    assert {"split", "compose", "patch", "load_model", "ImageSet"} <= set(dir(splitters))
    assert all(getattr(splitters, name) is not None for name in dir(splitters))


def test_unknown_settings_of_split_are_named() -> None:
    task = tiny_task()
    with pytest.raises(SplitbenchError, match="Did you mean 'retention'"):
        split(task.model, task.train, task.select, "random", retentions=0.5)


def test_a_notebook_shows_how_many_kernels_each_module_keeps() -> None:
    task = tiny_task()
    result = split(task.model, task.train, task.select, "random", **_HALF)
    html = result._repr_html_()
    total = result.masks.layout.n_kernels
    for name, count in zip(result.class_names, result.masks.kernels.tolist(), strict=True):
        right = '<td style="text-align: right">'
        row = f'<td style="text-align: left">{name}</td>{right}{count}</td>{right}{count / total:.1%}</td>'
        assert row in html
    assert f"{result.masks.union_retention:.1%}" in html
    assert html.startswith(f"<p>random: 3 modules of {type(task.model).__name__}, ")
    assert "Warning" not in html


def test_names_are_text_in_a_notebook_and_many_classes_are_cut_short() -> None:
    task = tiny_task()
    result = split(task.model, task.train, task.select, "full")
    names = tuple(f"<i>{index}" for index in range(25))
    masks = KernelMasks.full(result.masks.layout, 25)
    html = replace(result, masks=masks, class_names=names, warnings=("a <b>",))._repr_html_()
    assert "<i>" not in html
    assert "&lt;i&gt;19<" in html
    assert "&lt;i&gt;20<" not in html
    assert ">5 more<" in html
    assert html.endswith("<p>Warning: a &lt;b&gt;</p>")
