"""The cache of candidates' scores holds the memory that it says, also after it was restored."""

import torch

from splitters.methods.cnnsplitter.candidate_evaluator import Evaluator
from splitters.methods.cnnsplitter.genes import group_channels
from splitters.modules.calibration import NoCalibration
from splitters.networks.shared_forward import SharedForward
from splitters.testing import tiny_task


def _evaluator() -> Evaluator:
    task = tiny_task()
    graph = task.trace()
    genes = group_channels(
        graph.layout,
        torch.rand(task.n_classes, graph.layout.n_channels, generator=torch.Generator().manual_seed(0)),
        grouping="none",
        genes=10,
        genes_wide=10,
        wide_from=256,
        generator=torch.Generator(),
    )
    forward = SharedForward(graph, batch_size=32, memory_bytes=1 << 24)
    return Evaluator(forward, genes, task.select, calibration=NoCalibration(), cache_bytes=1)


def _held(evaluator: Evaluator) -> list[int]:
    return [scores.untyped_storage().nbytes() for scores in evaluator._cache.values()]


def test_scores_that_are_kept_do_not_keep_those_that_are_evicted() -> None:
    evaluator, generator = _evaluator(), torch.Generator().manual_seed(1)
    n_classes, n_images = tiny_task().n_classes, len(tiny_task().select)
    elite = torch.rand(n_classes, 1, evaluator._genes.n_genes, generator=generator) < 0.8
    for _ in range(3):
        others = torch.rand(n_classes, 4, evaluator._genes.n_genes, generator=generator) < 0.8
        evaluator.scores(torch.cat([elite, others], 1))
    assert _held(evaluator) == [n_images * 4] * len(evaluator._cache)
    again = _evaluator()
    again.restore(evaluator.state())
    assert _held(again) == _held(evaluator)
