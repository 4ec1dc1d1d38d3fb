from __future__ import annotations

import mmap
from pathlib import Path

import pytest
import torch
from pretended_gpu import PEAK_MEMORY_BYTES, pretended_gpu

from benchmarks import peak_memory
from benchmarks.peak_memory import peak_memory_bytes, reset_peak_memory
from benchmarks.pipeline.preparation import Stages

_BYTES = 200 * 2**20


def _allocate_and_free() -> None:
    # Fresh pages of the kernel: an allocator may serve a tensor from memory that earlier tests freed and left resident.
    with mmap.mmap(-1, _BYTES) as pages:
        for start in range(0, _BYTES, mmap.PAGESIZE):
            pages[start] = 1


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux resets the peak of a process")
def test_a_stage_does_not_inherit_the_peak_of_an_earlier_one() -> None:
    reset_peak_memory("cpu")
    start = peak_memory_bytes("cpu")
    _allocate_and_free()
    high = peak_memory_bytes("cpu")
    assert high - start > 0.9 * _BYTES
    reset_peak_memory("cpu")
    assert high - peak_memory_bytes("cpu") > 0.9 * _BYTES


def test_a_stage_may_begin_before_the_gpu_is_used() -> None:
    with pretended_gpu() as device:
        stages = Stages(str(device))
        with stages.measured("data"):
            pass
        with stages.measured("train"):
            torch.ones(1, device=device)
    assert [stage.peak_memory_bytes for stage in stages.records] == [0, PEAK_MEMORY_BYTES]


def test_a_stage_counts_the_peaks_of_work_that_measured_itself_inside() -> None:
    stages = Stages("cpu")
    with stages.measured("patch") as inner:
        inner.extend([2**50, 1])
    with stages.measured("evaluate"):
        pass
    assert stages.records[0].peak_memory_bytes == 2**50
    assert 2**20 < stages.records[1].peak_memory_bytes < 2**50


def test_a_peak_that_cannot_be_reset_is_the_lifetime_peak(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    _allocate_and_free()
    for name in ("_CLEAR", "_STATUS"):
        monkeypatch.setattr(peak_memory, name, tmp_path / "gone" / "file")
    before = peak_memory_bytes("cpu")
    reset_peak_memory("cpu")
    assert peak_memory_bytes("cpu") >= before > _BYTES
