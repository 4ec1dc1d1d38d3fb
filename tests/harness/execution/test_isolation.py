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
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from inline_runs import run
from torch.backends import cuda, cudnn, mkldnn
from toy_plugin import KEPT, change_process
from toys import toy_item

from benchmarks.rows.row import State
from harness.execution.attempt import Surroundings, run_attempt
from harness.execution.isolation import NotRestoredError, restored_process
from harness.store import ResultStore


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
