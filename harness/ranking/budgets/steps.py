"""What splitters reported of the steps of their searches, as columns: rows hold millions of such figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
from jaxtyping import Float, Int
from numpy.typing import NDArray

from benchmarks.rows.arrow_arrays import to_numpy
from benchmarks.rows.columns import Rows


@dataclass(frozen=True, eq=False)
class Steps:
    """Steps of rows' searches, in the order of their rows, and of their numbers in each row.

    Args:
        row: The index of each one's row.
        number: Its number in the row.
        values: By figure; NaN where it was not reported.
    """

    row: Int[NDArray[np.int64], " step"]
    number: Int[NDArray[np.int64], " step"]
    values: Mapping[str, Float[NDArray[np.float64], " step"]]

    def count(self, n_rows: int) -> Int[NDArray[np.int64], " row"]:
        """Return how many steps each of the rows has."""
        return np.bincount(self.row, minlength=n_rows)


def steps_with(rows: Rows, *names: str, optional: Sequence[str] = ()) -> Steps:
    """Return the steps for which all of some figures were reported.

    Args:
        rows: The rows.
        names: The figures.
        optional: Further figures, which a step may lack.
    """
    lists = rows.arrow("figures")
    row, records = to_numpy(pc.list_parent_indices(lists)).astype(np.int64), pc.list_flatten(lists)
    step, name = (pc.struct_field(records, field) for field in ("step", "name"))
    value = to_numpy(pc.struct_field(records, "value"))
    # One number per row and step, ascending in both.
    numbers, rank = np.unique(to_numpy(step, null=-1), return_inverse=True)
    key = row * (len(numbers) + 1) + rank
    is_of_step = to_numpy(pc.is_valid(step))
    found: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}
    for wanted in (*names, *optional):
        # Of a figure that was reported twice, the last value counts.
        members = np.flatnonzero(is_of_step & to_numpy(pc.equal(name, wanted)))[::-1]
        keys, last = np.unique(key[members], return_index=True)
        found[wanted] = keys, value[members[last]]
    shared = found[names[0]][0]
    for other in names[1:]:
        shared = np.intersect1d(shared, found[other][0], assume_unique=True)
    row, rank = np.divmod(shared, len(numbers) + 1)
    return Steps(row, numbers[rank], {wanted: _at(shared, *known) for wanted, known in found.items()})


def _at(keys: NDArray[np.int64], known: NDArray[np.int64], values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the values of keys, NaN for those that are not known."""
    if not len(known):
        return np.full(len(keys), np.nan)
    place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[place] == keys, values[place], np.nan)
