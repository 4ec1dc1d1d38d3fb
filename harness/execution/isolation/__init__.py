"""The state of the process is restored after each cell, so that cells that share a process do not share it."""

from harness.execution.isolation.process import NotRestoredError, restored_process

__all__ = ["NotRestoredError", "restored_process"]
