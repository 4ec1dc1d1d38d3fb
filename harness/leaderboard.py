"""From rows to ranks: means over seeds, intervals, and shared ranks where intervals overlap."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from benchmarks.cells import content_hash
from benchmarks.records import Metrics, Row, State
from harness.statistics import Estimate
from splitters.errors import UnknownNameError

MEASURES = (
    "base_accuracy",
    "composed_accuracy",
    "accuracy_loss",
    "kernel_retention",
    "kernel_retention_union",
    "flops_retention",
    "param_retention",
    "jaccard_distance",
    "split_seconds",
)
"""The numbers that a leaderboard shows, fields of ``Metrics``."""


@dataclass(frozen=True)
class Entry:
    """One splitter with one configuration, on one base model and data set.

    Args:
        rank: Its rank in its section, shared where intervals overlap; None if no seed succeeded.
        splitter: The splitter's name.
        label: What tells it from the section's other entries: its label or name, and settings where those are alike.
        n_seeds: Seeds that succeeded.
        n_failed: Seeds whose last attempt did not.
        estimates: Mean and interval of each of ``MEASURES`` over the seeds that have it.
        cell_ids: The cells that it stands for.
    """

    rank: int | None
    splitter: str
    label: str
    n_seeds: int
    n_failed: int
    estimates: Mapping[str, Estimate]
    cell_ids: tuple[str, ...]

    def mean(self, measure: str) -> float | None:
        """Returns a measure's mean over seeds, or None if no seed has it."""
        estimate = self.estimates.get(measure)
        return None if estimate is None else estimate.mean


@dataclass(frozen=True)
class Section:
    """All that may be compared: one scenario, data set and base model, trained and measured in one way.

    Args:
        scenario: The scenario.
        dataset: The data set.
        model: The base model's architecture.
        title: What tells it from other sections.
        entries: By rank; those without a rank last.
    """

    scenario: str
    dataset: str
    model: str
    title: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class Leaderboard:
    """Ranks, and all that is not ranked.

    Args:
        sections: One table each.
        sort: The measure that ranks.
        failures: Rows of cells whose last attempt is not ``ok``.
    """

    sections: tuple[Section, ...]
    sort: str
    failures: tuple[Row, ...]

    @property
    def has_single_seeds(self) -> bool:
        """Whether some entry rests on one seed, and so has no interval."""
        return any(entry.n_seeds == 1 for section in self.sections for entry in section.entries)


def make_leaderboard(latest: Iterable[Row], *, scenario: str | None = None, sort: str = "accuracy_loss") -> Leaderboard:
    """Ranks splitters.

    Rows that differ in more than the seed are never averaged: an entry is a splitter with one configuration, a section
    is everything else that determines a result. Within a section, entries are sorted by the mean of ``sort``. The best
    one leads rank 1; the entries that follow share its rank as long as their 95 % t-interval overlaps the leader's;
    the first one that does not overlap leads the next rank, which is one more than the number of entries before it.
    An entry with a single seed has no interval: its value counts as a point.

    Args:
        latest: The attempt that counts of each cell.
        scenario: Leaves out other scenarios.
        sort: The measure that ranks.

    Raises:
        UnknownNameError: If there is no such scenario or measure.
    """
    if sort not in sortable_measures():
        raise UnknownNameError("measure", sort, sortable_measures(), where="--sort")
    rows = sorted(latest, key=lambda row: (row.scenario, row.dataset, row.model, row.splitter, row.seed))
    if scenario is not None:
        known = {row.scenario for row in rows}
        if scenario not in known:
            raise UnknownNameError("scenario in these results", scenario, known, where="--scenario")
        rows = [row for row in rows if row.scenario == scenario]
    settings = {row.cell_id: _Configuration.of(row) for row in rows}
    groups = _grouped(rows, lambda row: settings[row.cell_id].section_key)
    titles = _section_titles([(members[0], settings[members[0].cell_id]) for members in groups.values()])
    sections = [
        _section(members, settings, title, sort) for members, title in zip(groups.values(), titles, strict=True)
    ]
    failures = [row for row in rows if row.state is not State.OK]
    return Leaderboard(tuple(sections), sort, tuple(failures))


def sortable_measures() -> list[str]:
    """Returns the measures of which it is known whether more is better."""
    return [name for name in MEASURES if better(name) is not None]


