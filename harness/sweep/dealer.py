"""What is tried next: configurations that are not finished, then new ones, never one twice."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from random import Random
from typing import Any

import optuna

from harness.dispatch.base import Limits
from harness.sweep.candidates import Candidate, Cells
from harness.sweep.claiming import CLAIM_SECONDS
from harness.sweep.file import SamplerSpec, Sweep
from harness.sweep.parameters import Parameter
from harness.sweep.space import Space, Values
from harness.sweep.study import SplitterStudy, close_running
from harness.sweep.trials import Trial, TrialBook
from splitters.errors import ConfigurationError

_MOST_REPEATS = 30
"""So many proposals in a row that are known or refused, and chance proposes instead."""

MOST_HELD = 4
"""So many proposals and one per slot wait for other drivers, and while a trial of one's own runs, nothing new is
proposed: samplers learn from trials that are over."""

_MOST_LISTED = 10_000
"""So many points of a space are gone through one by one where chance finds nothing new."""


@dataclass(frozen=True)
class Deal:
    """A trial to run.

    Args:
        trial: What is known of it; its missing cells are to be run.
        asked: The Optuna trial that proposed it.
    """

    trial: Trial
    asked: optuna.trial.Trial


@dataclass(frozen=True)
class _Later:
    """A trial that waits for its time.

    Args:
        due: When it may begin (``time.monotonic``).
        trial: What is known of it.
        asked: The Optuna trial that proposed it; None if it has been told of, and is to be asked for again.
    """

    due: float
    trial: Trial
    asked: optuna.trial.Trial | None = None


class Dealer:
    """Deals trials until the study has as many as it should.

    Splitters take turns, so that all get as many trials. A space that is no larger than its splitter's share is tried
    point by point in an order of chance, the default first. A proposal that is known already is answered from what is
    known, and another one is asked for.

    Args:
        sweep: The sweep.
        cells: Its cells.
        book: What is known when it begins.
        slots: How many trials run at the same time at most.
        limits: How often, and how soon, a trial that a machine failed is dealt again.
    """

    def __init__(
        self, sweep: Sweep, cells: Cells, book: TrialBook, *, slots: int, limits: Limits | None = None
    ) -> None:
        self._sweep = sweep
        self._cells = cells
        self.book = book
        self.repeats = 0
        self.refusals: Counter[str] = Counter()
        self._running: dict[str, Deal] = {}
        self._twins: defaultdict[str, list[tuple[SplitterStudy, optuna.trial.Trial]]] = defaultdict(list)
        self._slots = slots
        self._later = [_Later(float("-inf"), trial) for trial in book.unfinished]
        self._limits = limits or Limits()
        self._retries: Counter[str] = Counter()
        self._given_up: set[str] = set()
        share = -(-sweep.trials // len(sweep.spaces))
        self._proposers = {
            space.label: _Proposer(space, sweep, share, known=_known(book, space), is_parallel=slots > 1)
            for space in sweep.spaces
        }

    @property
    def n_left(self) -> int:
        """How many trials are left to deal."""
        return max(0, self._sweep.trials - len(self.book.over) - len(self._running) - len(self._given_up))

    @property
    def is_waiting(self) -> bool:
        """Whether a trial waits for its time."""
        return bool(self._later and self.n_left)

    @property
    def n_held(self) -> int:
        """How many trials wait for other drivers."""
        return sum(later.asked is not None for later in self._later)

    def deal(self) -> Deal | None:
        """Returns the next trial to run, or None if there is none now: enough were dealt, or all spaces are exhausted.

        Those that wait for their time come first when it has come; others are dealt in the meantime.
        """
        if not self.n_left:
            return None
        now = time.monotonic()
        due = next((later for later in self._later if later.due <= now), None)
        if due is not None:
            self._later.remove(due)
            study = self._proposers[due.trial.candidate.space.label].study
            return self._begin(Deal(due.trial, due.asked or study.ask_for(due.trial.candidate.values)[0]))
        if self.n_left <= len(self._later) or (self._running and self.n_held >= MOST_HELD + self._slots):
            return None
        while (proposer := self._next_proposer()) is not None:
            found = self._propose(proposer)
            if found is not None:
                return self._begin(found)
            proposer.is_exhausted = True
        return None

    def finish(self, trial: Trial, *, again: bool = False) -> Trial:
        """Takes back a trial that was dealt and has ended, tells Optuna, and returns it with its number and verdict.

        One that is not over (its run was interrupted, or a machine failed it) is told as failed, and none takes its
        place: it comes back with the next sweep.

        Args:
            trial: The trial.
            again: Whether one that is not over is to be dealt again, for it was the machine's fault. That comes later,
                and as often as the limits have it.
        """
        deal = self._running.pop(trial.key)
        self.book = self.book.with_trial(trial)
        judged = self.book.by_key[trial.key]
        study = self._proposers[trial.candidate.space.label].study
        for told, asked in [(study, deal.asked), *self._twins.pop(trial.key, [])]:
            told.tell(asked, judged)
        if judged.is_over:
            return judged
        if again and self._retries[trial.key] < self._limits.retries:
            self._later.append(_Later(time.monotonic() + self._limits.backoff * 2 ** self._retries[trial.key], judged))
            self._retries[trial.key] += 1
        else:
            self._given_up.add(trial.key)
        return judged

    def put_back(self, deal: Deal, *, seconds: float = 0.0) -> None:
        """Takes back a trial that cannot begin yet, for another driver runs one of its cells.

        Args:
            deal: The trial.
            seconds: How long it took to learn that. All that wait are asked for before it is again, and others too.
        """
        del self._running[deal.trial.key]
        due = time.monotonic() + CLAIM_SECONDS + 2 * seconds * self.n_held
        self._later.append(_Later(due, deal.trial, deal.asked))

    def update(self, trial: Trial) -> Trial:
        """Notes how far a running trial is, and returns it with its number and the race's verdict on it."""
        self.book = self.book.with_trial(trial)
        return self.book.by_key[trial.key]

    def close(self) -> int:
        """Fails what Optuna still takes for running, and returns how many that were."""
        return sum(close_running(proposer.study.study) for proposer in self._proposers.values())

    @property
    def studies(self) -> Mapping[str, optuna.Study]:
        """Each splitter's study, by the splitter's label."""
        return {label: proposer.study.study for label, proposer in self._proposers.items()}

    def _begin(self, deal: Deal) -> Deal:
        self._running[deal.trial.key] = deal
        return deal

    def _next_proposer(self) -> _Proposer | None:
        """Returns the splitter with the fewest trials, over or not, of those that have some left to try."""
        counts = Counter(trial.candidate.space.label for trial in self.book.over)
        dealt = [deal.trial for deal in self._running.values()] + [later.trial for later in self._later]
        given_up = [self.book.by_key[key] for key in self._given_up]
        counts.update(trial.candidate.space.label for trial in [*dealt, *given_up])
        able = [proposer for proposer in self._proposers.values() if not proposer.is_exhausted]
        return min(able, key=lambda proposer: counts[proposer.study.space.label], default=None)

    def _propose(self, proposer: _Proposer) -> Deal | None:
        """Returns a configuration that is not known yet; None if there is none left, or none can be found."""
        for asked, values in proposer.proposals(lambda values: self._is_known(proposer.study.space, values)):
            candidate = self._candidate(proposer.study, asked, values)
            if candidate is None:
                continue
            known = self.book.by_key.get(candidate.key)
            if self._is_dealt(candidate.key):
                self.repeats += 1
                self._twins[candidate.key].append((proposer.study, asked))
            elif known is not None and (known.is_over or candidate.key in self._given_up):
                self.repeats += 1
                proposer.study.tell(asked, known)
            else:
                fresh = Trial(candidate, {}, self._sweep.goals, self._sweep.bounds)
                return Deal(known or fresh, asked)
        return None

    def _is_known(self, space: Space, values: Values) -> bool:
        try:
            key = self._cells.candidate(space, values).key
        except ConfigurationError:
            return True
        known = self.book.by_key.get(key)
        return self._is_dealt(key) or key in self._given_up or (known is not None and known.is_over)

    def _is_dealt(self, key: str) -> bool:
        return key in self._running or any(later.trial.key == key for later in self._later)

    def _candidate(self, study: SplitterStudy, asked: optuna.trial.Trial, values: Values) -> Candidate | None:
        try:
            return self._cells.candidate(study.space, values)
        except ConfigurationError as error:
            # No combination that the splitter refuses can be run; others may be fine.
            self.refusals[str(error)] += 1
            study.refuse(asked)
            return None


