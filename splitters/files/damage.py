"""What is wrong with a file that the safetensors library refuses."""

from __future__ import annotations

import json
from pathlib import Path

from splitters.data.stand_ins import describe_stand_in, read_start
from splitters.errors import ModuleFileError

_MAX_HEADER_BYTES = 64 << 20
"""Headers larger than this are not read; modules of the largest known networks have one megabyte."""


def check_header_size(path: Path) -> None:
    """Refuse a header that claims to be huge before anything of that size is read.

    Raises:
        ModuleFileError: If the header is larger than any module's.
    """
    with path.open("rb") as file:
        claimed = int.from_bytes(file.read(8), "little")
    if _MAX_HEADER_BYTES < claimed <= path.stat().st_size:
        raise ModuleFileError(f"{path}: its header has {claimed:,} bytes; at most {_MAX_HEADER_BYTES:,} are read.")


def describe_damage(path: Path) -> str:
    """Return whether a file is truncated, foreign or damaged inside, or what else is in its place.

    A safetensors file starts with the length of its header in eight bytes and the header, a JSON object.
    """
    size = path.stat().st_size
    if stand_in := describe_stand_in(read_start(path), expected="a safetensors file"):
        return f"the file is {stand_in}"
    with path.open("rb") as file:
        start = file.read(9)
        length = int.from_bytes(start[:8], "little")
        if size < len(b"12345678{"):
            return f"the file is truncated: it has {size} bytes"
        if not start.endswith(b"{") or length > _MAX_HEADER_BYTES:
            return "the file is foreign: it is no safetensors file"
        if size < 8 + length:
            return f"the file is truncated: it has {size:,} bytes, its header alone {8 + length:,}"
        header = b"{" + file.read(length - 1)
    try:
        ends = [tensor["data_offsets"][1] for name, tensor in json.loads(header).items() if name != "__metadata__"]
        whole = 8 + length + max(ends, default=0)
    except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
        return "the file's header is damaged"
    return f"the file is truncated: it has {size:,} of {whole:,} bytes" if size < whole else "the file is damaged"
