"""ScaleSplitter: what drives it, what its modules consist of, and what it does about dead modules."""

import math
from dataclasses import replace

import pytest
import torch

from harness.config.suite import load_suite
from splitters.methods.protocol import Progress, SplitResult, SplitTask, make_splitter
from splitters.methods.scalesplitter import ScaleSplitterSettings, splitter
from splitters.methods.scalesplitter.trainer import Trainer
from splitters.modules.module import extract_modules
from splitters.modules.score_kinds import LinearScores
from splitters.networks.inference import accuracy, composed_answers, module_logits
from splitters.settings import Length
from splitters.testing import tiny_task
from splitters.testing.checkpoint import Interrupted, MemoryCheckpoint

_SHORT = {
    "rounds": 2,
    "mask_phase": "12 steps",
    "tune_phase": "5 steps",
    "final_phase": "10 steps",
    "mask_learning_rate": 0.15,
    "learning_rate": 0.02,
    "alpha": 1.0,
    "batch_size": 9,
}


def _split(task: SplitTask | None = None, **changes: object) -> SplitResult:
    return make_splitter("scalesplitter", {**_SHORT, **changes}).split(task or tiny_task())


def _trainer(**changes: object) -> Trainer:
    task = tiny_task()
    settings = ScaleSplitterSettings.parse({**_SHORT, **changes}, where="test")
    return Trainer(task, task.trace(), settings, torch.Generator().manual_seed(0))


def _steps(count: int) -> Length:
    return Length(count=count, unit="steps")


def test_composed_modules_keep_the_base_models_accuracy_with_half_of_the_kernels() -> None:
    task = tiny_task()
    result = _split(task, rounds=4, tolerance=0.05)
    scores = result.scores(module_logits(task.trace(), result.masks, task.select))
    assert accuracy(composed_answers(scores), task.select.labels) >= 0.9
    assert result.met_tolerance
    assert result.masks.retention < 0.5


def test_tuning_at_the_end_goes_on_where_it_was_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(splitter, "is_within", lambda *_: False)
    checkpoint = MemoryCheckpoint(interrupt_after=3)
    with pytest.raises(Interrupted):
        make_splitter("scalesplitter", _SHORT).split(tiny_task(), checkpoint=checkpoint)
    reports: list[Progress] = []
    make_splitter("scalesplitter", _SHORT).split(tiny_task(), checkpoint=checkpoint, progress=reports.append)
    assert {report.step for report in reports if report.stage == "tune"} == {1, 2}
    assert not {report.step for report in reports if report.stage == "split" and report.milestone}


@pytest.mark.parametrize(("preset", "suite"), [("small", "cifar-cpu"), ("fast", "quick")])
def test_presets_are_the_settings_of_the_suites_that_tried_them(preset: str, suite: str) -> None:
    (entry,) = (entry for entry in load_suite(suite).splitters if entry.name == "scalesplitter")
    suited = ScaleSplitterSettings.parse(entry.settings, where="test")
    assert (
        ScaleSplitterSettings.parse({"preset": preset}, where="test").model_copy(update={"preset": suited.preset})
        == suited
    )


def test_alpha_drives_kernels_out() -> None:
    without, some, much = (
        _split(alpha=alpha, rescue=False).history[-1]["kernel_retention"] for alpha in (0.0, 0.5, 20.0)
    )
    assert without >= some > much


def test_scales_are_learned_for_kept_kernels_and_cut_into_the_modules() -> None:
    task = tiny_task()
    graph = task.trace()
    result = _split(task)
    masks = result.masks
    assert not torch.equal(masks.scales[masks.bits], torch.ones(int(masks.bits.sum())))
    assert torch.equal(masks.scales[~masks.bits], torch.ones(int((~masks.bits).sum())))
    module = extract_modules(graph, result, task.select.class_names, task.select.normalisation)[1]
    read_channels = torch.tensor(graph.layout.layers[-1].channels)
    kept = masks.bits[1][read_channels]
    read = masks.scales[1][read_channels][kept]
    whole = graph.network.get_submodule("classifier").weight[:, kept]
    torch.testing.assert_close(module.network.get_submodule("classifier").weight, whole * read)


