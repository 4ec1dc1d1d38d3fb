"""Contract tests for splitters: subclass ``SplitterTestCase`` and run it with pytest."""

from __future__ import annotations

import contextlib
import copy
import functools
import json
import math
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from splitters.data import ImageSet, Normalisation
from splitters.errors import ConfigurationError
from splitters.methods.protocol import CheckpointState, Progress, SplitResult, SplitTask, Splitter, make_splitter
from splitters.modules.module import Module, extract_modules
from splitters.modules.scores import describe_scores, rebuild_scores
from splitters.networks.inference import module_logits
from splitters.networks.masks import empty_sets

_N_CLASSES = 3
_IMAGE_SIZE = 8


class Interrupted(Exception):
    """Raised by the contract tests to interrupt a split."""


class MemoryCheckpoint:
    """A checkpoint that stores its state in memory the way a file would, and can interrupt a split.

    Args:
        interrupt_after: The number of the save, counted from 1, after which ``Interrupted`` is raised; None for never.
    """

    def __init__(self, interrupt_after: int | None = None) -> None:
        self.interrupt_after = interrupt_after
        self.saves = 0
        self._tensors: dict[str, Tensor] = {}
        self._values: str | None = None

    def load(self) -> CheckpointState | None:
        """Return the last saved state, or None if there is none."""
        if self._values is None:
            return None
        return CheckpointState({name: value.clone() for name, value in self._tensors.items()}, json.loads(self._values))

    def save(self, state: CheckpointState) -> None:
        """Store a state."""
        self._tensors = {name: value.detach().cpu().clone() for name, value in state.tensors.items()}
        self._values = json.dumps(state.values, allow_nan=False)
        self.saves += 1
        if self.saves == self.interrupt_after:
            raise Interrupted


class TinyNet(nn.Module):
    """A CNN with typical structures: batch norm, a residual sum that ties two layers, a linear head."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(6)
        self.second = nn.Conv2d(6, 8, 3, padding=1)
        self.third = nn.Conv2d(8, 8, 3, padding=1)
        self.dropout = nn.Dropout(0.2)
        self.classifier = nn.Linear(8, _N_CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits."""
        x = F.max_pool2d(F.relu(self.norm(self.first(images))), 2)
        x = F.relu(self.second(x))
        x = F.relu(self.third(x) + x)
        logits: Tensor = self.classifier(self.dropout(x.mean((2, 3))))
        return logits


