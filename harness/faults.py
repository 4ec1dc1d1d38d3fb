"""Kinds of failures, and those among them that are a machine's fault, not a method's."""

from __future__ import annotations

import errno

WORKER_DIED = "worker_died"
NODE_DIED = "node_died"
NODE_OUT_OF_MEMORY = "node_out_of_memory"
NODE_DISK = "node_disk"
NODE_DIFFERS = "node_differs"

PROCESS_NOT_RESTORED = "process_not_restored"
"""The cell's own fault; a process that is shared with other cells is replaced after it."""

INFRASTRUCTURE_FAULTS = frozenset({WORKER_DIED, NODE_DIED, NODE_OUT_OF_MEMORY, NODE_DISK, NODE_DIFFERS})
"""Failure kinds after which a cell is worth another try."""

_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO})


def is_disk_fault(error: OSError) -> bool:
    """Return whether an error means that a disk is full, read-only or broken."""
    return error.errno in _DISK_ERRORS
