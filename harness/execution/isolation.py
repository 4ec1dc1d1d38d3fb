"""Restore the state of the process after each cell, so that cells that share a process do not share its state."""

from __future__ import annotations

import decimal
import gc
import locale
import logging
import os
import random
import signal
import socket
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from splitters.errors import SplitbenchError

Restore = Callable[[], object]

T = TypeVar("T")


class NotRestoredError(SplitbenchError):
    """The process is not as it was before an attempt, and should run no other one."""


@contextmanager
def restored_process() -> Iterator[None]:
    """Restore, after the block, the process-wide state that code under measurement may change.

    That is: torch's default dtype and device, its modes (autograd, autocast, determinism), hooks on all modules,
    backends' settings, and number of threads; the random generators of Python, NumPy and torch; what NumPy and decimal
    do about rounding and errors; working folder, environment, import path, locale, file mode mask, standard streams,
    signal handlers and timers, logging, filters of warnings, and limits of the interpreter.

    Raises:
        NotRestoredError: If something could not be restored.
    """
    failures: list[str] = []
    with ExitStack() as stack:
        for take in _STATES:
            stack.callback(_restore, take.__name__.strip("_").replace("_", " "), take(), failures)
        yield
    if failures:
        raise NotRestoredError(f"the cell left its process in a state that cannot be undone: {'; '.join(failures)}")


def _restore(name: str, restore: Restore, failures: list[str]) -> None:
    try:
        restore()
    except Exception as error:  # The rest is restored all the same; the caller gets all failures.
        failures.append(f"{name}: {error}")


def _value(read: Callable[[], T], write: Callable[[T], object]) -> Restore:
    # torch refuses to read an older setting of precision while the newer ones, which are restored too, contradict it.
    try:
        before = read()
    except RuntimeError:
        return lambda: None

    def restore() -> None:
        with suppress(RuntimeError):
            if read() == before:
                return
        write(before)

    return restore


def _attributes(owner: object, *names: str) -> Restore:
    return _all(*(_value(partial(getattr, owner, name), partial(setattr, owner, name)) for name in names))


def _all(*restores: Restore) -> Restore:
    """Return what runs these one after the other, all of them even if some fail."""

    def restore() -> None:
        errors = []
        for each in restores:
            try:
                each()
            except Exception as error:
                errors.append(error)
        if errors:
            raise errors[0]

    return restore


def _torch_modes() -> Restore:
    import torch

    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    anomaly, check_nan = torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    further = _all(
        _value(torch.get_num_threads, torch.set_num_threads),
        _value(_flushes_denormals, torch.set_flush_denormal),
        _attributes(torch.utils.deterministic, "fill_uninitialized_memory"),
        *(
            _value(partial(torch.is_autocast_enabled, kind), partial(torch.set_autocast_enabled, kind))
            for kind in ("cpu", "cuda")
        ),
    )

    def restore() -> None:
        torch.set_default_dtype(dtype)
        if torch.get_default_device() != device:
            # An explicit default, be it the CPU, costs time in every call.
            torch.set_default_device(None if device.type == "cpu" else device)
        torch.autograd.set_detect_anomaly(anomaly, check_nan)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.set_grad_enabled(grad)
        further()
        if torch.is_inference_mode_enabled() != inference:
            raise RuntimeError("inference mode was entered and not left")
        if torch.get_default_device() != device:
            raise RuntimeError("a torch.device was entered and not left")

    return restore


def _flushes_denormals() -> bool:
    return sys.float_info.min * 0.5 == 0


def _module_hooks() -> Restore:
    from torch.nn.modules import module

    # torch has no function that lists them.
    registries = [
        value for name, value in vars(module).items() if name.startswith("_global_") and isinstance(value, dict)
    ]
    hooks = [dict(registry) for registry in registries]

    def restore() -> None:
        for registry, before in zip(registries, hooks, strict=True):
            if registry != before:
                registry.clear()
                registry.update(before)

    return restore


