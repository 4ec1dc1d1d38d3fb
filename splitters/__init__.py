"""The methods that split a trained CNN into modules, and what they build on.

Names are imported on first use, so that importing the package does not load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from splitters.data import IMAGENET, ImageSet, Normalisation
    from splitters.errors import ConfigurationError, DataError, SplitbenchError, SplitFailedError
    from splitters.graph.channel_graph import ChannelGraph
    from splitters.methods.kernel_choice.importance import channel_importance
    from splitters.methods.protocol import (
        SPLITTERS,
        Checkpoint,
        CheckpointState,
        Progress,
        ProgressCallback,
        SplitResult,
        SplitTask,
        Splitter,
        SplitterReference,
        ignore_progress,
        list_splitters,
        make_splitter,
    )
    from splitters.methods.split import ModelSplit, split
    from splitters.modules.module import Module, ModuleInfo, extract_modules
    from splitters.modules.score_kinds import LogitScores
    from splitters.modules.scores import SCORES, ModuleScore, Scores
    from splitters.networks.inference import accuracy
    from splitters.networks.masks import KernelMasks
    from splitters.reuse.composed import ComposedModel, compose
    from splitters.reuse.model_file import load_model
    from splitters.reuse.patched import PatchedModel, patch
    from splitters.settings import PresetSettings, Settings

__all__ = [
    "IMAGENET",
    "SCORES",
    "SPLITTERS",
    "ChannelGraph",
    "Checkpoint",
    "CheckpointState",
    "ComposedModel",
    "ConfigurationError",
    "DataError",
    "ImageSet",
    "KernelMasks",
    "LogitScores",
    "ModelSplit",
    "Module",
    "ModuleInfo",
    "ModuleScore",
    "Normalisation",
    "PatchedModel",
    "PresetSettings",
    "Progress",
    "ProgressCallback",
    "Scores",
    "Settings",
    "SplitFailedError",
    "SplitResult",
    "SplitTask",
    "SplitbenchError",
    "Splitter",
    "SplitterReference",
    "accuracy",
    "channel_importance",
    "compose",
    "extract_modules",
    "ignore_progress",
    "list_splitters",
    "load_model",
    "make_splitter",
    "patch",
    "split",
]

_HOMES = {
    "splitters.methods.protocol": (
        "SPLITTERS", "Checkpoint", "CheckpointState", "Progress", "ProgressCallback", "SplitResult", "SplitTask",
        "Splitter", "SplitterReference", "ignore_progress", "list_splitters", "make_splitter",
    ),
    "splitters.methods.split": ("ModelSplit", "split"),
    "splitters.methods.kernel_choice.importance": ("channel_importance",),
    "splitters.data": ("IMAGENET", "ImageSet", "Normalisation"),
    "splitters.errors": ("ConfigurationError", "DataError", "SplitFailedError", "SplitbenchError"),
    "splitters.settings": ("PresetSettings", "Settings"),
    "splitters.graph.channel_graph": ("ChannelGraph",),
    "splitters.networks.inference": ("accuracy",),
    "splitters.networks.masks": ("KernelMasks",),
    "splitters.modules.module": ("Module", "ModuleInfo", "extract_modules"),
    "splitters.modules.score_kinds": ("LogitScores",),
    "splitters.modules.scores": ("SCORES", "ModuleScore", "Scores"),
    "splitters.reuse.model_file": ("load_model",),
    "splitters.reuse.patched": ("PatchedModel", "patch"),
    "splitters.reuse.composed": ("ComposedModel", "compose"),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
