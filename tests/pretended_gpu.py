"""A pretended GPU, for machines that have none.

Its tensors name ``cuda:0`` as their device, compute on the CPU, and refuse what a GPU refuses: operations together with
tensors of the CPU, and random numbers of the CPU's generator. Code that forgets to move a tensor fails here as it would
on a GPU. Speed, streams and the GPU's own kernels are not pretended; ``tests/gpu`` is for those.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils._pytree import tree_leaves, tree_map

GPU = torch.device("cuda:0")

PEAK_MEMORY_BYTES = 12_345_678
"""What the pretended GPU reports as its peak."""

_STAND_IN = "lazy"
"""The device that torch's C++ code sees: without a driver, it cannot run a backward pass for ``cuda``."""
_CPU = torch.device("cpu")
_TRANSFERS = frozenset({"to", "cpu", "cuda", "type_as"})
_MIXING = frozenset({"copy_", "_to_copy", "index", "index_put", "index_put_", "_index_put_impl_"})
"""Operations that take tensors of both devices."""
_INDEX_PUT = frozenset({"index_put", "index_put_", "_index_put_impl_"})


class GpuTensor(Tensor):
    """A tensor on the pretended GPU; ``held`` has its values."""

    held: Tensor

    @staticmethod
    def __new__(cls, held: Tensor) -> GpuTensor:
        tensor: GpuTensor = Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            layout=held.layout,
            device=_STAND_IN,
        )
        tensor.held = held
        return tensor

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        return GPU

    @property
    def is_cuda(self) -> bool:  # type: ignore[override]
        return True

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.held.untyped_storage()

    def data_ptr(self) -> int:
        return self.held.data_ptr()

    def tolist(self) -> Any:
        return self.held.detach().tolist()

    def numpy(self, *, force: bool = False) -> Any:
        raise TypeError("can't convert cuda:0 device type tensor to numpy")

    __array__ = numpy  # type: ignore[assignment]

    def __deepcopy__(self, memo: dict[int, Any]) -> GpuTensor:
        if id(self) not in memo:
            copy = GpuTensor(self.held.detach().clone()).requires_grad_(self.requires_grad)
            copy.__dict__.update({name: value for name, value in self.__dict__.items() if name != "held"})
            memo[id(self)] = copy
        return memo[id(self)]

    def __repr__(self, **_: Any) -> str:
        return f"GpuTensor({self.held!r})"

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        with torch._C.DisableTorchFunctionSubclass():
            return func(*args, **(kwargs or {}))

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


@contextmanager
def pretended_gpu(memory_bytes: int = 1 << 30) -> Iterator[torch.device]:
    """Pretend that this machine has a GPU.

    Args:
        memory_bytes: Its memory, all of which is always free.
    """
    driver = _Driver(memory_bytes)
    with ExitStack() as stack:
        for name, value in driver.functions().items():
            stack.enter_context(mock.patch.object(torch.cuda, name, value))
        # Optimisers ask the accelerator whether a graph is being captured.
        stack.enter_context(mock.patch.object(torch.accelerator, "is_available", return_value=False))
        assigns = torch.__future__.get_overwrite_module_params_on_conversion()
        torch.__future__.set_overwrite_module_params_on_conversion(True)
        stack.callback(torch.__future__.set_overwrite_module_params_on_conversion, assigns)
        torch._C._set_only_lift_cpu_tensors(True)  # type: ignore[attr-defined]
        stack.callback(torch._C._set_only_lift_cpu_tensors, False)  # type: ignore[attr-defined]
        stack.enter_context(_Operations())
        stack.enter_context(_Functions())
        yield GPU


class _Driver:
    """What ``torch.cuda`` answers. As with a real one, nothing is initialised before its first use."""

    def __init__(self, memory_bytes: int) -> None:
        self.memory_bytes = memory_bytes
        self.initialised = False

    def functions(self) -> dict[str, Any]:
        return {
            "is_available": lambda: True,
            "device_count": lambda: 1,
            "is_initialized": lambda: self.initialised,
            "is_current_stream_capturing": lambda: False,
            "empty_cache": lambda: None,
            "memory_allocated": lambda device=None: 0,
            "memory_reserved": lambda device=None: 0,
            "max_memory_allocated": lambda device=None: PEAK_MEMORY_BYTES if self.initialised else 0,
            "reset_peak_memory_stats": self.reset_peak_memory_stats,
            "default_generators": (),
            "init": self.initialise,
            "_lazy_init": self.initialise,
            **{
                name: partial(self.answer, value)
                for name, value in {
                    "current_device": 0,
                    "get_device_name": "Pretended GPU",
                    "get_device_capability": (8, 0),
                    "is_bf16_supported": True,
                    "mem_get_info": (self.memory_bytes, self.memory_bytes),
                    "synchronize": None,
                    "get_rng_state": torch.get_rng_state(),
                    "set_rng_state": None,
                }.items()
            },
        }

    def initialise(self) -> None:
        if not self.initialised:
            self.initialised = True
            torch.cuda.default_generators = (torch.Generator(),)

    def answer(self, value: Any, *_: Any, **__: Any) -> Any:
        self.initialise()
        return value

    def reset_peak_memory_stats(self, device: object = None) -> None:
        if not self.initialised:
            raise RuntimeError("Invalid device argument 0: did you call init?")


