"""Restore the state of the process after each cell, so that cells that share a process do not share its state."""

from __future__ import annotations

import os
import random
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from splitters.errors import SplitbenchError

Restore = Callable[[], object]


class NotRestoredError(SplitbenchError):
    """The process is not as it was before an attempt, and should run no other one."""


@contextmanager
def restored_process() -> Iterator[None]:
    """Restore, after the block, the process-wide state that code under measurement may change.

    That is: torch's default dtype and device, autograd and determinism modes, cuDNN and matmul settings, and number of
    threads; the random generators of Python, NumPy and torch; working folder, environment, import path and filters of
    warnings.

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


def _torch_modes() -> Restore:
    import torch

    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    anomaly, check_nan = torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()
    deterministic = torch.are_deterministic_algorithms_enabled()
    warn_only = torch.is_deterministic_algorithms_warn_only_enabled()
    precision, threads = torch.get_float32_matmul_precision(), torch.get_num_threads()

    def restore() -> None:
        torch.set_default_dtype(dtype)
        if torch.get_default_device() != device:
            # An explicit default, be it the CPU, costs time in every call.
            torch.set_default_device(None if device.type == "cpu" else device)
        torch.autograd.set_detect_anomaly(anomaly, check_nan)
        torch.use_deterministic_algorithms(deterministic, warn_only=warn_only)
        torch.set_float32_matmul_precision(precision)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
        torch.set_grad_enabled(grad)
        if torch.is_inference_mode_enabled() != inference:
            raise RuntimeError("inference mode was entered and not left")

    return restore


def _cudnn() -> Restore:
    from torch.backends import cudnn

    names = ("enabled", "benchmark", "deterministic", "allow_tf32")
    values = {name: getattr(cudnn, name) for name in names}

    def restore() -> None:
        for name, value in values.items():
            if getattr(cudnn, name) != value:
                setattr(cudnn, name, value)

    return restore


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


def _warning_filters() -> Restore:
    manager = warnings.catch_warnings()
    manager.__enter__()
    return lambda: manager.__exit__(None, None, None)


_STATES: tuple[Callable[[], Restore], ...] = (
    _torch_modes,
    _cudnn,
    _random_generators,
    _working_folder,
    _environment,
    _import_path,
    _warning_filters,
)