class SplitterTestCase:
    """The requirements on every splitter, tested on a tiny task.

    ``settings`` should make a split fast: it runs a few dozen times on 96 images of 8x8 pixels and three classes.
    Override ``task`` to test the splitter on something else. A ``SplitTask`` holds no test images, so no splitter can
    depend on them.

    Example::

        from splitters.testing import SplitterTestCase


        class TestMySplitter(SplitterTestCase):
            splitter = "mysplitter"
            settings = {"rounds": 2}
    """

    splitter: ClassVar[str]
    settings: ClassVar[Mapping[str, object]] = {}

    def task(self, seed: int = 0) -> SplitTask:
        """Return a new task."""
        return tiny_task(seed)

    def make(self) -> Splitter[Any]:
        """Return the configured splitter."""
        return make_splitter(self.splitter, self.settings)

    def test_result_has_one_mask_and_one_score_per_class(self) -> None:
        """The masks fit the base model; scores are ``[module, sample]`` and finite."""
        task = self.task()
        graph = task.trace()
        result = self.make().split(task, graph=graph)
        assert result.masks.layout == graph.layout
        assert len(result.masks) == task.n_classes
        scores = result.scores(module_logits(graph, result.masks, task.select))
        assert scores.shape == (task.n_classes, len(task.select))
        assert bool(torch.isfinite(scores).all())

    def test_no_module_loses_a_layer(self) -> None:
        """Every module keeps a kernel of every convolution."""
        masks = self.make().split(self.task()).masks
        assert not bool(empty_sets(masks.layout, masks.bits).any())
        assert int(masks.kernels_per_layer.min()) >= 1

    def test_modules_can_be_cut_out(self) -> None:
        """An extracted module gives the scores of the result."""
        task = self.task()
        graph = task.trace()
        result = self.make().split(task, graph=graph)
        modules = extract_modules(graph, result, task.select.class_names, task.select.normalisation)
        images = task.select.normalisation(task.select.images)
        with torch.no_grad():
            alone = torch.stack([module(images) for module in modules])
        together = result.scores(module_logits(graph, result.masks, task.select))
        assert float((alone - together).abs().max()) < 1e-5 * max(1.0, float(together.abs().max()))

    def test_scores_survive_a_cache(self) -> None:
        """The scores can be rebuilt from their kind, a JSON value and tensors."""
        task = self.task()
        graph = task.trace()
        result = self.make().split(task, graph=graph)
        description, tensors = describe_scores(result.scores)
        stored = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
        rebuilt = rebuild_scores(json.loads(json.dumps(description)), stored)
        assert type(rebuilt) is type(result.scores)
        logits = module_logits(graph, result.masks, task.select)
        assert torch.equal(rebuilt(logits), result.scores(logits))

    def test_modules_survive_a_file(self) -> None:
        """A module that was saved and loaded gives the same scores."""
        task = self.task()
        graph = task.trace()
        result = self.make().split(task, graph=graph)
        images = task.select.normalisation(task.select.images)
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            for module in extract_modules(graph, result, task.select.class_names, task.select.normalisation):
                path = Path(folder) / "module.safetensors"
                module.save(path)
                loaded = Module.load(path)
                assert type(loaded.score) is type(module.score)
                assert torch.equal(loaded(images), module(images))

    def test_base_model_is_left_as_it_was(self) -> None:
        """Weights, buffers, training modes and ``requires_grad`` stay the same."""
        task = self.task()
        task.model.train()
        task.model.get_submodule(next(name for name, _ in task.model.named_children())).eval()
        next(task.model.parameters()).requires_grad_(False)
        before, modes, gradients = _state_of(task.model)
        self.make().split(task)
        after, modes_after, gradients_after = _state_of(task.model)
        assert modes == modes_after
        assert gradients == gradients_after
        assert before.keys() == after.keys()
        assert all(torch.equal(value, after[name]) for name, value in before.items())

    def test_same_seed_gives_the_same_result_whatever_the_global_generators_hold(self) -> None:
        """All random numbers come from the task's seed."""
        with _globally_seeded(1):
            first = self.make().split(self.task())
        with _globally_seeded(2):
            second = self.make().split(self.task())
        assert_equal_results(first, second)

    def test_global_generators_are_left_as_they_were(self) -> None:
        """The global generators of torch and numpy are neither used nor seeded."""
        task = self.task()
        before = torch.get_rng_state(), str(np.random.get_state())
        self.make().split(task)
        assert torch.equal(torch.get_rng_state(), before[0])
        assert str(np.random.get_state()) == before[1]

    def test_a_graph_that_the_caller_has_makes_no_difference(self) -> None:
        """A split with a given graph returns the same result as one that traces the base model."""
        task = self.task()
        assert_equal_results(self.make().split(task), self.make().split(task, graph=task.trace()))

    def test_progress_is_reported(self) -> None:
        """There is at least one report, and its numbers are finite."""
        reports: list[Progress] = []
        self.make().split(self.task(), progress=reports.append)
        assert reports
        for report in reports:
            assert 0 <= report.step <= (math.inf if report.total is None else report.total)
            assert all(math.isfinite(value) for value in report.metrics.values())

    def test_an_exception_from_progress_gets_out(self) -> None:
        """The progress callback can stop the split."""
        task = self.task()
        splitter = self.make()
        assert _is_interrupted(lambda: splitter.split(task, progress=_interrupt_at(1)))

    def test_resumed_after_any_checkpoint_is_uninterrupted(self) -> None:
        """A split that was interrupted just after a checkpoint resumes to the same result."""
        counting = MemoryCheckpoint()
        expected = self.make().split(self.task(), checkpoint=counting)
        for number in range(1, counting.saves + 1):
            checkpoint = MemoryCheckpoint(interrupt_after=number)
            self._interrupt(checkpoint, lambda report: None)
            assert_equal_results(self.make().split(self.task(), checkpoint=checkpoint), expected)

    def test_resumed_between_checkpoints_is_uninterrupted(self) -> None:
        """Work after a checkpoint does not change what was saved."""
        reports: list[Progress] = []
        expected = self.make().split(self.task(), progress=reports.append)
        for number in sorted({1, len(reports) // 2 + 1, len(reports)}):
            checkpoint = MemoryCheckpoint()
            self._interrupt(checkpoint, _interrupt_at(number))
            assert_equal_results(self.make().split(self.task(), checkpoint=checkpoint), expected)

    def test_unknown_settings_are_refused_with_the_nearest_name(self) -> None:
        """A misspelt key is an error that names the nearest key."""
        known = list(self.make().Settings.model_fields)
        wrong = f"{known[0]}x" if known else "anything"
        message = self._refusal_of({**self.settings, wrong: 1})
        assert wrong in message
        assert not known or repr(known[0]) in message

    def test_facts_and_history_are_finite(self) -> None:
        """Facts and history hold no NaN and no infinity, which rows refuse."""
        result = self.make().split(self.task())
        for figures in (result.facts, *result.history):
            assert all(math.isfinite(value) for value in figures.values()), figures
        assert all(warning and "\n" not in warning for warning in result.warnings)

    def _refusal_of(self, settings: Mapping[str, object]) -> str:
        try:
            make_splitter(self.splitter, settings)
        except ConfigurationError as error:
            return str(error)
        raise AssertionError(f"{self.splitter} accepted the settings {settings}.")

    def _interrupt(self, checkpoint: MemoryCheckpoint, progress: Callable[[Progress], None]) -> None:
        task = self.task()
        splitter = self.make()
        assert _is_interrupted(lambda: splitter.split(task, progress=progress, checkpoint=checkpoint))


def tiny_task(seed: int = 0) -> SplitTask:
    """Return a task of three classes with a tiny trained CNN that is nearly always correct.

    Args:
        seed: The task's seed; images and base model do not depend on it.
    """
    model, train, select = _trained()
    return SplitTask(copy.deepcopy(model), train, select, seed)


def assert_equal_results(one: SplitResult, other: SplitResult) -> None:
    """Check that two results are equal bit for bit, except for timings."""
    assert one.masks.layout == other.masks.layout
    assert torch.equal(one.masks.bits, other.masks.bits)
    assert torch.equal(one.masks.gates, other.masks.gates)
    assert type(one.scores) is type(other.scores)
    assert one.scores.describe() == other.scores.describe()
    tensors = other.scores.tensors()
    assert one.scores.tensors().keys() == tensors.keys()
    assert all(torch.equal(value, tensors[name]) for name, value in one.scores.tensors().items())
    assert (one.met_tolerance, one.warnings) == (other.met_tolerance, other.warnings)
    assert one.sensitivity == other.sensitivity
    assert _timeless(one.facts) == _timeless(other.facts)
    assert list(map(_timeless, one.history)) == list(map(_timeless, other.history))


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


def _state_of(model: nn.Module) -> tuple[dict[str, Tensor], list[bool], list[bool]]:
    tensors = {name: value.clone() for name, value in model.state_dict().items()}
    modes = [module.training for module in model.modules()]
    return tensors, modes, [parameter.requires_grad for parameter in model.parameters()]


@contextlib.contextmanager
def _globally_seeded(seed: int) -> Iterator[None]:
    """Seed the global generators, and restore them afterwards."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        random.seed(seed)
        np.random.seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)


def _timeless(figures: Mapping[str, float]) -> dict[str, float]:
    return {name: value for name, value in figures.items() if not name.endswith("seconds")}


def _interrupt_at(number: int) -> Callable[[Progress], None]:
    """Return a progress callback that interrupts a split at a report, counted from 1."""
    reports: list[Progress] = []

    def progress(report: Progress) -> None:
        reports.append(report)
        if len(reports) == number:
            raise Interrupted

    return progress


def _is_interrupted(call: Callable[[], object]) -> bool:
    try:
        call()
    except Interrupted:
        return True
    return False