def _known(book: TrialBook, space: Space) -> list[Trial]:
    return [trial for trial in book.over if trial.candidate.space.label == space.label]


class _Proposer:
    """Where the proposals for one splitter come from."""

    def __init__(self, space: Space, sweep: Sweep, share: int, *, known: list[Trial], is_parallel: bool) -> None:
        self.study = SplitterStudy(
            space,
            sweep.goals,
            sweep.sampler,
            n_trials=share,
            is_parallel=is_parallel,
            has_constraints=bool(sweep.bounds),
            known=known,
        )
        self.is_exhausted = False
        self._left: Iterator[Values] | None = None
        self._random = Random(f"{sweep.sampler.seed} {space.label} {len(known)}")
        tried = [trial.candidate.values for trial in known]
        self._first = [space.default] if space.default is not None and space.default not in tried else []
        self._points = self._enumerated(space, sweep.sampler, share, tried)

    def _enumerated(
        self, space: Space, sampler: SamplerSpec, share: int, tried: Sequence[Values]
    ) -> list[Values] | None:
        """Returns the points left of a space that is small enough to try them all, the next one last."""
        is_grid = sampler.name == "grid"
        if not is_grid and (space.size is None or space.size > share):
            return None
        points: list[Values] = [point for point in space.points() if point not in tried]
        points.reverse()
        if not is_grid:
            self._random.shuffle(points)
        return points

    def proposals(self, is_known: Callable[[Values], bool]) -> Iterator[tuple[optuna.trial.Trial, dict[str, Any]]]:
        """Yields proposals: the default, then every point, or what the sampler thinks, and chance where it is stuck.

        Where chance finds nothing either, the points that are left of a space that has an end are next.

        Args:
            is_known: Says whether a point is over or running.
        """
        while self._first:
            yield self.study.ask_for(self._first.pop())
        if self._points is not None:
            while self._points:
                yield self.study.ask_for(self._points.pop())
            return
        for _ in range(_MOST_REPEATS):
            yield self.study.ask()
        for _ in range(_MOST_REPEATS):
            yield self.study.ask_for(self.study.space.choose(self._by_chance))
        if self._left is None and self.study.space.size is not None:
            self._left = islice(self.study.space.points(), _MOST_LISTED)
        yield from (self.study.ask_for(point) for point in self._left or () if not is_known(point))

    def _by_chance(self, parameter: Parameter) -> Any:
        values = parameter.values
        return self._random.choice(values) if values else self._random.uniform(parameter.low, parameter.high)
