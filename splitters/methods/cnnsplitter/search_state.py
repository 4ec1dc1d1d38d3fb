"""What a search runs on and with: its images, its random generators, and its state, with the checkpoint of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import torch
from jaxtyping import Bool
from torch import Tensor

from splitters.data import ImageSet
from splitters.data.stratified import stratified_order
from splitters.errors import DataError
from splitters.methods.kernel_choice.importance import Importance
from splitters.methods.protocol import CheckpointState, SplitTask
from splitters.tensor_names import strip_prefix, with_prefix

_CACHE = "cache."

SearchOn = Literal["train", "select", "both"]

_CHOICE_SHARE = 5
"""Of train and select joined, one in this many images is set apart for the choice."""


@dataclass(frozen=True)
class SearchImages:
    """Two disjoint sets of images.

    Args:
        search: Importance, sensitivity curves and fitness are measured on these.
        choice: The result is chosen among the generations' best compositions on these.
    """

    search: ImageSet
    choice: ImageSet

    @classmethod
    def of_task(cls, task: SplitTask, search_on: SearchOn, limit: int | None) -> SearchImages:
        """Choose the images of a search.

        Args:
            task: The task.
            search_on: Search on ``train`` and choose on select, the reverse (``select``), or search on four fifths of
                both, joined, and choose on the other fifth.
            limit: Maximum number of images to search on.

        Raises:
            DataError: If a class is without images in one of the sets.
        """
        generator = torch.Generator().manual_seed(task.seed)
        if search_on == "both":
            joined = _joined(task.train, task.select)
            order = stratified_order(joined.labels, generator)
            search, choice = order[len(order) // _CHOICE_SHARE :], order[: len(order) // _CHOICE_SHARE]
            images = cls(joined.subset(search.sort().values), joined.subset(choice.sort().values))
            names = ("four fifths of train and select", "a fifth of train and select")
        elif search_on == "train":
            images, names = cls(task.train, task.select), ("train", "select")
        else:
            images, names = cls(task.select, task.train), ("select", "train")
        if limit is not None and limit < len(images.search):
            chosen = stratified_order(images.search.labels, generator)[:limit].sort().values
            images = replace(images, search=images.search.subset(chosen))
            names = (f"the {limit} search images of {names[0]}", names[1])
        _check_classes(images.search, names[0])
        _check_classes(images.choice, names[1])
        return images


@dataclass(frozen=True)
class Streams:
    """Random generators derived from one seed: one per class, one for the order of merging, one for random genes.

    Args:
        classes: One per class.
        order: For the order in which classes are merged.
        grouping: For random genes.
    """

    classes: tuple[torch.Generator, ...]
    order: torch.Generator
    grouping: torch.Generator

    @classmethod
    def seeded(cls, seed: int, n_classes: int) -> Streams:
        """Return new generators."""
        source = torch.Generator().manual_seed(seed)
        seeds = torch.randint(2**62, (n_classes + 2,), generator=source).tolist()
        order, grouping, *classes = (torch.Generator().manual_seed(number) for number in seeds)
        return cls(tuple(classes), order, grouping)

    def get_state(self) -> Tensor:
        """Return the states of the generators that a search uses."""
        return torch.stack([generator.get_state() for generator in (*self.classes, self.order)])

    def set_state(self, states: Tensor) -> None:
        """Restore what ``get_state`` returned."""
        for generator, state in zip((*self.classes, self.order), states, strict=True):
            generator.set_state(state.clone())  # set_state reads from the start of the storage, not of the view


@dataclass
class SearchState:
    """The progress of a search.

    Args:
        curves: The sensitivity curves measured so far, one row per channel group.
        population: The candidates of the next generation; empty before the first.
        best: Channels of the best composition so far, one row per class; empty before the first generation.
        best_fitness: Its fitness.
        best_generation: The generation that found it, counted from 1.
        bred_accuracy: Accuracy of the last generation's best composition, by the fitness with the adaptive weight; None
            before the first generation.
        history: One record per generation: its best composition by the plain fitness, and timings.
        seconds: Seconds since the split began.
        peak_bytes: Peak memory of activations; on a GPU, an upper bound of it.
        reused_seconds: Seconds that reused findings took when they were computed.
    """

    curves: list[list[float]] = field(default_factory=list)
    population: Bool[Tensor, "class candidate gene"] = field(default_factory=lambda: torch.empty(0, dtype=torch.bool))
    best: Bool[Tensor, "class channel"] = field(default_factory=lambda: torch.empty(0, dtype=torch.bool))
    best_fitness: float = -1.0
    best_generation: int = 0
    bred_accuracy: float | None = None
    history: list[dict[str, float]] = field(default_factory=list)
    seconds: float = 0.0
    peak_bytes: int = 0
    reused_seconds: float = 0.0

    @property
    def generation(self) -> int:
        """The number of generations done."""
        return len(self.history)

    def to_checkpoint(self, streams: Streams, importance: Importance, cache: Mapping[str, Tensor]) -> CheckpointState:
        """Return the state as a checkpoint."""
        tensors = {"population": self.population, "best": self.best, "streams": streams.get_state()}
        tensors["importance"] = importance.norms
        tensors.update(with_prefix(cache, _CACHE))
        values: dict[str, object] = {
            "curves": self.curves,
            "best_fitness": self.best_fitness,
            "best_generation": self.best_generation,
            "bred_accuracy": self.bred_accuracy,
            "history": self.history,
            "seconds": self.seconds,
            "peak_bytes": self.peak_bytes,
            "importance_warnings": list(importance.warnings),
            "reused_seconds": self.reused_seconds,
        }
        return CheckpointState(tensors, values)

    @classmethod
    def from_checkpoint(cls, saved: CheckpointState, streams: Streams) -> tuple[SearchState, dict[str, Tensor]]:
        """Return the state and the evaluator's cache, and restore the random generators."""
        streams.set_state(saved.tensors["streams"])
        values: Mapping[str, Any] = saved.values
        state = cls(
            curves=[list(row) for row in values["curves"]],
            population=saved.tensors["population"].bool(),
            best=saved.tensors["best"].bool(),
            best_fitness=float(values["best_fitness"]),
            best_generation=int(values["best_generation"]),
            bred_accuracy=values["bred_accuracy"],
            history=[dict(record) for record in values["history"]],
            seconds=float(values["seconds"]),
            peak_bytes=int(values["peak_bytes"]),
            reused_seconds=float(values.get("reused_seconds", 0.0)),
        )
        return state, strip_prefix(saved.tensors, _CACHE)


def importance_from_checkpoint(saved: CheckpointState) -> Importance:
    """Return the importance with which the search began."""
    warnings: Any = saved.values["importance_warnings"]
    return Importance(saved.tensors["importance"], tuple(warnings))


def _joined(one: ImageSet, other: ImageSet) -> ImageSet:
    return replace(one, images=torch.cat([one.images, other.images]), labels=torch.cat([one.labels, other.labels]))


def _check_classes(images: ImageSet, name: str) -> None:
    counts = torch.bincount(images.labels, minlength=images.n_classes)
    empty = [images.class_names[index] for index in (counts == 0).nonzero().flatten().tolist()]
    if empty:
        raise DataError(
            f"{name} holds no images of the classes {empty}; importance, fitness and the choice of the result need "
            "some of every class. Take more images."
        )