def test_search_begins_at_the_base_models_own_logits() -> None:
    trainer = _trainer()
    assert torch.equal(trainer.kernel_masks().gates, torch.ones_like(trainer.masks))
    assert torch.equal(trainer.scores.weight, torch.eye(3))
    assert torch.equal(trainer.scores.bias, torch.zeros(3))


def test_tune_phases_leave_masks_alone_and_lower_the_loss() -> None:
    trainer = _trainer()
    before = trainer.masks.clone()
    losses = []
    for _ in range(3):
        trainer.score_phase(_steps(20), 0.05)
        losses.append(trainer.loss)
    assert losses[-1] < losses[0]
    assert torch.equal(trainer.masks, before)


def test_loss_is_each_modules_binary_cross_entropy_plus_the_divergence_from_the_base_models_soft_answers() -> None:
    trainer = _trainer(distillation=0.5)
    drawn = torch.Generator().manual_seed(1)
    gates = (torch.rand(trainer.masks.shape, generator=drawn) < 0.8).float()
    scores = LinearScores(torch.randn(3, 3, generator=drawn), torch.randn(3, generator=drawn))
    some = torch.tensor([5, 0, 17, 3])
    images, labels = trainer.images.batch(some)
    logits = trainer.network(images, gates)
    expected = 0.0
    for image, label in enumerate(labels.tolist()):
        found = [float(scores.weight[c] @ logits[c, image] + scores.bias[c]) for c in range(3)]
        right = [1 / (1 + math.exp(-score if c == label else score)) for c, score in enumerate(found)]
        expected -= sum(math.log(probability) for probability in right) / 3 / len(some)
        soft = [math.exp(float(logit)) for logit in trainer.graph.network(images)[image]]
        own = [math.exp(score) for score in found]
        for wanted, answer in zip(soft, own, strict=True):
            share = wanted / sum(soft)
            expected += 0.5 * share * math.log(share / (answer / sum(own))) / len(some)
    assert float(trainer.loss_of(gates, scores, some)) == pytest.approx(expected, rel=1e-4)


def test_without_distillation_the_loss_is_the_binary_cross_entropy_alone() -> None:
    trainer, with_teacher = _trainer(distillation=0), _trainer(distillation=1)
    trainer.scores = trainer.scores.map(torch.zeros_like)
    gates, some = torch.ones_like(trainer.masks), torch.arange(9)
    assert float(trainer.loss_of(gates, trainer.scores, some)) == pytest.approx(math.log(2))
    assert float(with_teacher.loss_of(gates, trainer.scores, some)) > 0.7


def test_distillation_teaches_modules_the_base_models_answers_where_labels_differ() -> None:
    def agreement(distillation: float) -> float:
        trainer = _trainer(distillation=distillation)
        trainer.scores = trainer.scores.map(torch.zeros_like)
        answers = trainer.graph.network(trainer.images.batch(torch.arange(len(trainer.images)))[0]).argmax(1)
        trainer.images = replace(trainer.images, labels=(trainer.images.labels + 1) % 3)
        trainer.score_phase(_steps(60), 0.1)
        every = trainer.images.batch(torch.arange(len(trainer.images)))[0]
        return accuracy(composed_answers(trainer.scores(trainer.network(every, trainer.scales))), answers)

    assert agreement(100.0) > 0.9 > 0.5 > agreement(0)


def test_a_tune_phase_for_some_modules_leaves_the_others_bit_for_bit() -> None:
    trainer = _trainer()
    trainer.score_phase(_steps(10), 0.05, only=torch.tensor([False, True, False]))
    changed = [not torch.equal(row, torch.ones_like(row)) for row in trainer.scales]
    assert changed == [False, True, False]
    assert torch.equal(trainer.scores.weight[[0, 2]], torch.eye(3)[[0, 2]])
    assert not torch.equal(trainer.scores.weight[1], torch.eye(3)[1])


def test_a_tune_phase_of_no_steps_changes_nothing() -> None:
    trainer = _trainer()
    trainer.score_phase(_steps(0), 0.05)
    assert torch.equal(trainer.scores.weight, torch.eye(3))
    assert all(math.isfinite(state["loss"]) for state in _split(tune_phase="0 steps").history)


