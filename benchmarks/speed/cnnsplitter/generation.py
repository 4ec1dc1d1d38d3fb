"""``cnnsplitter.generation``: evaluating and merging one generation in mid-search."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from statistics import median

import torch
from torch import Tensor

from benchmarks.cells import ModelSpec
from benchmarks.models import build_model
from benchmarks.models.papers.simcnn import SimCNN
from benchmarks.speed.cnnsplitter.plain import plain_simcnn_logits
from benchmarks.speed.cnnsplitter.plain_merging import PlainMerging, kept_sets
from benchmarks.speed.measurement import Measurement, middle, timed
from splitters.data import IMAGENET, ImageSet
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.cnnsplitter.candidate_evaluator import Evaluator
from splitters.methods.cnnsplitter.genes import GeneMap, group_channels
from splitters.methods.cnnsplitter.genetic import next_generation, start_population
from splitters.methods.cnnsplitter.merging import Merger, StageLimits, stage_sizes
from splitters.modules.calibration import NoCalibration
from splitters.networks.masks import KernelMasks, jaccard_distances
from splitters.networks.shared_forward import SharedForward

_CLASSES, _PAST_GENERATIONS = 10, 20
_FULL = 500
"""Compositions that a merge keeps if all pass its threshold; if none does, ``_FEW``."""
_FEW = 50


def measure(
    *, width: float = 0.25, population: int = 20, images: int = 500, repeats: int = 3, device: str = "cpu"
) -> Measurement:
    """Compare a generation with slicing and running each individual in turn, and merging in plain Python.

    Args:
        width: Share of SimCNN's channels.
        population: Candidates per class.
        images: Images on which they are scored.
        repeats: Timed runs of ours; the reference runs once.
        device: Where ours runs.
    """
    search = _MidSearch(width, population, images, device)
    forward = SharedForward(search.graph, batch_size=512, memory_bytes=1 << 30)

    def evaluate() -> tuple[float, Tensor]:
        evaluator = Evaluator(forward, search.genes, search.images, calibration=NoCalibration(), cache_bytes=1 << 28)
        # The elites' scores, and those of offspring equal to one of them, are cached from the last generation.
        evaluator.scores(search.population[:, : search.elites])
        started = time.perf_counter()
        scores = evaluator.scores(search.population)
        if scores.is_cuda:
            torch.cuda.synchronize(scores.device)
        return time.perf_counter() - started, scores

    _, scores = evaluate()
    evaluation = median(evaluate()[0] for _ in range(repeats))
    plain_evaluation = timed(lambda: search.evaluate_plainly(scores))
    merging, plain_merging = search.merging_seconds(scores, pool_size=_FULL, repeats=repeats)
    few, plain_few = search.merging_seconds(scores, pool_size=_FEW, repeats=repeats)
    return Measurement(
        "cnnsplitter.generation",
        seconds=evaluation + merging,
        reference_seconds=plain_evaluation + plain_merging,
        detail=f"SimCNN at width {width:g}, population {population}, {images} images: "
        f"evaluation {evaluation:.2f} s against {plain_evaluation:.2f} s, "
        f"merging {merging:.2f} s against {plain_merging:.2f} s in pools of {_FULL}; "
        f"in pools of {_FEW} {few:.2f} s against {plain_few:.2f} s, "
        f"{(plain_evaluation + plain_few) / (evaluation + few):.2f} times faster in all",
        ours=lambda: search.merge(evaluate()[1], _FULL),
        repeats=repeats,
    )


@dataclass
class _MidSearch:
    """A population after some generations of random selection, on a base model with random weights."""

    width: float
    size: int
    n_images: int
    device: str

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (self.n_images, 3, 32, 32), dtype=torch.uint8, generator=self.generator)
        labels = torch.arange(self.n_images) % _CLASSES
        self.images = ImageSet(pixels, labels, tuple(map(str, range(_CLASSES))), IMAGENET).to(self.device)
        spec = ModelSpec(name="simcnn", settings={"width": self.width})
        model = build_model(spec, n_classes=_CLASSES, input_shape=(3, 32, 32), seed=0)
        assert isinstance(model, SimCNN)
        self.model = model.eval().to(self.device)
        self.graph = ChannelGraph.trace(model, self.images.normalisation(self.images.images[:2]))
        self.graph.network.to(memory_format=torch.channels_last)
        importance = torch.rand(_CLASSES, self.graph.layout.n_channels, generator=self.generator)
        self.genes: GeneMap = group_channels(
            self.graph.layout, importance, grouping="importance", genes=10, genes_wide=100, wide_from=256,
            generator=self.generator,
        )  # fmt: skip
        self.elites = max(1, self.size // 5)
        self.population = torch.stack([self._breed() for _ in range(_CLASSES)])
        self.merger = Merger(self.images.labels, _CLASSES)

    def _breed(self) -> Tensor:
        shares = [(0.5, 0.6, 0.7)] * len(self.genes.counts)
        population = start_population(self.genes, shares, self.size, self.generator)
        for _ in range(_PAST_GENERATIONS):
            order = torch.randperm(self.size, generator=self.generator)
            population = next_generation(
                self.genes, population[order], parents=max(2, self.size // 2), elites=self.elites, mutation_rate=0.05,
                generator=self.generator,
            )  # fmt: skip
        return population

    @cached_property
    def bits(self) -> Tensor:
        return torch.stack([self.genes.channels(c, rows) for c, rows in enumerate(self.population)])

    def evaluate_plainly(self, expected: Tensor) -> None:
        """Slice and run each individual in turn, and check that our scores agree."""
        images = self.images.normalisation(self.images.images).contiguous()
        sizes = [layer.kernels for layer in self.graph.layout.layers]
        rows = self.kernels(self.bits.flatten(0, 1))
        for individual, row in enumerate(rows):
            kept = [part.nonzero().squeeze(1) for part in row.split(sizes)]
            class_index, candidate = divmod(individual, self.size)
            logits = torch.cat([plain_simcnn_logits(self.model, kept, part) for part in images.split(250)])
            torch.testing.assert_close(logits[:, class_index], expected[class_index, candidate], rtol=1e-3, atol=1e-4)

    def kernels(self, bits: Tensor) -> Tensor:
        return KernelMasks(self.graph.layout, bits).kernel_bits

    def merging_seconds(self, scores: Tensor, *, pool_size: int, repeats: int) -> tuple[float, float]:
        """Return the seconds of our merging and of plain Python, if each merge keeps ``pool_size`` compositions."""
        plain = PlainMerging(
            scores={c: list(scores[c].cpu().numpy()) for c in range(_CLASSES)},
            labels=self.images.labels.cpu().numpy(),
            kept={c: kept_sets(self.kernels(self.bits[c]).numpy()) for c in range(_CLASSES)},
            pool_size=pool_size,
        )
        ours = middle(lambda: self.merge(scores, pool_size), runs=repeats, device=self.device)
        return ours, timed(plain.run)

    def merge(self, scores: Tensor, pool_size: int) -> None:
        """Merge all classes; each merge keeps ``pool_size`` compositions."""
        distances = jaccard_distances(self.kernels(self.bits.flatten(0, 1)).to(self.device))
        self.merger.merge(
            scores,
            distances.view(_CLASSES, self.size, _CLASSES, self.size),
            class_order=range(_CLASSES),
            # All pass the threshold; the size of the pools determines the time.
            stages=[StageLimits(0.0, 1, pool_size)] * len(stage_sizes(_CLASSES)),
        )
