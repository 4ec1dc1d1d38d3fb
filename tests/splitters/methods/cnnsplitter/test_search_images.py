"""What a search runs on, and that its result is chosen on other images."""

import dataclasses

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from splitters.data import ImageSet
from splitters.data.stratified import stratified_order
from splitters.errors import ConfigurationError, DataError
from splitters.methods.cnnsplitter.search_state import SearchImages
from splitters.methods.cnnsplitter.settings import CNNSplitterSettings
from splitters.methods.protocol import SplitResult, SplitTask, make_splitter
from splitters.methods.scoring.fitting import ScoreFitter
from splitters.testing import tiny_task

_SMALL = {
    "population": 6,
    "parents": 4,
    "elites": 2,
    "generations": 4,
    "genes": 4,
    "initialization": "random",
    "score": "moments",
}


def _numbers(images: ImageSet, task: SplitTask) -> list[int]:
    """Returns the positions of images among train and select, joined."""
    known = {image.numpy().tobytes(): n for n, image in enumerate(torch.cat([task.train.images, task.select.images]))}
    return [known[image.numpy().tobytes()] for image in images.images]


@pytest.mark.parametrize("search_on", ["train", "select", "both"])
@pytest.mark.parametrize("limit", [None, 20])
def test_no_image_is_searched_on_and_chosen_on(search_on: str, limit: int | None) -> None:
    task = tiny_task()
    images = SearchImages.of_task(task, search_on, limit)
    search, choice = _numbers(images.search, task), _numbers(images.choice, task)
    sizes = {"train": (60, range(60, 96)), "select": (36, range(60)), "both": (77, None)}[search_on]
    assert not set(search) & set(choice)
    assert len(set(search)) == len(search) == (limit or sizes[0])
    assert sizes[1] is None or choice == list(sizes[1])
    assert len(choice) == {"train": 36, "select": 60, "both": 19}[search_on]


def test_the_seed_draws_the_images() -> None:
    one, same, other = (SearchImages.of_task(tiny_task(seed), "both", 30) for seed in (0, 0, 1))
    assert torch.equal(one.search.images, same.search.images)
    assert not torch.equal(one.search.images, other.search.images)


@given(labels=st.lists(st.integers(0, 3), min_size=1, max_size=60), seed=st.integers(0, 99))
def test_any_beginning_of_a_stratified_order_has_the_classes_in_their_shares(labels: list[int], seed: int) -> None:
    tensor = torch.tensor(labels)
    order = stratified_order(tensor, torch.Generator().manual_seed(seed))
    assert sorted(order.tolist()) == list(range(len(labels)))
    counts = torch.bincount(tensor, minlength=4)
    for length in range(int((counts > 0).sum()), len(labels) + 1):
        drawn = torch.bincount(tensor[order[:length]], minlength=4)
        assert bool((drawn[counts > 0] >= 1).all())
        assert bool(((drawn - counts * length / len(labels)).abs() <= 4).all())


def test_fewer_search_images_than_classes_are_refused() -> None:
    with pytest.raises(DataError, match="the 2 search images of train holds no images of the classes"):
        SearchImages.of_task(tiny_task(), "train", 2)


def _swapped(images: ImageSet) -> ImageSet:
    """Returns images with the labels of two classes exchanged."""
    return dataclasses.replace(images, labels=torch.tensor([1, 0, 2])[images.labels])


def _split(task: SplitTask, **changes: object) -> SplitResult:
    return make_splitter("cnnsplitter", {**_SMALL, **changes}).split(task)


@pytest.mark.parametrize("search_on", ["train", "select"])
def test_labels_of_the_choice_change_the_choice_alone(search_on: str) -> None:
    task = tiny_task()
    choice = "select" if search_on == "train" else "train"
    spoilt = dataclasses.replace(task, **{choice: _swapped(getattr(task, choice))})
    one, other = (_split(task, search_on=search_on, patience=9) for task in (task, spoilt))
    for name in ("search_accuracy", "search_fitness", "kernel_retention"):
        assert [record[name] for record in one.history] == [record[name] for record in other.history]
    assert one.history[0]["choice_accuracy"] != other.history[0]["choice_accuracy"]


@pytest.mark.parametrize("search_on", ["train", "select", "both"])
def test_the_result_is_the_best_recorded_composition_on_the_choice_images(search_on: str) -> None:
    task = tiny_task()
    result = _split(task, patience=9, search_on=search_on)
    fitness = [0.9 * record["choice_accuracy"] + 0.1 * record["jaccard_distance"] for record in result.history]
    assert [record["fitness"] for record in result.history] == pytest.approx(fitness)
    assert result.facts["chosen_generation"] == 1 + fitness.index(max(fitness))
    fitter = ScoreFitter(task.trace(), task)
    assert fitter.composed_accuracy(result.scores, result.masks, task.select) == result.facts["accuracy"]


def test_recorded_accuracies_are_on_select_whatever_the_choice_is_made_on() -> None:
    task = tiny_task()
    spoilt = dataclasses.replace(task, train=_swapped(task.train))
    result = _split(spoilt, search_on="select", patience=9)
    chosen = result.history[int(result.facts["chosen_generation"]) - 1]
    on_select, on_train = (
        ScoreFitter(task.trace(), spoilt).composed_accuracy(result.scores, result.masks, images)
        for images in (spoilt.select, spoilt.train)
    )
    assert on_select != on_train
    assert (chosen["accuracy"], chosen["choice_accuracy"]) == (on_select, on_train)


def test_heads_are_trained_on_the_masks_that_moments_find() -> None:
    task = tiny_task()
    heads, moments = (_split(task, score=score, head_steps=5) for score in ("head", "moments"))
    assert torch.equal(heads.masks.bits, moments.masks.bits)
    expected = ScoreFitter(task.trace(), task, 5).fit("head", heads.masks).tensors()
    assert all(torch.allclose(value, expected[name]) for name, value in heads.scores.tensors().items())


@pytest.mark.parametrize(("old", "new"), [("none", "logit"), ("moments", "moments")])
def test_calibration_is_the_old_name_of_score(old: str, new: str) -> None:
    settings = CNNSplitterSettings.parse({"calibration": old}, where="here")
    assert settings.score == new
    assert "calibration" not in settings.model_dump()
    assert CNNSplitterSettings.parse({"calibration": old, "score": new}, where="here") == settings


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"calibration": "moments", "score": "head"}, "score is 'head', and its old name calibration is 'moments'"),
        ({"calibration": "head"}, "calibration is the old name of score and was 'none' or 'moments', not 'head'"),
        ({"score": "best"}, "'logit', 'moments' or 'head'"),
        ({"search_on": "test"}, "'train', 'select' or 'both'"),
    ],
)
def test_what_is_neither_is_refused(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        CNNSplitterSettings.parse(values, where="here")
