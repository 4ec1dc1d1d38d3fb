"""The device that a cell runs on: the only place that decides it."""

from __future__ import annotations

import os

from benchmarks.cells import Cell
from splitters.errors import ConfigurationError

CPU = "cpu"
GPU = "cuda:0"
"""A cell sees at most one GPU; Ray hides the others."""


def share_of_gpu(cell: Cell, share: float, *, has_gpus: bool) -> float:
    """Return the share of a GPU that a cell gets: none on ``cpu``, and on ``auto`` where there are no GPUs.

    Args:
        cell: The cell.
        share: The share that cells on a GPU get.
        has_gpus: Whether there are GPUs where the cell may run.
    """
    return share if cell.device == "cuda" or (cell.device == "auto" and has_gpus) else 0.0


def check_precision(cell: Cell, share: float, *, title: str) -> None:
    """Check that a cell's device has the precision that it asks for.

    Args:
        cell: The cell.
        share: Its share of a GPU.
        title: What messages call it.

    Raises:
        ConfigurationError: If it has not.
    """
    if cell.precision == "tf32" and not share:
        raise ConfigurationError(
            f"{title}: precision: tf32 is for GPUs, but the cell runs on the CPU. Use --set precision=float32 or bf16."
        )


def device_for(cell: Cell, share: float) -> str:
    """Return the torch device of a cell that has a share of a GPU."""
    import torch

    return GPU if cell.device == "cuda" or (share and torch.cuda.is_available()) else CPU


def best_device() -> str:
    """Return the torch device for work that has this whole machine: its GPU if there is one."""
    import torch

    return GPU if torch.cuda.is_available() else CPU


def device_here(cell: Cell) -> tuple[str, float]:
    """Return the torch device of a cell that has this whole machine, and its share of a GPU."""
    import torch

    share = share_of_gpu(cell, 1.0, has_gpus=torch.cuda.is_available())
    return device_for(cell, share), share


def hide_gpus_without(share: float) -> None:
    """Hide all GPUs from this process if it has no share of one; Ray leaves them visible."""
    if not share:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