def better(measure: str) -> str | None:
    """Returns ``higher`` or ``lower``, or None where neither is better."""
    extra = Metrics.model_fields[measure].json_schema_extra
    direction = extra.get("better") if isinstance(extra, dict) else None
    return str(direction) if direction else None


@dataclass(frozen=True)
class _Configuration:
    """What determines a row's result, apart from its seed, as flat keys.

    Args:
        splitter: The splitter's settings and version.
        rest: Everything else.
    """

    splitter: dict[str, Any]
    rest: dict[str, Any]

    @classmethod
    def of(cls, row: Row) -> _Configuration:
        config = json.loads(row.config)
        config.pop("seed", None)
        splitter = config.pop("splitter", {})
        flat = {**_flat(splitter.get("settings", {})), "version": splitter.get("version")}
        return cls({"name": splitter.get("name"), **flat}, _flat(config))

    @property
    def section_key(self) -> str:
        return content_hash(self.rest)

    @property
    def splitter_key(self) -> str:
        return content_hash(self.splitter)


def _flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            flat.update(_flat(value, f"{prefix}{key}."))
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _grouped(rows: Iterable[Row], key: Any) -> dict[str, list[Row]]:
    groups: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        groups[key(row)].append(row)
    return dict(groups)


def _section_titles(sections: Sequence[tuple[Row, _Configuration]]) -> list[str]:
    names = [f"{row.dataset} · {row.model}" for row, _ in sections]
    if len({row.scenario for row, _ in sections}) > 1:
        names = [f"{row.scenario} · {name}" for (row, _), name in zip(sections, names, strict=True)]
    return _told_apart(names, [configuration.rest for _, configuration in sections])


def _section(rows: list[Row], settings: Mapping[str, _Configuration], title: str, sort: str) -> Section:
    groups = list(_grouped(rows, lambda row: settings[row.cell_id].splitter_key).values())
    names = [next((row.splitter_label for row in group if row.splitter_label), group[0].splitter) for group in groups]
    labels = _told_apart(names, [settings[group[0].cell_id].splitter for group in groups])
    entries = [_entry(group, label) for group, label in zip(groups, labels, strict=True)]
    first = rows[0]
    return Section(first.scenario, first.dataset, first.model, title, tuple(_ranked(entries, sort)))


def _entry(rows: list[Row], label: str) -> Entry:
    succeeded = [row for row in rows if row.state is State.OK]
    estimates = {}
    for measure in MEASURES:
        values = [value for row in succeeded if (value := getattr(row, measure)) is not None]
        if values:
            estimates[measure] = Estimate.of(values)
    return Entry(
        rank=None,
        splitter=rows[0].splitter,
        label=label,
        n_seeds=len(succeeded),
        n_failed=sum(not row.state.is_final for row in rows),
        estimates=estimates,
        cell_ids=tuple(row.cell_id for row in rows),
    )


def _ranked(entries: list[Entry], sort: str) -> list[Entry]:
    sign = -1 if better(sort) == "higher" else 1
    rankable = sorted(
        (entry for entry in entries if sort in entry.estimates), key=lambda e: sign * e.estimates[sort].mean
    )
    ranked: list[Entry] = []
    leader, rank = None, 0
    for position, entry in enumerate(rankable, start=1):
        estimate = entry.estimates[sort]
        if leader is None or not estimate.overlaps(leader):
            leader, rank = estimate, position
        ranked.append(Entry(**{**vars(entry), "rank": rank}))
    return ranked + [entry for entry in entries if sort not in entry.estimates]


_MOST_SHOWN = 3
"""So many differing settings still make a readable name."""


def _told_apart(names: Sequence[str], settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Returns names that differ: where several are alike, the settings that differ are added."""
    apart = []
    for name, own in zip(names, settings, strict=True):
        alike = [other for other_name, other in zip(names, settings, strict=True) if other_name == name]
        keys = {key for other in alike for key in other} if len(alike) > 1 else set()
        differing = sorted(key for key in keys if len({json.dumps(other.get(key)) for other in alike}) > 1)
        shown = ", ".join(f"{key.rpartition('.')[2]}={own[key]}" for key in differing if own.get(key) is not None)
        if len(differing) > _MOST_SHOWN or (differing and not shown):
            shown = f"#{content_hash(own)[:6]}"
        apart.append(f"{name} ({shown})" if shown else name)
    return apart
