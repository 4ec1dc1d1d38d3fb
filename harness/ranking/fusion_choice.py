"""The choice of a fusion rule, by what patches gain on select images."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from harness.ranking.entry import BlockSamples
from harness.ranking.leaderboard import Leaderboard
from splitters.errors import DataError

_MEASURES = ("select_tc_f1_gain", "tc_f1_gain")
"""The measure that chooses, and the one that is reported."""


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

    Groups count equally, however many patches they have. Only those count in which every rule was measured, and of
    these the seeds and target classes that all rules share.

    Args:
        board: The leaderboard of the scenario ``patching``.

    Raises:
        DataError: If there is no such group.
    """
    groups: defaultdict[tuple[str, str, str], dict[str, BlockSamples]] = defaultdict(dict)
    for section in board.sections:
        for entry in section.entries:
            if all(measure in entry.estimates for measure in _MEASURES):
                key = (section.title, entry.label, entry.variant["weak_kind"])
                groups[key][entry.variant["fusion"]] = entry.samples
    rules = sorted({rule for group in groups.values() for rule in group})
    complete = [gains for group in groups.values() if len(group) == len(rules) and (gains := _shared_gains(group))]
    if not complete:
        raise DataError(
            "there are no patches by all rules with gains on select; rows of before row format 6 lack these. Run the "
            "suite again, into a new results folder."
        )
    return sorted((_gains(rule, complete) for rule in rules), key=lambda gains: -gains.select_gain)


def _shared_gains(group: Mapping[str, BlockSamples]) -> dict[str, list[float]]:
    """Return each rule's mean of every measure over what all rules of a group share; empty if they share nothing."""
    seeds = frozenset.intersection(*(samples.measured(name) for samples in group.values() for name in _MEASURES))
    means = {rule: [samples.subject_means(name, seeds) for name in _MEASURES] for rule, samples in group.items()}
    subjects = set.intersection(*(set(found) for of_rule in means.values() for found in of_rule))
    if not subjects:
        return {}
    return {
        rule: [fmean(found[one] for one in sorted(subjects)) for found in of_rule] for rule, of_rule in means.items()
    }


def _gains(rule: str, groups: Sequence[Mapping[str, Sequence[float]]]) -> RuleGains:
    select, test = zip(*(group[rule] for group in groups), strict=True)
    return RuleGains(rule, tuple(select), tuple(test))
