"""Weights files of any origin: safetensors and torch files, read without running code that they hold."""

from __future__ import annotations

import argparse
import collections
import datetime
import pathlib
import pickle
import re
import types
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pydantic import ConfigDict
from torch import Tensor, nn

from benchmarks.cells import ModelSpec
from splitters.data.stand_ins import describe_stand_in
from splitters.errors import ConfigurationError, ModuleFileError, listed_names
from splitters.files.safetensors_file import FileHeader, read_format, read_plain_tensors, read_tensor_file

WEIGHTS_FORMAT = "splitbench.weights"
WEIGHTS_FORMAT_VERSION = 2
"""The format of the files of ``splitbench train``. Readers take this version and older ones, and refuse newer ones."""

_STATE_KEYS = ("state_dict", "model_state_dict", "model")
_PREFIXES = ("_orig_mod.", "module.", "model.", "net.")
_WRAPPERS = re.compile(r"(?<![^.])(?:_orig_mod|module|_checkpoint_wrapped_module|_fsdp_wrapped_module)\.")
_COUNT = "num_batches_tracked"
_SHOWN = 4
_COLUMN = 48


def _list_of(items: Iterable[Any] = (), _: int | None = None) -> list[Any]:
    """Return the items of a deque as a list: the restricted reader appends to nothing else."""
    return list(items)


_RECONSTRUCT = np.empty(0).__reduce__()[0]
_SCALAR = np.float64(0).__reduce__()[0]

# What checkpoints of ordinary training scripts hold beside tensors; none of it runs code.
_HARMLESS: list[Any] = [
    argparse.Namespace,
    types.SimpleNamespace,
    collections.defaultdict,
    (_list_of, "collections.deque"),
    int,
    list,
    datetime.datetime,
    datetime.date,
    datetime.timedelta,
    # Pure paths, as a path of another system cannot be made; the second module is Python 3.13's.
    *((pathlib.PurePosixPath, f"{module}.PosixPath") for module in ("pathlib", "pathlib._local")),
    *((pathlib.PureWindowsPath, f"{module}.WindowsPath") for module in ("pathlib", "pathlib._local")),
    np.dtype,
    *(type(np.dtype(code)) for code in "?bBhHiIlLefdFDSUMm"),
    np.ndarray,
    # By NumPy 2's names and by NumPy 1's.
    *((_RECONSTRUCT, f"numpy.{core}.multiarray._reconstruct") for core in ("_core", "core")),
    *((_SCALAR, f"numpy.{core}.multiarray.scalar") for core in ("_core", "core")),
]


class DeclaredNetwork(FileHeader):
    """What a file of ``splitbench train`` says about its network.

    Args:
        model: Its architecture and settings.
        class_names: Its classes, in the order of its logits.
        input_shape: The channels, height and width of its images.
    """

    model_config = ConfigDict(extra="ignore")

    model: ModelSpec
    class_names: tuple[str, ...]
    input_shape: tuple[int, int, int]


@dataclass(frozen=True)
class StoredWeights:
    """The content of a weights file.

    Args:
        path: The file.
        tensors: The state by name, on the CPU.
        header: What the file says about its network, if Splitbench wrote it.
    """

    path: Path
    tensors: Mapping[str, Tensor] = field(repr=False)
    header: DeclaredNetwork | None = None

    def load_into(self, model: nn.Module, name: str) -> tuple[str, ...]:
        """Copy the weights into a network.

        Prefixes that wrappers put before all names (``module.``, ``model.``, ``net.``, ``_orig_mod.``) are stripped
        where the network does not have them itself, and so is any other one behind which are the network's names; what
        is not behind it, such as the weights of a loss, is left out. ``module.`` and ``_orig_mod.`` are stripped inside
        of names as well. Batch counts of batch norms may be absent.

        Args:
            model: The network.
            name: Its name, for messages.

        Returns:
            What was done to make the weights fit, one sentence each.

        Raises:
            ConfigurationError: If the weights do not fit the network, or are not finite.
        """
        wanted = model.state_dict()
        given, done = _by_names_of(wanted, self.tensors)
        given = {**{key: value for key, value in wanted.items() if key.endswith(_COUNT)}, **given}
        _check_fit(self.path, name, wanted, given)
        model.load_state_dict(given)
        return (f"{self.path}: {done}.",) if done else ()

    def differing_logits(self, model: nn.Module, n_logits: int) -> int | None:
        """Return the number of logits that the weights have, if that is all that keeps them from fitting a network.

        Args:
            model: The network.
            n_logits: The number of its logits.
        """
        wanted = model.state_dict()
        given, _ = _by_names_of(wanted, self.tensors)
        if any(key not in wanted for key in given):
            return None
        pairs = [(wanted[key].shape, value.shape) for key, value in given.items() if value.shape != wanted[key].shape]
        alike = all(
            len(ours) == len(theirs) and ours[1:] == theirs[1:] and ours[0] == n_logits for ours, theirs in pairs
        )
        counts = {theirs[0] for _, theirs in pairs} if alike else set()
        return counts.pop() if len(counts) == 1 else None


