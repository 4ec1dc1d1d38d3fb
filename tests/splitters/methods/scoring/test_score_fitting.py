"""Kinds of scores fitted to given masks: against plain oracles, on train images alone, the best by select."""

import dataclasses

import pytest
import torch
from torch import Tensor, nn

from splitters.methods.protocol import SplitTask
from splitters.methods.scoring import fitting
from splitters.methods.scoring.fitting import ScoreFitter
from splitters.methods.scoring.head_training import ModuleLogits, shuffled_batches
from splitters.methods.scoring.kinds import score_name
from splitters.modules.score_kinds import HeadScores, LogitScores, ScaledLogitScores
from splitters.networks.inference import accuracy, composed_answers, module_logits
from splitters.networks.masks import KernelMasks
from splitters.testing import tiny_task


def _fitter(task: SplitTask | None = None, *, head_steps: int = 7) -> tuple[ScoreFitter, KernelMasks]:
    task = task or tiny_task()
    graph = task.trace()
    bits = torch.rand(3, graph.layout.n_channels, generator=torch.Generator().manual_seed(5)) < 0.7
    return ScoreFitter(graph, task, head_steps), KernelMasks.repaired(graph.layout, bits, bits.float())


def test_raw_logits_need_no_fit() -> None:
    fitter, masks = _fitter()
    assert fitter.fit("logit", masks) == LogitScores()


def test_moments_are_the_base_models_on_train() -> None:
    fitter, masks = _fitter()
    images = fitter.task.train.normalisation(fitter.task.train.images)
    base = fitter.task.model.eval()(images).detach()
    scores = fitter.fit("moments", masks)(module_logits(fitter.graph, masks, fitter.task.train))
    assert torch.allclose(scores.mean(1), base.mean(0), atol=1e-4)
    assert torch.allclose(scores.std(1), base.std(0), rtol=1e-4)


def _plain_heads(fitter: ScoreFitter, masks: KernelMasks) -> Tensor:
    """Returns the scores on select of heads that a plain loop over images and modules trains."""
    task, generator = fitter.task, torch.Generator().manual_seed(fitter.task.seed)
    drawn = HeadScores.initialised(3, 3, 10, generator=generator)
    heads = []
    for module in range(3):
        head = nn.Sequential(nn.ReLU(), nn.Linear(3, 10), nn.ReLU(), nn.Linear(10, 1), nn.Sigmoid())
        with torch.no_grad():
            head[1].weight.copy_(drawn.hidden_weight[module].T)
            head[1].bias.copy_(drawn.hidden_bias[module, 0])
            head[3].weight.copy_(drawn.output_weight[module].T)
            head[3].bias.copy_(drawn.output_bias[module, 0])
        heads.append(head)
    optimiser = torch.optim.Adam([parameter for head in heads for parameter in head.parameters()], lr=0.01)
    logits = module_logits(fitter.graph, masks, task.train)
    order: list[int] = []
    while len(order) < fitter.head_steps * len(task.train):
        order += torch.randperm(len(task.train), generator=generator).tolist()
    assert len(task.train) <= 64, "an epoch is a step"
    for step in range(fitter.head_steps):
        batch = torch.tensor(order[step * len(task.train) : (step + 1) * len(task.train)])
        scores = torch.cat([head(logits[module, batch]) for module, head in enumerate(heads)], dim=1)
        shares = scores.exp() / scores.exp().sum(1, keepdim=True)
        optimiser.zero_grad()
        (-shares[torch.arange(len(batch)), task.train.labels[batch]].log().mean()).backward()
        optimiser.step()
    select = module_logits(fitter.graph, masks, task.select)
    return torch.stack([head(select[module]).squeeze(1).detach() for module, head in enumerate(heads)])


def test_heads_are_those_of_a_plain_training_loop() -> None:
    fitter, masks = _fitter(head_steps=25)
    scores = fitter.fit("head", masks)(module_logits(fitter.graph, masks, fitter.task.select))
    assert torch.allclose(scores, _plain_heads(fitter, masks), atol=1e-4)


def test_fitting_reads_no_select_image_and_does_not_depend_on_what_was_fitted_before() -> None:
    fitter, masks = _fitter()
    once = fitter.fit("head", masks).tensors()
    task = fitter.task
    shuffled = dataclasses.replace(task.select, labels=task.select.labels.roll(1), images=task.select.images.flip(0))
    other = dataclasses.replace(fitter, task=dataclasses.replace(task, select=shuffled))
    other.fit_best(masks)
    for name, value in other.fit("head", masks).tensors().items():
        assert torch.equal(value, once[name]), name


def test_the_best_kind_has_the_highest_accuracy_on_select() -> None:
    fitter, masks = _fitter(head_steps=60)
    best = fitter.fit_best(masks)
    logits = module_logits(fitter.graph, masks, fitter.task.select)
    reached = {
        kind: accuracy(composed_answers(fitter.fit(kind, masks)(logits)), fitter.task.select.labels)
        for kind in ("logit", "moments", "head")
    }
    assert best.accuracy == reached
    assert reached[score_name(best.scores)] == max(reached.values())


@pytest.mark.parametrize(
    ("reached", "kind"),
    [((0.5, 0.5, 0.5), "logit"), ((0.5, 0.6, 0.6), "moments"), ((0.5, 0.6, 0.7), "head"), ((0.7, 0.6, 0.7), "logit")],
)
def test_of_equally_good_kinds_the_simplest_is_taken(
    monkeypatch: pytest.MonkeyPatch, reached: tuple[float, ...], kind: str
) -> None:
    classes = {LogitScores: reached[0], ScaledLogitScores: reached[1], HeadScores: reached[2]}
    monkeypatch.setattr(ModuleLogits, "composed_accuracy", lambda self, scores: classes[type(scores)])
    fitter, masks = _fitter()
    assert score_name(fitter.fit_best(masks).scores) == kind


def test_logits_too_large_to_keep_are_computed_batch_by_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    fitter, masks = _fitter()
    kept = fitter.fit_best(masks)
    monkeypatch.setattr("splitters.methods.scoring.head_training._LOGITS_BYTES", 0)
    recomputed = fitter.fit_best(masks)
    assert recomputed.accuracy == kept.accuracy
    for kind in ("moments", "head"):
        assert fitter.fit(kind, masks).tensors().keys()


def test_batches_go_through_all_images_epoch_after_epoch() -> None:
    generator, device = torch.Generator().manual_seed(0), torch.device("cpu")
    batches = list(shuffled_batches(60, batch_size=16, steps=6, generator=generator, device=device))
    assert [len(batch) for batch in batches] == [16, 16, 16, 12, 16, 16]
    assert torch.cat(batches[:4]).sort().values.tolist() == list(range(60))
    assert not torch.equal(batches[0], batches[4])


def test_modules_whose_logits_overflow_get_no_heads() -> None:
    fitter, masks = _fitter()
    with torch.no_grad():
        for parameter in fitter.graph.network.parameters():
            parameter.mul_(1e30)
    with pytest.raises(fitting.SplitFailedError, match="loss of the heads became nan"):
        fitter.fit("head", masks)
