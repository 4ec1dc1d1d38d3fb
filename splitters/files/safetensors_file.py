"""A safetensors file with a typed JSON header, written atomically and read with precise errors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import safetensors
from pydantic import ValidationError
from safetensors.torch import save as to_safetensors
from torch import Tensor

from splitters.errors import ModuleFileError
from splitters.files.atomic_write import write_atomically
from splitters.files.damage import check_header_size, describe_damage
from splitters.settings import Settings

_HEADER = "splitbench"


class FileHeader(Settings):
    """The fields that every header has.

    Args:
        format: What the file holds, e.g. ``splitbench.module``.
        format_version: The version of that format, from 1.
    """

    format: str
    format_version: int


HeaderT = TypeVar("HeaderT", bound=FileHeader)


def write_tensor_file(path: Path | str, header: FileHeader, tensors: Mapping[str, Tensor]) -> None:
    """Write a file, all or nothing.

    Args:
        path: The file, which is replaced if it exists; missing folders are created.
        header: The header.
        tensors: The tensors by name, on any device.

    Raises:
        OSError: If the file cannot be written; an existing file is left as it was.
    """
    # safetensors stores neither strides nor two names for the same memory.
    plain = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    write_atomically(Path(path), to_safetensors(plain, metadata={_HEADER: header.model_dump_json()}))


def read_format(path: Path | str) -> str:
    """Return the format that a file declares.

    Raises:
        ModuleFileError: If the file is absent, damaged or foreign.
    """
    path = Path(path)
    return str(_raw_header(path, _open(path)[0]).get("format"))


def read_tensor_file(
    path: Path | str, model: type[HeaderT], *, form: str, newest: int
) -> tuple[HeaderT, dict[str, Tensor]]:
    """Return a file's header and its tensors, on the CPU.

    Args:
        path: The file.
        model: The header's class.
        form: The required format.
        newest: The newest version of it that can be read.

    Raises:
        ModuleFileError: If the file is absent, damaged, foreign, of another format, or of a newer version.
    """
    path = Path(path)
    metadata, tensors = _open(path)
    raw = _raw_header(path, metadata)
    declared, version = raw.get("format"), raw.get("format_version")
    if declared != form:
        raise ModuleFileError(f"{path}: holds a {declared!r}, not a {form!r}.")
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
        field = ".".join(str(part) for part in first["loc"])
        raise ModuleFileError(f"{path}: the header is damaged ({field}: {first['msg']}).") from error


def read_plain_tensors(path: Path | str) -> dict[str, Tensor] | None:
    """Return the tensors of a plain safetensors file, on the CPU; None if Splitbench wrote it.

    Raises:
        ModuleFileError: If the file is absent or damaged.
    """
    metadata, tensors = _open(Path(path))
    return None if _HEADER in metadata else tensors


def _open(path: Path) -> tuple[Mapping[str, str], dict[str, Tensor]]:
    try:
        check_header_size(path)
        with safetensors.safe_open(path, framework="pt") as file:
            # Cloned, for torch's own alignment: sums over unaligned memory may differ in the last bit.
            return file.metadata() or {}, {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    except FileNotFoundError:
        raise ModuleFileError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise ModuleFileError(f"{path}: the file cannot be read ({error}).") from error
    except safetensors.SafetensorError as error:
        raise ModuleFileError(f"{path}: {describe_damage(path)} ({error}).") from error


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
