from __future__ import annotations

import builtins
import decimal
import gc
import locale
import logging.config
import os
import random
import signal
import socket
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from inline_runs import run
from PIL import Image, ImageFile
from torch.backends import cuda, cudnn, mkldnn
from toy_plugin import KEPT, change_process
from toys import toy_item

from benchmarks.rows.row import State
from harness.execution.attempt import Surroundings, run_attempt
from harness.execution.isolation import NotRestoredError, restored_process
from harness.store import ResultStore
from splitters.networks import inference


def file_mode_mask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def process_state() -> dict[str, object]:
    """Returns what of this process a method might change."""
    return {
        "dtype": torch.get_default_dtype(),
        "device": torch.empty(0).device,
        "grad": torch.is_grad_enabled(),
        "anomaly": (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "threads": torch.get_num_threads(),
        "cudnn": (cudnn.enabled, cudnn.benchmark, cudnn.deterministic),
        "precision": (cudnn.conv.fp32_precision, cuda.matmul.fp32_precision),
        "mkldnn": mkldnn.enabled,
        "attention": cuda.math_sdp_enabled(),
        "denormals": sys.float_info.min * 0.5,
        "autocast": torch.is_autocast_enabled("cpu"),
        "fill": torch.utils.deterministic.fill_uninitialized_memory,
        "hooks": len(torch.nn.modules.module._global_forward_hooks),
        "numpy errors": np.geterr(),
        "decimal": decimal.getcontext().prec,
        "locale": locale.setlocale(locale.LC_ALL),
        "signals": signal.getsignal(signal.SIGINT),
        "timer": signal.getitimer(signal.ITIMER_VIRTUAL)[0] > 0,
        "logging": (logging.root.manager.disable, logging.getLogger().level, list(logging.getLogger().handlers)),
        "recursion": sys.getrecursionlimit(),
        "stdout": sys.stdout,
        "garbage": gc.isenabled(),
        "sockets": socket.getdefaulttimeout(),
        "files": file_mode_mask(),
        "torch": torch.get_rng_state().tolist(),
        "numpy": np.random.get_state()[1].tolist(),
        "python": random.getstate(),
        "folder": os.getcwd(),
        "environment": dict(os.environ),
        "path": list(sys.path),
        "warnings": list(warnings.filters),
    }


@pytest.mark.parametrize("raises", [False, True])
def test_whatever_a_block_changes_in_its_process_is_put_back(tmp_path: Path, raises: bool) -> None:
    before = process_state()
    try:
        with restored_process():
            change_process(str(tmp_path))
            during = process_state()
            if raises:
                raise LookupError
    except LookupError:
        assert raises
    assert process_state() == before
    assert [name for name in before if during[name] == before[name]] == []


def test_loggers_that_were_asked_while_logging_was_disabled_log_again() -> None:
    logger = logging.getLogger("tests.asked_while_disabled")
    with restored_process():
        logging.disable(logging.CRITICAL)
        assert not logger.isEnabledFor(logging.WARNING)
    assert logger.isEnabledFor(logging.WARNING)


def test_the_next_cell_in_the_same_process_finds_it_as_it_was(surroundings: Surroundings, tmp_path: Path) -> None:
    items = [toy_item(seed=0, behaviour="leave_changes", folder=str(tmp_path)), toy_item(seed=1, behaviour="add")]
    report = run(items, surroundings, tmp_path)
    assert [(row.seed, row.state, row.reason) for row in report.rows] == [(0, State.OK, None), (1, State.OK, None)]


def test_after_a_cell_that_cannot_be_undone_the_process_runs_no_other(
    surroundings: Surroundings, tmp_path: Path
) -> None:
    items = [toy_item(seed=0, behaviour="enter_inference_mode"), toy_item(seed=1)]
    try:
        with pytest.raises(
            NotRestoredError, match=r"inference mode was entered and not left\. Run it with --backend ray"
        ):
            run(items, surroundings, tmp_path)
    finally:
        KEPT.pop().__exit__(None, None, None)
    (row,) = ResultStore(tmp_path / "results").read().latest()
    assert (row.seed, row.state, row.failure_kind) == (0, State.FAILED, "process_not_restored")


def test_a_device_that_a_cell_entered_and_did_not_leave_is_reported() -> None:
    entered = torch.device("meta")
    try:
        with pytest.raises(NotRestoredError, match=r"a torch\.device was entered and not left"), restored_process():
            entered.__enter__()
    finally:
        entered.__exit__(None, None, None)


def test_settings_of_precision_that_torch_does_not_read_stop_no_cell() -> None:
    before = cudnn.conv.fp32_precision
    try:
        cudnn.conv.fp32_precision = "ieee"
        with pytest.raises(RuntimeError):
            cudnn.allow_tf32  # noqa: B018
        with restored_process():
            pass
        assert cudnn.conv.fp32_precision == "ieee"
    finally:
        cudnn.conv.fp32_precision = before


def test_a_method_that_draws_from_global_generators_has_other_numbers_for_each_seed_and_the_same_each_time(
    surroundings: Surroundings,
) -> None:
    def draw(seed: int) -> str | None:
        return run_attempt(toy_item(seed=seed, behaviour="draw"), surroundings, device="cpu").reason

    first = draw(0)
    assert first is not None
    assert draw(1) != first
    random.random(), np.random.rand(), torch.rand(())
    assert draw(0) == first


class _Function(torch.overrides.TorchFunctionMode):
    def __torch_function__(self, function, types, args=(), kwargs=None):
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (torch.nn.functional, "relu"),
        (torch, "rand"),
        (torch.Tensor, "sum"),
        (torch.nn.Conv2d, "forward"),
        (torch.nn.Conv2d, "__call__"),
        (torch.optim.Adam, "step"),
        (np, "mean"),
        (random, "random"),
        (time, "perf_counter"),
        (builtins, "sum"),
        (inference, "network_logits"),
    ],
)
def test_a_function_that_a_block_replaces_is_put_back(owner: object, name: str) -> None:
    before, is_own = getattr(owner, name), name in vars(owner)
    with restored_process():
        setattr(owner, name, lambda *args, **keywords: None)
    assert getattr(owner, name) == before
    assert (name in vars(owner)) == is_own


