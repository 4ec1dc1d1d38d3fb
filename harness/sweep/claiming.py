"""Cells of trials among several drivers on one store: a trial's cells are all claimed, or none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from benchmarks.records import Row
from harness.suite_cell import SuiteCell

CLAIM_SECONDS = 2.0


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
