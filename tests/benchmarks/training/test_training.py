"""Training of base models: reproducible, resumable, cached, and independent of the test set."""

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from synchronisations import Synchronisations

from benchmarks.cache.artifacts import ArtifactCache
from benchmarks.cells import ModelSpec, TrainingSpec
from benchmarks.data.roles import Roles
from benchmarks.models.inference import evaluate_accuracy, predict_logits
from benchmarks.training.augmentation import Augmentation
from benchmarks.training.base_model import TrainedModel, TrainingError, train_base_model, weights_hash
from benchmarks.training.learning_rate import learning_rate
from splitters.data import IMAGENET, ImageSet
from splitters.errors import GraphError
from splitters.methods.protocol import Progress, ignore_progress
from splitters.networks.execution.precision import computing_in

_SPEC = ModelSpec(name="incecnn", settings={"width": 0.05})
_RECIPE = TrainingSpec(recipe="one_cycle", epochs=4, batch_size=16, learning_rate=0.05, crop_padding=1)
_SHORT = _RECIPE.model_copy(update={"epochs": 1})


def _images(count: int, seed: int) -> ImageSet:
    """Return images of three classes that differ in brightness, with noise."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    noise = torch.randint(0, 60, (count, 3, 8, 8), generator=generator)
    return ImageSet(
        (noise + labels.view(-1, 1, 1, 1) * 90).to(torch.uint8), labels, ("dark", "grey", "light"), IMAGENET
    )


_ROLES = Roles(train=_images(65, 0), select=_images(30, 1), test=_images(9, 2))


def _train(
    cache: Path,
    *,
    recipe: TrainingSpec = _RECIPE,
    roles: Roles = _ROLES,
    seed: int = 0,
    flips: bool = True,
    threads: int = 1,
    spec: ModelSpec = _SPEC,
    progress: Callable[[Progress], None] = ignore_progress,
    device: str = "cpu",
) -> TrainedModel:
    return train_base_model(
        spec,
        recipe,
        roles,
        dataset_hash="0",
        flips=flips,
        seed=seed,
        threads=threads,
        cache=ArtifactCache(cache),
        progress=progress,
        device=device,
    )


def test_training_learns_and_gives_a_frozen_network(tmp_path: Path) -> None:
    trained = _train(tmp_path, recipe=_RECIPE.model_copy(update={"epochs": 8}))
    assert trained.select_accuracy > 0.9
    assert evaluate_accuracy(trained.model, _ROLES.select) == trained.select_accuracy
    assert trained.epochs == 8
    assert 1 <= trained.best_epoch <= 8
    assert not trained.model.training
    assert not any(parameter.requires_grad for parameter in trained.model.parameters())
    assert trained.weights_hash == weights_hash(trained.model)


def test_the_same_training_runs_once(tmp_path: Path) -> None:
    first = _train(tmp_path)
    second = _train(tmp_path)
    assert (first.reused, second.reused) == (False, True)
    assert second.seconds == first.seconds
    assert second.weights_hash == first.weights_hash
    assert (second.select_accuracy, second.best_epoch) == (first.select_accuracy, first.best_epoch)


def test_the_same_seed_gives_the_same_bits_whatever_the_global_generator(tmp_path: Path) -> None:
    torch.manual_seed(1)
    first = _train(tmp_path / "a")
    torch.manual_seed(2)
    before = torch.random.get_rng_state()
    assert _train(tmp_path / "b").weights_hash == first.weights_hash
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("recipe", ["paper", "one_cycle"])
@pytest.mark.parametrize("stop_at", [2, 5, 11])
def test_a_killed_training_ends_like_an_uninterrupted_one(recipe: str, stop_at: int, tmp_path: Path) -> None:
    spec = ModelSpec(name="simcnn", settings={"width": 0.02, "features": 200})
    roles = replace(_ROLES, train=_large(_ROLES.train), select=_large(_ROLES.select))
    settings = TrainingSpec.model_validate({**_RECIPE.model_dump(), "recipe": recipe, "epochs": 3})
    whole = _train(tmp_path / "whole", recipe=settings, roles=roles, spec=spec)
    calls = 0

    def kill(progress: Progress) -> None:
        nonlocal calls
        calls += 1
        if calls == stop_at:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path / "cut", recipe=settings, roles=roles, spec=spec, progress=kill)
    resumed = _train(tmp_path / "cut", recipe=settings, roles=roles, spec=spec)
    assert not resumed.reused
    assert resumed.weights_hash == whole.weights_hash
    assert (resumed.select_accuracy, resumed.best_epoch) == (whole.select_accuracy, whole.best_epoch)


def _large(images: ImageSet) -> ImageSet:
    return replace(images, images=images.images.repeat(1, 1, 4, 4))


def test_a_resumed_training_repeats_no_finished_epoch(tmp_path: Path) -> None:
    steps: list[int] = []

    def kill(progress: Progress) -> None:
        steps.append(progress.step)
        if progress.step == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        _train(tmp_path, progress=kill)
    resumed: list[int] = []
    _train(tmp_path, progress=lambda progress: resumed.append(progress.step))
    assert 9 in steps
    assert min(resumed) == 9
    assert max(resumed) == 16


@pytest.mark.parametrize(
    ("change", "reused"),
    [
        ({"seed": 1}, False),
        ({"threads": 2}, False),
        ({"flips": False}, False),
        ({"recipe": _SHORT.model_copy(update={"weight_decay": 0.1})}, False),
        ({"roles": replace(_ROLES, train=_images(65, 5))}, False),
        ({"roles": replace(_ROLES, select=_images(30, 5))}, False),
        ({"roles": replace(_ROLES, test=_images(50, 9))}, True),
        ({"spec": ModelSpec(name="incecnn", settings={"width": 0.05, "norm": "none"})}, False),
    ],
)
def test_weights_are_reused_unless_something_that_determines_them_changes(
    change: dict[str, Any], reused: bool, tmp_path: Path
) -> None:
    _train(tmp_path, recipe=_SHORT)
    assert _train(tmp_path, **{"recipe": _SHORT, **change}).reused is reused


@pytest.mark.parametrize(
    ("function", "value"),
    [("torch.__version__", f"{torch.__version__}.other"), ("torch.backends.cpu.get_cpu_capability", lambda: "NONE")],
)
def test_another_torch_or_processor_trains_its_own_weights(
    function: str, value: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not _train(tmp_path, recipe=_SHORT).reused
    monkeypatch.setattr(function, value)
    assert not _train(tmp_path, recipe=_SHORT).reused


def test_an_explicit_flip_overrides_the_data_set(tmp_path: Path) -> None:
    unflipped = _SHORT.model_copy(update={"flip": False})
    _train(tmp_path, recipe=unflipped, flips=True)
    assert _train(tmp_path, recipe=unflipped, flips=False).reused


def test_a_diverging_training_names_the_setting_to_change(tmp_path: Path) -> None:
    recipe = TrainingSpec(recipe="paper", epochs=3, batch_size=16, learning_rate=1e30)
    with pytest.raises(TrainingError, match=r"the loss became (nan|inf) in epoch \d; lower training.learning_rate"):
        _train(tmp_path, recipe=recipe, spec=ModelSpec(name="incecnn", settings={"width": 0.05, "norm": "none"}))


_UNSPLITTABLE = """
import torch
from torch import nn
class Frac(nn.Module):
    def forward(self, images):
        return torch.frac(images)
