"""Tensors and JSON values in one safetensors file, replaced atomically."""

from __future__ import annotations

import errno
import json
import os
import platform
import re
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from splitters.methods.protocol import CheckpointState

_FORMAT = 1
_HEADER = "splitbench"


@dataclass(frozen=True)
class TensorFile:
    """The content of one file.

    Args:
        state: Tensors and JSON values.
        facts: JSON values about the file itself, apart from the state.
    """

    state: CheckpointState
    facts: Mapping[str, Any]


def write_tensor_file(path: Path, content: TensorFile) -> None:
    """Write ``content`` to a temporary file, flush it to the disk, and rename it to ``path``.

    Of several processes that write ``path`` at the same time, the last one wins.

    Raises:
        OSError: If it cannot be written; an earlier file is left unchanged.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    header = {"format": _FORMAT, "values": content.state.values, "facts": content.facts}
    temporary = temporary_beside(path)
    try:
        save_file(_storable(content.state.tensors), temporary, metadata={_HEADER: json.dumps(header, sort_keys=True)})
        flush_to_disk(temporary)
        os.replace(temporary, path)
    except SafetensorError as error:
        # The library reports the system's error as text only.
        number = re.search(r"os error (\d+)", str(error))
        raise OSError(int(number[1]) if number else errno.EIO, str(error), str(temporary)) from error
    finally:
        temporary.unlink(missing_ok=True)
    flush_to_disk(path.parent)


def read_tensor_file(path: Path) -> TensorFile | None:
    """Return the content of ``path``, on the CPU; None if it is absent, damaged, or of another kind or format."""
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


def temporary_beside(path: Path) -> Path:
    """Return an unused temporary name beside ``path``; remove those that killed processes of this machine left."""
    node = platform.node()
    ours = re.compile(rf"{re.escape(path.name)}\.(\d+)@{re.escape(node)}\.[0-9a-f]{{8}}\.tmp")
    for entry in path.parent.iterdir():
        match = ours.fullmatch(entry.name)
        if match and not psutil.pid_exists(int(match[1])):
            _remove(entry)
    return path.with_name(f"{path.name}.{os.getpid()}@{node}.{secrets.token_hex(4)}.tmp")


def read_facts(path: Path) -> Mapping[str, Any] | None:
    """Return the facts of ``path`` without reading its tensors; None where ``read_tensor_file`` returns None."""
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads((file.metadata() or {})[_HEADER])
    except (SafetensorError, OSError, KeyError, json.JSONDecodeError):
        return None
    facts: Mapping[str, Any] | None = header["facts"] if header.get("format") == _FORMAT else None
    return facts


def flush_to_disk(path: Path) -> None:
    """Flush a file's content, or a folder's entries, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _storable(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return contiguous copies, since a file stores neither strides nor shared memory."""
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}


def _remove(path: Path) -> None:
    """Remove a file or a folder; ignore what cannot be removed."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()
