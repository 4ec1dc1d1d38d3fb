"""What a cell needs before anything can be measured: its images and its base model."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import Protocol

from benchmarks.cache.numeric_environment import ComputeEnvironment
from benchmarks.cells import Cell, DatasetSpec
from benchmarks.data.datasets import load_dataset
from benchmarks.data.roles import Roles, limit_roles, make_roles
from benchmarks.peak_memory import peak_memory_bytes, reset_peak_memory
from benchmarks.pipeline.given_model import prepare_given, with_normalisation
from benchmarks.pipeline.workspace import Workspace
from benchmarks.rows.row import StageRecord
from benchmarks.training.base_model import TrainedModel, train_base_model

STAGES = frozenset({"start", "data", "train", "load", "weights", "download"})
"""Stages that a cell may report before its base model is ready."""


@dataclass
class Stages:
    """The stages of a cell's work, with their time and memory, in the order in which they ended.

    Args:
        device: Where the work runs.
    """

    device: str
    records: list[StageRecord] = field(default_factory=list)

    @contextmanager
    def measured(self, name: str) -> Iterator[list[int]]:
        """Measure a block as one stage.

        Yields:
            A list for the peaks, in bytes, of work inside the block that measured itself and thereby reset the
            measurement of the block.
        """
        inner: list[int] = []
        reset_peak_memory(self.device)
        started = time.perf_counter()
        yield inner
        seconds = time.perf_counter() - started
        peak = max([peak_memory_bytes(self.device), *inner])
        self.records.append(StageRecord(name=name, seconds=seconds, peak_memory_bytes=peak))

    def images(self, cell: Cell, workspace: Workspace) -> PreparedImages:
        """Return a cell's images, as the stage ``data``; see ``prepare_images``."""
        with self.measured("data"):
            images = prepare_images(cell, workspace)
        if images.reused:
            known = {"seconds": images.seconds, "reused": True, **_environment_fields(images.computed_on)}
            self.records[-1] = self.records[-1].model_copy(update=known)
        return images

    def add(self, name: str, *works: Work) -> None:
        """Add work that measured itself, as one stage; see ``merge_stages``."""
        self.records.append(merge_stages([_stage_of(name, work) for work in works]))


class Work(Protocol):
    """Work that may be reused from the cache; see ``Artifact``."""

    @property
    def seconds(self) -> float: ...  # noqa: D102

    @property
    def peak_memory_bytes(self) -> int | None: ...  # noqa: D102

    @property
    def reused(self) -> bool: ...  # noqa: D102

    @property
    def computed_on(self) -> ComputeEnvironment | None: ...  # noqa: D102


def merge_stages(records: Sequence[StageRecord]) -> StageRecord:
    """Merge stages of one name: the sum of their times, the largest peak, and every environment that took part."""
    peaks = [record.peak_memory_bytes for record in records if record.peak_memory_bytes is not None]

    def joined(values: Iterable[str | None]) -> str | None:
        return "+".join(sorted({value for value in values if value})) or None

    return StageRecord(
        name=records[0].name,
        seconds=sum(record.seconds for record in records),
        peak_memory_bytes=max(peaks, default=None),
        reused=all(record.reused for record in records),
        device_name=joined(record.device_name for record in records),
        torch_version=joined(record.torch_version for record in records),
        hostname=joined(record.hostname for record in records),
    )


def _stage_of(name: str, work: Work) -> StageRecord:
    return StageRecord(
        name=name,
        seconds=work.seconds,
        peak_memory_bytes=work.peak_memory_bytes,
        reused=work.reused,
        **_environment_fields(work.computed_on if work.reused else None),
    )


def _environment_fields(computed_on: ComputeEnvironment | None) -> dict[str, str]:
    return {} if computed_on is None else asdict(computed_on)


@dataclass(frozen=True)
class Prepared:
    """A cell's images and base model.

    Args:
        roles: The images that the base model was made with, by role.
        split_roles: Those that a splitter sees.
        base: The base model, trained or given.
        dataset_hash: SHA-256 of the decoded data set.
        flips: Whether a mirrored image keeps its label.
        warnings: What the user should know about the base model.
    """

    roles: Roles
    split_roles: Roles
    base: TrainedModel
    dataset_hash: str
    flips: bool
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class PreparedImages:
    """A cell's images.

    Args:
        roles: The images that the base model is made with, by role.
        split_roles: Those that a splitter sees.
        dataset_hash: SHA-256 of the decoded data set.
        flips: Whether a mirrored image keeps its label.
        seconds: Wall time of decoding the data set, whenever that was.
        reused: Whether it was decoded earlier.
        computed_on: Where it was computed.
    """

    roles: Roles
    split_roles: Roles
    dataset_hash: str
    flips: bool
    seconds: float
    reused: bool
    computed_on: ComputeEnvironment | None = None


def prepare_images(cell: Cell, workspace: Workspace) -> PreparedImages:
    """Load a cell's images as its base model wants them, and split them into roles; see ``images_for``."""
    images = images_for(cell.dataset, cell.seed, workspace)
    return replace(
        images,
        roles=with_normalisation(images.roles, cell.model),
        split_roles=with_normalisation(images.split_roles, cell.model),
    )


def images_for(spec: DatasetSpec, seed: int, workspace: Workspace) -> PreparedImages:
    """Load images and split them into roles.

    Args:
        spec: The data set, and which of its images are used.
        seed: Seeds the split.
        workspace: The resources to use.

    Raises:
        DataError: If the data is absent or damaged.
    """
    dataset = load_dataset(
        spec.name,
        input_shape=spec.input_shape,
        data_root=workspace.data_root,
        cache=workspace.cache,
        download=workspace.download,
        suite_folder=workspace.suite_folder,
        progress=workspace.progress,
    )
    for warning in dataset.warnings:
        workspace.warn(warning)
    if spec.classes:
        dataset = dataset.of_classes(spec.classes)
    roles = make_roles(dataset, spec, seed=seed)
    split_roles = limit_roles(roles, spec, seed=seed)
    return PreparedImages(
        roles,
        split_roles,
        dataset.content_hash,
        dataset.flips,
        seconds=dataset.seconds,
        reused=dataset.reused,
        computed_on=dataset.computed_on,
    )


def prepare(cell: Cell, workspace: Workspace, stages: Stages) -> Prepared:
    """Load a cell's data and train its base model, or find both in the cache; a given model is loaded and checked.

    Raises:
        DataError: If the data is absent or damaged.
        TrainingError: If the training fails.
        ImplausibleModelError: If a given model is hardly better than chance.
    """
    images = stages.images(cell, workspace)
    if cell.model.is_given:
        with stages.measured("load"):
            base, warnings = prepare_given(cell.model, images.roles, workspace)
        return Prepared(images.roles, images.split_roles, base, images.dataset_hash, images.flips, warnings)
    base = train_base_model(
        cell.model,
        cell.training,
        images.roles,
        dataset_hash=images.dataset_hash,
        flips=images.flips,
        seed=cell.seed,
        threads=cell.threads,
        cache=workspace.artifacts,
        device=workspace.device,
        progress=workspace.progress,
    )
    stages.add("train", base)
    return Prepared(images.roles, images.split_roles, base, images.dataset_hash, images.flips)
