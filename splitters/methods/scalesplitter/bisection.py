"""Which recorded states are tuned to find the smallest one that is within the tolerance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass
class SmallestState:
    """A search for the smallest state that will do, by as few trials as possible.

    Tuning helps all states about as much, so that states which a smaller one surpasses before it come last: first the
    others are bisected, from the smallest on, then what lies between the smallest that did and the largest that did
    not. Where accuracy after tuning grows with kernels, the result is the smallest state that will do.

    Args:
        accuracies: Accuracy before tuning, by number of kernels, the smallest state first.
    """

    accuracies: Sequence[float]
    _front: list[int] = field(init=False)
    _too_small: int = field(init=False, default=-1)
    _enough: int = field(init=False)

    def __post_init__(self) -> None:
        """Find the states that no smaller one equals."""
        self._front = [at for at, own in enumerate(self.accuracies) if all(a < own for a in self.accuracies[:at])]
        self._enough = len(self.accuracies)

    @property
    def at_most(self) -> int:
        """The largest number of trials that the search may take."""
        n_others = len(self.accuracies) - len(self._front)
        return 1 + (len(self._front) - 1).bit_length() + n_others.bit_length()

    def next(self) -> int | None:
        """Return the position of the state to try next; None at the end."""
        for positions in (self._front, range(len(self.accuracies))):
            left = [at for at in positions if self._too_small < at < self._enough]
            if left:
                return left[0] if self._too_small < 0 else left[len(left) // 2]
        return None

    def note(self, position: int, *, will_do: bool) -> None:
        """Take the outcome of a trial."""
        if will_do:
            self._enough = position
        else:
            self._too_small = position
