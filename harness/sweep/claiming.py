"""Cells of trials among several drivers on one store: a trial's cells are all claimed, or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from benchmarks.records import Row
from harness.claims import Patience, RunRegister
from harness.dispatch.base import Claim
from harness.store import ResultStore
from harness.suite_cell import SuiteCell


class TrialClaims(Protocol):
    """Who decides which driver runs a trial's cells."""

    @property
    def is_blind(self) -> bool:
        """Whether the store could not be asked the last time; then nobody knows what others do."""

    @property
    def failure(self) -> OSError | None:
        """Why the store cannot be asked any more; then nothing can begin, and what runs is to end in order."""

    def take(self, items: Sequence[SuiteCell]) -> Sequence[Row] | None:
        """Claims cells just before they begin.

        Returns:
            The rows of them that other drivers may have stored in the meantime, or None if another driver runs one of
            them: then none is ours, and all are to be asked for again later.
        """

    def release(self, cell_ids: Sequence[str]) -> None:
        """Gives cells back."""


class NoRivals:
    """Claims where this driver is the only one."""

    is_blind = False
    failure: OSError | None = None

    def take(self, items: Sequence[SuiteCell]) -> Sequence[Row]:
        """Returns that all cells are ours, and nobody has stored a row of them."""
        return ()

    def release(self, cell_ids: Sequence[str]) -> None:
        """Does nothing."""


class RegisteredClaims:
    """Claims by a run's record.

    Args:
        register: The record.
        store: Where rows are.
    """

    def __init__(self, register: RunRegister, store: ResultStore) -> None:
        self._register = register
        self._store = store
        self._patience = Patience()
        self._could_not_read = False
        self.failure: OSError | None = None

    def take(self, items: Sequence[SuiteCell]) -> Sequence[Row] | None:
        """Claims cells; see ``TrialClaims``."""
        self._could_not_read = False
        cell_ids = [item.cell.cell_id for item in items]
        claims = self._register.take(cell_ids, all_or_none=True)
        if Claim.THEIRS in claims.values():
            return None
        if not self._register.met_others:
            return ()
        try:
            rows = self._patience.read(lambda: self._store.read_cells(cell_ids).latest())
        except OSError as error:
            self.failure, rows = error, None
        if rows is None:
            # Nobody can tell what others have done; later, perhaps.
            self._could_not_read = True
            self.release(cell_ids)
        return rows

    @property
    def is_blind(self) -> bool:
        """Whether the store could not be asked the last time."""
        return self._register.is_blind or self._could_not_read

    def release(self, cell_ids: Sequence[str]) -> None:
        """Gives cells back; others see it when the record is written next."""
        for cell_id in cell_ids:
            self._register.release(cell_id)
