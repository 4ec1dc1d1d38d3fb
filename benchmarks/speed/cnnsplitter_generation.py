"""``cnnsplitter.generation``: evaluating and merging one generation in mid-search."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from benchmarks.cells import ModelSpec
from benchmarks.models import build_model
from benchmarks.models.simcnn import SimCNN
from benchmarks.speed.measurement import Measurement, fastest, timed
from benchmarks.speed.plain import plain_simcnn_logits
from benchmarks.speed.plain_merging import PlainMerging, kept_sets
from splitters.cnnsplitter.calibration import NoCalibration
from splitters.cnnsplitter.evaluation import Evaluator
from splitters.cnnsplitter.genes import GeneMap, group_channels
from splitters.cnnsplitter.genetic import next_generation
from splitters.cnnsplitter.merging import Merger, StageLimits, stage_sizes
from splitters.cnnsplitter.population import start_population
from splitters.cnnsplitter.shared_forward import SharedForward
from splitters.data import ImageSet
from splitters.graph import ChannelGraph
from splitters.masks import KernelMasks, jaccard_distances

_CLASSES, _POPULATION, _PARENTS, _ELITES, _IMAGES, _MOST = 10, 20, 10, 4, 500, 500
_PAST_GENERATIONS = 20


def measure() -> Measurement:
    """Compares a generation with one that slices and runs each individual in turn, and merges in plain Python."""
    search = _MidSearch()
    forward = SharedForward(search.graph, batch_size=512, memory_bytes=1 << 30)

    def evaluate() -> tuple[float, Tensor]:
        evaluator = Evaluator(forward, search.genes, search.images, calibration=NoCalibration(), cache_bytes=1 << 28)
        # The elites are known from the last generation; so many offspring that equal one of them are, too.
        evaluator.scores(search.population[:, :_ELITES])
        began = time.perf_counter()
        scores = evaluator.scores(search.population)
        return time.perf_counter() - began, scores

    _, scores = evaluate()
    evaluation = min(evaluate()[0] for _ in range(3))
    merging = fastest(lambda: search.merge(scores), runs=3)
    plain_evaluation = timed(lambda: search.evaluate_plainly(scores))
    plain = PlainMerging(
        rows={c: list(scores[c].numpy()) for c in range(_CLASSES)},
        labels=search.images.labels.numpy(),
        kept={c: kept_sets(search.kernels(search.bits[c]).numpy()) for c in range(_CLASSES)},
        most=_MOST,
    )
    plain_merging = timed(plain.run)
    return Measurement(
        "cnnsplitter.generation",
        seconds=evaluation + merging,
        reference_seconds=plain_evaluation + plain_merging,
        detail=f"SimCNN at width 0.25, population {_POPULATION}, {_IMAGES} images: "
        f"evaluation {evaluation:.2f} s against {plain_evaluation:.2f} s, "
        f"merging {merging:.2f} s against {plain_merging:.2f} s",
    )


@dataclass
class _MidSearch:
    """A population that has been bred for a while from random choices, on a base model with random weights."""

    def __post_init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)
        pixels = torch.randint(0, 256, (_IMAGES, 3, 32, 32), dtype=torch.uint8, generator=self.generator)
        labels = torch.arange(_IMAGES) % _CLASSES
        self.images = ImageSet(pixels, labels, tuple(map(str, range(_CLASSES))))
        spec = ModelSpec(name="simcnn", settings={"width": 0.25})
        model = build_model(spec, n_classes=_CLASSES, input_shape=(3, 32, 32), seed=0)
        assert isinstance(model, SimCNN)
        self.model = model.eval()
        self.graph = ChannelGraph.trace(model, self.images.normalisation(pixels[:2]))
        self.graph.network.to(memory_format=torch.channels_last)
        importance = torch.rand(_CLASSES, self.graph.layout.n_channels, generator=self.generator)
        self.genes: GeneMap = group_channels(
            self.graph.layout, importance, grouping="importance", genes=10, genes_wide=100, wide_from=256,
            generator=self.generator,
        )  # fmt: skip
        self.population = torch.stack([self._bred() for _ in range(_CLASSES)])
        self.merger = Merger(labels, _CLASSES)

    def _bred(self) -> Tensor:
        shares = [(0.5, 0.6, 0.7)] * len(self.genes.counts)
        population = start_population(self.genes, shares, _POPULATION, self.generator)
        for _ in range(_PAST_GENERATIONS):
            order = torch.randperm(_POPULATION, generator=self.generator)
            population = next_generation(
                self.genes, population[order], parents=_PARENTS, elites=_ELITES, mutation_rate=0.05,
                generator=self.generator,
            )  # fmt: skip
        return population

    @cached_property
    def bits(self) -> Tensor:
        return torch.stack([self.genes.channels(c, rows) for c, rows in enumerate(self.population)])

    def evaluate_plainly(self, expected: Tensor) -> None:
        """Slices and runs each individual in turn, and checks that ours scored them alike."""
        images = self.images.normalisation(self.images.images).contiguous()
        sizes = [layer.kernels for layer in self.graph.layout.layers]
        rows = self.kernels(self.bits.flatten(0, 1))
        for individual, row in enumerate(rows):
            kept = [part.nonzero().squeeze(1) for part in row.split(sizes)]
            class_index, candidate = divmod(individual, _POPULATION)
            logits = torch.cat([plain_simcnn_logits(self.model, kept, part) for part in images.split(250)])
            torch.testing.assert_close(logits[:, class_index], expected[class_index, candidate], rtol=1e-3, atol=1e-4)

    def kernels(self, bits: Tensor) -> Tensor:
        return KernelMasks(self.graph.layout, bits).kernel_bits

    def merge(self, scores: Tensor) -> None:
        distances = jaccard_distances(self.kernels(self.bits.flatten(0, 1)))
        self.merger.merge(
            scores,
            distances.view(_CLASSES, _POPULATION, _CLASSES, _POPULATION),
            class_order=range(_CLASSES),
            # In mid-search most compositions pass their thresholds; those of random weights would not.
            stages=[StageLimits(0.0, 1, _MOST)] * len(stage_sizes(_CLASSES)),
        )
