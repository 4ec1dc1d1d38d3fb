from __future__ import annotations

import os
import random
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from inline_runs import run
from torch.backends import cudnn
from toy_plugin import KEPT, change_process
from toys import toy_item

from benchmarks.rows.row import State
from harness.execution.attempt import Surroundings
from harness.execution.isolation import NotRestoredError, restored_process
from harness.store import ResultStore


def process_state() -> dict[str, object]:
    """Returns what of this process a method might change."""
    return {
        "dtype": torch.get_default_dtype(),
        "device": torch.empty(0).device,
        "grad": torch.is_grad_enabled(),
        "anomaly": (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled()),
        "deterministic": torch.are_deterministic_algorithms_enabled(),
        "warn only": torch.is_deterministic_algorithms_warn_only_enabled(),
        "matmul": torch.get_float32_matmul_precision(),
        "threads": torch.get_num_threads(),
        "cudnn": (cudnn.enabled, cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32),
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
