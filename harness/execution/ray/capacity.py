"""The free capacity of a cluster's machines beside running cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from harness.execution.ray.cluster import Node

_ROUNDING = 1e-9
"""A share such as 0.1 has no exact binary form."""


@dataclass(frozen=True)
class Need:
    """What a worker occupies.

    Args:
        cpus: CPUs.
        gpus: GPUs, or the share of one.
        memory: Bytes of memory that it reserves.
    """

    cpus: float
    gpus: float
    memory: float = 0.0


class Room:
    """The driver's estimate of what is free on each machine; Ray places workers, and the driver learns later where.

    Args:
        machines: The machines, as if nothing ran on them.
    """

    def __init__(self, machines: Sequence[Node]) -> None:
        self._machines = [_Machine(node, node.cpus, node.gpus, node.memory) for node in machines]

    @property
    def is_full(self) -> bool:
        """Whether no worker fits, however small."""
        return all(machine.cpus < 1 for machine in self._machines)

    def take(self, need: Need, node_id: str | None = None) -> bool:
        """Occupy room, and return whether there was any.

        Args:
            need: How much.
            node_id: Ray's name of the machine; None takes the one with the least left over.
        """
        named = [machine for machine in self._machines if node_id is not None and machine.node.node_id == node_id]
        fitting = named or [machine for machine in self._machines if machine.holds(need)]
        if not fitting:
            return False
        min(fitting, key=lambda machine: machine.left).occupy(need)
        return True

    def reserve(self, need: Need) -> None:
        """Keep room free for a worker that does not fit yet, on the machine that comes closest to it.

        That machine takes nothing else which would delay the worker, so what is free there only grows.
        """
        able = [machine for machine in self._machines if machine.node.room(need.cpus, need.gpus, need.memory)]
        if able:
            min(able, key=lambda machine: machine.shortage(need)).occupy(need)


@dataclass
class _Machine:
    node: Node
    cpus: float
    gpus: float
    memory: float

    @property
    def left(self) -> tuple[float, float, float]:
        return self.gpus, self.memory, self.cpus

    def holds(self, need: Need) -> bool:
        return self.shortage(need) <= _ROUNDING

    def shortage(self, need: Need) -> float:
        """Return the largest share of a need that is not free here."""
        pairs = ((need.cpus, self.cpus), (need.gpus, self.gpus), (need.memory, self.memory))
        return max((1 - free / wanted for wanted, free in pairs if wanted), default=0.0)

    def occupy(self, need: Need) -> None:
        self.cpus -= need.cpus
        self.gpus -= need.gpus
        self.memory -= need.memory