class _Operations(TorchDispatchMode):
    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class _Functions(TorchFunctionMode):
    """Moves tensors between the devices, which C++ code would do without asking."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = getattr(func, "__name__", "")
        if name in _TRANSFERS and isinstance(args[0], Tensor):
            return _transfer(name, args[0], args[1:], kwargs)
        if name == "pin_memory":
            return args[0]
        return func(*args, **kwargs)


def _transfer(name: str, tensor: Tensor, given: Sequence[Any], named: Mapping[str, Any]) -> Tensor:
    """Do what ``tensor.to(...)`` does."""
    options = dict(named)
    device, dtype = options.pop("device", {"cpu": _CPU, "cuda": GPU}.get(name)), options.pop("dtype", None)
    other = options.pop("other", None)
    options.pop("non_blocking", None)
    copies = options.pop("copy", False)
    for value in given:
        if isinstance(value, Tensor):
            other = value
        elif isinstance(value, torch.dtype):
            dtype = value
        elif isinstance(value, str | torch.device):
            device = value
    if other is not None:
        device, dtype = (tensor.device if name == "type_as" else other.device), other.dtype
    device = tensor.device if device is None else torch.device(device)
    dtype = tensor.dtype if dtype is None else dtype
    layout = options.get("memory_format", torch.preserve_format)
    fits = layout is torch.preserve_format or tensor.is_contiguous(memory_format=layout)
    if (device.type, dtype) == (tensor.device.type, tensor.dtype) and fits and not copies:
        return tensor
    with torch._C.DisableTorchFunctionSubclass():
        return torch.ops.aten._to_copy.default(tensor, device=device, dtype=dtype, memory_format=layout)


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operation on the CPU, and put its results on the device on which they belong."""
    name = func.overloadpacket.__name__
    leaves = tree_leaves((args, kwargs))
    on_gpu = [leaf for leaf in leaves if isinstance(leaf, GpuTensor)]
    on_cpu = [leaf for leaf in leaves if isinstance(leaf, Tensor) and not isinstance(leaf, GpuTensor) and leaf.dim()]
    _check_devices(name, args, on_gpu=bool(on_gpu), on_cpu=bool(on_cpu))
    device = kwargs.get("device")
    if device is not None:
        to_gpu = _is_gpu(device)
    else:
        to_gpu = isinstance(args[0], GpuTensor) if name in ("copy_", "_to_copy") else bool(on_gpu)
    if to_gpu and any(isinstance(leaf, torch.Generator) and leaf.device == _CPU for leaf in leaves):
        raise RuntimeError(f"{name}: Expected a 'cuda' device type for generator but found 'cpu'")
    held_args, held_kwargs = tree_map(_held, (args, kwargs))
    if device is not None:
        held_kwargs["device"] = _CPU
    if held_kwargs.get("pin_memory"):
        held_kwargs["pin_memory"] = False
    found = func(*held_args, **held_kwargs)
    if not to_gpu:
        return found
    torch.cuda.init()
    found = tree_map(lambda value: GpuTensor(value) if isinstance(value, Tensor) else value, found)
    return return_and_correct_aliasing(func, args, kwargs, found) if on_gpu else found


def _check_devices(name: str, args: Sequence[Any], *, on_gpu: bool, on_cpu: bool) -> None:
    """Refuse what a GPU refuses; single numbers of the CPU and indices may be used with a GPU's tensors."""
    mixed = on_gpu and on_cpu and name not in _MIXING
    if on_gpu and name == "index":
        mixed = not isinstance(args[0], GpuTensor)
    if on_gpu and name in _INDEX_PUT:
        mixed = isinstance(args[0], GpuTensor) != isinstance(args[2], GpuTensor) and args[2].dim() > 0
    if mixed:
        raise RuntimeError(f"{name}: Expected all tensors to be on the same device, cuda:0 and cpu")


def _is_gpu(device: torch.device | str) -> bool:
    return torch.device(device).type in ("cuda", _STAND_IN)


def _held(value: Any) -> Any:
    return value.held if isinstance(value, GpuTensor) else value
