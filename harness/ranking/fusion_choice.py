"""The choice of a fusion rule, by what patches gain on select images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from harness.ranking.leaderboard import Leaderboard
from splitters.errors import DataError

_CHOOSES = "select_tc_f1_gain"
_REPORTED = "tc_f1_gain"


@dataclass(frozen=True)
class RuleGains:
    """What a fusion rule gains in F1 of the target class, as fractions, per group of patches.

    A group holds the patches of one kind of weak model by one splitter's modules: one entry of the leaderboard.

    Args:
        rule: The rule.
        select: Each group's mean gain on select images that the rule was not fitted to.
        test: Each group's mean gain on test, which has no part in the choice.
    """

    rule: str
    select: tuple[float, ...]
    test: tuple[float, ...]

    @property
    def select_gain(self) -> float:
        """The mean over groups on select."""
        return fmean(self.select)

    @property
    def test_gain(self) -> float:
        """The mean over groups on test."""
        return fmean(self.test)


def rule_gains(board: Leaderboard) -> list[RuleGains]:
    """Return the gains of all fusion rules, the one with the highest mean on select first.

    Groups count equally, however many patches they have. Only those count in which every rule was measured.

    Args:
        board: The leaderboard of the scenario ``patching``.

    Raises:
        DataError: If there is no such group.
    """
    groups: defaultdict[tuple[str, str, str], dict[str, tuple[float, float]]] = defaultdict(dict)
    for section in board.sections:
        for entry in section.entries:
            select, test = entry.mean(_CHOOSES), entry.mean(_REPORTED)
            if select is not None and test is not None:
                key = (section.title, entry.label, entry.variant["weak_kind"])
                groups[key][entry.variant["fusion"]] = (select, test)
    rules = sorted({rule for group in groups.values() for rule in group})
    complete = [group for group in groups.values() if len(group) == len(rules)]
    if not complete:
        raise DataError(
            "there are no patches by all rules with gains on select; rows of before row format 6 lack these. Run the "
            "suite again, into a new results folder."
        )
    return sorted((_gains(rule, complete) for rule in rules), key=lambda gains: -gains.select_gain)


def _gains(rule: str, groups: Sequence[Mapping[str, tuple[float, float]]]) -> RuleGains:
    select, test = zip(*(group[rule] for group in groups), strict=True)
    return RuleGains(rule, tuple(select), tuple(test))
