"""Tensors and JSON values in one safetensors file, replaced all or nothing."""

from __future__ import annotations

import errno
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from splitters.methods.protocol import CheckpointState

_FORMAT = 1
_HEADER = "splitbench"


@dataclass(frozen=True)
class TensorFile:
    """What one file holds.

    Args:
        state: Tensors and JSON values.
        facts: JSON values about the file itself, apart from the state.
    """

    state: CheckpointState
    facts: Mapping[str, Any]


def write_tensor_file(path: Path, content: TensorFile) -> None:
    """Writes ``content`` beside ``path``, flushes it to the disk, and renames it into place.

    The caller sees to it that nobody else writes ``path`` at the same time.

    Raises:
        OSError: If it cannot be written; what was there is as it was.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {"format": _FORMAT, "values": content.state.values, "facts": content.facts}
    temporary = path.with_name(path.name + ".tmp")
    try:
        save_file(_storable(content.state.tensors), temporary, metadata={_HEADER: json.dumps(header, sort_keys=True)})
    except SafetensorError as error:
        # The library tells the system's error in words alone.
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error), str(temporary)) from error
    flush_to_disk(temporary)
    os.replace(temporary, path)
    flush_to_disk(path.parent)


def read_tensor_file(path: Path) -> TensorFile | None:
    """Returns what ``path`` holds, on the CPU; None if it is absent, torn, or of another kind or format."""
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})[_HEADER])
            tensors = {name: file.get_tensor(name) for name in list(file.keys())}
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError):
        return None
    if header.get("format") != _FORMAT:
        return None
    return TensorFile(CheckpointState(tensors, header["values"]), header["facts"])


def flush_to_disk(path: Path) -> None:
    """Asks the system to put a file's content, or a folder's entries, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _storable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Returns contiguous copies, since a file holds neither strides nor two names for the same memory."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