def _phases_and_states(monkeypatch: pytest.MonkeyPatch, **changes: object) -> tuple[list[int], SplitResult]:
    lengths: list[int] = []
    original = Trainer.score_phase

    def noted(trainer: Trainer, length: Length, *rest: object, **named: object) -> None:
        lengths.append(length.count)
        original(trainer, length, *rest, **named)

    monkeypatch.setattr(Trainer, "score_phase", noted)
    return lengths, _split(rescue=False, **changes)


def test_the_smallest_state_is_tuned_once_more_and_chosen_if_it_is_within_the_tolerance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lengths, result = _phases_and_states(monkeypatch, rounds=3, tolerance=0.9, alpha=2.0)
    assert lengths == [5, 5, 5, 10]
    *rounds, tuned = (state["kernel_retention"] for state in result.history)
    assert tuned == min(rounds)
    assert result.facts["chosen_round"] == 4
    assert result.masks.retention == tuned


def test_larger_states_are_tuned_by_size_where_the_smallest_is_not_within_the_tolerance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(splitter, "is_within", lambda state, *_: state.round == 9)
    lengths, result = _phases_and_states(monkeypatch, rounds=6, mask_phase="6 steps", alpha=2.0)
    retention = [state["kernel_retention"] for state in result.history]
    assert lengths == [5] * 6 + [10] * 3
    assert retention[6:] == sorted(retention[:6])[:3]
    assert retention[6] < retention[8]


def test_states_that_are_larger_than_one_within_the_tolerance_are_not_tuned(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {"rounds": 6, "mask_phase": "6 steps", "alpha": 2.0}
    sizes = [state["kernel_retention"] for state in _split(rescue=False, final_phase="0 steps", **settings).history]
    second = sorted(set(sizes))[1]
    monkeypatch.setattr(splitter, "is_within", lambda state, *_: state.round == sizes.index(second) + 1)
    lengths, result = _phases_and_states(monkeypatch, **settings)
    tuned = [state["kernel_retention"] for state in result.history[6:]]
    assert tuned == sorted(size for size in sizes if size <= second)
    assert lengths == [5] * 6 + [10] * len(tuned)
    assert len(tuned) < 6


@pytest.mark.parametrize(("within", "tuned"), [(True, 1), (False, 4)])
def test_progress_counts_the_recorded_states_that_are_tuned(
    within: bool, tuned: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(splitter, "is_within", lambda *_: within)
    reports: list[Progress] = []
    settings = {**_SHORT, "rounds": 4, "mask_phase": "3 steps"}
    result = make_splitter("scalesplitter", settings).split(tiny_task(), progress=reports.append)
    stages = list(dict.fromkeys((report.stage, report.step, report.total) for report in reports))
    assert stages == [*(("split", n, 4) for n in range(5)), *(("tune", n, tuned) for n in range(tuned + 1))]
    shown = {(report.stage, report.step): report.metrics["accuracy"] for report in reports if report.milestone}
    assert list(shown.values()) == [state["accuracy"] for state in result.history]
    # Each of the 10 steps of tuning repeats the last report, so that it can be stopped.
    assert sum((report.stage, report.step) == ("tune", 0) for report in reports) > 10


def test_a_final_phase_of_no_steps_leaves_the_recorded_states_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    lengths, result = _phases_and_states(monkeypatch, rounds=2, final_phase="0 steps")
    assert lengths == [5, 5]
    assert len(result.history) == 2


def test_a_dead_module_is_restored_with_its_masks_scales_and_a_new_read_out(monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[LinearScores] = []
    original = Trainer.mask_phase

    def kill(trainer: Trainer) -> None:
        if len(killed) == 0:
            killed.append(trainer.scores)
            trainer.scores.bias[2] = -1e4

    monkeypatch.setattr(Trainer, "mask_phase", lambda trainer: (kill(trainer), *original(trainer))[1:])
    result = _split(mask_learning_rate=0.001)
    assert result.facts["rescues"] == 1
    assert result.warnings[1:] == ("round 1: dead modules were restored with new read-outs: 'colour 2'.",)
    assert result.facts["dead_modules"] == 0
    assert result.history[-1]["min_f1"] > 0.9


def test_a_schedule_that_cannot_drop_a_kernel_is_reported() -> None:
    (warning,) = _split(mask_learning_rate=0.001).warnings
    assert warning.startswith("no kernel can be dropped: 24 mask steps")
    assert warning.endswith("or take preset='fast' or 'thorough'.")
