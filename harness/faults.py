"""The failures that are the machine's, not a method's."""

from __future__ import annotations

WORKER_DIED = "worker_died"
NODE_DIED = "node_died"
NODE_OUT_OF_MEMORY = "node_out_of_memory"

INFRASTRUCTURE_FAULTS = frozenset({WORKER_DIED, NODE_DIED, NODE_OUT_OF_MEMORY})
"""Failure kinds that are worth another try on the same cell."""