def read_weights(path: Path | str) -> StoredWeights:
    """Read a safetensors file, or a torch file that holds a state dict.

    The state may be the whole file, its entry ``state_dict``, ``model_state_dict`` or ``model``, or the only other
    entry, or entry of an entry, that holds tensors by name. Arrays of NumPy are taken as tensors.

    Raises:
        ModuleFileError: If the file is absent, damaged, no weights file, or holds more than tensors and plain values.
    """
    path = Path(path)
    if _is_torch_file(path):
        return StoredWeights(path, _read_torch(path))
    tensors = read_plain_tensors(path)
    if tensors is not None:
        return StoredWeights(path, tensors)
    if read_format(path) != WEIGHTS_FORMAT:
        raise ModuleFileError(
            f"{path}: holds a {read_format(path)!r}, not a {WEIGHTS_FORMAT!r} or plain weights; name the weights of a "
            "whole network."
        )
    header, tensors = read_tensor_file(path, DeclaredNetwork, form=WEIGHTS_FORMAT, newest=WEIGHTS_FORMAT_VERSION)
    return StoredWeights(path, tensors, header)


def _is_torch_file(path: Path) -> bool:
    """Return whether a file is of ``torch.save``; refuse what people have in place of weights."""
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except FileNotFoundError:
        raise ModuleFileError(f"{path}: there is no such file.") from None
    except OSError as error:
        raise ModuleFileError(f"{path}: the file cannot be read ({error}).") from error
    if stand_in := describe_stand_in(start, expected="weights"):
        raise ModuleFileError(f"{path}: {stand_in}.")
    return start.startswith((b"PK\x03\x04", b"\x80"))


def _read_torch(path: Path) -> dict[str, Tensor]:
    _refuse_programs(path)
    try:
        # By content, as torch.load goes by the file's name.
        with path.open("rb") as file, torch.serialization.safe_globals(_HARMLESS):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ModuleFileError(_pickled(path, str(error))) from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModuleFileError(f"{path}: a torch file, but damaged or cut short ({_first_sentence(error)}).") from error
    return _state_of(path, content)


def _refuse_programs(path: Path) -> None:
    """Refuse TorchScript and exported programs, which are zip files like those of ``torch.save``."""
    if not zipfile.is_zipfile(path):
        return
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if not any(name.endswith("data.pkl") for name in names) or any("/code/" in name for name in names):
        raise ModuleFileError(
            f"{path}: holds a whole program (TorchScript, torch.export) or no torch data at all, not weights. Load it "
            "in Python and save its weights: torch.save(model.state_dict(), 'weights.pth')."
        )


def _pickled(path: Path, message: str) -> str:
    found = re.search(r"(?:GLOBAL|class|import) ([\w.]+)", message)
    what = f"an object of {found[1]}" if found else "objects"
    return (
        f"{path}: holds {what}, not just tensors: loading it would run code that the file names. If this is a whole "
        "pickled model that you trust, load it once where its code is, with torch.load(path, weights_only=False), and "
        "save its weights alone: torch.save(model.state_dict(), 'weights.pth')."
    )


def _state_of(path: Path, content: object) -> dict[str, Tensor]:
    if not isinstance(content, Mapping):
        raise ModuleFileError(
            f"{path}: holds a {type(content).__name__}, not a state dict; write one with "
            "torch.save(model.state_dict(), 'weights.pth')."
        )
    states = _states_in(content) or _states_in(
        {f"{key}.{inner}": value for key, part in content.items() if isinstance(part, Mapping)
         for inner, value in part.items()}
    )  # fmt: skip
    has_tensors = any(isinstance(value, Tensor) for value in content.values())
    entry = next((key for key in _STATE_KEYS if key in states), None)
    if entry is None and len(states) == 1 and not has_tensors:
        (entry,) = states
    if entry is not None:
        return _tensors(path, states[entry], f"entry {entry!r}, ")
    if content and all(isinstance(value, np.ndarray) for value in content.values()):
        return _tensors(path, {key: torch.from_numpy(value) for key, value in content.items()}, "")
    if not has_tensors:
        meant, count = ("the one that is meant", f" ({len(states)} state dicts)") if states else ("the state dict", "")
        raise ModuleFileError(
            f"{path}: no state dict in it: looked for tensors, and for {', '.join(map(repr, _STATE_KEYS))}; it holds "
            f"{', '.join(repr(str(key)) for key in list(content)[:8]) or 'nothing'}{count}. Save {meant} alone: "
            "torch.save(model.state_dict(), 'weights.pth')."
        )
    return _tensors(path, content, "")


