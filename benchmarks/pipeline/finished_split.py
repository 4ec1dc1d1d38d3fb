"""Splits as cached artefacts: each is computed once, however many cells use it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from pydantic import TypeAdapter

from benchmarks.cache.analysis_cache import AnalysisCache
from benchmarks.cache.numeric_environment import ComputeEnvironment, numeric_environment
from benchmarks.cells import SPLITTING_VERSION, Cell, SplitterSpec
from benchmarks.pipeline.cached_splits import SPLITS
from benchmarks.pipeline.preparation import Prepared
from benchmarks.pipeline.workspace import Workspace
from benchmarks.rows.row import FigureRecord, SensitivityRecord
from benchmarks.seeding import derive_seed
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.kernel_choice.layer_sensitivity import LayerSensitivity
from splitters.methods.protocol import (
    REUSED_SECONDS,
    SPLITTERS,
    Checkpoint,
    CheckpointState,
    SplitResult,
    SplitTask,
    checked_split,
    make_splitter,
)
from splitters.methods.scoring.kinds import score_name
from splitters.modules.scores import describe_scores, rebuild_scores
from splitters.networks.masks import KernelMasks
from splitters.tensor_names import strip_prefix, with_prefix

_SENSITIVITY = TypeAdapter(tuple[LayerSensitivity, ...])


@dataclass(frozen=True)
class FinishedSplit:
    """A split, computed now or earlier.

    Args:
        result: The splitter's result.
        seconds: Wall time of the split, including analyses that it reused.
        peak_memory_bytes: Peak memory of the split.
        reused: Whether it came from the cache.
        computed_on: Where it was computed.
    """

    result: SplitResult
    seconds: float
    peak_memory_bytes: int | None
    reused: bool
    computed_on: ComputeEnvironment | None = None


def cached_split(cell: Cell, prepared: Prepared, graph: ChannelGraph, workspace: Workspace) -> FinishedSplit:
    """Split a cell's base model, or load the split from the cache; splits that the splitter refers to come first.

    Args:
        cell: Names the splitter.
        prepared: Images and base model.
        graph: The base model's channel graph, on the workspace's device.
        workspace: The resources to work with.

    Raises:
        SplitbenchError: If the splitter fails.
    """
    return _CellSplits(cell, prepared, graph, workspace).get_or_compute(cell.splitter)


def split_record_fields(prepared: Prepared, split: FinishedSplit) -> dict[str, Any]:
    """Return the fields of ``Metrics`` that describe a split in every scenario."""
    result, roles = split.result, prepared.roles
    return {
        "kernels_total": result.masks.layout.n_kernels,
        "kernel_retention": result.masks.retention,
        "kernel_retention_union": result.masks.union_retention,
        "met_tolerance": result.met_tolerance,
        "score": score_name(result.scores),
        "sensitivity": [
            SensitivityRecord(
                layer=layer.layer,
                kept_shares=list(layer.kept_shares),
                select_accuracy=list(layer.accuracy),
                sensitive=layer.sensitive,
                start_shares=list(layer.start_shares),
            )
            for layer in result.sensitivity
        ],
        "figures": list(_figures(result)),
        "split_seconds": split.seconds,
        "train_images": len(roles.train),
        "select_images": len(roles.select),
        "split_train_images": len(prepared.split_roles.train),
        "split_select_images": len(prepared.split_roles.select),
        "test_images": len(roles.test),
        "dataset_hash": prepared.dataset_hash,
        "base_model_hash": prepared.base.weights_hash,
        "base": "given" if prepared.base.is_given else "trained",
        "base_source": prepared.base.source,
        **({"select_base_accuracy": prepared.base.select_accuracy} if prepared.base.is_given else {}),
        "warnings": [*prepared.warnings, *result.warnings],
    }


def _figures(result: SplitResult) -> Iterator[FigureRecord]:
    for number, record in enumerate(result.history, start=1):
        step = int(record.get("step", number))
        for name, value in record.items():
            if name != "step":
                yield FigureRecord(step=step, name=name, value=value)
    for name, value in result.facts.items():
        yield FigureRecord(step=None, name=name, value=value)


@dataclass(frozen=True)
class _CellSplits:
    """The splits of one cell: its own, and those that its splitter refers to."""

    cell: Cell
    prepared: Prepared
    graph: ChannelGraph
    workspace: Workspace

    def get_or_compute(self, spec: SplitterSpec) -> FinishedSplit:
        splitter = make_splitter(spec.name, spec.settings)
        for reference in splitter.references():
            self._by_name(reference.name, reference.settings)
        complete = SplitterSpec(
            name=spec.name,
            settings=splitter.settings.model_dump(mode="json"),
            version=splitter.version,
            code=SPLITTERS.code_fingerprint(spec.name),
        )

        def make(checkpoint: Checkpoint) -> CheckpointState:
            task, progress = self._task(complete), self.workspace.progress
            # Modules are measured in the state that the splitter found, as if the split came from the cache.
            with self.workspace.isolated():
                result = checked_split(splitter, task, graph=self.graph, progress=progress, checkpoint=checkpoint)
            return to_state(result)

        artifact = self.workspace.artifacts.get_or_make(
            SPLITS, self._key(complete), make, device=self.workspace.device, progress=self.workspace.progress
        )
        result = from_state(artifact.state, self.graph)
        # Reused analyses count with the time that they took, so that a split's time does not depend on earlier splits.
        seconds = artifact.seconds + result.facts.get(REUSED_SECONDS, 0.0)
        return FinishedSplit(result, seconds, artifact.peak_memory_bytes, artifact.reused, artifact.computed_on)

    def _by_name(self, name: str, settings: Mapping[str, object]) -> SplitResult:
        return self.get_or_compute(SplitterSpec(name=name, settings=dict(settings))).result

    def _task(self, spec: SplitterSpec) -> SplitTask:
        task = {**self._key(spec), "splitter": spec.model_dump(mode="json", exclude={"settings"})}
        return SplitTask(
            model=self.prepared.base.model,
            train=self.prepared.split_roles.train,
            select=self.prepared.split_roles.select,
            seed=derive_seed(self.cell.seed, "split"),
            device=torch.device(self.workspace.device),
            resolve=self._by_name,
            recall=AnalysisCache(self.workspace.cache, task, self.workspace.progress).get_or_compute,
        )

    def _key(self, spec: SplitterSpec) -> dict[str, Any]:
        return {
            "version": SPLITTING_VERSION,
            "splitter": spec.model_dump(mode="json"),
            "model": self.cell.model.identity(),
            "base_model": self.prepared.base.weights_hash,
            "train": self.prepared.split_roles.train.content_hash,
            "select": self.prepared.split_roles.select.content_hash,
            "seed": self.cell.seed,
            "threads": self.cell.threads,
            **numeric_environment(self.workspace.device),
        }


def to_state(result: SplitResult) -> CheckpointState:
    """Return a split as the cache stores it."""
    scores, parameters = describe_scores(result.scores)
    tensors = {"bits": result.masks.bits, **with_prefix(parameters, "scores.")}
    if result.masks.scales is not None:
        tensors["scales"] = result.masks.scales
    values: dict[str, object] = {
        "scores": scores,
        "met_tolerance": result.met_tolerance,
        "warnings": list(result.warnings),
        "history": [dict(record) for record in result.history],
        "facts": dict(result.facts),
        "sensitivity": [asdict(layer) for layer in result.sensitivity],
    }
    return CheckpointState(tensors, values)


def from_state(state: CheckpointState, graph: ChannelGraph) -> SplitResult:
    """Return the split that ``to_state`` stored, its scores on the graph's device."""
    values = cast("dict[str, Any]", state.values)
    device = next(iter(graph.network.parameters())).device
    parameters = {name: tensor.to(device) for name, tensor in strip_prefix(state.tensors, "scores.").items()}
    return SplitResult(
        masks=KernelMasks(graph.layout, state.tensors["bits"].bool(), state.tensors.get("scales")),
        scores=rebuild_scores(values["scores"], parameters),
        met_tolerance=bool(values["met_tolerance"]),
        warnings=tuple(values["warnings"]),
        history=tuple(values["history"]),
        facts=values["facts"],
        sensitivity=_SENSITIVITY.validate_python(values["sensitivity"]),
    )