def test_what_a_block_adds_to_a_module_stays() -> None:
    try:
        with restored_process():
            torch.nn.Mine = torch.nn.Identity
        assert torch.nn.Mine is torch.nn.Identity
    finally:
        del torch.nn.Mine


@pytest.mark.parametrize(
    ("read", "change"),
    [
        (lambda: Image.MAX_IMAGE_PIXELS, lambda: setattr(Image, "MAX_IMAGE_PIXELS", 1)),
        (lambda: ImageFile.LOAD_TRUNCATED_IMAGES, lambda: setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)),
        (lambda: torch.get_autocast_dtype("cpu"), lambda: torch.set_autocast_dtype("cpu", torch.float16)),
        (torch.is_warn_always_enabled, lambda: torch.set_warn_always(True)),
        (cuda.cudnn_sdp_enabled, lambda: cuda.enable_cudnn_sdp(False)),
        (lambda: repr(torch.tensor(1 / 3)), lambda: torch.set_printoptions(precision=1)),
        (lambda: repr(np.array(1 / 3)), lambda: np.set_printoptions(precision=1)),
        (np.random.rand, lambda: np.random.set_bit_generator(np.random.PCG64())),
        (lambda: torch.default_generator, lambda: setattr(torch, "default_generator", torch.Generator())),
        (lambda: len(sys.meta_path), lambda: sys.meta_path.insert(0, object())),
        (lambda: list(sys.argv), lambda: sys.argv.append("x")),
        (gc.get_threshold, lambda: gc.set_threshold(1)),
        (sys.getprofile, lambda: sys.setprofile(lambda *args: None)),
        (lambda: tempfile.gettempdir(), lambda: setattr(tempfile, "tempdir", "/no/such/folder")),
        (lambda: time.tzname, lambda: (os.environ.update(TZ="Asia/Tokyo"), time.tzset())),
        (lambda: logging.getLogger("harness").level, lambda: logging.getLogger("harness").setLevel(50)),
        (lambda: logging.getLogger("harness").disabled, lambda: logging.config.dictConfig({"version": 1})),
        (lambda: os.fstat(1).st_ino, lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 1)),
        (lambda: os.fstat(2).st_ino, lambda: os.dup2(os.open(os.devnull, os.O_WRONLY), 2)),
    ],
)
def test_rarer_settings_are_put_back(read: Callable[[], object], change: Callable[[], object]) -> None:
    logging.getLogger("harness")
    state = np.random.get_state()
    before = read()
    np.random.set_state(state)
    with restored_process():
        change()
        assert read() != before
    assert read() == before


def test_a_mode_that_a_cell_entered_and_did_not_leave_is_reported() -> None:
    entered = _Function()
    try:
        with pytest.raises(NotRestoredError, match=r"a TorchFunctionMode .* was entered"), restored_process():
            entered.__enter__()
    finally:
        entered.__exit__(None, None, None)


def test_limits_of_the_process_and_hooks_are_put_back() -> None:
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    hooks = sys.unraisablehook, sys.breakpointhook
    with restored_process():
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft - 1, hard))
        sys.unraisablehook = sys.breakpointhook = lambda *_: None
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (soft, hard)
    assert (sys.unraisablehook, sys.breakpointhook) == hooks