def _torch_backends() -> Restore:
    import torch
    from torch.backends import cuda, opt_einsum

    # The annotations of these modules lack half of what they have.
    cudnn: Any = torch.backends.cudnn
    mkldnn: Any = torch.backends.mkldnn
    newer = [torch.backends, cuda.matmul, cudnn.conv, cudnn.rnn, mkldnn.matmul, mkldnn.conv, mkldnn.rnn]
    return _all(
        _value(torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
        _attributes(cudnn, "enabled", "benchmark", "deterministic", "allow_tf32"),
        _attributes(
            cuda.matmul,
            "allow_tf32",
            "allow_fp16_reduced_precision_reduction",
            "allow_bf16_reduced_precision_reduction",
        ),
        # After the older settings, each of which stands for several of these.
        *(_attributes(owner, "fp32_precision") for owner in newer),
        _attributes(mkldnn, "enabled", "deterministic"),
        _attributes(opt_einsum, "enabled", "strategy"),
        _value(cuda.flash_sdp_enabled, cuda.enable_flash_sdp),
        _value(cuda.mem_efficient_sdp_enabled, cuda.enable_mem_efficient_sdp),
        _value(cuda.math_sdp_enabled, cuda.enable_math_sdp),
    )


def _random_generators() -> Restore:
    import numpy as np
    import torch

    python, numpy, on_cpu = random.getstate(), np.random.get_state(), torch.get_rng_state()
    # A process that has not touched its GPU yet need not begin to.
    on_gpus = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else None

    def restore() -> None:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_rng_state(on_cpu)
        if on_gpus is not None:
            torch.cuda.set_rng_state_all(on_gpus)

    return restore


def _arithmetic() -> Restore:
    import numpy as np

    context = decimal.getcontext().copy()
    return _all(_value(np.geterr, lambda before: np.seterr(**before)), partial(decimal.setcontext, context))


def _working_folder() -> Restore:
    folder = os.getcwd()
    return lambda: os.chdir(folder)


def _environment() -> Restore:
    before = dict(os.environ)

    def restore() -> None:
        for name in os.environ.keys() - before.keys():
            del os.environ[name]
        for name, value in before.items():
            if os.environ.get(name) != value:
                os.environ[name] = value

    return restore


def _import_path() -> Restore:
    path, entries = sys.path, list(sys.path)

    def restore() -> None:
        sys.path = path
        path[:] = entries

    return restore


def _interpreter() -> Restore:
    return _all(
        _attributes(sys, "stdout", "stderr", "excepthook", "dont_write_bytecode"),
        _value(sys.getrecursionlimit, sys.setrecursionlimit),
        _value(gc.isenabled, lambda enabled: gc.enable() if enabled else gc.disable()),
        _value(socket.getdefaulttimeout, socket.setdefaulttimeout),
        _value(partial(locale.setlocale, locale.LC_ALL), partial(locale.setlocale, locale.LC_ALL)),
        _value(_file_mode_mask, os.umask),
    )


def _file_mode_mask() -> int:
    with suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("Umask:")), 8)
    # Elsewhere it can be read only by setting it; meanwhile, other threads' files are for this user alone.
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def _signals() -> Restore:
    handlers = {number: signal.getsignal(number) for number in signal.valid_signals()}
    timers = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
    unused = [timer for timer in timers if not signal.getitimer(timer)[0]]

    def restore() -> None:
        for timer in unused:
            signal.setitimer(timer, 0)
        if threading.current_thread() is not threading.main_thread():
            return  # Python lets no other thread set handlers.
        for number, handler in handlers.items():
            # None stands for a handler that was not set by Python.
            if handler is not None and signal.getsignal(number) != handler:
                signal.signal(number, handler)

    return restore


def _logging() -> Restore:
    root = logging.getLogger()
    handlers = list(root.handlers)

    def restore_handlers() -> None:
        root.handlers[:] = handlers

    return _all(
        _value(lambda: root.level, root.setLevel),
        _value(lambda: root.manager.disable, logging.disable),
        restore_handlers,
    )


def _warning_filters() -> Restore:
    manager = warnings.catch_warnings()
    manager.__enter__()
    return lambda: manager.__exit__(None, None, None)


_STATES: tuple[Callable[[], Restore], ...] = (
    _torch_modes,
    _module_hooks,
    _torch_backends,
    _random_generators,
    _arithmetic,
    _working_folder,
    _environment,
    _import_path,
    _interpreter,
    _signals,
    _logging,
    _warning_filters,
)
