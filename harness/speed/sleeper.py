"""A worker that sleeps, and so costs a process and nothing else."""

from __future__ import annotations

import threading
import time

import ray


class Sleeper:
    """Stands in for ``CellWorker``: the same calls, no torch."""

    def __init__(self) -> None:
        self._heard = threading.Event()

    def run(self, seconds: float) -> float:
        """Sleep, and return when it began by this machine's clock."""
        self._heard.wait()
        self._heard.clear()
        began = time.time()
        time.sleep(seconds)
        return began

    @ray.method(concurrency_group="control")
    def poll(self) -> str:
        """Return Ray's name of the machine."""
        self._heard.set()
        return str(ray.get_runtime_context().get_node_id())

    @ray.method(concurrency_group="control")
    def stop(self, state: str, reason: str) -> None:
        """Do nothing: a sleep cannot be ended."""