def no_file(n_classes):
    return nn.Sequential(Frac(), nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, n_classes))
def no_convolution(n_classes):
    return nn.Sequential(nn.Flatten(), nn.Linear(192, n_classes))
"""


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("no_file", "no file could hold this network: the network calls 'frac'"),
        ("no_convolution", "the model has no convolution"),
    ],
)
def test_what_cannot_be_split_and_stored_is_not_trained(
    factory: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "unsplittable_nets.py").write_text(_UNSPLITTABLE)
    monkeypatch.syspath_prepend(tmp_path)
    reports: list[Progress] = []
    with pytest.raises(GraphError, match=message):
        _train(tmp_path, spec=ModelSpec(name=f"python:unsplittable_nets:{factory}"), progress=reports.append)
    assert not reports
    assert not list(tmp_path.glob("weights/*.safetensors"))


def test_a_last_batch_of_one_image_is_dropped(tmp_path: Path) -> None:
    totals = set[int | None]()
    _train(tmp_path, progress=lambda progress: totals.add(progress.total))
    assert len(_ROLES.train) % _RECIPE.batch_size == 1
    assert totals == {_RECIPE.epochs * (len(_ROLES.train) // _RECIPE.batch_size)}


def test_every_epoch_reports_finite_metrics(tmp_path: Path) -> None:
    reports: list[Progress] = []
    _train(tmp_path, progress=reports.append)
    metrics = [report.metrics for report in reports if report.metrics]
    assert len(metrics) == _RECIPE.epochs
    assert all(set(entry) == {"loss", "accuracy"} and all(map(math.isfinite, entry.values())) for entry in metrics)
    assert {report.stage for report in reports} == {"train"}


def test_the_papers_schedule_falls_at_60_and_120_of_200_epochs() -> None:
    paper = TrainingSpec()
    rates = [learning_rate(paper, 10 * epoch, steps_per_epoch=10) for epoch in range(200)]
    assert rates[:60] == [0.01] * 60
    assert rates[60:120] == pytest.approx([1e-3] * 60)
    assert rates[120:] == pytest.approx([1e-4] * 80)


def test_the_papers_schedule_scales_with_the_epochs() -> None:
    short = TrainingSpec(epochs=10)
    rates = [learning_rate(short, epoch, steps_per_epoch=1) for epoch in range(10)]
    assert rates == pytest.approx([0.01] * 3 + [1e-3] * 3 + [1e-4] * 4)
    assert learning_rate(TrainingSpec(epochs=1), 0, steps_per_epoch=1) == 0.01


@pytest.mark.parametrize(("epochs", "steps_per_epoch"), [(8, 40), (1, 7), (3, 11)])
def test_one_cycle_is_torchs_one_cycle(epochs: int, steps_per_epoch: int) -> None:
    training = TrainingSpec(recipe="one_cycle", epochs=epochs, learning_rate=0.3)
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3)
    theirs = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, 0.3, total_steps=epochs * steps_per_epoch, cycle_momentum=False
    )
    for step in range(epochs * steps_per_epoch):
        ours = learning_rate(training, step, steps_per_epoch=steps_per_epoch)
        assert ours == pytest.approx(optimiser.param_groups[0]["lr"])
        optimiser.step()
        if step + 1 < epochs * steps_per_epoch:
            theirs.step()


def test_a_training_of_one_step_has_a_rate() -> None:
    assert learning_rate(TrainingSpec(recipe="one_cycle", epochs=1), 0, steps_per_epoch=1) > 0


def _augmented(images: torch.Tensor, *, padding: int, flip: bool, seed: int) -> torch.Tensor:
    augmentation = Augmentation(padding, flip)
    return augmentation(images, augmentation.draw(len(images), torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("flip", [True, False])
@pytest.mark.parametrize("padding", [0, 2])
def test_augmentation_is_a_crop_of_the_padded_image_or_of_its_mirror_image(flip: bool, padding: int) -> None:
    images = torch.randint(1, 256, (40, 3, 5, 7), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    out = _augmented(images, padding=padding, flip=flip, seed=1)
    mirrored = 0
    for image, result in zip(images, out, strict=True):
        crops = {
            is_mirror: [
                torch.nn.functional.pad(image, [padding] * 4)[:, y : y + 5, x : x + 7].flip(2 if is_mirror else ())
                for y in range(2 * padding + 1)
                for x in range(2 * padding + 1)
            ]
            for is_mirror in ([False, True] if flip else [False])
        }
        kinds = [is_mirror for is_mirror, options in crops.items() if any(torch.equal(o, result) for o in options)]
        assert len(kinds) == 1
        mirrored += kinds[0]
    assert (8 < mirrored < 32) if flip else mirrored == 0
    assert padding == 0 or len({tuple(image[0, 0].tolist()) for image in out}) > 1


def test_a_training_in_bf16_is_one_of_its_own_and_keeps_weights_in_float32(tmp_path: Path) -> None:
    in_float32 = _train(tmp_path)
    with computing_in("bf16", "cpu"):
        in_bf16 = _train(tmp_path)
    assert not in_bf16.reused
    assert in_bf16.weights_hash != in_float32.weights_hash
    assert {tensor.dtype for tensor in in_bf16.model.parameters()} == {torch.float32}
    assert in_bf16.select_accuracy == pytest.approx(in_float32.select_accuracy, abs=0.1)
    assert _train(tmp_path).reused


def test_no_step_waits_for_the_device(tmp_path: Path) -> None:
    waits = []
    for batch_size in (33, 8):
        with Synchronisations() as counts:
            _train(tmp_path, recipe=_SHORT.model_copy(update={"batch_size": batch_size}))
        waits.append(counts)
    assert waits[0] == waits[1], "2 and 9 steps"


def test_augmentation_is_reproducible() -> None:
    images = _ROLES.train.images
    first, again = (_augmented(images, padding=2, flip=True, seed=3) for _ in "ab")
    assert torch.equal(first, again)
    assert first.is_contiguous(memory_format=torch.channels_last)


def test_a_weights_hash_depends_on_every_bit_but_not_on_memory_order() -> None:
    conv = torch.nn.Conv2d(3, 4, 3)
    before = weights_hash(conv)
    assert weights_hash(conv.to(memory_format=torch.channels_last)) == before
    with torch.no_grad():
        conv.weight[0, 0, 0, 0] = torch.nextafter(conv.weight[0, 0, 0, 0], torch.tensor(9.0))
    assert weights_hash(conv) != before


def test_logits_of_batches_are_the_logits_of_the_whole(tmp_path: Path) -> None:
    model = _train(tmp_path, recipe=_SHORT).model.train()
    model.get_submodule("features.0").eval()
    modes = [module.training for module in model.modules()]
    logits = predict_logits(model, _ROLES.select, batch_size=7)
    assert [module.training for module in model.modules()] == modes
    with torch.no_grad():
        expected = model.eval()(_ROLES.select.normalisation(_ROLES.select.images))
    assert torch.allclose(logits, expected, atol=1e-5)
    assert evaluate_accuracy(model, _ROLES.select) == float(
        (expected.argmax(1) == _ROLES.select.labels).double().mean()
    )


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_training_on_a_gpu_learns_and_measures_its_memory(tmp_path: Path) -> None:
    trained = _train(tmp_path, recipe=_RECIPE.model_copy(update={"epochs": 8}), device="cuda:0")
    assert trained.select_accuracy > 0.9
    assert next(trained.model.parameters()).is_cuda
    assert trained.peak_memory_bytes is not None
    assert 0 < trained.peak_memory_bytes < 2**30
