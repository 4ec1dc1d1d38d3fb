"""The memory that cells need, estimated from the peaks of earlier ones."""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa
import pyarrow.compute as pc

from harness.planning.plan import Plan
from harness.suite_cell import CellKind

MEMORY_COLUMNS = frozenset(("cuda_version", "stages", "scenario", "splitter", "model", "dataset"))
"""The columns of rows that tell how much memory cells needed."""

_MARGIN = 1.25
"""Allowance for peaks that differ from run to run."""


def memory_needs(plan: Plan, rows: pa.Table) -> dict[str, int]:
    """Return the bytes of main memory to request for each cell to do that has a history.

    Rows of cells that ran on a GPU record the GPU's memory, which Ray does not schedule, and are left out.

    Args:
        plan: The plan.
        rows: All rows of the store, with their stages.
    """
    peaks = _peaks(rows)
    return {item.cell.cell_id: int(_MARGIN * peaks[item.kind]) for item in plan.queue() if item.kind in peaks}


def _peaks(rows: pa.Table) -> Mapping[CellKind, int]:
    on_cpu = rows.filter(pc.is_null(rows.column("cuda_version")))
    found: dict[CellKind, int] = {}
    if not on_cpu.num_rows:
        return found
    stages = on_cpu.column("stages").combine_chunks()
    parents = pc.list_parent_indices(stages).to_pylist()
    peaks = pc.struct_field(pc.list_flatten(stages), "peak_memory_bytes").to_pylist()
    names = [on_cpu.column(name).to_pylist() for name in ("scenario", "splitter", "model", "dataset")]
    for row, peak in zip(parents, peaks, strict=True):
        if peak is not None:
            key = (names[0][row], names[1][row], names[2][row], names[3][row])
            found[key] = max(found.get(key, 0), peak)
    return found
