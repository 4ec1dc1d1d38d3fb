from __future__ import annotations

import pytest
from conftest import toy_cell

from harness.dispatch.cluster import Node, gpu_share_of


@pytest.mark.parametrize(
    ("node", "cpus", "gpus", "room"),
    [
        (Node(8, 0), 3, 0, 2),
        (Node(8, 0), 1, 1, 0),
        (Node(8, 2), 1, 1, 2),
        (Node(8, 2), 1, 0.25, 8),
        (Node(64, 1), 1, 0.1, 10),
        (Node(2, 4), 4, 1, 0),
    ],
)
def test_a_machine_has_room_for_as_many_workers_as_cpus_and_gpus_allow(
    node: Node, cpus: float, gpus: float, room: int
) -> None:
    assert node.room(cpus, gpus) == room


@pytest.mark.parametrize(
    ("device", "gpus", "share"), [("cpu", 2, 0.0), ("auto", 2, 0.5), ("auto", 0, 0.0), ("cuda", 0, 0.5)]
)
def test_a_cell_gets_a_gpu_if_it_can_use_one(device: str, gpus: int, share: float) -> None:
    assert gpu_share_of(toy_cell(device=device), 0.5, [Node(8, gpus)]) == share
