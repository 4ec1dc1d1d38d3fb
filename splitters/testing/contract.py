"""The requirements on every splitter, as tests."""

from __future__ import annotations

import contextlib
import json
import math
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from splitters.errors import ConfigurationError
from splitters.methods.protocol import Progress, SplitResult, SplitTask, Splitter, checked_result, make_splitter
from splitters.modules.module import Module, extract_modules
from splitters.modules.scores import describe_scores, rebuild_scores
from splitters.networks.inference import module_logits
from splitters.networks.masks import empty_sets
from splitters.testing.checkpoint import Interrupted, MemoryCheckpoint
from splitters.testing.equality import assert_equal_results, same_value
from splitters.testing.tiny_task import tiny_task


class SplitterTestCase:
    """The requirements on every splitter, tested on a tiny task. A failure says what is wrong, and why it matters.

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
        _require(
            isinstance(getattr(self, "splitter", None), str),
            f"{type(self).__name__} does not name its splitter; add splitter = 'NAME' to the class",
            "the tests are the same for all splitters",
        )
        return make_splitter(self.splitter, self.settings)

    def test_result_has_one_mask_and_one_score_per_class(self) -> None:
        """The masks fit the base model; scores are ``[module, sample]`` and finite."""
        task = self.task()
        graph = task.trace()
        result = self._split(task, graph=graph)
        _require(
            result.masks.layout == graph.layout,
            "the masks belong to another network than the task's: pass the 'layout' of the graph that 'split' is given",
            "modules are cut by these masks, channel by channel",
        )
        _require(
            len(result.masks) == task.n_classes,
            f"there are {len(result.masks)} masks for {task.n_classes} classes",
            "module c is the one that recognises class c",
        )
        scores = result.scores(module_logits(graph, result.masks, task.select))
        _require(
            scores.shape == (task.n_classes, len(task.select)),
            f"the scores of {len(task.select)} images have the shape {list(scores.shape)}, "
            f"not {[task.n_classes, len(task.select)]}",
            "a score is one number per module and image",
        )
        _require(
            bool(torch.isfinite(scores).all()),
            f"{int((~torch.isfinite(scores)).sum())} of {scores.numel()} scores are NaN or infinite",
            "the highest score decides, and NaN compares with nothing",
        )

    def test_no_module_loses_a_layer(self) -> None:
        """Every module keeps a kernel of every convolution."""
        masks = self._split(self.task()).masks
        counts = masks.kernels_per_layer
        lost = [
            f"module {module} of {masks.layout.layers[layer].name!r}"
            for module, layer in (counts == 0).nonzero().tolist()
        ]
        _require(
            not lost and not bool(empty_sets(masks.layout, masks.bits).any()),
            f"no kernel is left in {', '.join(lost) or 'a channel group'}",
            "such a module computes a constant; KernelMasks.repaired keeps the best channel of each group",
        )

    def test_modules_can_be_cut_out(self) -> None:
        """An extracted module gives the scores of the result."""
        task = self.task()
        graph = task.trace()
        result = self._split(task, graph=graph)
        modules = extract_modules(graph, result, task.select.class_names, task.select.normalisation)
        images = task.select.normalisation(task.select.images)
        with torch.no_grad():
            alone = torch.stack([module(images) for module in modules])
        together = result.scores(module_logits(graph, result.masks, task.select))
        difference = float((alone - together).abs().max())
        _require(
            difference < 1e-5 * max(1.0, float(together.abs().max())),
            f"modules that were cut out score differently from masked ones, by {difference:g}: 'of(module)' of the "
            "scores is not what calling them computes for that module",
            "what a splitter measures must be what users get in a module file",
        )

    def test_scores_survive_a_cache(self) -> None:
        """The scores can be rebuilt from their kind, a JSON value and tensors."""
        task = self.task()
        graph = task.trace()
        result = self._split(task, graph=graph)
        description, tensors = describe_scores(result.scores)
        stored = {name: tensor.detach().cpu().clone() for name, tensor in tensors.items()}
        rebuilt = rebuild_scores(json.loads(json.dumps(description)), stored)
        logits = module_logits(graph, result.masks, task.select)
        _require(
            type(rebuilt) is type(result.scores) and torch.equal(rebuilt(logits), result.scores(logits)),
            f"{type(result.scores).__name__} that were rebuilt from 'describe' and 'tensors' score differently",
            "a split is computed once and then comes from the cache, where every later cell would see other numbers",
        )

    def test_modules_survive_a_file(self) -> None:
        """A module that was saved and loaded gives the same scores."""
        task = self.task()
        graph = task.trace()
        result = self._split(task, graph=graph)
        images = task.select.normalisation(task.select.images)
        with tempfile.TemporaryDirectory() as folder, torch.no_grad():
            for module in extract_modules(graph, result, task.select.class_names, task.select.normalisation):
                path = Path(folder) / "module.safetensors"
                module.save(path)
                loaded = Module.load(path)
                _require(
                    type(loaded.score) is type(module.score) and torch.equal(loaded(images), module(images)),
                    f"the module of {module.info.class_name!r} scores differently after it was saved and loaded: its "
                    f"{type(module.score).__name__} is not what 'describe' and its state dict say",
                    "module files are what others use",
                )

    def test_base_model_is_left_as_it_was(self) -> None:
        """Weights, buffers, training modes and ``requires_grad`` stay the same."""
        task = self.task()
        task.model.train()
        task.model.get_submodule(next(name for name, _ in task.model.named_children())).eval()
        next(task.model.parameters()).requires_grad_(False)
        before = _state_of(task.model)
        self._split(task)
        after = _state_of(task.model)
        changed = [name for name in before if name not in after or not same_value(before[name], after[name])]
        changed += [f"{name} (new)" for name in after if name not in before]
        _require(
            not changed,
            f"the split changed {', '.join(changed)} of the base model; work on 'graph.network' or on a copy",
            "other splitters get the same base model, and are compared on it",
        )

    def test_same_seed_gives_the_same_result_whatever_the_global_generators_hold(self) -> None:
        """All random numbers come from the task's seed."""
        with _globally_seeded(1):
            first = self._split(self.task())
        with _globally_seeded(2):
            second = self._split(self.task())
        with _explained(
            "two splits of one task differ: draw random numbers from torch.Generator().manual_seed(task.seed)",
            "results could not be reproduced",
        ):
            assert_equal_results(first, second)

    def test_global_generators_are_left_as_they_were(self) -> None:
        """The global generators of torch and numpy are neither used nor seeded."""
        task = self.task()
        before = torch.get_rng_state(), str(np.random.get_state())
        self._split(task)
        for library, same in (
            ("torch", torch.equal(torch.get_rng_state(), before[0])),
            ("numpy", str(np.random.get_state()) == before[1]),
        ):
            _require(
                same,
                f"the split used or seeded {library}'s global generator; make one from task.seed",
                "what else runs in the process would change its results",
            )

    def test_a_graph_that_the_caller_has_makes_no_difference(self) -> None:
        """A split with a given graph returns the same result as one that traces the base model."""
        task = self.task()
        with _explained(
            "a split that is given the 'graph' differs from one that traces it: begin with "
            "graph = task.usable_graph(graph), and change nothing in it",
            "callers trace a model once and split it often",
        ):
            assert_equal_results(self._split(task), self._split(task, graph=task.trace()))

    def test_progress_is_reported(self) -> None:
        """There is at least one report, and its numbers are finite."""
        reports: list[Progress] = []
        self._split(self.task(), progress=reports.append)
        _require(
            bool(reports),
            "'progress' is never called; call it at least once, e.g. progress(Progress('split', 1, 1))",
            "it shows how far a split is, and is where a split can be stopped",
        )
        for report in reports:
            _require(
                isinstance(report, Progress),
                f"'progress' was called with {report!r}; it takes a splitters.Progress",
                "a step and a total are read from it",
            )
            _require(
                0 <= report.step <= (math.inf if report.total is None else report.total),
                f"{report} is step {report.step} of {report.total}",
                "bars and remaining times are computed from it",
            )
            _require_finite(report.metrics, "a progress report")

    def test_an_exception_from_progress_gets_out(self) -> None:
        """The progress callback can stop the split."""
        task = self.task()
        splitter = self.make()
        _require(
            _is_interrupted(lambda: splitter.split(task, progress=_interrupt_at(1))),
            "an exception that 'progress' raised did not leave 'split'; it is never called, or something catches it",
            "that is how time limits and Ctrl-C end a split",
        )

    def test_resumed_after_any_checkpoint_is_uninterrupted(self) -> None:
        """A split that was interrupted just after a checkpoint resumes to the same result."""
        counting = MemoryCheckpoint()
        expected = self._split(self.task(), checkpoint=counting)
        for number in range(1, counting.saves + 1):
            checkpoint = MemoryCheckpoint(interrupt_after=number)
            self._interrupt(checkpoint, lambda report: None)
            with _explained(
                f"a split that was resumed from checkpoint {number} of {counting.saves} differs from an uninterrupted "
                "one; save everything that later steps depend on, generators and optimisers included",
                _RESUMED_WHY,
            ):
                assert_equal_results(self._split(self.task(), checkpoint=checkpoint), expected)

    def test_resumed_between_checkpoints_is_uninterrupted(self) -> None:
        """Work after a checkpoint does not change what was saved."""
        reports: list[Progress] = []
        expected = self._split(self.task(), progress=reports.append)
        for number in sorted({1, len(reports) // 2 + 1, len(reports)}):
            checkpoint = MemoryCheckpoint()
            self._interrupt(checkpoint, _interrupt_at(number))
            with _explained(
                f"a split that was interrupted at report {number} of {len(reports)} and resumed differs from an "
                "uninterrupted one; give 'checkpoint.save' tensors that are not changed afterwards (clone them)",
                _RESUMED_WHY,
            ):
                assert_equal_results(self._split(self.task(), checkpoint=checkpoint), expected)

    def test_unknown_settings_are_refused_with_the_nearest_name(self) -> None:
        """A misspelt key is an error that names the nearest key."""
        known = list(self.make().Settings.model_fields)
        wrong = f"{known[0]}x" if known else "anything"
        message = self._refusal_of({**self.settings, wrong: 1})
        _require(
            wrong in message and (not known or repr(known[0]) in message),
            f"the refusal of the unknown setting {wrong!r} does not name it and the nearest one: {message}",
            "a misspelt setting would be searched for in vain",
        )

    def test_facts_and_history_are_finite(self) -> None:
        """Facts and history hold no NaN and no infinity, and warnings are single lines; rows refuse all else."""
        result = self._split(self.task())
        _require_finite(result.facts, "the facts")
        for record in result.history:
            _require_finite(record, "the history")
        for warning in result.warnings:
            _require(
                bool(warning) and "\n" not in warning,
                f"the warning {warning!r} is not one line of text",
                "tables show a warning per line",
            )

    def _split(self, task: SplitTask, **arguments: Any) -> SplitResult:
        return checked_result(self.make().split(task, **arguments))

    def _refusal_of(self, settings: Mapping[str, object]) -> str:
        try:
            make_splitter(self.splitter, settings)
        except ConfigurationError as error:
            return str(error)
        raise AssertionError(
            f"the settings {dict(settings)} were accepted; 'Settings' must be a subclass of splitters.Settings that "
            "forbids unknown keys. Why it matters: a misspelt setting would silently do nothing."
        )

    def _interrupt(self, checkpoint: MemoryCheckpoint, progress: Callable[[Progress], None]) -> None:
        task = self.task()
        splitter = self.make()
        _require(
            _is_interrupted(lambda: splitter.split(task, progress=progress, checkpoint=checkpoint)),
            "an exception that 'progress' or 'checkpoint.save' raised did not leave 'split'",
            "that is how time limits and Ctrl-C end a split",
        )


_RESUMED_WHY = "long splits are interrupted all the time, and their rows count like any other"


def _require(holds: bool, wrong: str, why: str) -> None:
    """Check a requirement of the contract.

    Raises:
        AssertionError: If it does not hold, with what is wrong and why it matters.
    """
    if not holds:
        raise AssertionError(f"{wrong}. Why it matters: {why}.")


def _require_finite(figures: Mapping[str, float], place: str) -> None:
    wrong = {name: value for name, value in figures.items() if not math.isfinite(value)}
    _require(not wrong, f"{place} hold {wrong}", "rows refuse NaN and infinity, so the cell would fail at its end")


@contextlib.contextmanager
def _explained(wrong: str, why: str) -> Iterator[None]:
    """Say what a difference means.

    Raises:
        AssertionError: If one is found inside.
    """
    try:
        yield
    except AssertionError as difference:
        raise AssertionError(f"{wrong}. First difference: {difference}. Why it matters: {why}.") from None


def _state_of(model: nn.Module) -> dict[str, object]:
    """Return a model's weights and buffers, and which parts train, by name."""
    return {
        **{name: value.clone() for name, value in model.state_dict().items()},
        **{f"{name}.requires_grad": parameter.requires_grad for name, parameter in model.named_parameters()},
        **{f"{name or 'model'}.training": module.training for name, module in model.named_modules()},
    }


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
