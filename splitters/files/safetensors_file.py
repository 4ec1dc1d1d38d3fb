"""One safetensors file with a typed JSON header: written all or nothing, and read with every doubt put into words."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import safetensors
from pydantic import ValidationError
from safetensors.torch import save as to_safetensors
from torch import Tensor

from splitters.errors import ModuleFileError
from splitters.settings import Settings

_HEADER = "splitbench"
_MOST_HEADER_BYTES = 64 << 20
"""A header larger than this is not read; that of a module of the largest known networks has one megabyte."""


class FileHeader(Settings):
    """What every header begins with.

    Args:
        format: What the file holds, e.g. ``splitbench.module``.
        format_version: Counts the changes of that format.
    """

    format: str
    format_version: int


HeaderT = TypeVar("HeaderT", bound=FileHeader)


def write_tensor_file(path: Path | str, header: FileHeader, tensors: Mapping[str, Tensor]) -> None:
    """Writes a file beside ``path``, makes sure that it is on the disk, and renames it into place.

    Args:
        path: Where to; a file that is there is replaced, a folder that is not there is made.
        header: The header.
        tensors: The tensors by name, on any device.

    Raises:
        OSError: If the file cannot be written; what was there is as it was.
    """
    path = Path(path)
    # Files hold neither strides nor two names for the same memory.
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    data = to_safetensors(plain, metadata={_HEADER: header.model_dump_json()})
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_format(path: Path | str) -> str:
    """Returns what a file says that it holds.

    Raises:
        ModuleFileError: If it is absent, damaged, or foreign.
    """
    path = Path(path)
    return str(_raw_header(path, _open(path)[0]).get("format"))


def read_tensor_file(
    path: Path | str, model: type[HeaderT], *, form: str, newest: int
) -> tuple[HeaderT, dict[str, Tensor]]:
    """Returns a file's header and its tensors, on the CPU.

    Args:
        path: The file.
        model: The header's model.
        form: The format that the file must have.
        newest: The newest version of that format that can be read.

    Raises:
        ModuleFileError: If the file is absent, damaged, foreign, of another format, or of a newer version.
    """
    path = Path(path)
    metadata, tensors = _open(path)
    raw = _raw_header(path, metadata)
    found, version = raw.get("format"), raw.get("format_version")
    if found != form:
        raise ModuleFileError(f"{path}: holds a {found!r}, not a {form!r}.")
    if type(version) is not int or version < 1:
        raise ModuleFileError(f"{path}: the header is damaged (format_version is {version!r}, not a number from 1 on).")
    if version > newest:
        raise ModuleFileError(
            f"{path}: written in format version {version}; this Splitbench reads up to {newest}. Upgrade it."
        )
    try:
        return model.model_validate(raw), tensors
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise ModuleFileError(f"{path}: the header is damaged ({place}: {first['msg']}).") from error


def read_plain_tensors(path: Path | str) -> dict[str, Tensor] | None:
    """Returns the tensors of a safetensors file that others wrote, on the CPU; None if it is one of Splitbench's own.

    Raises:
        ModuleFileError: If the file is absent or damaged.
    """
    metadata, tensors = _open(Path(path))
    return None if _HEADER in metadata else tensors


def _open(path: Path) -> tuple[Mapping[str, str], dict[str, Tensor]]:
    try:
        _check_size(path)
        with safetensors.safe_open(path, framework="pt") as file:
            # Cloned, for torch's own alignment: sums over unaligned memory may differ in the last bit.
            return file.metadata() or {}, {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise ModuleFileError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise ModuleFileError(f"{path}: the file cannot be read ({error}).") from error
    except safetensors.SafetensorError as error:
        raise ModuleFileError(f"{path}: {_damage(path)} ({error}).") from error


def _check_size(path: Path) -> None:
    """Refuses a header that claims to be huge, before anything of that size is read."""
    with path.open("rb") as file:
        claimed = int.from_bytes(file.read(8), "little")
    if _MOST_HEADER_BYTES < claimed <= path.stat().st_size:
        raise ModuleFileError(
            f"{path}: its header has {claimed:,} bytes; more than {_MOST_HEADER_BYTES:,} are not read."
        )


def _damage(path: Path) -> str:
    """Says what is wrong with a file that the library refuses: it is cut off, foreign, or damaged within.

    A safetensors file begins with the length of its header in eight bytes and with the header, a JSON object.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        start = file.read(9)
        length = int.from_bytes(start[:8], "little")
        if size < len(b"12345678{"):
            return f"the file is truncated: it has {size} bytes"
        if not start.endswith(b"{") or length > _MOST_HEADER_BYTES:
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


def _raw_header(path: Path, metadata: Mapping[str, str]) -> dict[str, object]:
    if _HEADER not in metadata:
        raise ModuleFileError(f"{path}: a safetensors file, but not a Splitbench module: it has no {_HEADER!r} header.")
    try:
        raw = json.loads(metadata[_HEADER])
    except (ValueError, RecursionError) as error:
        raise ModuleFileError(f"{path}: the header is damaged ({error!r}).") from error
    if not isinstance(raw, dict) or not {"format", "format_version"} <= set(raw):
        raise ModuleFileError(f"{path}: the header is damaged (it does not say what the file holds).")
    return raw
