"""GradSplitter: what drives it, how it repeats and resumes, and what it does about dead modules."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, fx, nn
from torch.nn.modules.module import register_module_forward_pre_hook
from torch.optim.optimizer import register_optimizer_step_pre_hook

from splitters.errors import SplitFailedError
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.gradsplitter import GradSplitter, GradSplitterSettings
from splitters.methods.gradsplitter.trainer import Trainer
from splitters.methods.protocol import Progress, SplitResult, SplitTask, make_splitter
from splitters.methods.scoring import head_training
from splitters.methods.scoring.fitting import ScoreFitter
from splitters.modules.score_kinds import HeadScores
from splitters.networks import inference
from splitters.networks.inference import accuracy, composed_answers, module_logits
from splitters.settings import Length
from splitters.testing import Interrupted, MemoryCheckpoint, assert_equal_results, tiny_task

_SHORT: dict[str, Any] = {
    "rounds": 3,
    "warmup": "30 steps",
    "mask_phase": "8 steps",
    "head_phase": "5 steps",
    "warmup_learning_rate": 0.05,
    "mask_learning_rate": 0.15,
    "head_learning_rate": 0.02,
    "batch_size": 20,
}
_MASKS_STAY = {"mask_learning_rate": 0.001}
"""With this rate no mask reaches 0, so that nothing but its head kills a module."""


def _split(task: SplitTask | None = None, graph: ChannelGraph | None = None, **changes: object) -> SplitResult:
    task = task or tiny_task()
    return make_splitter("gradsplitter", {**_SHORT, **changes}).split(task, graph=graph)


def _trainer(task: SplitTask | None = None, **changes: object) -> Trainer:
    task = task or tiny_task()
    settings = GradSplitterSettings.parse({**_SHORT, **changes}, where="test")
    return Trainer(task, task.trace(), settings, torch.Generator().manual_seed(0))


def _timed(result: SplitResult) -> list[float]:
    return [state["seconds"] for state in result.history]


def test_composed_modules_keep_the_base_models_accuracy() -> None:
    task = tiny_task()
    graph = task.trace()
    result = _split(task, graph, rounds=5, alpha=0.3, tolerance=0.1)
    scores = result.scores(module_logits(graph, result.masks, task.select))
    assert accuracy(composed_answers(scores), task.select.labels) >= 0.8
    assert result.met_tolerance
    assert result.masks.retention < 1


def test_results_are_those_of_earlier_versions() -> None:
    result = _split(alpha=1.0)
    assert [state["loss"] for state in result.history] == pytest.approx([0.730037, 0.727761, 0.648094], rel=1e-4)
    assert result.masks.retention == pytest.approx(14 / 33)


def test_alpha_drives_kernels_out() -> None:
    without, some, much = (_split(alpha=alpha).history[-1]["kernel_retention"] for alpha in (0.0, 1.0, 20.0))
    assert without >= some > much


def test_no_kernel_drops_before_the_mask_can_reach_zero() -> None:
    result = _split(alpha=50.0, mask_learning_rate=0.02, rounds=2, mask_phase="20 steps")
    assert [state["kernel_retention"] for state in result.history] == [1.0, 1.0]


def test_history_and_facts_say_what_happened() -> None:
    result = _split()
    assert [state["step"] for state in result.history] == [1, 2, 3]
    assert _timed(result) == sorted(_timed(result))
    for state in result.history:
        assert set(state) == {"step", "seconds", "accuracy", "kernel_retention", "min_f1", "loss"}
        assert all(math.isfinite(value) for value in state.values())
    assert result.facts["chosen_round"] in (1, 2, 3)
    assert result.masks.retention == result.history[int(result.facts["chosen_round"]) - 1]["kernel_retention"]


def test_a_longer_search_begins_with_the_states_of_a_shorter_one() -> None:
    short, long = _split(rounds=2).history, _split(rounds=3).history
    untimed = [{**state, "seconds": 0.0} for state in long]
    assert untimed[:2] == [{**state, "seconds": 0.0} for state in short]


def test_progress_reports_rounds_and_what_happens_within() -> None:
    reports: list[Progress] = []
    make_splitter("gradsplitter", _SHORT).split(tiny_task(), progress=reports.append)
    assert (reports[0].stage, reports[0].step, reports[0].total) == ("warm-up", 0, 3)
    rounds = [report.step for report in reports if "kernel_retention" in report.metrics]
    assert sorted(set(rounds)) == [1, 2, 3]
    halves = {(report.step, report.metrics["round_done"]) for report in reports if "round_done" in report.metrics}
    assert halves == {(0, 1.0), (1, 1.0), (2, 1.0)}


class _Work:
    """Counts the batches through networks and the optimiser steps between two ticks or reports of progress."""

    def __init__(self, *, steps: bool) -> None:
        self.batches = self.steps = self.longest = 0
        self._since_tick = 0

        def runs(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if isinstance(module, fx.GraphModule) and len(inputs[0]) > 2:  # checks of a graph run one or two images
                self.batches += 1
                self._add()

        def stepped(*args: object) -> None:
            self.steps += 1
            self._add()

        self._hooks = [register_module_forward_pre_hook(runs)]
        if steps:
            self._hooks.append(register_optimizer_step_pre_hook(stepped))

    def __enter__(self) -> "_Work":
        return self

    def __exit__(self, *error: object) -> None:
        for hook in self._hooks:
            hook.remove()

    def _add(self) -> None:
        self._since_tick += 1
        self.longest = max(self.longest, self._since_tick)

    def tick(self, progress: Progress | None = None) -> None:
        self._since_tick = 0


@pytest.mark.parametrize("limit", [1 << 30, 0], ids=["logits kept", "logits recomputed"])
def test_head_phases_tick_after_every_batch_and_step(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    monkeypatch.setattr(head_training, "_LOGITS_BYTES", limit)
    trainer = _trainer()
    trainer.masks = torch.randn(trainer.masks.shape, generator=trainer.generator)
    with _Work(steps=True) as work:
        trainer.tick = work.tick
        trainer.score_phase(Length(count=5, unit="steps"), 0.01)
    assert (work.batches, work.steps) == ({1 << 30: 3, 0: 15}[limit], 5), "3 modules, once or at each of 5 steps"
    assert work.longest == 1


def test_no_batch_goes_through_a_network_without_a_report_since_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HeadScores, "initialised", _dead_heads([1], times=1))
    task = tiny_task()
    graph = task.trace()
    with _Work(steps=False) as work:
        result = make_splitter("gradsplitter", {**_SHORT, "alpha": 2.0}).split(task, graph=graph, progress=work.tick)
    assert result.facts["rescues"] >= 1
    assert work.batches > 24, "the mask steps alone"
    assert work.longest == 1


def test_phases_are_as_long_as_they_say_in_steps_or_epochs() -> None:
    trainer = _trainer(mask_phase="2 epochs")
    assert len(list(trainer.mask_phase())) == 2 * math.ceil(60 / 20)
    assert trainer.steps_of(Length(count=7, unit="steps")) == 7


def test_batches_go_through_all_images_epoch_after_epoch() -> None:
    trainer = _trainer(batch_size=16)
    batches = list(trainer.batches(6))
    assert [len(batch) for batch in batches] == [16, 16, 16, 12, 16, 16]
    assert torch.cat(batches[:4]).sort().values.tolist() == list(range(60))
    assert not torch.equal(batches[0], batches[4])


# Head phases


def test_head_phases_leave_masks_alone_and_lower_the_loss() -> None:
    trainer = _trainer()
    losses = []
    for _ in range(3):
        trainer.score_phase(Length(count=20, unit="steps"), 0.05)
        losses.append(trainer.loss)
    assert losses == sorted(losses, reverse=True)
    assert bool((trainer.masks == 1).all())


def test_cached_logits_train_heads_as_recomputed_ones_do(monkeypatch: pytest.MonkeyPatch) -> None:
    trained = []
    for limit in (1 << 30, 0):
        monkeypatch.setattr(head_training, "_LOGITS_BYTES", limit)
        trainer = _trainer()
        trainer.score_phase(Length(count=12, unit="steps"), 0.01)
        trained.append(trainer.scores.tensors())
    for name, value in trained[0].items():
        assert torch.allclose(value, trained[1][name], atol=1e-4), name


@pytest.mark.parametrize("limit", [1 << 30, 0], ids=["logits kept", "logits recomputed"])
def test_a_head_phase_cuts_each_network_out_once(monkeypatch: pytest.MonkeyPatch, limit: int) -> None:
    cut: list[Tensor] = []

    def extract_network(graph: ChannelGraph, bits: Tensor, scales: Tensor | None) -> nn.Module:
        cut.append(bits)
        return real(graph, bits, scales)

    real = inference.extract_network
    monkeypatch.setattr(inference, "extract_network", extract_network)
    monkeypatch.setattr(head_training, "_LOGITS_BYTES", limit)
    trainer = _trainer()
    trainer.masks[1:, 0] = -1.0
    trainer.score_phase(Length(count=5, unit="steps"), 0.01)
    assert len(cut) == 2, "two of the three modules are alike"


def test_a_head_phase_for_some_modules_leaves_the_other_heads_bit_for_bit() -> None:
    trainer = _trainer()
    before = trainer.scores.map(torch.clone).tensors()
    trainer.score_phase(Length(count=10, unit="steps"), 0.05, only=torch.tensor([False, True, False]))
    for name, value in trainer.scores.tensors().items():
        assert torch.equal(value[[0, 2]], before[name][[0, 2]])
        assert not torch.equal(value[1], before[name][1])


# Dead modules


def _dead_heads(modules: list[int], times: float = math.inf) -> Callable[..., HeadScores]:
    """Return a stand-in for ``HeadScores.initialised`` that draws heads of which some are dead, a number of times."""
    real, calls = HeadScores.initialised, []

    def initialised(*args: Any, **kwargs: Any) -> HeadScores:
        heads = real(*args, **kwargs)
        calls.append(1)
        if len(calls) <= times:
            heads.hidden_bias[modules] = -1e4
        return heads

    return initialised


def test_a_dead_module_is_put_back_and_gets_a_new_head(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HeadScores, "initialised", _dead_heads([1], times=1))
    result = _split(**_MASKS_STAY)
    assert result.facts["rescues"] == 1
    assert result.facts["dead_modules"] == 0
    assert result.warnings[1:] == ("round 0: dead modules were restored with new heads: 'colour 1'.",)
    assert result.history[-1]["min_f1"] > 0.9


def test_a_module_that_dies_later_is_put_back_to_where_it_was_alive() -> None:
    splitter = make_splitter("gradsplitter", {**_SHORT, **_MASKS_STAY})
    task = tiny_task()
    killed: list[HeadScores] = []

    def kill(trainer: Trainer) -> None:
        if not killed:
            killed.append(trainer.scores)
            trainer.scores.hidden_bias[2] = -1e4

    original = Trainer.mask_phase
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "mask_phase", lambda trainer: (kill(trainer), *original(trainer))[1:])
        result = splitter.split(task)
    assert result.facts["rescues"] == 1
    assert result.warnings[1:] == ("round 1: dead modules were restored with new heads: 'colour 2'.",)
    assert result.facts["dead_modules"] == 0


def test_without_rescue_a_dead_module_stays_dead_and_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HeadScores, "initialised", _dead_heads([1]))
    result = _split(rescue=False, alpha=5.0)
    assert result.facts["rescues"] == 0
    assert result.facts["dead_modules"] == 1
    assert "the module of class 'colour 1' is dead." in result.warnings
    assert not any("put back" in warning for warning in result.warnings)
    assert not result.met_tolerance
    kernels = result.masks.kernels.tolist()
    assert kernels[1] == min(kernels), "the sparsity term empties a module that no gradient reaches"


def test_rescue_gives_up_after_its_attempts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HeadScores, "initialised", _dead_heads([0]))
    result = _split(rounds=1, rescue_attempts=2, **_MASKS_STAY)
    assert result.facts["rescues"] == 2 * 2  # after the warm-up, and after the only round
    assert "the module of class 'colour 0' is dead." in result.warnings


def test_a_rescued_split_resumes_to_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    def split(checkpoint: MemoryCheckpoint) -> SplitResult:
        with monkeypatch.context() as patch:
            patch.setattr(HeadScores, "initialised", _dead_heads([1], times=2))
            return splitter.split(tiny_task(), checkpoint=checkpoint)

    splitter = make_splitter("gradsplitter", {**_SHORT, **_MASKS_STAY})
    expected = split(MemoryCheckpoint())
    assert expected.facts["rescues"] == 2
    checkpoint = MemoryCheckpoint(interrupt_after=2)
    with pytest.raises(Interrupted):
        split(checkpoint)
    assert_equal_results(splitter.split(tiny_task(), checkpoint=checkpoint), expected)


# Failures


def test_without_head_steps_the_masks_alone_are_trained() -> None:
    result = _split(warmup="0 steps", head_phase="0 steps", rescue=False)
    assert all(math.isfinite(state["loss"]) for state in result.history)


def test_a_loss_that_is_no_number_fails_with_the_rates() -> None:
    with pytest.raises(SplitFailedError, match=r"the loss \(nan\).*; lower the learning rates \(masks 0.15"):
        _split(head_learning_rate=1e30, warmup_learning_rate=1e30)


def test_a_network_of_which_nothing_can_be_dropped_is_refused_with_the_reason() -> None:
    task = tiny_task()
    frozen = nn.Sequential(nn.Conv2d(3, 3, 1), nn.GroupNorm(1, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(SplitFailedError, match="no kernel can be dropped") as error:
        _split(SplitTask(frozen, task.train, task.select, 0))
    assert "group_norm (group_norm): mixes channels" in str(error.value)


def test_an_unmet_tolerance_is_said() -> None:
    result = _split(alpha=200.0, mask_learning_rate=0.5, tolerance=0.0, rescue=False)
    assert not result.met_tolerance
    assert "no recorded state is within 0 of the base model's accuracy on select" in result.warnings[0]


def test_its_version_and_settings_name_it() -> None:
    splitter = make_splitter("gradsplitter", {"rounds": 2})
    assert isinstance(splitter, GradSplitter)
    assert splitter.settings.rounds == 2


# Kinds of scores


@pytest.mark.parametrize("score", ["logit", "moments"])
def test_another_kind_of_score_chooses_among_the_same_states(score: str) -> None:
    task = tiny_task()
    graph = task.trace()
    heads, other = _split(task, graph), _split(task, graph, score=score)
    for name in ("kernel_retention", "loss"):
        assert [state[name] for state in heads.history] == [state[name] for state in other.history]
    expected = ScoreFitter(graph, task).fit(score, other.masks)
    assert type(other.scores) is type(expected)
    assert all(torch.equal(value, expected.tensors()[name]) for name, value in other.scores.tensors().items())
    answers = composed_answers(other.scores(module_logits(graph, other.masks, task.select)))
    reached = accuracy(answers, task.select.labels)
    assert other.history[int(other.facts["chosen_round"]) - 1]["accuracy"] == reached


@pytest.mark.parametrize("score", ["head", "moments"])
def test_modules_are_cut_once_per_round(score: str, monkeypatch: pytest.MonkeyPatch) -> None:
    cut: list[int] = []
    of = inference.ModuleNetworks.of

    def counting(*args: Any, **kwargs: Any) -> inference.ModuleNetworks:
        cut.append(1)
        return of(*args, **kwargs)

    monkeypatch.setattr(inference.ModuleNetworks, "of", counting)
    _split(score=score, rescue=False)
    assert len(cut) == 1 + _SHORT["rounds"]  # the first head phase, and each round


def test_sparsity_can_count_kernels_as_the_paper_does() -> None:
    channels, kernels = _trainer(), _trainer(sparsity="kernels")
    bits = torch.ones(3, 14)
    bits[0, 0] = bits[1, 13] = 0  # of the first convolution, and of the two that the residual sum ties
    assert channels.sparsity(bits) == pytest.approx(40 / 42)
    assert kernels.sparsity(bits) == pytest.approx((3 * 22 - 1 - 2) / (3 * 22))
