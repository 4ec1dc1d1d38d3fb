"""What a study did not have to do again, as the stages of its rows tell it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.records import Row
from splitters.methods.protocol import REUSED_SECONDS

_FINDINGS = "importance and curves"
"""What splitters find out about a base model, whatever their settings."""


@dataclass(frozen=True)
class Reused:
    """Work of one kind that was found done.

    Args:
        stage: What it is: ``train``, ``split``, ``importance and curves``.
        times: How often it was reused.
        made: How often it was done.
        saved_seconds: How long the reused work had taken when it was done.
    """

    stage: str
    times: int
    made: int
    saved_seconds: float


def reused_work(rows: Iterable[Row]) -> list[Reused]:
    """Returns what rows reused, by stage, most saved first; stages that never were are left out."""
    stages: dict[str, list[tuple[bool, float]]] = {}
    for row in rows:
        for stage in row.stages:
            stages.setdefault(stage.name, []).append((stage.reused, stage.seconds))
        is_own = not any(stage.name == "split" and stage.reused for stage in row.stages)
        for figure in row.figures if is_own else ():
            if figure.name == REUSED_SECONDS:
                stages.setdefault(_FINDINGS, []).append((figure.value > 0, figure.value))
    found = [
        Reused(
            stage=name,
            times=sum(reused for reused, _ in uses),
            made=sum(not reused for reused, _ in uses),
            saved_seconds=sum(seconds for reused, seconds in uses if reused),
        )
        for name, uses in stages.items()
    ]
    return sorted((entry for entry in found if entry.times), key=lambda entry: -entry.saved_seconds)
