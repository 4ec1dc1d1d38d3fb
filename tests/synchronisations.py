"""Counts, on the CPU, what would make a CPU wait for a GPU."""

import sys
from collections import Counter
from contextlib import ExitStack
from types import FrameType, TracebackType
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

_WAITING_OPERATIONS = frozenset(
    {
        "_local_scalar_dense",  # item(), float(), int(), bool(), tolist()
        "nonzero",
        "masked_select",
        "_unique2",
        "unique_dim",
        "unique_consecutive",
        "bincount",
        "equal",
        "lift_fresh",  # torch.tensor(...)
    }
)
_INDEXING = frozenset({"index", "index_put", "index_put_", "_index_put_impl_"})
"""Wait if an index is a boolean mask: the number of its elements decides the result's shape."""
_TRANSFERS = frozenset({"to", "cpu", "cuda", "numpy", "tolist", "item", "type_as"})
"""Methods that copy between devices. On one device they do nothing, so operations alone do not show them."""


class Synchronisations:
    """A context in which waits are counted, by operation, in ``counts``."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._modes = ExitStack()

    def __enter__(self) -> Counter[str]:
        self._modes.enter_context(_Operations(self.counts))
        self._modes.enter_context(_Methods(self.counts))
        return self.counts

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._modes.close()


class _Operations(TorchDispatchMode):
    def __init__(self, counts: Counter[str]) -> None:
        super().__init__()
        self.counts = counts

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__
        waits = name in _WAITING_OPERATIONS or (name in _INDEXING and _has_boolean_index(args[1]))
        if waits and not _is_in_optimiser():
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


class _Methods(TorchFunctionMode):
    def __init__(self, counts: Counter[str]) -> None:
        super().__init__()
        self.counts = counts

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = getattr(func, "__name__", "")
        transfers = name in _TRANSFERS and isinstance(args[0], Tensor) and _names_device(name, args, kwargs or {})
        if transfers and not _is_in_optimiser():
            self.counts[name] += 1
        return func(*args, **(kwargs or {}))


def _has_boolean_index(indices: Any) -> bool:
    return any(isinstance(index, Tensor) and index.dtype in (torch.bool, torch.uint8) for index in indices)


def _names_device(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if name != "to":
        return True
    return "device" in kwargs or any(isinstance(value, torch.device | str | Tensor) for value in args[1:])


def _is_in_optimiser() -> bool:
    """Return whether torch's optimiser is at work: on every device but GPUs, it keeps its step count on the CPU."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        if "/torch/optim/" in frame.f_code.co_filename:
            return True
        frame = frame.f_back
    return False
