"""The memory that work may take on a GPU: what is free, within the work's share."""

import pytest
import torch

from splitters.networks.execution.gpu_memory import available_bytes, owning_gpu_share


@pytest.mark.parametrize(
    ("share", "free", "reserved", "allocated", "expected"),
    [
        pytest.param(1.0, 90, 0, 0, 90, id="all that is free"),
        pytest.param(1.0, 60, 30, 10, 80, id="what torch has reserved and does not use"),
        pytest.param(0.5, 100, 0, 0, 50, id="half of an empty GPU"),
        pytest.param(0.5, 60, 0, 0, 50, id="half beside a cell that uses 40"),
        pytest.param(0.5, 30, 0, 0, 30, id="beside a cell that uses more than its half"),
        pytest.param(0.5, 70, 30, 20, 30, id="what is left of the own half"),
        pytest.param(0.5, 20, 60, 60, 0, id="nothing beyond the own half"),
    ],
)
def test_what_is_available(
    monkeypatch: pytest.MonkeyPatch, share: float, free: int, reserved: int, allocated: int, expected: int
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 100))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _: reserved)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _: allocated)
    with owning_gpu_share(share):
        assert available_bytes(torch.device("cuda")) == expected


def test_a_share_ends_with_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (100, 100))
    with owning_gpu_share(0.5), owning_gpu_share(0.25):
        pass
    assert available_bytes(torch.device("cuda")) == 100
