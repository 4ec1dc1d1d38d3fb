"""Splitters: the methods that cut a trained CNN into modules, and what they stand on.

Importing a name loads torch only when the name is first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from splitters.base import (
        SPLITTERS,
        Checkpoint,
        CheckpointState,
        Progress,
        SplitResult,
        SplitTask,
        Splitter,
        make_splitter,
    )
    from splitters.data import ImageSet, Normalisation
    from splitters.errors import SplitbenchError
    from splitters.graph import ChannelGraph
    from splitters.masks import KernelMasks
    from splitters.model_file import load_model
    from splitters.module import Module, ModuleInfo, extract_modules
    from splitters.patching import PatchedModel, patch
    from splitters.reuse import ComposedModel, compose

__all__ = [
    "SPLITTERS",
    "ChannelGraph",
    "Checkpoint",
    "CheckpointState",
    "ComposedModel",
    "ImageSet",
    "KernelMasks",
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
    "load_model",
    "make_splitter",
    "patch",
]

_HOMES = {
    "splitters.base": (
        "SPLITTERS", "Checkpoint", "CheckpointState", "Progress", "SplitResult", "SplitTask", "Splitter",
        "make_splitter",
    ),
    "splitters.data": ("ImageSet", "Normalisation"),
    "splitters.errors": ("SplitbenchError",),
    "splitters.graph": ("ChannelGraph",),
    "splitters.masks": ("KernelMasks",),
    "splitters.module": ("Module", "ModuleInfo", "extract_modules"),
    "splitters.model_file": ("load_model",),
    "splitters.patching": ("PatchedModel", "patch"),
    "splitters.reuse": ("ComposedModel", "compose"),
}  # fmt: skip


def __getattr__(name: str) -> Any:
    for home, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(home), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