def _states_in(content: Mapping[Any, object]) -> dict[Any, Mapping[object, object]]:
    """Return the entries that hold tensors by name."""
    return {
        key: inner for key, inner in content.items()
        if isinstance(inner, Mapping) and any(isinstance(value, Tensor) for value in inner.values())
    }  # fmt: skip


def _tensors(path: Path, state: Mapping[object, object], where: str) -> dict[str, Tensor]:
    tensors = {}
    for key, value in state.items():
        if not isinstance(value, Tensor) or value.is_quantized or value.is_meta or value.layout is not torch.strided:
            kind = type(value).__name__ if not isinstance(value, Tensor) else "quantised, sparse or empty (meta) tensor"
            raise ModuleFileError(f"{path}: {where}{key!r} is a {kind}, not a plain tensor; leave it out of the file.")
        tensors[str(key)] = value.detach()
    return tensors


def _by_names_of(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], str]:
    """Return a state without what wrappers put into its names, and a clause on what was done, empty for nothing."""
    state, prefix = dict(given), ""
    if "n_averaged" not in wanted:
        state.pop("n_averaged", None)  # of torch's AveragedModel, beside 'module.'
    while stripped := _common_prefix(state):
        if any(key.startswith(stripped) for key in wanted):
            break
        state = {key.removeprefix(stripped): value for key, value in state.items()}
        prefix += stripped
    if not state.keys() <= wanted.keys():
        inner = {_WRAPPERS.sub("", key): value for key, value in state.items()}
        for names in (state, inner) if len(inner) == len(state) else (state,):
            behind = _only_one_behind_a_prefix(names, wanted)
            if behind is not None:
                others = [key for key in names if not key.startswith(behind)]
                clauses = [
                    f"stripped {prefix + behind!r} from the names of all weights" if prefix + behind else "",
                    "stripped wrappers inside of their names" if names is not state else "",
                    f"left out {listed_names(others)}" if others else "",
                ]
                found = {key.removeprefix(behind): names[key] for key in names if key.startswith(behind)}
                return found, ", ".join(filter(None, clauses))
    return state, f"stripped {prefix!r} from the names of all weights" if prefix else ""


def _only_one_behind_a_prefix(state: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str | None:
    """Return the prefix behind which all names of a network are, and no others; None if there is none, or several."""
    needed = {key for key in wanted if not key.endswith(_COUNT)}
    first = min(needed, default="")
    fitting = [
        prefix
        for prefix in (key.removesuffix(first) for key in state if key == first or key.endswith(f".{first}"))
        if needed <= {key.removeprefix(prefix) for key in state if key.startswith(prefix)} <= wanted.keys()
    ]
    return fitting[0] if len(fitting) == 1 else None


def _common_prefix(state: Mapping[str, Tensor]) -> str:
    return next((prefix for prefix in _PREFIXES if state and all(key.startswith(prefix) for key in state)), "")


def _check_fit(path: Path, name: str, wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> None:
    missing = [key for key in wanted if key not in given]
    unknown = [key for key in given if key not in wanted]
    reshaped = [key for key in wanted if key in given and given[key].shape != wanted[key].shape]
    if missing or unknown or reshaped:
        counts = {"missing": missing, "unknown to it": unknown, "of another shape": reshaped}
        said = ", ".join(f"{len(keys)} {what}" for what, keys in counts.items() if keys)
        pairs = [("the network has", "the file has")]
        pairs += zip_longest(_shown(wanted, missing), _shown(given, unknown), fillvalue="")
        pairs += zip(_shown(wanted, reshaped), _shown(given, reshaped), strict=True)
        lines = [f"  {left:<{_COLUMN}}  {right}".rstrip() for left, right in pairs]
        raise ConfigurationError("\n".join([f"{path}: the weights do not fit {name!r}: {said}.", *lines]))
    rounded = [key for key, value in wanted.items() if value.is_floating_point() and not given[key].is_floating_point()]
    if rounded:
        raise ConfigurationError(f"{path}: {rounded[0]} is {given[rounded[0]].dtype}, not floating point: no weights.")
    broken = [key for key, value in given.items() if value.is_floating_point() and not bool(value.isfinite().all())]
    if broken:
        raise ConfigurationError(f"{path}: {broken[0]} holds what is no finite number; the weights are broken.")


def _shown(state: Mapping[str, Tensor], keys: Sequence[str]) -> list[str]:
    """Return the first names with their shapes, and how many more there are."""
    more = [f"... and {len(keys) - _SHOWN} more"] if len(keys) > _SHOWN else []
    return [*(f"{key} {list(state[key].shape)}" for key in keys[:_SHOWN]), *more]


def _first_sentence(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].partition(". ")[0]
