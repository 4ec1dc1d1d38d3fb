"""The columns and measures of each scenario's leaderboard."""

from collections.abc import Mapping

from benchmarks.boards.board import Board, Column, Subjects, Unit
from benchmarks.boards.composition import COMPOSITION
from benchmarks.boards.modularization import MODULARIZATION, SELECTION
from benchmarks.boards.new_task import NEW_TASK
from benchmarks.boards.patching import PATCHING
from benchmarks.boards.samples import Sample, Samples
from benchmarks.boards.sub_task import SUB_TASK

BOARDS: Mapping[str, Board] = {
    "accuracy_composition": COMPOSITION,
    "modularization": MODULARIZATION,
    "new_task": NEW_TASK,
    "patching": PATCHING,
    "selection": SELECTION,
    "sub_task": SUB_TASK,
}
"""The leaderboards of the scenarios that come with Splitbench, which can be read without importing torch."""

__all__ = [
    "BOARDS",
    "COMPOSITION",
    "MODULARIZATION",
    "NEW_TASK",
    "PATCHING",
    "SELECTION",
    "SUB_TASK",
    "Board",
    "Column",
    "Sample",
    "Samples",
    "Subjects",
    "Unit",
]
