"""Notifications of a sweep."""

from __future__ import annotations

from harness.execution import Listener


class SweepListener(Listener):
    """A listener that is also notified of the parts of a sweep."""

    def preparation_begins(self, *, n_models: int) -> None:
        """Base models are about to be trained."""

    def trials_begin(self, *, slots: int, n_trials: int, n_cells: int) -> None:
        """Trials are about to start: at most ``slots`` at once, with at most ``n_cells`` cells in all."""

    def scoring_begins(self, *, n_cells: int) -> None:
        """What was chosen is about to be scored on test."""
