"""A checkpoint in memory, which can interrupt a split."""

from __future__ import annotations

import json

from torch import Tensor

from splitters.methods.protocol import CheckpointState


class Interrupted(Exception):
    """Raised by the contract tests to interrupt a split."""


class MemoryCheckpoint:
    """A checkpoint that stores its state in memory the way a file would, and can interrupt a split.

    Args:
        interrupt_after: The number of the save, counted from 1, after which ``Interrupted`` is raised; None for never.
    """

    def __init__(self, interrupt_after: int | None = None) -> None:
        self.interrupt_after = interrupt_after
        self.saves = 0
        self._tensors: dict[str, Tensor] = {}
        self._values: str | None = None

    def load(self) -> CheckpointState | None:
        """Return the last saved state, or None if there is none."""
        if self._values is None:
            return None
        return CheckpointState({name: value.clone() for name, value in self._tensors.items()}, json.loads(self._values))

    def save(self, state: CheckpointState) -> None:
        """Store a state."""
        if not isinstance(state, CheckpointState):
            raise AssertionError(
                f"'checkpoint.save' was called with {state!r}; it takes a splitters.CheckpointState. Why it matters: "
                "tensors and plain values are written to one file, and read from it, without pickle."
            )
        self._tensors = {name: value.detach().cpu().clone() for name, value in state.tensors.items()}
        self._values = json.dumps(state.values, allow_nan=False)
        self.saves += 1
        if self.saves == self.interrupt_after:
            raise Interrupted
