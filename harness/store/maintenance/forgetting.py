"""Forgetting: all rows of a cell leave a store, so that the next run computes it again."""

from __future__ import annotations

import time

import pyarrow as pa
import pyarrow.compute as pc

from harness.store.maintenance.compaction import SETTLE_SECONDS, write_merged
from harness.store.result_store import ResultStore
from harness.store.row_files import ID_LENGTH, is_merged, read_row_files


def forget_cell(store: ResultStore, cell_id: str, *, settle_seconds: float = SETTLE_SECONDS) -> int:
    """Remove all attempts at a cell from a store, their learning curves too, and return how many there were.

    The other rows of a merged file are written to a new one first.

    Args:
        store: The store.
        cell_id: The cell's whole id.
        settle_seconds: How long an old merged file stays beside the new one, for readers that have listed it.

    Raises:
        OSError: If the store cannot be read or written. No other row is lost.
    """
    storage, start = store.storage, f"{cell_id[:ID_LENGTH]}-"
    infos = [info for info in storage.files("rows") if is_merged(info.path) or info.base_name.startswith(start)]
    attempts: set[str] = set()
    removed: list[str] = []
    rewritten = False
    for info, rows in zip(infos, read_row_files(storage, infos), strict=True):
        if not isinstance(rows, pa.Table):
            continue
        is_of_cell = pc.equal(rows.column("cell_id"), cell_id)
        of_cell, others = rows.filter(is_of_cell), rows.filter(pc.invert(is_of_cell))
        if not of_cell.num_rows:
            continue
        path = storage.relative(info)
        if others.num_rows:
            write_merged(storage, path.rpartition("/")[0], others.combine_chunks())
            rewritten = True
        attempts.update(of_cell.column("attempt_id").to_pylist())
        removed.append(path)
    if rewritten:
        time.sleep(settle_seconds)
    curves = [storage.relative(info) for info in storage.files("curves") if info.base_name.startswith(start)]
    storage.delete_all([*removed, *curves])
    return len(attempts) + store.discard_unsent(cell_id)
