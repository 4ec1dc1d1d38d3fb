"""Built-in splitters pass the contract tests, which catch a splitter that breaks them."""

import re
from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace
from typing import Any, ClassVar

import pytest
import torch

from splitters.errors import SplitFailedError
from splitters.methods.protocol import (
    Progress,
    SplitResult,
    SplitTask,
    Splitter,
    checked_result,
    checked_split,
    ignore_progress,
)
from splitters.methods.split import split
from splitters.modules.score_kinds import LogitScores
from splitters.networks.masks import KernelMasks
from splitters.settings import Settings
from splitters.testing import SplitterTestCase, tiny_task


class TestFull(SplitterTestCase):
    splitter = "full"


class TestRandom(SplitterTestCase):
    splitter = "random"
    settings: ClassVar = {"retention": 0.4, "head_steps": 20}


class TestImportance(SplitterTestCase):
    splitter = "importance"
    settings: ClassVar = {"retention": 0.4, "head_steps": 20}


class TestTaylor(SplitterTestCase):
    splitter = "taylor"
    settings: ClassVar = {"retention": 0.4, "head_steps": 20}


class TestImportanceWithHeads(SplitterTestCase):
    splitter = "importance"
    settings: ClassVar = {"retention": 0.4, "score": "head", "head_steps": 20}


class TestRandomLikeImportance(SplitterTestCase):
    splitter = "random"
    settings: ClassVar = {
        "score": "moments",
        "like": {"name": "importance", "settings": {"retention": 0.3, "head_steps": 20}},
    }


class TestGradSplitter(SplitterTestCase):
    splitter = "gradsplitter"
    settings: ClassVar = {
        "rounds": 3,
        "warmup": "6 steps",
        "mask_phase": "4 steps",
        "head_phase": "3 steps",
        "mask_learning_rate": 0.4,
        "alpha": 1.0,
        "batch_size": 16,
    }


class TestGradSplitterScoredByMoments(SplitterTestCase):
    splitter = "gradsplitter"
    settings: ClassVar = {**TestGradSplitter.settings, "rounds": 2, "score": "moments", "sparsity": "kernels"}


class TestScaleSplitter(SplitterTestCase):
    splitter = "scalesplitter"
    settings: ClassVar = {
        "rounds": 3,
        "mask_phase": "4 steps",
        "tune_phase": "2 steps",
        "final_phase": "3 steps",
        "mask_learning_rate": 0.4,
        "batch_size": 6,
    }


class _Careless(Splitter[Settings]):
    """Breaks most rules: global random numbers, no progress, changed weights."""

    Settings = Settings

    def split(self, task: SplitTask, *, graph=None, progress=None, checkpoint=None) -> SplitResult:
        graph = graph or task.trace()
        bits = torch.rand(task.n_classes, graph.layout.n_channels) < 0.5
        with torch.no_grad():
            next(task.model.parameters()).add_(1)
        masks = KernelMasks.repaired(graph.layout, bits, bits.float())
        return SplitResult(masks, LogitScores(), facts={"loss": float("nan")})


@pytest.mark.parametrize(
    ("broken", "wrong"),
    [
        ("test_base_model_is_left_as_it_was", "the split changed first.weight of the base model"),
        (
            "test_same_seed_gives_the_same_result_whatever_the_global_generators_hold",
            "two splits of one task differ: draw random numbers from torch.Generator().manual_seed(task.seed). "
            "First difference: the masks differ",
        ),
        ("test_global_generators_are_left_as_they_were", "the split used or seeded torch's global generator"),
        ("test_progress_is_reported", "'progress' is never called"),
        ("test_an_exception_from_progress_gets_out", "an exception that 'progress' raised did not leave 'split'"),
        ("test_facts_and_history_are_finite", "the facts hold {'loss': nan}"),
    ],
)
def test_the_contract_test_says_what_is_wrong_and_why_it_matters(broken: str, wrong: str) -> None:
    case = SplitterTestCase()
    case.make = lambda: _Careless(Settings())
    with pytest.raises(AssertionError, match=re.escape(wrong)) as caught:
        getattr(case, broken)()
    assert "Why it matters: " in str(caught.value)


class _ByModelNames(Splitter[Settings]):
    """Looks layers up in the graph's network by the names that they have in the model."""

    Settings = Settings

    def split(self, task: SplitTask, *, graph=None, progress=None, checkpoint=None) -> SplitResult:
        graph = task.usable_graph(graph)
        for layer in graph.layout.layers:
            graph.network.get_submodule(layer.name)
        return SplitResult(KernelMasks.full(graph.layout, task.n_classes), LogitScores())


def test_the_contract_test_notices_a_splitter_that_knows_no_nested_layers() -> None:
    case = SplitterTestCase()
    case.make = lambda: _ByModelNames(Settings())
    with pytest.raises(AttributeError):
        case.test_no_module_loses_a_layer()


