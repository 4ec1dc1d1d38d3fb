"""Splits as artefacts: each is done once, however many cells read it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any, cast

import torch
from pydantic import TypeAdapter

from benchmarks.cache.analyses import Findings
from benchmarks.cache.numeric_environment import Maker, numeric_environment
from benchmarks.cells import SPLITTING_VERSION, Cell, SplitterSpec
from benchmarks.pipeline.preparation import Prepared
from benchmarks.pipeline.workspace import Workspace
from benchmarks.rows.row import FigureRecord, SensitivityRecord
from benchmarks.seeding import derive_seed
from benchmarks.training.base_model import images_hash
from splitters.graph.channel_graph import ChannelGraph
from splitters.methods.layer_sensitivity import LayerSensitivity
from splitters.methods.protocol import (
    REUSED_SECONDS,
    SPLITTERS,
    Checkpoint,
    CheckpointState,
    SplitResult,
    SplitTask,
    make_splitter,
)
from splitters.modules.scores import describe_scores, rebuild_scores
from splitters.networks.masks import KernelMasks
from splitters.tensor_names import strip_prefix, with_prefix

_SENSITIVITY = TypeAdapter(tuple[LayerSensitivity, ...])


@dataclass(frozen=True)
class FinishedSplit:
    """The result of a split, done now or earlier.

    Args:
        result: What the splitter found.
        seconds: How long it took when it was done.
        peak_memory_bytes: Peak memory when it was done.
        reused: Whether it was there already.
        maker: Who did it.
    """

    result: SplitResult
    seconds: float
    peak_memory_bytes: int | None
    reused: bool
    maker: Maker | None = None


def split_once(cell: Cell, prepared: Prepared, graph: ChannelGraph, workspace: Workspace) -> FinishedSplit:
    """Returns what a cell's splitter makes of its base model; results that it is defined by are found first.

    Args:
        cell: Names the splitter.
        prepared: Images and base model.
        graph: The base model's channel graph, on the workspace's device.
        workspace: Where to work.

    Raises:
        SplitbenchError: If the splitter fails.
    """
    return _Splits(cell, prepared, graph, workspace).of(cell.splitter)


def circumstances(prepared: Prepared, split: FinishedSplit) -> dict[str, Any]:
    """Returns what a row says of how a split came to be, whatever its scenario: fields of ``Metrics`` by name."""
    result, roles = split.result, prepared.roles
    return {
        "met_tolerance": result.met_tolerance,
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
    for place, record in enumerate(result.history, start=1):
        step = int(record.get("step", place))
        for name, value in record.items():
            if name != "step":
                yield FigureRecord(step=step, name=name, value=value)
    for name, value in result.facts.items():
        yield FigureRecord(step=None, name=name, value=value)


@dataclass(frozen=True)
class _Splits:
    cell: Cell
    prepared: Prepared
    graph: ChannelGraph
    workspace: Workspace

    def of(self, spec: SplitterSpec) -> FinishedSplit:
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
            result = splitter.split(
                self._task(complete), graph=self.graph, progress=self.workspace.progress, checkpoint=checkpoint
            )
            return _to_state(result)

        artifact = self.workspace.artifacts.get_or_make(
            "splits", self._key(complete), make, device=self.workspace.device, progress=self.workspace.progress
        )
        result = _from_state(artifact.state, self.graph)
        # What was found earlier counts as it took then, so that a split's time does not depend on what came before it.
        seconds = artifact.seconds + result.facts.get(REUSED_SECONDS, 0.0)
        return FinishedSplit(result, seconds, artifact.peak_memory_bytes, artifact.reused, artifact.maker)

    def _by_name(self, name: str, settings: Mapping[str, object]) -> SplitResult:
        return self.of(SplitterSpec(name=name, settings=dict(settings))).result

    def _task(self, spec: SplitterSpec) -> SplitTask:
        known = {**self._key(spec), "splitter": spec.model_dump(mode="json", exclude={"settings"})}
        return SplitTask(
            model=self.prepared.base.model,
            train=self.prepared.split_roles.train,
            select=self.prepared.split_roles.select,
            seed=derive_seed(self.cell.seed, "split"),
            device=torch.device(self.workspace.device),
            resolve=self._by_name,
            recall=Findings(self.workspace.cache, known, self.workspace.progress).recall,
        )

    def _key(self, spec: SplitterSpec) -> dict[str, Any]:
        return {
            "version": SPLITTING_VERSION,
            "splitter": spec.model_dump(mode="json"),
            "model": self.cell.model.identity(),
            "base_model": self.prepared.base.weights_hash,
            "train": images_hash(self.prepared.split_roles.train),
            "select": images_hash(self.prepared.split_roles.select),
            "seed": self.cell.seed,
            "threads": self.cell.threads,
            **numeric_environment(self.workspace.device),
        }


def _to_state(result: SplitResult) -> CheckpointState:
    scores, parameters = describe_scores(result.scores)
    tensors = {"bits": result.masks.bits, **with_prefix(parameters, "scores.")}
    values: dict[str, object] = {
        "scores": scores,
        "met_tolerance": result.met_tolerance,
        "warnings": list(result.warnings),
        "history": [dict(record) for record in result.history],
        "facts": dict(result.facts),
        "sensitivity": [asdict(layer) for layer in result.sensitivity],
    }
    return CheckpointState(tensors, values)


def _from_state(state: CheckpointState, graph: ChannelGraph) -> SplitResult:
    values = cast("dict[str, Any]", state.values)
    device = next(iter(graph.network.parameters())).device
    parameters = {name: tensor.to(device) for name, tensor in strip_prefix(state.tensors, "scores.").items()}
    return SplitResult(
        masks=KernelMasks(graph.layout, state.tensors["bits"].bool()),
        scores=rebuild_scores(values["scores"], parameters),
        met_tolerance=bool(values["met_tolerance"]),
        warnings=tuple(values["warnings"]),
        history=tuple(values["history"]),
        facts=values["facts"],
        sensitivity=_SENSITIVITY.validate_python(values["sensitivity"]),
    )
