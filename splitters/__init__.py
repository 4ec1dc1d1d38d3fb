"""The methods that split a trained CNN into modules, and what they build on.

Names are imported on first use, so that importing the package does not load torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from splitters.data import IMAGENET, ImageSet, Normalisation
    from splitters.errors import SplitbenchError
    from splitters.graph.channel_graph import ChannelGraph
    from splitters.methods.protocol import (
        SPLITTERS,
        Checkpoint,
        CheckpointState,
        Progress,
        SplitResult,
        SplitTask,
        Splitter,
        list_splitters,
        make_splitter,
    )
    from splitters.methods.split import ModelSplit, split
    from splitters.modules.module import Module, ModuleInfo, extract_modules
    from splitters.networks.masks import KernelMasks
    from splitters.reuse.composed import ComposedModel, compose
    from splitters.reuse.model_file import load_model
    from splitters.reuse.patched import PatchedModel, patch

__all__ = [
    "IMAGENET",
    "SPLITTERS",
    "ChannelGraph",
    "Checkpoint",
    "CheckpointState",
    "ComposedModel",
    "ImageSet",
    "KernelMasks",
    "ModelSplit",
    "Module",
    "ModuleInfo",
    "Normalisation",
    "PatchedModel",
    "Progress",
    "SplitResult",
    "SplitTask",
    "SplitbenchError",
    "Splitter",
    "compose",
    "extract_modules",
    "list_splitters",
    "load_model",
    "make_splitter",
    "patch",
    "split",
]

_HOMES = {
    "splitters.methods.protocol": (
        "SPLITTERS", "Checkpoint", "CheckpointState", "Progress", "SplitResult", "SplitTask", "Splitter",
        "list_splitters", "make_splitter",
    ),
    "splitters.methods.split": ("ModelSplit", "split"),
    "splitters.data": ("IMAGENET", "ImageSet", "Normalisation"),
    "splitters.errors": ("SplitbenchError",),
    "splitters.graph.channel_graph": ("ChannelGraph",),
    "splitters.networks.masks": ("KernelMasks",),
    "splitters.modules.module": ("Module", "ModuleInfo", "extract_modules"),
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
