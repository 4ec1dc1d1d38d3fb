"""The failures that are the machine's, not a method's."""

from __future__ import annotations

import errno

WORKER_DIED = "worker_died"
NODE_DIED = "node_died"
NODE_OUT_OF_MEMORY = "node_out_of_memory"
NODE_DISK = "node_disk"
NODE_DIFFERS = "node_differs"

PROCESS_NOT_RESTORED = "process_not_restored"
"""The cell's own fault; a process that other cells share is replaced after it."""

INFRASTRUCTURE_FAULTS = frozenset({WORKER_DIED, NODE_DIED, NODE_OUT_OF_MEMORY, NODE_DISK, NODE_DIFFERS})
"""Failure kinds that are worth another try on the same cell."""

_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})


def is_disk_fault(error: OSError) -> bool:
    """Returns whether an error says that a disk is full, read-only or broken."""
    return error.errno in _DISK_ERRORS
