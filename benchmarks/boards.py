"""What a scenario puts on its leaderboard: which numbers, under which headings, and what makes an entry of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel

from benchmarks.records import Metrics, PatchRecord, Row

Unit = Literal["%", "points", "time", "count"]


@dataclass(frozen=True)
class Column:
    """A column of a leaderboard for people.

    Args:
        measure: The number that it shows.
        heading: What stands above it.
        unit: How the number is written.
        spared: On a narrow terminal, columns with the lowest numbers are left out first; None stays.
    """

    measure: str
    heading: str
    unit: Unit
    spared: int | None = None


@dataclass(frozen=True)
class Sample:
    """One measurement that a row holds.

    Args:
        subject: What was measured: the seed, or the target class. An interval is over subjects; measurements of the
            same subject are averaged first.
        variant: What tells it from the row's other measurements of the subject, e.g. the fusion rule.
        values: Its numbers by measure; null where nothing was measured.
    """

    subject: str
    variant: Mapping[str, str]
    values: Mapping[str, float | None]


@dataclass(frozen=True)
class Board:
    """A scenario's leaderboard.

    Args:
        record: The model that holds the measures, and says which direction is better.
        measures: All measures, for programs.
        columns: The ones for people.
        sort: The one that ranks.
        variants: The keys of ``Sample.variant``.
        samples: A row's measurements. An entry's mean and interval are over the subjects of all its rows.
        subjects: What they are, for the legend.
    """

    record: type[BaseModel]
    measures: tuple[str, ...]
    columns: tuple[Column, ...]
    sort: str
    samples: Callable[[Row], list[Sample]]
    variants: tuple[str, ...] = ()
    subjects: Literal["seeds", "target classes"] = "seeds"

    def better(self, measure: str) -> str | None:
        """Returns ``higher`` or ``lower``, or None where neither is better."""
        extra = self.record.model_fields[measure].json_schema_extra
        direction = extra.get("better") if isinstance(extra, dict) else None
        return str(direction) if direction else None

    def sortable(self) -> list[str]:
        """Returns the measures of which it is known whether more is better."""
        return [name for name in self.measures if self.better(name) is not None]


_MODULARIZATION = (
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

MODULARIZATION = Board(
    record=Metrics,
    measures=_MODULARIZATION,
    columns=(
        Column("base_accuracy", "base", "%", spared=2),
        Column("composed_accuracy", "composed", "%"),
        Column("accuracy_loss", "loss", "points"),
        Column("kernel_retention", "kernels", "%"),
        Column("flops_retention", "FLOPs", "%", spared=1),
        Column("split_seconds", "split", "time", spared=3),
    ),
    sort="accuracy_loss",
    samples=lambda row: [Sample(str(row.seed), {}, {name: getattr(row, name) for name in _MODULARIZATION})],
)
"""What splitting costs and saves; also the board of scenarios that have none of their own."""

_SELECTION = (
    "select_base_accuracy",
    "select_composed_accuracy",
    "select_accuracy_loss",
    "kernel_retention",
    "kernel_retention_union",
    "flops_retention",
    "param_retention",
    "jaccard_distance",
    "split_seconds",
)

SELECTION = Board(
    record=Metrics,
    measures=_SELECTION,
    columns=(
        Column("select_base_accuracy", "base", "%", spared=2),
        Column("select_composed_accuracy", "composed", "%"),
        Column("select_accuracy_loss", "loss", "points"),
        Column("kernel_retention", "kernels", "%"),
        Column("flops_retention", "FLOPs", "%", spared=1),
        Column("split_seconds", "split", "time", spared=3),
    ),
    sort="select_accuracy_loss",
    samples=lambda row: [Sample(str(row.seed), {}, {name: getattr(row, name) for name in _SELECTION})],
)
"""The same on select images: what sweeps choose by."""

_PATCHING = (
    "tc_precision_before",
    "tc_precision_after",
    "tc_recall_before",
    "tc_recall_after",
    "tc_f1_before",
    "tc_f1_after",
    "tc_f1_gain",
    "non_tc_accuracy_before",
    "non_tc_accuracy_after",
    "accuracy_before",
    "accuracy_after",
    "accuracy_gain",
    "turned_right",
    "turned_wrong",
)


def _patches(row: Row) -> list[Sample]:
    return [
        Sample(
            patch.target_class,
            {"weak_kind": patch.weak_kind, "fusion": patch.fusion},
            {name: getattr(patch, name) for name in _PATCHING},
        )
        for patch in row.patches
    ]


PATCHING = Board(
    record=PatchRecord,
    measures=_PATCHING,
    columns=(
        Column("tc_precision_after", "precision", "%", spared=1),
        Column("tc_recall_after", "recall", "%", spared=2),
        Column("tc_f1_before", "F1 before", "%"),
        Column("tc_f1_after", "F1 after", "%"),
        Column("tc_f1_gain", "F1 gain", "points"),
        Column("non_tc_accuracy_after", "others", "%", spared=3),
        Column("accuracy_gain", "all, gain", "points", spared=4),
    ),
    sort="tc_f1_gain",
    samples=_patches,
    variants=("weak_kind", "fusion"),
    subjects="target classes",
)
"""What patches do to weak models: means over seeds and target classes, intervals over target classes."""
