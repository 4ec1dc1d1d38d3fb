"""The plan of a sweep: what its rows say, and what is left to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from itertools import cycle, islice

from benchmarks.rows.row import Row
from harness.planning.outdated_rows import OutdatedRows
from harness.planning.plan import Plan, PlannedCell, Status, make_plan
from harness.runs.shard import Shard
from harness.runs.time_left import TimeLeft
from harness.store import ResultStore, StoreContents
from harness.suite_cell import SuiteCell
from harness.sweep.definition.file import Sweep
from harness.sweep.study.record import Continuation, began_at, continue_study, read_studies
from harness.sweep.study.results import SweepResults
from harness.sweep.study.trials import Configurations, Trials, read_trials

FindChanged = Callable[[Sequence[SuiteCell], Sequence[Row]], OutdatedRows]


@dataclass(frozen=True)
class SweepPlan:
    """What a sweep would do, given the rows of a store.

    ``outdated`` holds the attempts that were measured on other images than there are now; their cells run again.
    ``read_at`` is when the rows were read.
    """

    sweep: Sweep
    configurations: Configurations
    contents: StoreContents
    trials: Trials
    continuation: Continuation
    read_at: datetime
    outdated: frozenset[str] = frozenset()

    @property
    def n_to_run(self) -> int:
        """Number of trials to run, unfinished ones among them."""
        return max(0, self.sweep.trials - len(self.trials.finished))

    @property
    def cells_per_trial(self) -> int:
        """Number of cells of a trial."""
        return len(self.sweep.seeds) * len(self.sweep.models) * len(self.sweep.datasets)

    @property
    def seconds_per_trial(self) -> float | None:
        """Mean time of the complete trials; None without any."""
        complete = self.trials.complete
        return sum(trial.seconds for trial in complete) / len(complete) if complete else None

    def expected(self) -> Plan:
        """Return the cells to run as if they were the defaults', splitters taking turns, with their history."""
        seconds: dict[str, float | None] = {}
        for space in self.sweep.spaces:
            rows = [row for t in self.trials.complete if t.label == space.label for row in t.rows.values()]
            seconds[space.label] = sum(row.seconds for row in rows) / len(rows) if rows else None
        return Plan(
            tuple(
                PlannedCell(item, Status.TO_DO, None, seconds[space.label])
                for space in islice(cycle(self.sweep.spaces), self.n_to_run)
                for item in self.configurations.default(space).items
            )
        )

    def time_left(self) -> TimeLeft:
        """Return an estimate of the time that the trials to run take, which follows them."""
        # Which configurations will be tried is not known yet.
        return TimeLeft(n_cells=self.n_to_run * self.cells_per_trial, history=self.expected().history)

    def refreshed(self, store: ResultStore) -> SweepPlan:
        """Return the plan of the same study, given the rows of the store as they are now."""
        studies = read_studies(store, consent=self.sweep.consent)
        continuation = replace(self.continuation, began_at=began_at(self.continuation.study, studies))
        contents = store.read()
        trials = _read_trials(self.sweep, self.configurations, contents, contents.latest(), continuation)
        trials = trials.without(self.outdated)
        return replace(self, contents=contents, trials=trials, continuation=continuation)

    def results(self, new_rows: Iterable[Row] = ()) -> SweepResults:
        """Return the study's results, with rows that were stored since the plan was made."""
        by_id = {row.cell_id: row for row in self.contents.latest() if row.attempt_id not in self.outdated}
        for row in new_rows:
            if row.state.is_final or row.cell_id not in by_id or not by_id[row.cell_id].state.is_final:
                by_id[row.cell_id] = row
        rows = list(by_id.values())
        trials = _read_trials(self.sweep, self.configurations, self.contents, rows, self.continuation)
        others = sorted({record.study for record in self.continuation.earlier} - {self.continuation.study})
        return SweepResults(self.continuation.study, self.sweep, self.configurations, trials, rows, others)

    def scoring(self, results: SweepResults, shard: Shard | None = None) -> Plan:
        """Return the cells that score what was chosen on test."""
        items = [item for trial in results.chosen for item in self.configurations.test_items(trial.configuration)]
        return make_plan([item for item in items if shard is None or shard.holds(item.cell.cell_id)], results.rows)


def plan_sweep(
    sweep: Sweep, store: ResultStore, *, quarantine: bool = False, find_changed: FindChanged | None = None
) -> SweepPlan:
    """Return what a sweep would do, given the rows of a store.

    Args:
        sweep: The sweep.
        store: Where its rows are.
        quarantine: Whether to move damaged files to quarantine; see ``ResultStore.read``.
        find_changed: Returns which rows of cells were measured on images that have changed; see ``find_outdated_rows``.
    """
    read_at = datetime.now(timezone.utc)
    configurations, contents = Configurations(sweep), store.read(quarantine=quarantine)
    continuation = continue_study(sweep, read_studies(store, consent=sweep.consent))
    rows = contents.latest()
    trials = _read_trials(sweep, configurations, contents, rows, continuation)
    outdated: frozenset[str] = frozenset()
    if find_changed is not None:
        cells = [item for trial in trials.all for item in configurations.all_items(trial.configuration)]
        outdated = find_changed(cells, rows).attempts
        trials = trials.without(outdated)
    return SweepPlan(sweep, configurations, contents, trials, continuation, read_at, outdated)


def _read_trials(
    sweep: Sweep,
    configurations: Configurations,
    contents: StoreContents,
    rows: Iterable[Row],
    continuation: Continuation,
) -> Trials:
    return read_trials(sweep, configurations, rows, first_starts=contents.first_starts(), since=continuation.began_at)
