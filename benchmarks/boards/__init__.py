"""The columns and measures of each scenario's leaderboard."""

from benchmarks.boards.board import Board, Column, Sample, Subjects, Unit
from benchmarks.boards.composition import COMPOSITION
from benchmarks.boards.modularization import MODULARIZATION, SELECTION
from benchmarks.boards.new_task import NEW_TASK
from benchmarks.boards.patching import PATCHING
from benchmarks.boards.sub_task import SUB_TASK

__all__ = [
    "COMPOSITION",
    "MODULARIZATION",
    "NEW_TASK",
    "PATCHING",
    "SELECTION",
    "SUB_TASK",
    "Board",
    "Column",
    "Sample",
    "Subjects",
    "Unit",
]
