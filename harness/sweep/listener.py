"""Notifications of a sweep."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from harness.execution import Listener
from harness.execution.observers import Listeners, ObserverGuard


class SweepListener(Listener):
    """A listener that is also notified of the parts of a sweep."""

    def preparation_begins(self, *, n_models: int) -> None:
        """Base models are about to be trained."""

    def trials_begin(self, *, slots: int, n_trials: int, n_cells: int) -> None:
        """Trials are about to start: at most ``slots`` at once, with at most ``n_cells`` cells in all."""

    def scoring_begins(self, *, n_cells: int) -> None:
        """What was chosen is about to be scored on test."""


class TrackedSweep(Listeners, SweepListener):
    """A display of a sweep, with further listeners of its cells, whose errors do not end the sweep.

    Args:
        display: Notified of parts and cells.
        trackers: Notified of cells.
    """

    def __init__(self, display: SweepListener, trackers: Sequence[Listener]) -> None:
        super().__init__(*trackers)
        self._display = display
        self._guard = ObserverGuard()

    @property
    def tracking_error(self) -> str | None:
        """The first error of a tracker in one line, or None."""
        return self._guard.message

    def preparation_begins(self, *, n_models: int) -> None:
        """Notify the display."""
        self._display.preparation_begins(n_models=n_models)

    def trials_begin(self, *, slots: int, n_trials: int, n_cells: int) -> None:
        """Notify the display."""
        self._display.trials_begin(slots=slots, n_trials=n_trials, n_cells=n_cells)

    def scoring_begins(self, *, n_cells: int) -> None:
        """Notify the display."""
        self._display.scoring_begins(n_cells=n_cells)

    def _notify(self, event: Callable[[Listener], object]) -> None:
        event(self._display)
        for tracker in self._listeners:
            self._guard(event, tracker)
