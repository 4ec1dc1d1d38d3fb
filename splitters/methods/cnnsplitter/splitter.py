"""CNNSplitter: a genetic search for modules (arXiv 2209.06116; arXiv 2311.04438, section 3)."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from splitters.data import ImageSet
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.cnnsplitter.candidate_evaluator import Evaluator
from splitters.methods.cnnsplitter.genes import group_channels
from splitters.methods.cnnsplitter.genetic import (
    accuracy_weight,
    candidate_fitness,
    composition_fitness,
    next_generation,
    random_population,
    rank_candidates,
    start_population,
)
from splitters.methods.cnnsplitter.merging import Compositions, Merger
from splitters.methods.cnnsplitter.search_state import SearchImages, SearchState, Streams, importance_from_checkpoint
from splitters.methods.cnnsplitter.sensitivity_curves import (
    SensitivityCurves,
    StartShares,
    curve_names,
    layer_sensitivities,
    measure_curves,
    start_shares,
)
from splitters.methods.cnnsplitter.settings import CNNSplitterSettings, check_layers, stage_limits
from splitters.methods.kernel_choice.importance import Importance, channel_importance, check_droppable, reading_bytes
from splitters.methods.kernel_choice.kernel_multiples import rounding_warnings
from splitters.methods.protocol import (
    REUSED_SECONDS,
    SPLITTERS,
    Checkpoint,
    CheckpointState,
    NoCheckpoint,
    Progress,
    ProgressCallback,
    SplitResult,
    SplitTask,
    Splitter,
    ignore_progress,
)
from splitters.methods.scoring.fitting import ScoreFitter
from splitters.modules.calibration import Calibration, MomentsCalibration, NoCalibration
from splitters.networks.inference import accuracy, network_logits
from splitters.networks.masks import KernelMasks, jaccard_distances
from splitters.networks.shared_forward import SharedForward

_LOGGER = logging.getLogger(__name__)


@SPLITTERS.register("cnnsplitter")
class CNNSplitter(Splitter[CNNSplitterSettings]):
    """Finds modules by a genetic search over genes, which are groups of kernels of similar importance.

    Each class has its own population; a candidate's fitness is that of the best composition that contains it. The
    result is the best of all generations' best compositions, by the fitness with the weights alpha and 1 - alpha, on
    images that the search has not seen. Selection within a generation uses the adaptive weight of accuracy, which
    differs between generations.
    """

    Settings = CNNSplitterSettings
    version = 4

    def split(
        self,
        task: SplitTask,
        *,
        graph: ChannelGraph | None = None,
        progress: ProgressCallback = ignore_progress,
        checkpoint: Checkpoint | None = None,
    ) -> SplitResult:
        """Split the task's base model; see ``Splitter.split``.

        Raises:
            ConfigurationError: If ``exhaustive`` would try too many compositions, or the sensitive layers or the preset
                do not fit this network.
            DataError: If a class has no images to search on, or none to choose on.
            SplitFailedError: If no kernel can be dropped, or a module's scores are not numbers.
        """
        stage_limits(self.settings, task.n_classes)
        graph = task.usable_graph(graph)
        check_droppable(graph)
        check_layers(self.settings, graph.layout)
        search = _Search(task, graph, self.settings, progress, checkpoint or NoCheckpoint())
        search.run()
        return search.result()


@dataclass
class _Search:
    """One split.

    ``reported`` is the last progress report, which is repeated before every batch.
    """

    task: SplitTask
    graph: ChannelGraph
    settings: CNNSplitterSettings
    progress: ProgressCallback
    checkpoint: Checkpoint
    state: SearchState = field(default_factory=SearchState)

    def __post_init__(self) -> None:
        self.rounding_warnings = rounding_warnings(self.graph.layout, self.settings.round_to)
        for warning in self.rounding_warnings:
            _LOGGER.warning(warning)
        self.started = time.perf_counter()
        settings, self.task = self.settings, self.task.on_device()
        self.images = SearchImages.of_task(self.task, settings.search_on, settings.search_images)
        self.graph.network.to(self.task.device).to(memory_format=torch.channels_last)
        self.streams = Streams.seeded(self.task.seed, self.task.n_classes)
        self.forward = SharedForward(
            self.graph,
            batch_size=settings.batch_size,
            memory_bytes=settings.memory_mb << 20,
            on_batch=lambda: self.progress(self.reported),
        )
        self.base_logits = self._base_logits(self.images.search)
        saved = self.checkpoint.load()
        # Restored, not measured again: sums on a GPU may differ in the last bit, and with them the order of kernels.
        self.importance = self._importance() if saved is None else importance_from_checkpoint(saved)
        self.genes = group_channels(
            self.graph.layout,
            self.importance.norms,
            grouping=settings.grouping,
            genes=settings.genes,
            genes_wide=settings.genes_wide,
            wide_from=settings.wide_from,
            generator=self.streams.grouping,
            round_to=settings.round_to,
        )
        self.calibration: Calibration = (
            NoCalibration() if settings.score == "logit" else MomentsCalibration.of_base_model(self.base_logits)
        )
        self.fitter = ScoreFitter(
            self.graph,
            self.task,
            settings.head_steps,
            tick=lambda: self.progress(self.reported),
            batch_size=self.forward.batch_size(),
        )
        self.evaluator = Evaluator(
            self.forward,
            self.genes,
            self.images.search,
            calibration=self.calibration,
            cache_bytes=settings.cache_mb << 20,
        )
        self.merger = Merger(self.images.search.labels, self.task.n_classes, memory_bytes=settings.memory_mb << 20)
        if saved is not None:
            self.state, cache = SearchState.from_checkpoint(saved, self.streams)
            self.evaluator.restore(cache)
            self.forward.peak_bytes = self.state.peak_bytes
            self.started = time.perf_counter() - self.state.seconds

    def _base_logits(self, images: ImageSet) -> Tensor:
        return network_logits(self.graph.network, images, batch_size=self.forward.batch_size())

    def _importance(self) -> Importance:
        batch_size = self.forward.batch_size(extra_bytes=reading_bytes(self.graph))
        confidence = self.settings.confidence

        def make() -> CheckpointState:
            importance = channel_importance(
                self.graph, self.images.search, confidence=confidence, batch_size=batch_size
            )
            return CheckpointState({"norms": importance.norms}, {"warnings": list(importance.warnings)})

        key = {"confidence": confidence, "batch_size": batch_size, **self._image_key()}
        finding = self.task.finding("importance", key, make)
        self._reuse(finding.seconds)
        warnings: Any = finding.state.values["warnings"]
        return Importance(finding.state.tensors["norms"], tuple(warnings))

    def _image_key(self) -> dict[str, object]:
        """Return the settings that decide which images findings are about."""
        return {"search_on": self.settings.search_on, "search_images": self.settings.search_images}

    def _reuse(self, seconds: float) -> None:
        """Count the time that reused results took when they were computed."""
        self.started -= seconds
        self.state.reused_seconds += seconds

    def run(self) -> None:
        if self.settings.needs_curves:
            self._measure_curves()
        if not self.state.population.numel():
            self.state.population = self._first_population()
        self.reported = self._search_progress()
        while not self._is_finished():
            self._generation()
            self._save()
            self.reported = self._search_progress()
            self.progress(self.reported)

    def result(self) -> SplitResult:
        masks = KernelMasks(self.graph.layout, self.state.best)
        chosen = self.state.history[self.state.best_generation - 1]
        scores = self.fitter.fit(self.settings.score, masks)
        facts = {
            "base_accuracy": accuracy(self._base_logits(self.task.select).argmax(1), self.task.select.labels),
            "chosen_generation": float(self.state.best_generation),
            "generations": float(self.state.generation),
            "accuracy": chosen["accuracy"],
            "candidates_run": float(self.evaluator.evaluated),
            "peak_activation_bytes": float(self.forward.peak_bytes),
            REUSED_SECONDS: self.state.reused_seconds,
        }
        return SplitResult(
            masks=masks,
            scores=scores,
            warnings=(
                *self.rounding_warnings,
                *self.importance.warnings,
                *self._threshold_warnings(chosen["search_accuracy"]),
            ),
            history=tuple(self.state.history),
            facts=facts,
            sensitivity=layer_sensitivities(self.graph.layout, self.curves, self.shares),
        )

    def _threshold_warnings(self, reached: float) -> tuple[str, ...]:
        threshold = stage_limits(self.settings, self.task.n_classes)[-1].threshold
        if reached >= threshold - 1e-9:
            return ()
        return (
            f"the composed accuracy of the result on the search's images, {reached:.4f}, is below {threshold:g}, the "
            "threshold of the last merge: it is the best of the compositions that min_kept keeps in any case.",
        )

    # Before the first generation

    def _measure_curves(self) -> None:
        if len(self.state.curves) == len(self.graph.layout.groups):
            return
        settings = self.settings
        key = {
            "confidence": settings.confidence,
            "shares": list(settings.curve_shares),
            "score": "logit" if settings.score == "logit" else "moments",
            **self._image_key(),
            "batch_size": settings.batch_size,
            "memory_mb": settings.memory_mb,
        }
        finding = self.task.finding("sensitivity", key, self._compute_curves)
        self._reuse(finding.seconds)
        self.state.curves = finding.state.tensors["accuracy"].tolist()
        peak: Any = finding.state.values["peak_bytes"]
        self.forward.peak_bytes = max(self.forward.peak_bytes, int(peak))

    def _compute_curves(self) -> CheckpointState:
        rows = measure_curves(
            self.forward,
            self.graph.layout,
            self.importance.norms,
            self.images.search,
            calibration=self.calibration,
            shares=self.settings.curve_shares,
            done=len(self.state.curves),
        )
        self.reported = self._sensitivity_progress()
        for row in rows:
            self.state.curves.append(row)
            self._save()
            self.reported = self._sensitivity_progress()
            self.progress(self.reported)
        curves = torch.tensor(self.state.curves, dtype=torch.float64)
        return CheckpointState({"accuracy": curves}, {"peak_bytes": self.forward.peak_bytes})

    def _sensitivity_progress(self) -> Progress:
        done = self.state.curves
        metrics = {"lowest_accuracy": min(done[-1])} if done else {}
        return Progress("sensitivity", len(done), len(self.graph.layout.groups), metrics)

    @cached_property
    def curves(self) -> SensitivityCurves | None:
        if not self.settings.needs_curves:
            return None
        return SensitivityCurves(
            names=curve_names(self.graph.layout),
            shares=self.settings.curve_shares,
            accuracy=torch.tensor(self.state.curves, dtype=torch.float64).view(-1, len(self.settings.curve_shares)),
            base_accuracy=accuracy(self.base_logits.argmax(1), self.images.search.labels),
        )

    @cached_property
    def shares(self) -> StartShares | None:
        if self.settings.initialization == "random":
            return None
        return start_shares(
            self.graph.layout,
            self.curves,
            tolerance=self.settings.curve_tolerance,
            sensitive_from=self.settings.sensitive_from,
            margin=self.settings.share_margin,
            sensitive_layers=self.settings.sensitive_layers,
            sensitive_shares=self.settings.sensitive_shares,
            other_shares=self.settings.other_shares,
        )

    def _first_population(self) -> Tensor:
        size = self.settings.population
        if self.shares is None:
            return torch.stack([random_population(self.genes, size, stream) for stream in self.streams.classes])
        shares, fall_off = self.shares.shares, self.settings.start_fall_off
        return torch.stack(
            [start_population(self.genes, shares, size, stream, fall_off=fall_off) for stream in self.streams.classes]
        )

    # A generation

    def _is_finished(self) -> bool:
        waited = self.state.generation - self.state.best_generation
        return self.state.generation >= self.settings.generations or waited >= self.settings.patience

    def _generation(self) -> None:
        began = time.perf_counter()
        bits = self._channels()
        scores = self.evaluator.scores(self.state.population)
        evaluated = time.perf_counter()
        compositions = self._merge(scores, bits)
        merged = time.perf_counter()
        alpha, gamma = self.settings.alpha, self.settings.gamma
        weight = accuracy_weight(alpha, gamma, self.state.bred_accuracy)
        fitness = composition_fitness(compositions, accuracy_weight=weight, distance_weight=1 - alpha)
        bred = int(fitness.argmax())
        plain = composition_fitness(compositions, accuracy_weight=alpha, distance_weight=1 - alpha)
        best = int(plain.argmax())
        masks = KernelMasks(self.graph.layout, bits[torch.arange(len(bits)), compositions.members[best]])
        chosen_by, on_select = self._unseen_accuracies(masks)
        fitness_of_choice = alpha * chosen_by + (1 - alpha) * float(compositions.distance[best])
        if fitness_of_choice > self.state.best_fitness:
            self.state.best, self.state.best_fitness = masks.bits, fitness_of_choice
            self.state.best_generation = self.state.generation + 1
        self._breed(
            candidate_fitness(compositions, fitness, self.settings.population), compositions.members[bred].tolist()
        )
        self.state.bred_accuracy = float(compositions.accuracy[bred])
        ended = time.perf_counter()
        self.state.history.append(
            {
                "step": float(self.state.generation + 1),
                "seconds": ended - self.started,
                "generation_seconds": ended - began,
                "accuracy": on_select,
                "choice_accuracy": chosen_by,
                "search_accuracy": float(compositions.accuracy[best]),
                "kernel_retention": masks.retention,
                "jaccard_distance": float(compositions.distance[best]),
                "fitness": fitness_of_choice,
                "search_fitness": float(plain[best]),
                "compositions": float(len(compositions.members)),
                "accuracy_weight": weight,
                "candidates_run": float(self.evaluator.evaluated),
                "evaluation_seconds": evaluated - began,
                "merging_seconds": merged - evaluated,
            }
        )

    def _unseen_accuracies(self, masks: KernelMasks) -> tuple[float, float]:
        """Return the composed accuracy on the images that the search has not seen, and that on select."""
        if torch.equal(masks.bits, self.state.best):
            known = self.state.history[self.state.best_generation - 1]
            return known["choice_accuracy"], known["accuracy"]
        scores = self.fitter.fit("logit" if self.settings.score == "logit" else "moments", masks)
        chosen_by = self.fitter.composed_accuracy(scores, masks, self.images.choice)
        if self.images.choice is self.task.select:
            return chosen_by, chosen_by
        return chosen_by, self.fitter.composed_accuracy(scores, masks, self.task.select)

    def _channels(self) -> Tensor:
        """Return what every candidate keeps: ``[class, candidate, channel]``."""
        return torch.stack([self.genes.channels(c, rows) for c, rows in enumerate(self.state.population)])

    def _merge(self, scores: Tensor, bits: Tensor) -> Compositions:
        n_classes, population = bits.shape[:2]
        kernels = KernelMasks(self.graph.layout, bits.flatten(0, 1)).kernel_bits
        distances = jaccard_distances(kernels.to(self.task.device))
        merged = self.merger.merge(
            scores,
            distances.view(n_classes, population, n_classes, population),
            class_order=torch.randperm(n_classes, generator=self.streams.order).tolist(),
            stages=stage_limits(self.settings, n_classes),
            # The members of the composition that bred best are the first elites of their classes.
            last_best=[0] * n_classes if self.state.history else None,
        )
        return Compositions(merged.members.cpu(), merged.accuracy.cpu(), merged.distance.cpu())

    def _breed(self, fitness: Tensor, best: list[int]) -> None:
        self.state.population = torch.stack(
            [
                next_generation(
                    self.genes,
                    rows[rank_candidates(fitness[c], best[c])],
                    parents=self.settings.parents,
                    elites=self.settings.elites,
                    mutation_rate=self.settings.mutation_rate,
                    generator=self.streams.classes[c],
                )
                for c, rows in enumerate(self.state.population)
            ]
        )

    def _search_progress(self) -> Progress:
        metrics: dict[str, float] = {}
        if self.state.history:
            record = self.state.history[-1]
            metrics = {name: record[name] for name in ("accuracy", "kernel_retention", "jaccard_distance")}
            metrics |= {"seconds": record["generation_seconds"], "fitness": record["fitness"]}
        done = self.state.generation
        return Progress("search", done, self.settings.generations, metrics, milestone=done > 0)

    def _save(self) -> None:
        self.state.seconds = time.perf_counter() - self.started
        self.state.peak_bytes = self.forward.peak_bytes
        self.checkpoint.save(self.state.to_checkpoint(self.streams, self.importance, self.evaluator.state()))