class _Forgetful(Splitter[Settings]):
    """Returns nothing."""

    Settings = Settings

    def split(self, task: SplitTask, *, graph=None, progress=None, checkpoint=None) -> SplitResult:
        return None  # type: ignore[return-value]


def test_a_splitter_that_returns_something_else_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    case = SplitterTestCase()
    case.make = lambda: _Forgetful(Settings())
    message = "'split' must return a splitters.SplitResult, and returned NoneType"
    with pytest.raises(SplitFailedError, match=message):
        case.test_result_has_one_mask_and_one_score_per_class()
    monkeypatch.setattr("splitters.methods.split.make_splitter", lambda *_: case.make())
    task = tiny_task()
    with pytest.raises(SplitFailedError, match=message):
        split(task.model, task.train, task.select, "forgetful")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"masks": torch.ones(3, 4)}, "'masks' of the SplitResult must be splitters.KernelMasks, not Tensor."),
        ({"scores": abs}, "'scores' of the SplitResult must be splitters.Scores, not builtin_function_or_method."),
        ({"warnings": "few images"}, "'warnings' of the SplitResult must be a tuple of sentences, not 'few images'."),
        (
            {"facts": {"loss": torch.tensor(1.0)}},
            "'loss' in 'facts' of the SplitResult must be a Python number, not tensor(1.).",
        ),
        (
            {"history": ({"step": 1}, {"step": "2"})},
            "'step' in 'history' of the SplitResult must be a Python number, not '2'.",
        ),
        (
            {"history": ({"step": 1, "accuracy": 0.9}, {"step": 2, "accuracy": 95.0})},
            "'accuracy' in 'history' of the SplitResult must be a fraction from 0 to 1, not 95.0.",
        ),
    ],
)
def test_a_field_of_another_type_is_named(fields: dict[str, Any], message: str) -> None:
    graph = tiny_task().trace()
    result = SplitResult(KernelMasks.full(graph.layout, 3), LogitScores())
    assert checked_result(result) is result
    with pytest.raises(SplitFailedError, match=f"^{re.escape(message)}$"):
        checked_result(replace(result, **fields))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda task, graph: next(task.model.parameters()).data.zero_(), "the base model"),
        (lambda task, graph: next(graph.network.parameters()).data.zero_(), "its graph"),
        (lambda task, graph: task.train.images.zero_(), "'train'"),
        (lambda task, graph: task.select.labels.zero_(), "'select'"),
    ],
)
def test_a_splitter_that_changes_what_it_was_given_fails(change: Callable[..., object], what: str) -> None:
    class Changing(_Careless):
        def split(self, task: SplitTask, *, graph=None, progress=None, checkpoint=None) -> SplitResult:
            change(task, graph)
            return SplitResult(KernelMasks.full(graph.layout, 3), LogitScores())

    task = deepcopy(tiny_task())
    with pytest.raises(SplitFailedError, match=f"^the splitter changed {what}, with which its modules are"):
        checked_split(Changing(Changing.Settings()), task, graph=task.trace(), progress=ignore_progress)


class _WithWrongCalls(_Careless):
    """Calls what it is given with something else."""

    def split(self, task: SplitTask, *, graph=None, progress=None, checkpoint=None) -> SplitResult:
        if checkpoint is not None:
            checkpoint.save({"step": 1})
        if progress is not None:
            progress("half of it")
        return super().split(task)


@pytest.mark.parametrize(
    ("broken", "wrong"),
    [
        ("test_progress_is_reported", "'progress' was called with 'half of it'; it takes a splitters.Progress"),
        (
            "test_resumed_after_any_checkpoint_is_uninterrupted",
            "'checkpoint.save' was called with {'step': 1}; it takes a splitters.CheckpointState",
        ),
    ],
)
def test_the_contract_test_names_calls_with_something_else(broken: str, wrong: str) -> None:
    case = SplitterTestCase()
    case.make = lambda: _WithWrongCalls(Settings())
    with pytest.raises(AssertionError, match=re.escape(wrong)):
        getattr(case, broken)()


def test_a_contract_test_that_names_no_splitter_says_so() -> None:
    with pytest.raises(AssertionError, match="SplitterTestCase does not name its splitter; add splitter = 'NAME'"):
        SplitterTestCase().test_progress_is_reported()


def test_tiny_task_is_learnt() -> None:
    task = tiny_task()
    with torch.no_grad():
        answers = task.model(task.select.normalisation(task.select.images)).argmax(1)
    assert float((answers == task.select.labels).float().mean()) > 0.9


def test_progress_defaults_to_no_metrics() -> None:
    assert Progress("split", 1).metrics == {}
